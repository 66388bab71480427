"""What RUN names: a run of the coterie, or an execution of this machine's engine."""

from typing import NoReturn

from coterie.cli.words import EXECUTION_PREFIX, short_run
from coterie.control.client import Client, Document, Refused
from coterie_protocols.errors import UserError

NOT_FOUND = 5
USAGE = 2


class ForExecutions(UserError):
    """The command has a meaning for executions alone."""

    code = "for-executions"


def is_execution(document: Document) -> bool:
    """Is it coterie.execution/1? Else it is coterie.run/1."""
    return bool(document["schema"] == "coterie.execution/1")


def find_target(client: Client, name: str) -> Document:
    """The run or the execution of that name; what no run matches may name a workflow, meaning its newest execution.

    Raises Refused, with what was said of runs where neither is found.
    """
    if names_execution(name):
        return client.execution(name)
    try:
        return client.run(name)
    except Refused as refused:
        if refused.exit_code != NOT_FOUND:
            raise
        return _newest_of_workflow(client, name, refused)


def names_execution(name: str) -> bool:
    """Can it be nothing else than an execution?"""
    return name.startswith((EXECUTION_PREFIX, "@"))


def find_execution(client: Client, name: str, verb: str) -> Document:
    """The execution of that name. Raises ForExecutions for a run of the coterie, Refused where there is neither."""
    document = find_target(client, name)
    if not is_execution(document):
        _for_executions(document, verb)
    return document


def _newest_of_workflow(client: Client, name: str, refused: Refused) -> Document:
    try:
        return client.execution(name)
    except Refused as second:
        if second.exit_code not in (NOT_FOUND, USAGE):
            raise
    raise refused from None


def _for_executions(run: Document, verb: str) -> NoReturn:
    name = short_run(run["run"])
    raise ForExecutions(
        f"{verb} is for executions (ids that begin with {EXECUTION_PREFIX}); {name} is a run of the coterie",
        f"what there is for runs: coterie workflow status, watch, logs, explain, cancel {name}",
    )
