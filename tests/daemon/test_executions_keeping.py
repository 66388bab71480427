"""Old executions go, with their folders and logs; a failing disk only puts it off."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from coterie.disk import DiskFailed
from coterie.executions import keeping
from coterie.executions.keeping import Keep, Keeping
from coterie.executions.service import Executions, Submission
from coterie_protocols.errors import NotFound
from executions_house import document, done, executions_in, shell, step

FOREVER = 1e9


def keeping_of(executions: Executions, keep_s: float) -> Keeping:
    keep = Keep(keep_s, 1 << 40)
    return Keeping(executions.engine, executions.journal, executions.folders, executions.logs, keep)


async def test_what_is_forgotten_leaves_nothing_behind(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        old = await done(executions, shell("a", "echo hello > file; echo out"))
        held = await executions.submit(Submission(document(step("w", type="wait", config={"signal": "go"}))))
        assert await keeping_of(executions, FOREVER).tidy() == 0
        assert (tmp_path / "executions/logs" / old.id / "a.1.log").is_file()
        assert await keeping_of(executions, -1.0).tidy() == 1
        assert list((tmp_path / "executions/logs").iterdir()) == []
        assert [path.name for path in (tmp_path / "executions/work").iterdir()] in ([], [held.id])
        with pytest.raises(NotFound):
            executions.reading.view(old.id)
        assert executions.reading.view(held.id).status == "running"


async def test_it_looks_again_when_many_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    looks: list[float] = []

    async def tidy(_: Keeping) -> int:
        looks.append(trio.current_time())
        if len(looks) == 2:
            raise DiskFailed("no room")
        return 1

    monkeypatch.setattr(Keeping, "tidy", tidy)
    monkeypatch.setattr(keeping, "ENDED_MAX", 2)
    executions = executions_in(tmp_path)
    kept = keeping_of(executions, FOREVER)
    with capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.run)
            await trio.sleep(1)
            kept.one_ended()
            kept.one_ended()
            await trio.sleep(keeping.INTERVAL_S + 1)
            nursery.cancel_scope.cancel()
    executions.close()
    assert [round(at - looks[0]) for at in looks] == [0, 1, round(keeping.INTERVAL_S) + 1]
    assert [entry["log_level"] for entry in logged] == ["info", "error", "info"]
