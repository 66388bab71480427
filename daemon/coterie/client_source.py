"""The source tree that goes along with a submission."""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from coterie.control.client import Client
from coterie_protocols.errors import UserError


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


def upload_tree(client: Client, root: Path, tell: Callable[[str], None] = _warn) -> str:
    """Packs the tree at `root`, hands it to the daemon and returns the name for the submission.

    `tell` hears what was left out. Raises UserError where it is too large, or no tree of its own.
    """
    from coterie.source_tree import pack_source

    if root in (Path("/"), Path.home()):
        raise UserError(f"the source tree would be all of {root}", "put the workflow into a folder of its own")
    client.health()  # a daemon that is not there is told before a large tree is packed
    with tempfile.TemporaryDirectory(prefix="coterie-") as folder:
        tar = Path(folder) / "source.tar"
        for name in pack_source(root, tar).left_out:
            tell(f"left out of the source tree: {name}")
        return client.upload(tar)
