"""Kills an engine at random instants until its run is through: `python tests/kills/loop.py --kills 200 [--seed N]`.

After each kill the store is read as it was left: whatever had completed must be there for good, must not start again,
and at most the steps that were running may. Runs follow one another until there were as many kills as asked for.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from coterie.engine.journal.sqlite_journal import SqliteJournal
from kills.child import CONCURRENT, KEY, STEPS, expected

CHILD: Final = Path(__file__).with_name("child.py")
CHILD_S_MAX: Final = 60.0
KILL_S_MAX: Final = 0.25
"""How long after its first step a run is killed, at most; what it takes to start is not interesting."""


@dataclass(slots=True)
class Tally:
    """What was seen."""

    kills: int = 0
    runs: int = 0
    repeated: list[int] = field(default_factory=list[int])
    restart_s: list[float] = field(default_factory=list[float])

    def __str__(self) -> str:
        restarts = sorted(self.restart_s)
        return (
            f"{self.kills} kills, {self.runs} runs ended right; steps started again after a kill: at most "
            f"{max(self.repeated, default=0)} (limit {CONCURRENT}), {sum(self.repeated)} in all; "
            f"process start to next step: median {restarts[len(restarts) // 2]:.3f} s, max {restarts[-1]:.3f} s"
        )


class Broken(AssertionError):
    """The engine lost or repeated something."""


def kill_until(kills: int, seed: int) -> Tally:
    """Runs and kills. Raises Broken."""
    chance, tally = random.Random(seed), Tally()
    while tally.kills < kills:
        with tempfile.TemporaryDirectory(prefix="coterie-kills-") as folder:
            _one_run(Path(folder), chance, tally, kills)
        tally.runs += 1
    return tally


def _one_run(folder: Path, chance: random.Random, tally: Tally, kills: int) -> None:
    store, ledger = folder / "engine.db", folder / "ledger"
    completed: dict[int, bytes | None] = {}
    running: set[str] = set()
    while True:
        told = len(_starts(ledger))
        last = tally.kills >= kills
        output = _child(store, ledger, told, None if last else chance.uniform(0, KILL_S_MAX), tally)
        _check_starts(ledger, told, completed, running, tally)
        if output is not None:
            break
        tally.kills += 1
        completed, running = _check_store(folder, completed)
    words = output.split()
    if words[0] != "completed" or [int(word) for word in words[1:]] != expected():
        raise Broken(f"the run ended wrong: {output[:200]}")


def _child(store: Path, ledger: Path, told: int, kill_s: float | None, tally: Tally) -> str | None:
    """Starts the program; kills it that long after its next step began. Returns what it said if it ended before."""
    started = time.monotonic()
    child = subprocess.Popen([sys.executable, str(CHILD), str(store), str(ledger)], stdout=subprocess.PIPE, text=True)
    try:
        while len(_starts(ledger)) == told and child.poll() is None:
            if time.monotonic() - started > CHILD_S_MAX:
                raise Broken(f"no step began within {CHILD_S_MAX:g} s")
            time.sleep(0.002)
        tally.restart_s.append(time.monotonic() - started)
        try:
            output, _ = child.communicate(timeout=CHILD_S_MAX if kill_s is None else kill_s)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.communicate()
            return None
        if child.returncode != 0:
            raise Broken(f"the program failed with exit code {child.returncode}")
        return output
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()


def _starts(ledger: Path) -> list[list[str]]:
    if not ledger.exists():
        return []
    return [line.split(" ", 2) for line in ledger.read_text().splitlines()]


def _check_starts(ledger: Path, told: int, completed: dict[int, bytes | None], running: set[str], tally: Tally) -> None:
    """Of the starts since the last kill none may be of a completed step, and repeated ones were running."""
    starts = _starts(ledger)
    before = {step: attempt for step, attempt, _ in starts[:told]}
    keys = {step: key for step, _, key in starts[:told]}
    repeated = 0
    for step, attempt, key in starts[told:]:
        if int(step[1:]) in completed:
            raise Broken(f"{step} had completed and started again")
        if step in before:
            repeated += 1
            if step not in running:
                raise Broken(f"{step} was started again, but was not running when the program was killed")
            if int(attempt) <= int(before[step]) or key != keys[step]:
                raise Broken(f"{step} was started again as attempt {attempt} with the key {key}")
    tally.repeated.append(repeated)
    if repeated > CONCURRENT:
        raise Broken(f"{repeated} steps were started again; {CONCURRENT} could run")


def _check_store(folder: Path, completed: dict[int, bytes | None]) -> tuple[dict[int, bytes | None], set[str]]:
    """What a copy of the store says; nothing that had completed before may be gone or other than it was."""
    with tempfile.TemporaryDirectory(prefix="coterie-copy-") as copy:
        for file in folder.glob("engine.db*"):
            shutil.copy(file, copy)
        journal = SqliteJournal(Path(copy) / "engine.db")
        try:
            record = journal.by_key(KEY)
            if record is None:
                raise Broken("the execution is gone")
            rows = list(journal.rows(record.id))
            now = {row.position: journal.result(record.id, row.position) for row in rows if row.state == "completed"}
            running = {f"s{row.position}" for row in rows if row.state == "running"}
        finally:
            journal.close()
    for position, result in completed.items():
        if now.get(position, b"gone") != result:
            raise Broken(f"s{position} had returned {result!r}, and now {now.get(position)!r}")
    return now, running


def main() -> None:
    """Says what was seen, or what broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    given = parser.parse_args()
    print(f"seed {given.seed}, {STEPS} steps, {CONCURRENT} at a time", flush=True)
    print(kill_until(given.kills, given.seed))


if __name__ == "__main__":
    main()
