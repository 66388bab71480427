"""The output of an execution's steps."""

import threading
from collections.abc import Iterator

from coterie.cli.execution_follow import ExecutionFollower
from coterie.cli.execution_source import DaemonSource
from coterie.cli.execution_words import STEP_ENDED
from coterie.cli.follow import PASSING, RETRY_S, lines_of
from coterie.cli.log_printer import Print, printer
from coterie.cli.output import say
from coterie.control.client import Client, Document, Refused
from coterie.control.client_executions import ENDED
from coterie_protocols.errors import UserError

FOLLOWED_MAX = 32  # connections at a time
WIDTH_MAX = 32
NOT_FOUND = 5
STARTED = STEP_ENDED | {"running"}


def print_logs(
    client: Client, execution: str, step: str | None, attempt: int | None, follow: bool, as_json: bool, times: bool
) -> None:
    """Prints the output of a step, or of all of them with their names."""
    if step is None:
        steps = list(client.all_steps(execution))
        width = max((len(each["id"]) for each in steps), default=0)
        show = printer(execution, as_json, times, min(width, WIDTH_MAX))
        if follow:
            _follow_all(client, execution, show)
        else:
            _print_all(client, execution, steps, show)
        return
    show = printer(execution, as_json, times, 0)
    if follow and attempt is None:
        follower = ExecutionFollower(DaemonSource(client, execution))
        lines = followed_step(client, follower, execution, step)
    else:
        lines = (line for _, line in lines_of(client.step_log(execution, step, attempt, follow)))
    for line in lines:
        show(step, line)


def followed_step(client: Client, follower: ExecutionFollower, execution: str, step: str) -> Iterator[str]:
    """The lines of a step's attempts from the present one on, until the step has ended. Raises Refused (not-found)."""
    ended, seen = 0, 0
    while True:
        seen, whole, steps = follower.after(seen, RETRY_S)
        now = next((each for each in steps if each["id"] == step), None)
        over = (whole is not None and whole["status"] in ENDED) or (now is not None and now["state"] in STEP_ENDED)
        if now is not None and now["state"] in STARTED and now["attempt"] > ended:
            try:
                for _, line in lines_of(client.step_log(execution, step, now["attempt"], True)):
                    yield line
                ended = now["attempt"]
                continue
            except UserError as error:
                if error.exit_code not in PASSING or over:
                    raise
        elif over:
            if now is None:  # one of very many, or none at all: the daemon knows
                yield from (line for _, line in lines_of(client.step_log(execution, step, None, False)))
            return


def _print_all(client: Client, execution: str, steps: list[Document], show: Print) -> None:
    for step in steps:
        if not step["attempt"]:
            continue
        try:
            for _, line in lines_of(client.step_log(execution, step["id"], None, False)):
                show(step["id"], line)
        except Refused as error:
            if error.exit_code != NOT_FOUND:  # most steps put nothing out, and have no log
                say(f"{step['id']}: {error.message}")


def _follow_all(client: Client, execution: str, show: Print) -> None:
    """One thread for each step that runs or has run; they end by themselves, with their steps."""
    follower = ExecutionFollower(DaemonSource(client, execution))
    room = threading.Semaphore(FOLLOWED_MAX)
    readers: dict[str, threading.Thread] = {}

    def read(step: str) -> None:
        with room:
            try:
                for line in followed_step(client, follower, execution, step):
                    show(step, line)
            except UserError as error:
                if error.exit_code != NOT_FOUND:
                    say(f"{step}: {error.message}")

    seen, over = 0, False
    while not over:
        seen, whole, steps = follower.after(seen, 1.0)
        for step in steps:
            if step["state"] in STARTED and step["attempt"] and step["id"] not in readers:
                readers[step["id"]] = threading.Thread(target=read, args=(step["id"],), daemon=True)
                readers[step["id"]].start()
        over = whole is not None and whole["status"] in ENDED
    for reader in readers.values():
        reader.join()
