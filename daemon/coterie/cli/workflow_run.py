"""`coterie workflow run`."""

from pathlib import Path

import click

from coterie.cli.options import json_option
from coterie.cli.workflow_kind import is_engine_workflow
from coterie_protocols.errors import UserError


@click.command("run", epilog="Example:  coterie workflow run etl.yaml --input day=2026-11-21")
@json_option
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="K=V", help="An input of the workflow; may repeat.")
@click.option("--answer", "answers", multiple=True, metavar="STEP.K=V", help="What an input step will ask; may repeat.")
@click.option("--resume", metavar="RUN|last", help="Go on with a run that was stopped or killed, or that failed.")
@click.option(
    "--store", type=click.Path(path_type=Path), metavar="DIR", help="Where it is kept  [default: your state directory]"
)
@click.pass_context
def run(
    context: click.Context,
    /,
    as_json: bool,
    file: Path | None,
    inputs: tuple[str, ...],
    answers: tuple[str, ...],
    resume: str | None,
    store: Path | None,
) -> None:
    """Execute FILE right here, without a daemon, and follow it to its end; the exit code is its result.

    Steps run in the source tree where it lies. What has completed is kept: Ctrl-C, or a crash, loses at most the steps
    that ran, and --resume goes on with the rest.
    """
    if file is not None and not is_engine_workflow(file):
        raise UserError(
            f"{file} is a GitHub Actions file: `run` is for `coterie: 1` files",
            f"try it on this machine: coterie testnet run {file}; or hand it in: coterie workflow submit {file}",
        )
    from coterie.cli.embedded_run import resume_run, start_run

    if resume is not None:
        if inputs:
            raise UserError("--input is for a new run: a resumed one has those it began with", "leave it out")
        context.exit(resume_run(resume, file, store, answers, as_json))
    if file is None:
        raise UserError("there is no FILE", "coterie workflow run FILE, or --resume last")
    context.exit(start_run(file, store, inputs, answers, as_json))
