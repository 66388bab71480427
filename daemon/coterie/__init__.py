"""What one peer does: the I/O around `coterie_protocols`."""
