"""What is shipped: two packages, their data, the configuration and the units, and nothing else."""

import ast
import sys
import tomllib
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = {"coterie": ROOT / "daemon" / "coterie", "coterie_protocols": ROOT / "protocols" / "coterie_protocols"}
PYTHONS = ("3.11", "3.12", "3.13")
PART_OF = {"starlette": "fastapi", "pydantic-core": "pydantic"}
"""Packages that another documents as its own foundation, and pins."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as hatchling builds it."""
    directory = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(directory), versions=["standard"])
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_two_packages_whole(wheel: zipfile.ZipFile) -> None:
    version = PROJECT["project"]["version"]
    roots = {name.split("/")[0] for name in wheel.namelist()}
    assert roots == {"coterie", "coterie_protocols", f"coterie-{version}.dist-info", f"coterie-{version}.data"}
    shipped = {name for name in wheel.namelist() if name.split("/")[0] in SOURCES}
    on_disk = {
        f"{package}/{path.relative_to(source).as_posix()}"
        for package, source in SOURCES.items()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == on_disk
    assert {"coterie/py.typed", "coterie_protocols/py.typed"} <= shipped


def test_configuration_and_units_travel_as_shared_data(wheel: zipfile.ZipFile) -> None:
    shared = {name.split(".data/data/", 1)[1] for name in wheel.namelist() if ".data/data/" in name}
    assert {
        "share/coterie/coterie.yaml",
        "share/coterie/testnet.yaml",
        "share/coterie/examples/demo.yml",
        "share/coterie/systemd/coterie.service",
        "share/coterie/systemd/coterie-user.service",
    } <= shared


def test_the_wheel_brings_one_command_and_its_licence(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert wheel.read(entry_points).decode().split() == ["[console_scripts]", "coterie", "=", "coterie.cli.main:main"]
    (described,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(described).decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: <3.14,>=3.11" in text


def _imported(source: Path) -> set[str]:
    names: set[str] = set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names


def test_every_import_is_a_declared_dependency_and_every_dependency_is_imported() -> None:
    foreign = set[str]().union(*map(_imported, SOURCES.values())) - set(sys.stdlib_module_names) - set(SOURCES)
    owners = metadata.packages_distributions()
    packages = {canonicalize_name(owners[name][0]) for name in foreign}
    needed = {canonicalize_name(PART_OF.get(name, name)) for name in packages}
    project = PROJECT["project"]
    extras = {canonicalize_name(Requirement(each).name) for each in chain(*project["optional-dependencies"].values())}
    declared = {canonicalize_name(Requirement(each).name) for each in project["dependencies"]}
    assert needed - extras == declared
    assert extras & needed


def test_the_lock_names_no_host_and_hashes_everything() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]
    blocks = [block for block in text.replace("\\\n", " ").splitlines() if block and not block.startswith("#")]
    assert blocks
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def _locked(python: str) -> dict[str, str]:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    locked: dict[str, str] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if "==" in line and line[0].isalnum():
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate(environment):
                assert requirement.name not in locked
                locked[requirement.name] = str(requirement.specifier).removeprefix("==")
    return locked


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_satisfies_what_is_declared(python: str) -> None:
    locked = _locked(python)
    for text in (*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]):
        wanted = Requirement(text)
        assert locked[canonicalize_name(wanted.name)] in wanted.specifier, text
