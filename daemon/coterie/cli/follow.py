"""Follows a run and its logs in threads of their own, so that the command itself is free to draw."""

from collections.abc import Iterable, Iterator
from functools import partial

from coterie.cli.versions import Versions
from coterie.control.client import Client, Document
from coterie_protocols.errors import UserError

RUN_ENDED = frozenset({"success", "failure", "cancelled"})
JOB_ENDED = RUN_ENDED | {"skipped"}
RETRY_S = 0.5  # until a log shows up: its peer may be about to open it
TIMESTAMP_CHARS = len("2026-11-21T14:31:00.123Z ")
LINE_BYTES_MAX = 256 * 1024
PASSING = (5, 75)  # the exit codes of not-found and try-later


class RunFollower:
    """The newest state of a run. The thread that reads is a daemon and dies with the command."""

    def __init__(self, client: Client, run: str) -> None:
        self._client = client
        self._versions = Versions()
        self._run = client.run(run)
        self._versions.read(self._follow)

    @property
    def run(self) -> Document:
        """The run as it is now."""
        return self._run

    def after(self, seen: int, timeout_s: float) -> tuple[int, Document]:
        """(version, run) once there is a version later than `seen`, or as it was after `timeout_s`.

        Raises the UserError that ended the stream.
        """
        version, error = self._versions.after(seen, timeout_s)
        if error is not None and self._run["status"] not in RUN_ENDED:
            raise error
        return version, self._run

    def touch(self) -> None:
        """Makes waiters look again, say because a log has a new line."""
        self._versions.change()

    def _follow(self) -> None:
        for event, document in self._client.events(self._run["run"]):
            if event == "run":
                self._versions.change(partial(self._now, document))
                if document["status"] in RUN_ENDED:
                    return

    def _now(self, run: Document) -> None:
        self._run = run


def job_of(run: Document, job: str) -> Document:
    """The job of that id in a run."""
    return next(each for each in run["jobs"] if each["id"] == job)


def log_lines(
    client: Client, run: str, job: str, attempt: int | None, follow: bool, offset: int = 0
) -> Iterator[tuple[int, str]]:
    """The lines of a log from byte `offset` on, each with the offset after it and its time as the first word."""
    return lines_of(client.log(run, job, attempt, follow, offset), offset)


def lines_of(chunks: Iterable[bytes], offset: int = 0) -> Iterator[tuple[int, str]]:
    """The lines that chunks of a log make, each with the offset after it; what is too long for a line is cut."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            offset += len(line) + 1
            yield offset, line.decode(errors="replace")
        if len(rest) > LINE_BYTES_MAX:
            offset += len(rest)
            yield offset, rest.decode(errors="replace")
            rest = b""
    if rest:
        yield offset + len(rest), rest.decode(errors="replace")


def followed_lines(client: Client, follower: RunFollower, job: str) -> Iterator[str]:
    """The lines of a job's attempts from the present one on, until the job has ended.

    Where the log is not there yet, or its peer cannot be reached, it tries again as long as the job runs.
    """
    run, ended, seen = str(follower.run["run"]), 0, 0
    attempt, offset = 0, 0
    while True:
        now = job_of(follower.run, job)
        if now["attempt"] > attempt:
            attempt, offset = now["attempt"], 0
        if attempt > ended and now["status"] != "queued":
            try:
                for position, line in log_lines(client, run, job, attempt, True, offset):
                    offset = position  # where to go on if the stream breaks off
                    yield line
                ended = attempt
                continue
            except UserError as error:
                if error.exit_code not in PASSING or now["status"] in JOB_ENDED:
                    raise
        if now["status"] in JOB_ENDED:
            return
        seen, _ = follower.after(seen, RETRY_S)


def without_time(line: str) -> str:
    """A line of a log less its time."""
    stamped = len(line) >= TIMESTAMP_CHARS - 1 and line[10] == "T" and line[TIMESTAMP_CHARS - 2] == "Z"
    return line[TIMESTAMP_CHARS:] if stamped else line
