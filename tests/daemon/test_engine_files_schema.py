"""The JSON Schema of workflow files, and the files that are delivered as examples."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from coterie.engine.files.detect import is_engine_file
from coterie.engine.files.file_text import FileText
from coterie.engine.files.reader import read_workflow_file
from coterie.engine.files.schema import SCHEMA_FILE, file_schema, schema_text
from coterie.engine.steps.factory import BUILT_IN

EXAMPLES = Path(__file__).resolve().parents[2] / "config" / "examples"
FILES = sorted(path for path in EXAMPLES.glob("*.yml") if is_engine_file(path.read_text()))
VALIDATOR: Any = Draft202012Validator(file_schema())


def fits(steps: Any, **head: Any) -> bool:
    valid: bool = VALIDATOR.is_valid({"coterie": 1, "steps": steps, **head})
    return valid


def test_the_schema_beside_the_code_is_that_of_the_code() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run: python -m coterie.engine.files.schema"
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_there_are_examples() -> None:
    assert {"etl.yml", "approval.yml", "triage.yml"} <= {path.name for path in FILES}
    types = set(re.findall(r"type: (\w+)", "".join(path.read_text() for path in FILES)))
    assert types >= set(BUILT_IN) - {"workflow"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_an_example_can_be_read_and_fits_the_schema(path: Path) -> None:
    assert read_workflow_file(path).steps
    assert [error.message for error in VALIDATOR.iter_errors(FileText(path.read_text()).value)] == []


@pytest.mark.parametrize(
    "step",
    [
        {"type": "http", "url": "http://a", "timeout": "30s", "retry": 3},
        {"type": "http", "url": "http://a", "expect_status": "${{ inputs.status }}", "query": {"a": [1, "x"]}},
        {"type": "http", "url": "http://a", "method": "${{ inputs.method }}", "max_bytes": "1MB"},
        {"type": "map", "items": "${{ inputs.items }}", "step": {"type": "wait", "seconds": 1, "timeout": 5}},
        {"type": "conditional", "branches": [{"name": "a", "if": "true", "then": ["b"]}], "needs": ["x", "y"]},
        {"type": "output", "values": {}, "compensate": {"type": "output", "values": {}}, "resources": {"gpu": 1}},
        {"type": "workflow", "file": "a.yml"},
    ],
)
def test_good_steps_fit_the_schema(step: Any) -> None:
    assert fits({"a": step})


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"type": "htpp"},
        {"type": "http"},
        {"type": "http", "url": "http://a", "urll": "x"},
        {"type": "http", "url": "http://a", "method": "FOO"},
        {"type": "http", "url": "http://a", "timeout": [1]},
        {"type": "map", "items": [], "step": {"type": "output", "values": {}, "needs": ["a"]}},
        {"type": "workflow", "document": {}},
        {"type": "output", "values": {}, "compensate": {"type": "output"}},
    ],
)
def test_bad_steps_do_not(step: Any) -> None:
    assert not fits({"a": step})


def test_the_head_is_checked_too() -> None:
    good: Any = {"a": {"type": "output", "values": {}}}
    assert fits(good, name="x", inputs={"u": {"type": "string"}, "v": None}, timeout="1h")
    assert not fits(good, nmae="x")
    assert not fits({})
    assert not VALIDATOR.is_valid({"steps": good})
    assert not VALIDATOR.is_valid({"coterie": 2, "steps": good})
