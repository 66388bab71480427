"""What an execution runs through: steps as ints, what each needs, who waits for it, and groups that share a limit.

The position of a step is its place in the plan. No object is made for a step: 100,000 of them are a few flat lists.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, cast, get_args

from coterie.engine.model import Json, Merge, WorkflowSpec
from coterie.engine.planning.step_rows import said_by

MERGES: Final[frozenset[str]] = frozenset(get_args(Merge))
NAMES_MAX: Final = 5
"""How many names a message about many of them tells."""


_DEFAULT: Final[Merge] = "none-failed"


class BadGraph(ValueError):
    """The steps do not make a graph that can be run; the text names them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that belong together. At most `max_concurrent` run at a time (0: no limit).

    With `fail_fast`, the first failure among them that is not tolerated stops the others.
    """

    max_concurrent: int = 0
    fail_fast: bool = False


@dataclass(frozen=True, slots=True)
class Children:
    """What holds for the children of a map step: their group, may they be undone, and what theirs are like."""

    group: Group = Group()
    compensable: bool = False
    inner: "Children | None" = None


class StepGraph:
    """Steps in the order in which they are told of when several become ready. Raises BadGraph.

    `needs` come as ids, and `arms` by position as ids and arms; the ids in it must also be among the needs. `group_of`
    has an index into `groups` for each step, -1 for those in none. `children` tells of map steps, by position. All that
    is kept is by position.
    """

    __slots__ = ("arms", "children", "dependents", "firsts", "group_of", "groups", "ids", "merge", "needs", "position")

    def __init__(
        self,
        ids: Iterable[str],
        needs: Iterable[Sequence[str]],
        merge: Sequence[Merge] | None = None,
        arms: Mapping[int, Mapping[str, str]] | None = None,
        group_of: Sequence[int] | None = None,
        groups: Sequence[Group] = (),
        children: Mapping[int, Children] | None = None,
    ) -> None:
        self.ids: list[str] = list(ids)
        self.position: dict[str, int] = dict(zip(self.ids, range(len(self.ids)), strict=True))
        if len(self.position) != len(self.ids):
            repeated = [id_ for id_, times in Counter(self.ids).items() if times > 1]
            raise BadGraph(f"more than one step has the id {listed(repeated)}")
        self.merge: list[Merge] = [_DEFAULT] * len(self.ids) if merge is None else list(merge)
        self.groups: tuple[Group, ...] = tuple(groups)
        self.group_of: Sequence[int] | None = None if group_of is None else list(group_of)
        self.children: Mapping[int, Children] = dict(children or {})
        self.needs: list[tuple[int, ...]] = []
        self.dependents: list[tuple[int, ...] | list[int]] = [()] * len(self.ids)
        in_order = self._connect(needs)
        self._check()
        self.arms: dict[int, tuple[tuple[int, str], ...]] = {
            position: self._arms(position, named) for position, named in (arms or {}).items() if named
        }
        self.firsts = frozenset(
            [position for position, rule in enumerate(self.merge) if rule == "first"] if "first" in self.merge else ()
        )
        if not in_order:
            self._refuse_cycles()

    @classmethod
    def of_spec(cls, spec: WorkflowSpec) -> "StepGraph":
        """The graph of a workflow. Raises BadGraph; a planned workflow makes none."""
        steps = spec.steps
        said = said_by(steps).fields  # to ask a step for what it does not say costs more than all the rest here
        arms = enumerate(map(attrgetter("arms"), steps)) if "arms" in said else ()
        maps = [place for place, type_ in enumerate(map(attrgetter("type"), steps)) if type_ == "map"]
        return cls(
            map(attrgetter("id"), steps),
            map(attrgetter("needs"), steps) if "needs" in said else [()] * len(steps),
            list(map(attrgetter("merge"), steps)) if "merge" in said else None,
            {place: named for place, named in arms if named},
            children={
                place: _children_of(steps[place].config, spec.fail_fast and not steps[place].tolerated)
                for place in maps
            },
        )

    def order(self) -> list[int]:
        """All positions so that each comes after its needs (Kahn, 1962); short of those in or behind a cycle."""
        missing = list(map(len, self.needs))
        order = [position for position, count in enumerate(missing) if not count]
        for position in order:  # grows while it is walked
            for dependent in self.dependents[position]:
                missing[dependent] -= 1
                if not missing[dependent]:
                    order.append(dependent)
        return order

    def _connect(self, needs: Iterable[Sequence[str]]) -> bool:
        """Fills needs and dependents; says whether each step comes after its needs, so that there is no cycle."""
        position, dependents, kept = self.position, self.dependents, self.needs
        in_order = True
        for place, named in enumerate(needs):
            try:
                if not named:
                    found: tuple[int, ...] = ()
                elif len(named) == 1:
                    found = (position[named[0]],)
                else:
                    found = tuple(dict.fromkeys([position[need] for need in named]))
            except KeyError as error:
                raise BadGraph(f"{self.ids[place]} needs {error.args[0]}, which does not exist") from None
            kept.append(found)
            for need in found:
                if need >= place:
                    in_order = False
                known = dependents[need]
                if not known:
                    dependents[need] = (place,)
                elif isinstance(known, list):
                    known.append(place)
                else:
                    dependents[need] = [*known, place]
        return in_order

    def _check(self) -> None:
        count = len(self.ids)
        if len(self.needs) != count or len(self.merge) != count:
            raise BadGraph(f"{count} steps, but {len(self.needs)} lists of needs and {len(self.merge)} merge rules")
        unknown = set(self.merge) - MERGES
        if unknown:
            place = next(place for place, rule in enumerate(self.merge) if rule in unknown)
            raise BadGraph(f"{self.ids[place]} has the unknown merge rule {self.merge[place]}")
        if self.group_of is not None:
            if len(self.group_of) != count:
                raise BadGraph(f"{count} steps, but {len(self.group_of)} groups of steps")
            for place, group in enumerate(self.group_of):
                if not -1 <= group < len(self.groups):
                    raise BadGraph(f"{self.ids[place]} is of the unknown group {group}")

    def _arms(self, position: int, named: Mapping[str, str]) -> tuple[tuple[int, str], ...]:
        found = tuple((self.position.get(step, -1), arm) for step, arm in named.items())
        for step, (place, _) in zip(named, found, strict=True):
            if place not in self.needs[position]:
                raise BadGraph(f"{self.ids[position]} wants an arm of {step}, which it does not need")
        return found

    def _refuse_cycles(self) -> None:
        order = self.order()
        if len(order) == len(self.ids):
            return
        left = set(range(len(self.ids))).difference(order)
        walked: dict[int, None] = {}
        position = min(left)
        while position not in walked:  # each that is left needs another one that is left
            walked[position] = None
            position = next(need for need in self.needs[position] if need in left)
        path = [*list(walked)[list(walked).index(position) :], position]
        raise BadGraph(
            "the needs go round in a circle, each needs the next: " + " -> ".join(self.ids[place] for place in path)
        )


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`, at most NAMES_MAX of them: `a, b, c, d, e and 7 more`."""
    if len(names) > NAMES_MAX:
        return f"{', '.join(names[:NAMES_MAX])} and {len(names) - NAMES_MAX} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _children_of(config: Mapping[str, Json], fail_fast: bool) -> Children:
    """What a map step's configuration says of its children: max_parallel, fail_fast and the step that is mapped."""
    limit, template = config.get("max_parallel"), config.get("step")
    group = Group(limit if isinstance(limit, int) else 0, fail_fast or config.get("fail_fast") is True)
    if not isinstance(template, Mapping):
        return Children(group)
    child = cast("Mapping[str, Json]", template)
    inner = None
    if child.get("type") == "map":
        inner = _children_of(child.get("config") or {}, fail_fast and not child.get("tolerated"))
    return Children(group, bool(child.get("compensate")), inner)
