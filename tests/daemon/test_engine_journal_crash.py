"""Killed at any instant, or cut from power: the journal has every acknowledged commit whole, and no half of one."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest

import power_cut
from coterie.engine.journal.file import Durability
from coterie.engine.journal.sqlite_journal import SqliteJournal
from journal_model import INLINE_BYTES_MAX, NOW_MS, Call, Model, assert_whole, perform, workload

KILLS = 25
CALLS = 400  # of a workload, which several writers in a row go through
ACKNOWLEDGEMENTS_MAX = 12  # of one writer, before it is killed
SPIN_MAX = 20_000  # steps of an empty loop between an acknowledgement and the kill: up to about a millisecond
CUT_CALLS = 150  # of a writer that is cut from power
CUTS = 100
KILL_SEED, CUT_SEED = 5, 6


def _run(*arguments: str, preload: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    tests = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path]), **(preload or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _open(path: Path, durability: Durability = "strict") -> SqliteJournal:
    return SqliteJournal(path, durability=durability, result_inline_bytes_max=INLINE_BYTES_MAX)


def _assert_holds(path: Path, calls: list[Call], acknowledged: int, lost_max: int = 0) -> int:
    """Is the journal as after `acknowledged` calls, or one more? Returns after how many; `lost_max` may be missing."""
    with closing(_open(path)) as journal:
        assert journal.quick_check() == ()
        candidates = range(min(acknowledged + 1, len(calls)), max(acknowledged - lost_max, 0) - 1, -1)
        return next(count for count in candidates if _holds(journal, calls[:count], last=count == candidates[-1]))


def _holds(journal: SqliteJournal, calls: list[Call], last: bool) -> bool:
    """Is the journal as after those calls? Fails with the difference where it is the last that it may be."""
    model = Model()
    for call in calls:
        model.apply(call)
    try:
        model.assert_kept_in(journal)
    except AssertionError:
        if last:
            raise
        return False
    return True


def test_a_writer_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    done = _run("kill", str(tmp_path / "journal.db"))
    assert (done.returncode, done.stdout) == (0, f"{KILLS} kills, nothing lost\n"), done.stdout + done.stderr


def _recorded(tmp_path: Path, *arguments: str) -> tuple[power_cut.Disk, list[power_cut.Record]]:
    folder, log = tmp_path / "live", tmp_path / "log"
    folder.mkdir()
    library = power_cut.recorder(tmp_path)
    done = _run(*arguments, str(folder / "journal.db"), preload=power_cut.environment(library, folder, log))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return power_cut.Disk(folder), list(power_cut.read(log))


def _cuts(records: Iterable[power_cut.Record], disk: power_cut.Disk, random: Random, target: Path) -> Iterable[int]:
    """Cuts the power at random instants, and gives the number of marks that were made before each."""
    listed = list(records)
    instants = set(random.sample(range(len(listed)), min(CUTS, len(listed))))
    for at, record in enumerate(listed):
        disk.apply(record)
        if at in instants:
            disk.image(target, random if random.random() < 0.6 else None)
            yield len(disk.marks)


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
def test_a_power_cut_takes_nothing_that_was_acknowledged(tmp_path: Path, durability: Durability) -> None:
    """Relaxed may lose the last commits, in order; strict none."""
    disk, records = _recorded(tmp_path, "write", durability)
    calls = workload(CUT_SEED, CUT_CALLS)
    assert sum(record.kind == "m" for record in records) == CUT_CALLS
    assert any(record.kind == "r" for record in records), "large results were written as files"
    cut = tmp_path / "cut"
    lost = 0
    for acknowledged in _cuts(records, disk, Random(7), cut):
        lost_max = CUT_CALLS if durability == "relaxed" else 0
        if (cut / "journal.db").exists():
            lost = max(lost, acknowledged - _assert_holds(cut / "journal.db", calls, acknowledged, lost_max))
        else:
            assert acknowledged == 0
    assert lost <= 0 if durability == "strict" else lost > 0


def test_a_power_cut_in_the_middle_of_pruning_leaves_executions_whole_or_gone(tmp_path: Path) -> None:
    disk, records = _recorded(tmp_path, "prune")
    model = Model()
    for call in workload(CUT_SEED, CUT_CALLS):
        model.apply(call)
    written = next(at for at, record in enumerate(records) if record.data == b"written")
    for record in records[: written + 1]:
        disk.apply(record)
    cut = tmp_path / "cut"
    found: set[int] = set()
    for _ in _cuts(records[written + 1 :], disk, Random(8), cut):
        with closing(_open(cut / "journal.db")) as journal:
            assert journal.quick_check() == ()
            left = [record.id for record in journal.executions(1_000)]
            for id_ in left:
                assert_whole(journal, model.executions[id_])
            assert {record.id for record in journal.unfinished()} == _unfinished(model)
            found.add(len(left))
            journal.prune(0, 0, NOW_MS * 2)
            assert {record.id for record in journal.executions(1_000)} == _unfinished(model)
            files = {path.name for path in (cut / "journal.db.results").glob("??/*")}
            assert files >= {row.result_blob for id_ in _unfinished(model) for row in journal.rows(id_)} - {None}
            assert files == _needed_files(cut / "journal.db")
    assert len(found) > 1


def _needed_files(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {row[0] for row in database.execute("SELECT cid FROM result_file")}


def _unfinished(model: Model) -> set[str]:
    return {id_ for id_, kept in model.executions.items() if kept.record.state in ("pending", "running", "paused")}


def _main_kill(path: Path) -> None:
    random, calls, count = Random(KILL_SEED), workload(KILL_SEED, CALLS), 0
    for _ in range(KILLS):
        count = _assert_holds(path, calls, _kill_a_writer(path, calls, count, random))
    assert count > 2 * KILLS
    print(f"{KILLS} kills, nothing lost")


def _kill_a_writer(path: Path, calls: list[Call], begin: int, random: Random) -> int:
    """Starts a writer and kills it at a random instant; returns how many calls were acknowledged, of all so far."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _write_until_killed(path, calls[begin:], writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as acknowledgements:
        count = begin
        for _ in range(random.randint(0, ACKNOWLEDGEMENTS_MAX)):
            count += acknowledgements.readline() == b"done\n"
        for _ in range(random.randrange(SPIN_MAX)):
            pass
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return count + sum(line == b"done\n" for line in acknowledgements)


def _write_until_killed(path: Path, calls: list[Call], report: int) -> NoReturn:
    try:
        journal = _open(path)
        for call in calls:
            perform(journal, call)
            os.write(report, b"done\n")
        signal.pause()
    finally:
        os._exit(1)  # reached by an error alone; nothing of the parent's may run here


def _main_write(durability: Durability, path: Path) -> None:
    with closing(_open(path, durability)) as journal:
        for count, call in enumerate(workload(CUT_SEED, CUT_CALLS)):
            perform(journal, call)
            power_cut.mark(f"{count + 1}")
            if count % 20 == 19:
                journal.tidy()


def _main_prune(path: Path) -> None:
    with closing(_open(path)) as journal:
        for call in workload(CUT_SEED, CUT_CALLS):
            perform(journal, call)
        power_cut.mark("written")
        journal.prune(0, 0, NOW_MS * 2)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["kill", place]:
            _main_kill(Path(place))
        case ["write", "strict" | "relaxed" as chosen, place]:
            _main_write(chosen, Path(place))
        case ["prune", place]:
            _main_prune(Path(place))
        case _:
            raise ValueError(sys.argv)
