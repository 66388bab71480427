"""Content-addressed files outside the clock."""

from coterie.blobs.file_blobs import FileBlobs

__all__ = ["FileBlobs"]
