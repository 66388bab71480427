"""Follows a run and its logs in threads of their own, so that the command itself is free to draw."""

import threading
from collections.abc import Iterator

from coterie.control.client import Client, Document, Refused
from coterie_protocols.errors import TryLater, UserError

RUN_ENDED = frozenset({"success", "failure", "cancelled"})
JOB_ENDED = RUN_ENDED | {"skipped"}
RETRY_S = 0.5  # until a log shows up: its peer may be about to open it
TIMESTAMP_CHARS = len("2026-11-21T14:31:00.123Z ")
LINE_BYTES_MAX = 256 * 1024


class RunFollower:
    """The newest state of a run. `client` answers about it; reading threads are daemons and die with the command."""

    def __init__(self, client: Client, run: str) -> None:
        self._client = client
        self._changed = threading.Condition()
        self._version = 1
        self._run = client.run(run)
        self._error: UserError | None = None
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def run(self) -> Document:
        """The run as it is now."""
        with self._changed:
            return self._run

    def after(self, seen: int, timeout_s: float) -> tuple[int, Document]:
        """(version, run) once there is a version later than `seen`, or as it was after `timeout_s`.

        Raises the UserError that ended the stream.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version > seen or self._error is not None, timeout_s)
            if self._error is not None and self._run["status"] not in RUN_ENDED:
                raise self._error
            return self._version, self._run

    def touch(self) -> None:
        """Makes waiters look again, say because a log has a new line."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def _follow(self) -> None:
        try:
            for event, document in self._client.events(self._run["run"]):
                if event == "run":
                    self._put(document)
                    if document["status"] in RUN_ENDED:
                        return
        except UserError as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits, with its traceback
            with self._changed:
                self._error = TryLater(f"following the run failed: {error!r}", "this is a bug; please report it")
                self._error.__cause__ = error
                self._changed.notify_all()

    def _put(self, run: Document) -> None:
        with self._changed:
            self._run = run
            self._version += 1
            self._changed.notify_all()


def job_of(run: Document, job: str) -> Document:
    """The job of that id in a run."""
    return next(each for each in run["jobs"] if each["id"] == job)


def log_lines(client: Client, run: str, job: str, attempt: int | None, follow: bool) -> Iterator[str]:
    """The lines of a log, each with its time as the first word. Raises NotFound as `Refused`."""
    rest = b""
    for chunk in client.log(run, job, attempt, follow):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        if len(rest) > LINE_BYTES_MAX:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")


def followed_lines(client: Client, follower: RunFollower, job: str) -> Iterator[str]:
    """The lines of a job's attempts from the present one on, until the job has ended."""
    run, attempt, seen = str(follower.run["run"]), 0, 0
    while True:
        now = job_of(follower.run, job)
        if now["attempt"] > attempt and now["status"] != "queued":
            try:
                yield from log_lines(client, run, job, now["attempt"], True)
                attempt = now["attempt"]
                continue
            except Refused as error:
                if error.exit_code != 5 or now["status"] in JOB_ENDED:
                    raise
        if now["status"] in JOB_ENDED:
            return
        seen, _ = follower.after(seen, RETRY_S)


def without_time(line: str) -> str:
    """A line of a log less its time."""
    stamped = len(line) >= TIMESTAMP_CHARS - 1 and line[10] == "T" and line[TIMESTAMP_CHARS - 2] == "Z"
    return line[TIMESTAMP_CHARS:] if stamped else line
