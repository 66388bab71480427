"""The steps of one execution by position: those of the plan, and the children that map steps have made since."""

from bisect import bisect_right
from dataclasses import replace
from typing import Final

from coterie.engine.machine.step_graph import StepGraph
from coterie.engine.model import Json, StepSpec, WorkflowSpec
from coterie.engine.planning.spec_document import nested_step

_NO_ITEM: Final = (None, None)


class StepsOf:
    """Positions, ids (`resize[3]` for the fourth child of `resize`) and specs. Children cost no object each."""

    def __init__(self, spec: WorkflowSpec, graph: StepGraph) -> None:
        self._plan = spec.steps
        self._position = graph.position
        self._firsts: list[int] = []
        self._maps: list[tuple[int, list[Json]]] = []
        self._templates: dict[int, StepSpec] = {}

    def expand(self, parent: int, first: int, items: list[Json]) -> None:
        """The map step at `parent` has children from position `first` on, one for each item."""
        self._firsts.append(first)
        self._maps.append((parent, items))

    def id(self, position: int) -> str:
        """Its id. Raises IndexError."""
        if position < len(self._plan):
            return self._plan[position].id
        parent, index = self.parent(position)
        return f"{self.id(parent)}[{index}]"

    def spec(self, position: int) -> StepSpec:
        """What it does. Raises IndexError."""
        if position < len(self._plan):
            return self._plan[position]
        parent, _ = self.parent(position)
        template = self._templates.get(parent)
        if template is None:
            template = self._templates[parent] = nested_step(self.spec(parent).config["step"])
        return replace(template, id=self.id(position))

    def position(self, step: str) -> int:
        """Where the step of that id is. Raises KeyError."""
        if not step.endswith("]"):
            return self._position[step]
        outer, _, index = step[:-1].rpartition("[")
        parent = self.position(outer)
        for first, (mapped, items) in zip(self._firsts, self._maps, strict=True):
            if mapped == parent and index.isdigit() and int(index) < len(items):
                return first + int(index)
        raise KeyError(step)

    def item(self, position: int) -> tuple[Json, int | None]:
        """The item of a child and its index; nothing for a step of the plan."""
        if position < len(self._plan):
            return _NO_ITEM
        _, index = self.parent(position)
        return self._maps[bisect_right(self._firsts, position) - 1][1][index], index

    def root(self, position: int) -> int:
        """The step of the plan that it belongs to."""
        while position >= len(self._plan):
            position, _ = self.parent(position)
        return position

    def parent(self, position: int) -> tuple[int, int]:
        """The map step of a child, and the index of the child in it."""
        place = bisect_right(self._firsts, position) - 1
        index = position - self._firsts[place]
        parent, items = self._maps[place]
        if index >= len(items):
            raise IndexError(position)
        return parent, index
