"""A workflow file on this machine: its text, its plan, and the source tree around it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from coterie.cli.output import paint, say
from coterie_protocols.errors import UserError
from coterie_protocols.workflow.model import Plan
from coterie_protocols.workflow.plan import plan_workflow
from coterie_protocols.workflow.problems import problem_line

FILE_BYTES_MAX = 1024 * 1024
DISPATCH = "workflow_dispatch"


@dataclass(frozen=True, slots=True)
class LocalWorkflow:
    """A file that has been planned; `event` is the one that a submission will name."""

    path: Path
    text: str
    plan: Plan
    event: str


def read_workflow(
    path: Path, event: str | None, inputs: Mapping[str, str], require_inputs: bool, github: Mapping[str, str]
) -> LocalWorkflow:
    """Reads and plans a file, and tells its warnings. Raises UserError, and InvalidWorkflow with every problem."""
    content = file_content(path)
    plan = plan_workflow(
        str(path), content, event=event, inputs=inputs, github=dict(github), require_inputs=require_inputs
    )
    for problem in plan.warnings:
        say(f"{paint('warning:', 'yellow')} {problem_line(str(path), problem).replace('warning: ', '')}")
    chosen = event or (DISPATCH if DISPATCH in plan.events else plan.events[0])
    return LocalWorkflow(path, content.decode(), plan, chosen)


def needs_source(plan: Plan) -> bool:
    """Does any step read the source tree, by checking it out or by an action that lies in it?"""
    uses = (step.uses or "" for job in plan.jobs for step in job.steps)
    return any(name.startswith(("actions/checkout@", "./")) for name in uses)


def file_content(path: Path) -> bytes:
    """The bytes of a workflow file. Raises UserError where there is none, or far too many."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "name a workflow file") from None
    if len(content) > FILE_BYTES_MAX:
        raise UserError(f"{path}: has more than {FILE_BYTES_MAX} bytes", "name a workflow file")
    return content
