"""What a function is called with: results of the steps that its step needs, and what its step's `args` say.

Workers import this module too: the standard library is all it may need.
"""

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from inspect import Parameter, Signature
from typing import Any, Final, cast

from coterie.engine.failures import ConfigurationFailure

SIGNATURES_MAX: Final = 4096
Lookup = Callable[[str], Any]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class _NoItem:
    """Tells "no item" from an item that is None."""


NO_ITEM: Final = _NoItem()


class Parameters:
    """What a function takes, read once."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        of_kind: dict[Any, list[Parameter]] = defaultdict(list)
        for parameter in signature.parameters.values():
            of_kind[parameter.kind].append(parameter)
        nameless = of_kind[Parameter.POSITIONAL_ONLY]
        self.positional = _needed(nameless + of_kind[Parameter.POSITIONAL_OR_KEYWORD])
        self.keyword_only = _needed(of_kind[Parameter.KEYWORD_ONLY])
        self.names = frozenset(name for name, _ in self.positional + self.keyword_only)
        self.nameless = {parameter.name: parameter.default for parameter in nameless}
        self.takes_rest = Parameter.VAR_POSITIONAL in of_kind
        self.takes_named_rest = Parameter.VAR_KEYWORD in of_kind


def _needed(parameters: list[Parameter]) -> list[tuple[str, bool]]:
    """Their names, and whether they must be given."""
    return [(parameter.name, parameter.default is Parameter.empty) for parameter in parameters]


def parameters_of(function: Callable[..., Any]) -> Parameters | None:
    """What it takes; None for what does not tell (some functions in C)."""
    try:
        return _known_parameters(function)
    except TypeError:
        return _read_parameters(function)  # an object that can be called and has no hash


def _read_parameters(function: Callable[..., Any]) -> Parameters | None:
    try:
        return Parameters(inspect.signature(function))
    except (ValueError, TypeError):
        return None


_known_parameters = lru_cache(maxsize=SIGNATURES_MAX)(_read_parameters)


def parameter_name(step: str) -> str:
    """The parameter that takes a step's result by name: `fetch_rows` for `fetch-rows`."""
    return step if step.isidentifier() else re.sub(r"\W", "_", step)


def bind_arguments(parameters: Parameters | None, results: Mapping[str, Any], item: Any = NO_ITEM) -> Arguments:
    """Passes results of needed steps to a function whose step gives no arguments.

    A parameter named like a step gets that step's result. The item of a map child, then the other results, fill the
    remaining parameters in order: those that must be given (the item the first one, given or not), and with `*args`
    all; `*args` gets the rest, else `**kwargs` gets it by name, else it is not passed. Raises ConfigurationFailure
    that names the parameters that nothing fills.
    """
    queue: list[Any] = [] if item is NO_ITEM else [item]
    if parameters is None:
        return (*queue, *results.values()), {}
    items = len(queue)
    named: dict[str, Any] = {}
    others: list[str] = []
    for step, value in results.items():
        name = parameter_name(step)
        if name in parameters.names:
            named[name] = value
        else:
            others.append(name)
            queue.append(value)
    args, kwargs, taken = _fill(parameters, named, queue, items)
    if parameters.takes_rest:
        args += queue[taken:]
    elif parameters.takes_named_rest:
        passed = max(taken, items)
        kwargs.update(zip(others[passed - items :], queue[passed:], strict=True))
    return tuple(args), kwargs


def _fill(
    parameters: Parameters, named: Mapping[str, Any], queue: list[Any], items: int
) -> tuple[list[Any], dict[str, Any], int]:
    """The arguments, and how many of `queue` (its first `items` are the item) are among them."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    missing: list[str] = []
    taken = 0
    gap = False
    for name, must in parameters.positional:
        if name in named:
            value = named[name]
        elif taken < len(queue) and (must or taken < items or parameters.takes_rest):
            value = queue[taken]
            taken += 1
        elif must:
            missing.append(name)
            continue
        elif name in parameters.nameless:
            value = parameters.nameless[name]  # those after it can be reached through it alone
        else:
            gap = True
            continue
        if gap:
            kwargs[name] = value
        else:
            args.append(value)
    for name, must in parameters.keyword_only:
        if name in named:
            kwargs[name] = named[name]
        elif must:
            missing.append(name)
    if missing:
        raise ConfigurationFailure(
            f"nothing is passed for the function's {_listed(missing)}: give it in `args` or `kwargs`, or let the step "
            "need one more step",
            detail="",
        )
    return args, kwargs, taken


def given_arguments(
    parameters: Parameters | None,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    lookup: Lookup,
    item: Any = NO_ITEM,
) -> Arguments:
    """The arguments that a step gives itself, its references resolved.

    Raises ConfigurationFailure where the function cannot be called with them, or a reference leads nowhere.
    """
    values = tuple(resolve(value, lookup, item) for value in args or ())
    named = {name: resolve(value, lookup, item) for name, value in (kwargs or {}).items()}
    if parameters is not None:
        try:
            parameters.signature.bind(*values, **named)
        except TypeError as error:
            raise ConfigurationFailure(
                f"the function cannot be called with these arguments: {error}", detail=""
            ) from None
    return values, named


def resolve(value: Any, lookup: Lookup, item: Any = NO_ITEM) -> Any:
    """A value with its references replaced, at any depth.

    {"$result": step} is what that step returned (`lookup` finds it), {"$item": true} the item of a map child, and
    {"$value": mapping} a mapping whose keys begin with "$" themselves. Raises ConfigurationFailure.
    """
    if isinstance(value, list | tuple):
        return [resolve(entry, lookup, item) for entry in cast("Sequence[Any]", value)]
    if not isinstance(value, dict):
        return value
    mapping = cast("dict[str, Any]", value)
    match mapping:
        case {"$result": str(step)} if len(mapping) == 1:
            return lookup(step)
        case {"$item": True} if len(mapping) == 1:
            if item is NO_ITEM:
                raise ConfigurationFailure("there is no item outside of a map step", detail="")
            return item
        case {"$value": literal} if len(mapping) == 1:
            return _literal(literal, lookup, item)
        case _:
            return {key: resolve(entry, lookup, item) for key, entry in mapping.items()}


def _literal(value: Any, lookup: Lookup, item: Any) -> Any:
    """The keys are meant as they stand; below them there may be references."""
    if not isinstance(value, dict):
        return value
    return {key: resolve(entry, lookup, item) for key, entry in cast("dict[str, Any]", value).items()}


def references(value: Any) -> list[str]:
    """The steps that `resolve` will ask for."""
    if isinstance(value, list | tuple):
        return [step for entry in cast("Sequence[Any]", value) for step in references(entry)]
    if not isinstance(value, dict):
        return []
    mapping = cast("dict[str, Any]", value)
    match mapping:
        case {"$result": str(step)} if len(mapping) == 1:
            return [step]
        case {"$value": literal} if len(mapping) == 1:
            return references(list(cast("dict[str, Any]", literal).values())) if isinstance(literal, dict) else []
        case _:
            return references(list(mapping.values()))


def _listed(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f" and {quoted[-1]}"
