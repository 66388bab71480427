"""Makes many steps at a time, column by column: what 10,000 constructor calls cost is six times as much.

A document says little of most steps. The steps that are made here hold what it says; the defaults of all other fields
are filled in by the first one that is asked for, and from then on the step is a `StepSpec` like any other.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, SupportsIndex, cast

from coterie.engine.model import StepSpec

FIELDS: Final = frozenset(field.name for field in fields(StepSpec))
SHAPES_MAX: Final = 64
"""Classes that are kept, one for each set of fields that a document uses."""

Column = Sequence[object]
SetSlot = Callable[[StepSpec, object], None]


def steps_of(columns: Mapping[str, Column], count: int) -> tuple[StepSpec, ...]:
    """`count` steps whose fields stand in `columns`, by field; `id` and `type` must be among them.

    Each value must be sound: such steps are not checked again (`Said.sound`).
    """
    steps = list(map(object.__new__, repeat(_sparse(frozenset(columns)), count)))
    for name, values in columns.items():
        deque(map(_SLOTS[name], steps, values), maxlen=0)
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of steps without looking into them: `fields` may hold something else than their default in some.

    `sound`: all were made by `steps_of`, whose callers have checked each field by itself.
    """

    fields: frozenset[str]
    sound: bool


def said_by(steps: Sequence[StepSpec]) -> Said:
    """What steps say. Fills in nothing."""
    kinds = set(map(type, steps))
    said = [getattr(kind, "_said", FIELDS) for kind in kinds]
    return Said(frozenset[str]().union(*said), all(hasattr(kind, "_said") for kind in kinds))


def default_of(name: str) -> object:
    """The default of a field of StepSpec. Mappings are shared by all that ask: nobody writes into a frozen step."""
    return _DEFAULTS[name]


@lru_cache(maxsize=SHAPES_MAX)
def _sparse(said: frozenset[str]) -> type[StepSpec]:
    rest = tuple((_SLOTS[name], value) for name, value in _DEFAULTS.items() if name not in said)

    def fill(step: StepSpec) -> None:
        for set_slot, value in rest:
            set_slot(step, value)
        object.__setattr__(step, "__class__", StepSpec)

    class SparseStep(StepSpec):
        """A StepSpec before anyone asked for more than `_said`; an unset slot is what brings Python to __getattr__."""

        __slots__ = ()
        _said = said

        def __getattr__(self, name: str) -> Any:
            fill(self)
            return object.__getattribute__(self, name)

        def __eq__(self, other: object) -> bool:
            fill(self)
            return self == other

        __hash__ = StepSpec.__hash__

        def __repr__(self) -> str:
            fill(self)
            return repr(self)

        def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
            fill(self)
            return self.__reduce_ex__(protocol)

    return SparseStep


_SLOTS: Final = {name: cast(SetSlot, StepSpec.__dict__[name].__set__) for name in FIELDS}
_DEFAULTS: Final[dict[str, object]] = {
    field.name: field.default if field.default_factory is MISSING else field.default_factory()
    for field in fields(StepSpec)
    if field.default is not MISSING or field.default_factory is not MISSING
}
