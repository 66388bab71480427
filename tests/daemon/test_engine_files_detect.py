"""Tells workflow files of the engine from all others."""

import pytest

from coterie.engine.files.detect import is_engine_file


@pytest.mark.parametrize(
    "text",
    [
        "coterie: 1\nsteps: {}",
        "# a comment\n---\nname: x\ncoterie : 1\n",
        "\ufeffcoterie: 1",
        '"coterie": 1',
        "coterie:",
        '{"coterie": 1}',
        '\n {"name": "x", "id": "y",\n "coterie": 1}',
        '{\n"coterie": 1, "steps": {"a": []}}',
    ],
)
def test_files_of_the_engine(text: str) -> None:
    assert is_engine_file(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: coterie\non: push\njobs:\n  coterie: 1\n",
        "on: push\njobs: {a: {runs-on: coterie}}",
        "coteries: 1",
        "x: |\n  coterie: 1",
        '{"on": "push", "jobs": {"a": {"coterie": 1}}}',
        '{"name": "coterie", "x": [{"coterie": 1}]}',
        "# coterie: 1",
        "\x00\x01",
    ],
)
def test_others(text: str) -> None:
    assert not is_engine_file(text)
