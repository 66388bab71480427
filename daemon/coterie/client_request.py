"""What a submission sends: the workflow's document, with functions by import path, and which source tree it needs."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from coterie.engine.model import Json, WorkflowSpec

Functions = Mapping[str, Callable[..., Any]]

FILELESS: Final = frozenset({"input", "http", "ai", "conditional", "output", "wait"})
"""Steps of these types never look at the source tree. Those of third parties may."""

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A workflow, its document, and the top of its source tree; `root` is None where no step needs the tree."""

    spec: "WorkflowSpec"
    document: "dict[str, Json]"
    tree: Path

    @property
    def root(self) -> Path | None:
        """The tree that goes along."""
        return self.tree if needs_source(self.document) else None


def prepare(what: object, root: Path | None = None) -> Prepared:
    """What to send for anything that can be submitted. `root` is the source tree, found by itself where it is None.

    Raises InvalidWorkflow, and UserError for functions that another process cannot find.
    """
    from coterie.engine.definition import Workflow
    from coterie.engine.model import WorkflowSpec

    if isinstance(what, Workflow):
        return _prepared(what.spec(), what.functions, root)
    if isinstance(what, WorkflowSpec):
        return _prepared(what, {}, root)
    if isinstance(what, str | Path):
        return prepare_file(Path(what), root)
    if hasattr(what, "build"):
        raise UserError("a workflow function is submitted with its arguments", "submit(etl.build(...))")
    raise UserError(f"a {type(what).__name__} can't be submitted", "submit a Workflow or the path of a workflow file")


def prepare_file(path: Path, root: Path | None = None) -> Prepared:
    """What to send for a `coterie: 1` file. Raises InvalidWorkflow with file, line and column of every problem."""
    from coterie.engine.files.detect import is_engine_file
    from coterie.engine.files.reader import read_workflow_file
    from coterie.source_tree import source_root

    top = root or source_root(path)
    spec = read_workflow_file(path, top)
    if not is_engine_file(path.read_text(errors="replace")):
        raise UserError(f"{path} is no workflow file of the engine", "its first line must be `coterie: 1`")
    prepared = _sent(spec, {}, top)
    return prepared if root else replace(prepared, tree=_tree_of_file(path, top, prepared.document))


def needs_source(document: "Mapping[str, Json]") -> bool:
    """Does any step look at the source tree: a function's, a shell's, one of a type that is not ours?"""
    return any(_looks(step) for step in _all_steps(document["steps"]))


def _looks(step: "Mapping[str, Json]") -> bool:
    config = step.get("config", {})
    match step["type"]:
        case "process":
            return "function" in config
        case "data_validation":
            return "model" in config
        case "map" | "workflow":
            return False  # what they run is asked by itself
        case type_:
            return type_ not in FILELESS


def _prepared(spec: "WorkflowSpec", functions: Functions, root: Path | None) -> Prepared:
    from coterie.engine.functions.location import import_path_of, plain

    top = root or root_of([plain(function) for function in functions.values()])
    names = {name: import_path_of(function, top) for name, function in functions.items()}
    return _sent(spec, names, top)


def _sent(spec: "WorkflowSpec", names: Mapping[str, str], root: Path) -> Prepared:
    from coterie.engine.planning.spec_document import spec_to_bytes

    document: dict[str, Json] = json.loads(spec_to_bytes(spec))
    for step in _all_steps(document["steps"]):
        name = step.get("config", {}).get("function")
        if step["type"] == "process" and isinstance(name, str):
            step["config"]["function"] = _import_path(name, names)
    return Prepared(spec, document, root)


def _import_path(name: str, names: Mapping[str, str]) -> str:
    if name in names:
        return names[name]
    if ":" in name:
        return name
    raise UserError(
        f"the daemon knows no function {name!r}: names that were registered hold in their own process",
        f"give the task the function itself, or where it can be imported from: module:{name}",
    )


def _all_steps(steps: "Iterable[Json]") -> "Iterator[dict[str, Json]]":
    """The steps, their compensations, what maps run, and the steps of workflows within the workflow."""
    for step in steps:
        yield step
        config = step.get("config", {})
        if "compensate" in step:
            yield from _all_steps([step["compensate"]])
        if step["type"] == "map" and isinstance(config.get("step"), dict):
            yield from _all_steps([config["step"]])
        if step["type"] == "workflow" and isinstance(config.get("document"), dict):
            yield from _all_steps(config["document"]["steps"])


# --- the source tree around functions ---


def _tree_of_file(path: Path, top: Path, document: "Mapping[str, Json]") -> Path:
    """The top of the work tree; the file's own folder where the modules that it names lie there, and not at the top."""
    folder = path.resolve().parent
    modules = {_module_of(step) for step in _all_steps(document["steps"])} - {""}
    at_top = all(_lies_in(top, module) or _lies_in(top / "src", module) for module in modules)
    return top if at_top or not all(_lies_in(folder, module) for module in modules) else folder


def _module_of(step: "Mapping[str, Json]") -> str:
    config = step.get("config", {})
    name = config.get({"process": "function", "data_validation": "model"}.get(step["type"], ""))
    return name.partition(":")[0].partition(".")[0] if isinstance(name, str) else ""


def _lies_in(folder: Path, module: str) -> bool:
    return (folder / f"{module}.py").is_file() or (folder / module).is_dir()


def root_of(functions: Iterable[Callable[..., Any]]) -> Path:
    """The top of the tree from which all of the functions can be imported.

    That is the git work tree, where their modules lie at its top or in its src/, else the folder that Python imports
    them from. Without functions it is the tree around the script, or around the working directory.
    """
    from coterie.source_tree import source_root

    folders = {folder for function in functions if (folder := _import_folder(function)) is not None}
    if len(folders) > 1:
        told = " and ".join(sorted(map(str, folders)))
        raise UserError(
            f"the functions are imported from {told}: one source tree goes along",
            "name a tree that holds them all: submit(..., source=PATH)",
        )
    if folders:
        folder = folders.pop()
        top = source_root(folder / "module.py")
        return top if folder in (top, top / "src") else folder
    script = getattr(sys.modules["__main__"], "__file__", None)
    return source_root(Path(script) if script else Path.cwd() / "script.py")


def _import_folder(function: Callable[..., Any]) -> Path | None:
    """The folder that was searched for the function's module; None for modules that are installed."""
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        return None  # built in, or of an interpreter: import_path_of says so
    path = Path(file).resolve()
    if INSTALLED & set(path.parts) or path.is_relative_to(Path(os.__file__).resolve().parent):
        return None
    parts = _module_name(module).split(".")
    depth = len(parts) + (path.name == "__init__.py")
    return path.parents[depth - 1]


def _module_name(module: ModuleType) -> str:
    """What the module is called where it is imported; the script that was started is a module at the top."""
    if module.__name__ != "__main__":
        return module.__name__
    spec = module.__spec__
    return Path(str(module.__file__)).stem if spec is None else spec.name
