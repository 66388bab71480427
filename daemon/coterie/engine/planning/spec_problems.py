"""What a user is told of a workflow that the engine cannot take."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Final

from coterie.engine.model import StepSpec
from coterie_protocols.errors import InvalidWorkflow
from coterie_protocols.workflow.model import Position

PROBLEMS_MAX: Final = 100
"""More than a person would read are only counted."""

CANDIDATES_MAX: Final = 1000
"""Names that are compared with a misspelt one; comparing costs some 10 us each."""

NAME_CHARS_SHOWN_MAX: Final = 120
NOWHERE: Final = Position(0, 0)


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """What is wrong, in one sentence; `step` is the id of the step that has it, or empty.

    `position` is (0, 0) where the workflow does not come from a file.
    """

    message: str
    step: str = ""
    position: Position = NOWHERE


class InvalidSpec(InvalidWorkflow):
    """A workflow with errors. The message holds one line for each, `problems` the errors themselves."""

    def __init__(self, problems: Iterable[SpecProblem], file: str = "") -> None:
        found = sorted(problems, key=lambda each: (each.position.line, each.position.column))
        self.problems = tuple(found[:PROBLEMS_MAX])
        lines = [_line(file, problem) for problem in self.problems]
        if len(found) > PROBLEMS_MAX:
            lines.append(f"… and {len(found) - PROBLEMS_MAX} more problems")
        super().__init__("\n".join(lines))


def problem_of(step: StepSpec, message: str) -> SpecProblem:
    """A problem of `step`, at its place."""
    return SpecProblem(message, step.id, Position(step.line, step.column))


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'fetch'?` for the known name that is most like `name`, or nothing."""
    alike = (each for each in known if abs(len(each) - len(name)) <= 2 and each != name)
    near = get_close_matches(name, list(islice(alike, CANDIDATES_MAX)), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def shown(name: str) -> str:
    """A name in quotes, cut where it is too long to be read."""
    return f"'{name}'" if len(name) <= NAME_CHARS_SHOWN_MAX else f"'{name[:NAME_CHARS_SHOWN_MAX]}…'"


def _line(file: str, problem: SpecProblem) -> str:
    at = [file] if file else []
    if problem.position.line:
        at += [str(problem.position.line), str(problem.position.column)]
    message = "".join(one if one.isprintable() else repr(one)[1:-1] for one in problem.message)
    return f"{':'.join(at)}: {message}" if at else message
