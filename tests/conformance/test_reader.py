"""GitHub's own workflow files: whatever they hold, ours reads them as GitHub does or refuses a feature by name."""

import json
import re
from typing import Any, cast

import pytest

from conformance.adapter import parse
from conformance.shared_data import FOLDER, names, needs_shared_data

pytestmark = needs_shared_data

NOT_LOCAL = re.compile(
    "permission|is-partial-rerun|snapshot|image-version|max-result-size|max-file-size|skip-reusable|max-job-limit"
)
NOT_YET = "is not supported yet"
KNOWN_TO_DIFFER = {
    "errors-anchor-tag.yml": "GitHub reads anchors by now",
    "errors-on-workflow_call-input-type-missing.yml": "reusable workflows come later",
    "errors-on-workflow_call-input-unexpected-property.yml": "reusable workflows come later",
    "errors-on-workflow_call-output.yml": "reusable workflows come later",
    "misc-jobs.yml": "labels are evaluated when planning, and its matrix is empty",
    "round-to-infinity.yml": "a timeout of 0 or less is an error here",
}


def read(name: str) -> tuple[str, Any]:
    text = (FOLDER / name).read_bytes().decode()
    documents = re.split(r"\r?\n---\r?\n", text)
    return documents[1], json.loads(documents[-1])


def literal(value: Any) -> Any:
    """The text of a value that the data gives with or without its kind."""
    if not isinstance(value, dict):
        return value
    known = cast(dict[str, Any], value)
    return known.get("lit", known.get("expr"))


def listed(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": literal(job["id"]),
            "needs": [literal(need) for need in job.get("needs", [])],
            "if": literal(job.get("if")),
            "steps": [{"id": step.get("id"), "if": literal(step.get("if"))} for step in job.get("steps", [])],
        }
        for job in jobs
    ]


@pytest.mark.parametrize("name", [name for name in names("reader/*.yml") if not NOT_LOCAL.search(name)])
def test_a_file_is_read_as_github_reads_it_or_refused_by_name(name: str) -> None:
    short = name.removeprefix("reader/")
    if short in KNOWN_TO_DIFFER:
        pytest.skip(KNOWN_TO_DIFFER[short])
    text, expected = read(name)
    got: Any = parse(".github/workflows/" + short, text, {})
    errors = got.get("errors", [])
    if any(NOT_YET in error for error in errors):
        return
    if expected.get("errors"):
        assert errors
    else:
        assert errors == []
        assert listed(got["jobs"]) == listed(expected["jobs"])
