"""Workflow files that name other workflow files."""

from pathlib import Path

import pytest

from coterie.engine.files.reader import read_workflow_file
from coterie.engine.planning.spec_document import spec_from_json
from coterie.engine.planning.spec_problems import InvalidSpec


def steps(text: str) -> str:
    """A file with those steps."""
    return "coterie: 1\nsteps:\n" + text


def test_a_file_may_name_another_one(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "inner.yml").write_text(steps("  x: {type: output, values: {n: 1}}\n"))
    (tmp_path / "main.yml").write_text(steps("  a: {type: workflow, file: sub/inner.yml, inputs: {n: 5}}\n"))
    config = read_workflow_file(tmp_path / "main.yml").steps[0].config
    assert config["inputs"] == {"n": 5}
    assert "file" not in config
    inner = spec_from_json(config["document"])
    assert (inner.id, inner.steps[0].config) == ("inner", {"values": {"n": 1}})


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        ("type: outputt", "main.yml:3:29: step 'a': inner.yml:3:13: step 'x': the type 'outputt' is unknown"),
        (
            "type: workflow, file: main.yml",
            "inner.yml:3:29: step 'x': names a file that comes back to itself: main.yml -> inner.yml -> main.yml",
        ),
        ("type: workflow, file: ../secret.yml", "names the file '../secret.yml', which lies outside of the folder"),
        ("type: workflow, file: /etc/passwd", "names the file '/etc/passwd', which lies outside of the folder"),
        ("type: workflow, file: gone.yml", "step 'x': gone.yml cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_in_the_other_file_is_told_with_its_place(tmp_path: Path, inner: str, problem: str) -> None:
    (tmp_path / "main.yml").write_text(steps("  a: {type: workflow, file: inner.yml}\n"))
    (tmp_path / "inner.yml").write_text(steps(f"  x: {{{inner}}}\n"))
    with pytest.raises(InvalidSpec) as caught:
        read_workflow_file(tmp_path / "main.yml")
    assert problem in caught.value.message
    assert len(caught.value.problems) == 1


def test_files_name_each_other_so_deep_and_no_deeper(tmp_path: Path) -> None:
    for n in range(12):
        (tmp_path / f"f{n}.yml").write_text(steps(f"  a: {{type: workflow, file: f{n + 1}.yml}}\n"))
    with pytest.raises(InvalidSpec, match="10 files name each other already"):
        read_workflow_file(tmp_path / "f0.yml")
