"""One job's part of a log that several jobs share."""

from coterie.ports import LogWriter


class JobLog:
    """Names the job before each line, as `build | text` (ports.LogWriter)."""

    def __init__(self, log: LogWriter, job: str) -> None:
        self._log = log
        self._prefix = f"{job} | "

    def line(self, text: str) -> None:
        """Adds a line with the present time."""
        for part in text.split("\n"):
            self._log.line(self._prefix + part)
