"""`coterie workflow plan`."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from coterie.cli.options import json_option
from coterie.cli.output import paint, print_fields, print_json, print_table, say
from coterie.cli.words import count
from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from coterie.engine.pictures.drawing import Drawing
    from coterie.engine.planning.plan import ExecutionPlan
    from coterie_protocols.workflow.model import Plan

IDS_SHOWN_MAX = 8
"""Steps of a batch that the summary names; `--json` and `--graph` have all."""

Form = Literal["text", "dot", "svg"]


@click.command(
    "plan",
    epilog="""\b
Example:   coterie workflow plan .github/workflows/ci.yml --json | jq .stages
           coterie workflow plan etl.yaml --graph svg -o etl.svg""",
)
@json_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--event", help="Plan for this event  [default: workflow_dispatch, else the first that the file names]")
@click.option("--graph", type=click.Choice(["text", "dot", "svg"]), help="Draw what needs what.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where the drawing goes.")
def plan(as_json: bool, file: Path, event: str | None, graph: Form | None, output: Path | None) -> None:
    """Show what a run of FILE would do: of a GitHub Actions file stages, jobs, matrix cells and labels, of a
    `coterie: 1` file steps in batches and the critical path. Nothing is run; no daemon is needed.

    Problems are told with file, line and column, and exit code 65.
    """
    from coterie.cli.workflow_kind import is_engine_workflow

    if graph and as_json:
        raise UserError("--graph and --json are both given", "take one of them")
    if output is not None and graph is None:
        raise UserError("-o is given without --graph", "add --graph text, dot or svg")
    if is_engine_workflow(file):
        _engine_plan(file, event, as_json, graph, output)
    else:
        _actions_plan(file, event, as_json, graph, output)


def _actions_plan(file: Path, event: str | None, as_json: bool, graph: Form | None, output: Path | None) -> None:
    from coterie.cli.git_facts import git_facts
    from coterie.cli.workflow_file import read_workflow
    from coterie_protocols.workflow.document import plan_to_json

    planned = read_workflow(file, event, {}, False, git_facts(file.absolute().parent)).plan
    if graph:
        from coterie.engine.pictures.drawing import drawing_of_actions_plan

        _draw(drawing_of_actions_plan(planned), graph, output)
    elif as_json:
        print_json(cast("dict[str, object]", plan_to_json(planned)))
    else:
        _print_actions_plan(planned)


def _engine_plan(file: Path, event: str | None, as_json: bool, graph: Form | None, output: Path | None) -> None:
    from coterie.engine.files.reader import read_workflow_file
    from coterie.engine.planning.plan import make_plan
    from coterie.engine.steps.factory import StepExecutorFactory

    if event:
        raise UserError(f"{file} knows no events", "--event is for files of GitHub Actions")
    planned = make_plan(read_workflow_file(file), check_step=StepExecutorFactory.check_step, file=str(file))
    if graph:
        from coterie.engine.pictures.drawing import drawing_of_plan

        _draw(drawing_of_plan(planned), graph, output)
    elif as_json:
        print_json(planned.to_json())
    else:
        _print_engine_plan(planned)


def _draw(drawing: "Drawing", form: Form, output: Path | None) -> None:
    drawn = _drawn(drawing, form, to_file=output is not None)
    if output is None:
        print(drawn, end="")
        return
    try:
        output.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error.strerror}", "name another file with -o") from None
    say(f"wrote {output}")


def _drawn(drawing: "Drawing", form: Form, to_file: bool) -> str:
    if form == "text":
        from coterie.engine.pictures.text import text

        ascii_only = not to_file and "utf" not in _stdout_encoding().lower()
        return text(drawing, shutil.get_terminal_size((80, 24)).columns, ascii_only)
    if form == "dot":
        from coterie.engine.pictures.dot import dot

        return dot(drawing)
    from coterie.engine.pictures.svg import svg

    return svg(drawing)


def _stdout_encoding() -> str:
    return sys.stdout.encoding or ""


def _print_engine_plan(planned: "ExecutionPlan") -> None:
    steps, batches, widest = planned.steps, planned.batches, planned.widest
    print(paint(planned.spec.name or planned.spec.id, "bold"))
    print(f"{count(steps, 'step')} in {len(batches):,} {'batch' if len(batches) == 1 else 'batches'}")
    print()
    print_table(
        ["batch", "size", "steps"],
        [[str(number + 1), str(len(batch)), _listed(batch, ", ")] for number, batch in enumerate(batches)],
    )
    print()
    print_fields(
        {
            "critical path": _listed(planned.critical_path, " -> "),
            "widest batch": f"{widest.batch + 1}, with {count(widest.steps, 'step')}",
            "plan hash": planned.plan_hash,
        }
    )


def _listed(ids: tuple[str, ...], between: str) -> str:
    """The ids, or the first and the last of many."""
    if len(ids) <= IDS_SHOWN_MAX:
        return between.join(ids)
    return between.join([*ids[: IDS_SHOWN_MAX - 1], f"… {len(ids) - IDS_SHOWN_MAX} more …", ids[-1]])


def _print_actions_plan(planned: "Plan") -> None:
    jobs, stages = planned.jobs, 1 + max(job.stage for job in planned.jobs)
    print(f"{paint(planned.name, 'bold')}  {paint('on ' + ', '.join(planned.events), 'dim')}")
    print(f"{count(len(jobs), 'job')} in {count(stages, 'stage')}")
    print()
    print_table(
        ["stage", "job", "runs on", "steps", "needs", "if"],
        [
            [
                str(job.stage + 1) if index == 0 or jobs[index - 1].stage != job.stage else "",
                job.id,
                ", ".join(job.labels),
                str(len(job.steps)),
                ", ".join(job.needs_jobs),
                job.if_ or "",
            ]
            for index, job in enumerate(jobs)
        ],
    )
