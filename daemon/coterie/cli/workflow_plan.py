"""`coterie workflow plan`."""

from pathlib import Path
from typing import cast

import click

from coterie.cli.options import json_option
from coterie.cli.output import paint, print_json, print_table
from coterie.cli.words import count


@click.command("plan", epilog="Example:  coterie workflow plan .github/workflows/ci.yml --json | jq .stages")
@json_option
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--event", help="Plan for this event  [default: workflow_dispatch, else the first that the file names]")
def plan(as_json: bool, file: Path, event: str | None) -> None:
    """Show what a run of FILE would do: stages, jobs, matrix cells, labels. Nothing is run; no daemon is needed.

    Problems are told with file, line and column, and exit code 65.
    """
    from coterie.cli.git_facts import git_facts
    from coterie.cli.workflow_file import read_workflow
    from coterie_protocols.workflow.document import plan_to_json

    planned = read_workflow(file, event, {}, False, git_facts(file.absolute().parent))
    document = cast("dict[str, object]", plan_to_json(planned.plan))
    if as_json:
        print_json(document)
        return
    jobs, stages = planned.plan.jobs, 1 + max(job.stage for job in planned.plan.jobs)
    print(f"{paint(planned.plan.name, 'bold')}  {paint('on ' + ', '.join(planned.plan.events), 'dim')}")
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
