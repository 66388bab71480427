"""A power cut in the middle of a run: what was not fsynced is gone, and the run ends right all the same.

Whenever a step began, the disk must already say so, and must hold what the steps returned that it needs.
"""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

import power_cut
from coterie.engine.journal.sqlite_journal import SqliteJournal
from kills.child import KEY, expected, needs_of

CHILD = Path(__file__).parent.parent / "kills" / "child.py"
CUTS = 40
RESUMED = 3
CHILD_S_MAX = 60.0
SEED = 7


def _run(store: Path, ledger: Path, preload: dict[str, str]) -> str:
    ran = subprocess.run(
        [sys.executable, str(CHILD), str(store), str(ledger)],
        env={**os.environ, **preload},
        capture_output=True,
        text=True,
        timeout=CHILD_S_MAX,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def _assert_holds(store: Path, started: list[str]) -> None:
    """Is the disk as far as those steps say that it is?"""
    values = expected()
    with closing(SqliteJournal(store)) as journal:
        record = journal.by_key(KEY)
        assert record is not None
        states = {row.position: row.state for row in journal.rows(record.id)}
        for step in started:
            assert states.get(int(step[1:])) in ("running", "completed")
            for need in needs_of(int(step[1:])):
                assert states[need] == "completed"
        for position, state in states.items():
            if state == "completed":
                assert journal.result(record.id, position) == str(values[position]).encode()


def test_a_power_cut_takes_nothing_that_a_step_was_built_on(tmp_path: Path) -> None:
    folder, log = tmp_path / "live", tmp_path / "log"
    folder.mkdir()
    preload = power_cut.environment(power_cut.recorder(tmp_path), folder, log)
    told = _run(folder / "engine.db", tmp_path / "ledger", preload)
    assert told.split()[0] == "completed"

    random, disk = Random(SEED), power_cut.Disk(folder)
    records = list(power_cut.read(log))
    cuts = sorted(random.sample(range(len(records)), CUTS))
    resumed = set(random.sample(cuts, RESUMED))
    seen = 0
    for place, record in enumerate(records):
        disk.apply(record)
        if place not in cuts or not disk.marks:
            continue
        seen += 1
        image = tmp_path / f"cut-{place}"
        disk.image(image, random if place % 2 else None)
        _assert_holds(image / "engine.db", list(disk.marks))
        if place in resumed:
            assert _run(image / "engine.db", tmp_path / f"ledger-{place}", {}) == told
    assert seen > CUTS // 2
