"""`coterie workflow`: one file per command beside this one."""

import click

from coterie.cli.lazy import LazyGroup

COMMANDS = {
    "plan": (
        "coterie.cli.workflow_plan:plan",
        "Show what a run of FILE would do.",
    ),
    "run": ("coterie.cli.workflow_run:run", "Execute FILE right here, without a daemon."),
    "submit": ("coterie.cli.workflow_submit:submit", "Submit a run of the workflow FILE."),
    "list": ("coterie.cli.workflow_list:list_", "List runs, the newest first."),
    "status": ("coterie.cli.workflow_status:status", "Show one run with its jobs, or one execution with its steps."),
    "watch": ("coterie.cli.workflow_watch:watch", "Follow RUN to its end; the exit code is its result."),
    "logs": ("coterie.cli.workflow_logs:logs", "Print the output of JOB in RUN, or of all its jobs."),
    "explain": (
        "coterie.cli.workflow_explain:explain",
        "Say why the steps of RUN, or STEP, wait, were skipped, were tried again, or ended as they did.",
    ),
    "answer": ("coterie.cli.workflow_answer:answer", "Answer the `input` step STEP of an execution."),
    "signal": ("coterie.cli.workflow_signal:signal", "Send the signal NAME to an execution."),
    "pause": ("coterie.cli.workflow_pause:pause", "Start nothing more of an execution until it is resumed."),
    "resume": ("coterie.cli.workflow_resume:resume", "Go on with an execution that was paused."),
    "retry": (
        "coterie.cli.workflow_retry:retry",
        "Try failed and cancelled steps of RUN again, or STEP, in the same execution.",
    ),
    "rerun": (
        "coterie.cli.workflow_rerun:rerun",
        "Execute the plan of RUN again, as a new execution that names the old one.",
    ),
    "skip": (
        "coterie.cli.workflow_skip:skip",
        "Have STEP of an execution count as done, without a result.",
    ),
    "cancel": ("coterie.cli.workflow_cancel:cancel", "Stop a run."),
    "timeline": (
        "coterie.cli.workflow_timeline:timeline",
        "Show when each step of an execution waited, ran and ended.",
    ),
    "metrics": (
        "coterie.cli.workflow_metrics:metrics",
        "Show what an execution took: durations, waits, retries, and how parallel it was.",
    ),
    "schema": ("coterie.cli.workflow_schema:schema", "Print the JSON Schema of `coterie: 1` files."),
}


@click.group("workflow", cls=LazyGroup, where=COMMANDS)
def workflow() -> None:
    """Plan, submit, watch and cancel runs.

    RUN is a run of the coterie (a GitHub Actions file) or an execution of this machine's engine (a `coterie: 1` file).
    """
