"""The Python in README.md: it is typed, and it does what the text around it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {
    found.group(1): found.group(0).removeprefix("```python\n").removesuffix("```")
    for found in re.finditer(r"```python\n# (\S+\.py)\n.*?```", (ROOT / "README.md").read_text(), re.DOTALL)
}
PRINTED = {
    "etl.py": ["2026-11-21: 52"],
    "durable.py": ["completed {'fetch': [3, 1, 4], 'process': 8}"],
}
RUN_S_MAX = 60.0


def test_all_examples_are_known_here() -> None:
    assert set(EXAMPLES) == set(PRINTED)


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_does_what_it_says_also_the_second_time(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(EXAMPLES[name])
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=RUN_S_MAX, check=False
        )
        assert ran.stderr == ""
        assert ran.stdout.splitlines() == PRINTED[name]


def test_the_examples_are_typed(tmp_path: Path) -> None:
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), *EXAMPLES],
        cwd=tmp_path,
        env={"MYPYPATH": f"{ROOT}/.typings:{ROOT}/daemon:{ROOT}/protocols", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX * 3,
        check=False,
    )
    assert checked.stdout.splitlines()[-1].startswith("Success"), checked.stdout + checked.stderr
