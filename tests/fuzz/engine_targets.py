"""What users and programs hand to the engine: whatever it is, it is taken, or refused with a UserError."""

import json
from collections.abc import Callable
from pathlib import Path

from coterie.control.execution_quick import body_of_submission, missing_bytes
from coterie.engine.files.detect import is_engine_file
from coterie.engine.files.reader import read_workflow_text
from coterie.engine.performing.submission import checked_plan
from coterie.engine.planning.spec_document import spec_from_json, spec_to_bytes
from coterie_protocols.errors import UserError

EXAMPLES = Path(__file__).resolve().parents[2] / "config" / "examples"
REQUEST = b"POST /v1/executions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def file(data: bytes) -> None:
    """The text of a workflow file."""
    text = data.decode("utf-8", "replace")
    is_engine_file(text)
    read_workflow_text(text, "fuzzed.yml")


def document(data: bytes) -> None:
    """A document from the control socket: what is taken is planned, and means the same when it is written and read."""
    try:
        decoded = json.loads(data)
    except (ValueError, RecursionError):
        return
    spec = spec_from_json(decoded)
    assert spec_from_json(json.loads(spec_to_bytes(spec))) == spec
    checked_plan(spec)


def submission(data: bytes) -> None:
    """The first bytes of a connection to the control socket."""
    body = body_of_submission(data)
    assert body is None or data.endswith(body)
    assert missing_bytes(data) == 0 or body is None


TARGETS: tuple[Callable[[bytes], None], ...] = (file, document, submission)


def corpus() -> list[bytes]:
    """The example files, their documents, and a request."""
    texts = [path.read_text() for path in sorted(EXAMPLES.glob("*.yml"))]
    ours = [text for text in texts if is_engine_file(text)]
    documents = [spec_to_bytes(read_workflow_text(text, "example.yml")) for text in ours]
    return [*(text.encode() for text in ours), *documents, REQUEST]


def try_all(data: bytes) -> None:
    """Every target; UserError is an answer."""
    for target in TARGETS:
        try:
            target(data)
        except UserError:
            continue
