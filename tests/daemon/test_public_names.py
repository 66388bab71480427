"""What `import coterie` offers, and that it costs nothing until it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import coterie

MODULES_MAX = 5
HEAVY = ("trio", "anyio", "asyncio", "pydantic", "httpx", "sqlite3", "jsonschema", "click", "yaml", "ssl", "libp2p")


def imported_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has afterwards and had not before."""
    program = f"import sys; before = set(sys.modules); {code}; print('\\n'.join(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", coterie.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(coterie)
    value = getattr(coterie, name)
    assert value.__doc__
    assert getattr(coterie, name) is value


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Worklow'"):
        coterie.Worklow  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


def test_checkers_see_the_same_names_as_programs() -> None:
    tree = ast.parse(Path(str(coterie.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert sorted(imported) == sorted(coterie.__all__)
    assert imported == coterie._MODULE_OF  # pyright: ignore[reportPrivateUsage]


def test_importing_the_package_imports_nothing_else() -> None:
    assert len(imported_by("import coterie")) <= MODULES_MAX


@pytest.mark.parametrize("names", ["task, workflow, step", "Task, Workflow, Result, RetryConfig, InputSpec"])
def test_definitions_are_light(names: str) -> None:
    imported = imported_by(f"from coterie import {names}")
    assert {name for name in HEAVY if name in imported} == set()
    assert len(imported) < 150


def test_the_client_needs_the_standard_library_alone() -> None:
    imported = imported_by("from coterie import Client; Client('/nowhere.sock')")
    assert {name for name in HEAVY if name in imported and name != "ssl"} == set()
    assert not any(name.startswith("coterie.engine") for name in imported)
