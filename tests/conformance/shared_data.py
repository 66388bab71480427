"""Where the conformance data lies: beside the checkout, as it is not ours to ship."""

import json
from pathlib import Path

import pytest

from coterie_protocols.workflow.model import Json

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "conformance"

needs_shared_data = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the conformance data is not beside the checkout (../shared/conformance)"
)


def load_json(name: str) -> Json:
    """The content of one file of the folder."""
    content: Json = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return content


def names(pattern: str) -> list[str]:
    """The files of the folder that match, relative to it; empty where it is absent."""
    return sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob(pattern))
