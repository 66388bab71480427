"""`coterie workflow`: one file per command beside this one."""

import click

from coterie.cli.lazy import LazyGroup

COMMANDS = {
    "plan": (
        "coterie.cli.workflow_plan:plan",
        "Show what a run of FILE would do: stages, jobs, matrix cells, labels.",
    ),
    "submit": ("coterie.cli.workflow_submit:submit", "Submit a run of the workflow FILE."),
    "list": ("coterie.cli.workflow_list:list_", "List runs, the newest first."),
    "status": ("coterie.cli.workflow_status:status", "Show one run with its jobs."),
    "watch": ("coterie.cli.workflow_watch:watch", "Follow RUN to its end; the exit code is its result."),
    "logs": ("coterie.cli.workflow_logs:logs", "Print the output of JOB in RUN, or of all its jobs."),
    "cancel": ("coterie.cli.workflow_cancel:cancel", "Stop a run."),
}


@click.group("workflow", cls=LazyGroup, where=COMMANDS)
def workflow() -> None:
    """Plan, submit, watch and cancel runs."""
