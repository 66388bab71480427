"""Forgets executions that ended, the oldest first, a bounded piece at a time."""

from dataclasses import dataclass
from itertools import islice
from typing import Final

from coterie.engine.journal.executions import Executions
from coterie.engine.journal.file import JournalFile
from coterie.engine.journal.result_files import ResultFiles
from coterie.engine.journal.rows import FROM_POSITION

PIECE_ROWS_MAX: Final = 500  # removed in one transaction
PIECE_BYTES_MAX: Final = 1024 * 1024  # of their results: each page of these is read to be freed
PIECE_EXECUTIONS_MAX: Final = 100

_ENDED: Final = "state IN ('completed', 'failed', 'cancelled')"
_OLDEST: Final = f"SELECT number, id, plan, ended_ms FROM execution WHERE {_ENDED} ORDER BY ended_ms LIMIT 1"
_STEPS: Final = f"SELECT position, coalesce(length(result), 0) FROM step WHERE {FROM_POSITION}"
_NOTES: Final = (
    "SELECT sequence, length(body) FROM note WHERE execution = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3"
)
_REMOVE_STEPS: Final = "DELETE FROM step WHERE key >= (?1 << 32) AND key <= (?1 << 32) + ?2"
_REMOVE_NOTES: Final = "DELETE FROM note WHERE execution = ? AND sequence <= ?"
_FILES: Final = "SELECT coalesce(sum(bytes), 0) FROM (SELECT max(bytes) AS bytes FROM result_file GROUP BY cid)"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one piece of pruning did: how many executions were forgotten, and whether there is more to do."""

    executions: int
    more: bool


class _Room:
    """What may still be removed in one piece."""

    def __init__(self) -> None:
        self.rows, self._bytes = PIECE_ROWS_MAX, PIECE_BYTES_MAX

    @property
    def left(self) -> bool:
        return self.rows > 0 and self._bytes > 0

    def take(self, rows: int, size: int) -> None:
        self.rows -= rows
        self._bytes -= size


class Retention:
    """Keeps `file`, and the result files that it owns, within limits.

    An execution is gone at once, in one transaction with its place in the lists; its steps and notes follow piece by
    piece, also after a restart in between.
    """

    def __init__(self, file: JournalFile, executions: Executions, results: ResultFiles) -> None:
        self._file = file
        self._executions = executions
        self._results = results
        self._unswept = results.all()

    def piece(self, keep_bytes_max: int, keep_s: float, now_ms: int) -> Pruned:
        """Removes about as much as one piece may hold. Raises JournalFailed."""
        forgotten: list[str] = []
        unneeded: list[str] = []
        room, done = _Room(), False
        with self._file.transaction():
            while not done and room.left and len(forgotten) < PIECE_EXECUTIONS_MAX:
                remains = self._file.one("SELECT execution FROM remains LIMIT 1")
                if remains is not None:
                    self._clear(int(remains[0]), room, unneeded)
                elif (id_ := self._forget_oldest(keep_bytes_max, now_ms - keep_s * 1000)) is not None:
                    forgotten.append(id_)
                else:
                    done = True
        for id_ in forgotten:
            self._executions.forget(id_)
        self._results.remove(unneeded)
        return Pruned(len(forgotten), more=not (done and self._sweep()))

    def used_bytes(self) -> int:
        """What executions take on the disk: the database without what is free in it, and owned result files."""
        return self._file.used_bytes() + (self._file.integer(_FILES) if self._results.owned else 0)

    def _sweep(self) -> bool:
        """Looks at some result files of its own, once each; says whether that was all.

        Those that no execution needs go: a crash, or a full disk, came between the file and its row.
        """
        files = list(islice(self._unswept, PIECE_ROWS_MAX))
        self._results.remove(cid for cid in files if not self._needed(cid))
        return len(files) < PIECE_ROWS_MAX

    def _forget_oldest(self, keep_bytes_max: int, ended_before_ms: float) -> str | None:
        oldest = self._file.one(_OLDEST)
        if oldest is None:
            return None
        number, id_, plan, ended_ms = oldest
        if (ended_ms or 0) >= ended_before_ms and self.used_bytes() <= keep_bytes_max:
            return None
        execute = self._file.connection.execute
        execute("INSERT INTO remains (execution) VALUES (?)", (number,))
        execute("DELETE FROM submission WHERE execution = ?", (number,))
        execute("DELETE FROM execution WHERE number = ?", (number,))
        execute("DELETE FROM plan WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM execution WHERE plan = ?1)", (plan,))
        return str(id_)

    def _clear(self, number: int, room: _Room, unneeded: list[str]) -> None:
        """Removes some of what is left of a forgotten execution, as far as there is room."""
        self._remove(number, room, _STEPS, _REMOVE_STEPS)
        self._remove(number, room, _NOTES, _REMOVE_NOTES)
        if room.left:
            execute = self._file.connection.execute
            cids = [str(row[0]) for row in self._file.all("SELECT cid FROM result_file WHERE execution = ?", (number,))]
            execute("DELETE FROM result_file WHERE execution = ?", (number,))
            execute("DELETE FROM remains WHERE execution = ?", (number,))
            if self._results.owned:
                unneeded += [cid for cid in cids if not self._needed(cid)]
            room.take(len(cids), 0)

    def _remove(self, number: int, room: _Room, select: str, delete: str) -> None:
        if not room.left:
            return
        places: list[int] = []
        for place, size in self._file.all(select, (number, 0, room.rows)):
            places.append(place)
            room.take(1, size)
            if not room.left:
                break
        if places:
            self._file.connection.execute(delete, (number, places[-1]))

    def _needed(self, cid: str) -> bool:
        return self._file.one("SELECT 1 FROM result_file WHERE cid = ? LIMIT 1", (cid,)) is not None
