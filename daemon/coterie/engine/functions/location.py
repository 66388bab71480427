"""Names functions by where they can be imported from, finds them there, and tells whether their code has changed."""

import hashlib
import importlib
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, cast

from coterie.engine.failures import ConfigurationFailure
from coterie_protocols.errors import UserError

Function = Callable[..., Any]

SOURCE_FOLDERS: Final = ("", "src")
"""Below a source tree, where modules are looked for."""

FINGERPRINTS_MAX: Final = 4096


def plain(function: Function) -> Function:
    """What `@task` was put on; any other function is itself."""
    inner = getattr(function, "fn", None)
    return cast("Function", inner) if callable(inner) and hasattr(function, "task_name") else function


def import_path_of(function: Function, source_root: Path | None = None) -> str:
    """`module:qualname`, by which another process finds the function.

    A function of the script that was started is named by the script's file relative to `source_root` (its own folder
    if None): `etl:fetch` for etl.py. Raises UserError for what cannot be imported: lambdas, functions within functions,
    bound methods, partials.
    """
    function = plain(function)
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or not module or not qualname:
        raise _unnamed(type(function).__qualname__, "it is no function that a module defines")
    name = f"{module}.{qualname}"
    if "<lambda>" in qualname:
        raise _unnamed(name, "it is a lambda")
    if "<locals>" in qualname:
        raise _unnamed(name, "it is defined within another function")
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, type | ModuleType):
        raise _unnamed(name, "it is bound to an object of this process")
    found = _attribute(sys.modules.get(module), qualname)
    if not callable(found) or plain(found) != function:
        raise _unnamed(name, "something else has that name in its module")
    return f"{_script_module(source_root) if module == '__main__' else module}:{qualname}"


def _unnamed(name: str, why: str) -> UserError:
    return UserError(
        f"{name} cannot be run in another process: {why}",
        "define it with `def` at the top level of a module, and give it what it needs as arguments",
    )


def _script_module(source_root: Path | None) -> str:
    """The name under which the script that was started can be imported."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    if file is None:
        raise UserError(
            "functions typed into an interpreter cannot be run in another process",
            "put them into a file, and import it",
        )
    path = Path(file).resolve()
    root = (source_root or path.parent).resolve()
    if not path.is_relative_to(root):
        raise UserError(
            f"{path} lies outside of the source tree {root}", "submit from the folder that holds the script"
        )
    parts = path.relative_to(root).with_suffix("").parts
    parts = parts[1:] if len(parts) > 1 and parts[0] == "src" else parts
    if any("." in part for part in parts):
        raise UserError(f"{path} cannot be imported: there is a dot in its name", "rename it")
    return ".".join(parts)


def load_function(path: str, source_dir: Path | None = None) -> Function:
    """The function that `module:qualname` names, looked for in `source_dir` (and its src/) first.

    Raises ConfigurationFailure where there is none; what the module itself raises when it is imported goes through.
    """
    module_name, colon, qualname = path.partition(":")
    if not colon or not module_name or not qualname:
        raise ConfigurationFailure(f"{path!r} names no function: write it as module:function", detail="")
    if source_dir is not None:
        add_source(source_dir)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # the module is there, what it imports is not
        where = f" in {source_dir}" if source_dir is not None else ""
        raise ConfigurationFailure(
            f"there is no module {error.name}{where} (for the function {path})", detail=""
        ) from None
    found = _attribute(module, qualname)
    if found is None:
        raise ConfigurationFailure(
            f"the module {module_name} has no function {qualname}{_near(module, qualname)}", detail=""
        )
    if not callable(found):
        raise ConfigurationFailure(f"{path} is a {type(found).__name__}, no function", detail="")
    return plain(cast("Function", found))


def add_source(source_dir: Path) -> None:
    """Has modules looked for in a source tree before anywhere else."""
    folders = [str(source_dir / folder) for folder in SOURCE_FOLDERS if (source_dir / folder).is_dir()]
    if sys.path[: len(folders)] != folders:
        sys.path[:] = folders + [entry for entry in sys.path if entry not in folders]
        importlib.invalidate_caches()


def _attribute(owner: object, qualname: str) -> object | None:
    for name in qualname.split("."):
        owner = getattr(owner, name, None)
        if owner is None:
            return None
    return owner


def _near(module: ModuleType, name: str) -> str:
    from difflib import get_close_matches

    names = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
    near = get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""


@lru_cache(maxsize=FINGERPRINTS_MAX)
def fingerprint(function: Function) -> str:
    """SHA-256, in hex, of the function's source text, else of its code: another one means that it was changed.

    What the function calls is not looked into.
    """
    import inspect
    import textwrap

    function = plain(function)
    try:
        text = textwrap.dedent(inspect.getsource(function)).encode("utf-8", "surrogatepass")
    except (OSError, TypeError):
        text = _code_text(inspect.unwrap(function))
    return hashlib.sha256(text).hexdigest()


def _code_text(function: object) -> bytes:
    if isinstance(function, FunctionType):
        return _code_bytes(function.__code__)
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    return name.encode()


def _code_bytes(code: CodeType) -> bytes:
    """The instructions and constants; not the places in memory that the repr of nested code would bring in."""
    constants = [
        _code_bytes(value) if isinstance(value, CodeType) else repr(value).encode() for value in code.co_consts
    ]
    return b"\0".join([code.co_code, *constants, *(name.encode() for name in code.co_names)])
