"""Source trees are unpacked once for each content; folders of executions come when asked for and go with them."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from coterie.blobs.file_blobs import FileBlobs
from coterie.engine.journal.port import ExecutionRecord
from coterie.executions.folders import SOURCE_IDLE_S, BadSource, ExecutionFolders, SourceGone
from coterie.executions.service import Submission
from coterie.executions.sweeping import DOOMED, sweep
from coterie.source_tree import pack_source
from executions_house import document, ended, executions_in, shell

RECORD = ExecutionRecord("ex-1", "flow", "flow", b"", "hash", 0)
HOUR_S = 3600.0


def tar_of(directory: Path, text: str = "hello") -> Path:
    tree = directory / "tree"
    tree.mkdir(exist_ok=True)
    (tree / "greeting").write_text(text)
    pack_source(tree, directory / "tree.tar")
    return directory / "tree.tar"


def folders_in(directory: Path) -> ExecutionFolders:
    return ExecutionFolders(directory / "executions", FileBlobs(directory / "blobs", 10_000_000))


async def test_a_tree_is_unpacked_once(tmp_path: Path) -> None:
    folders, tar = folders_in(tmp_path), tar_of(tmp_path)
    cids: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(_keep, folders, tar, cids)
    assert len(set(cids)) == 1
    record = replace(RECORD, source=cids[0])
    place = folders.source_dir(record)
    assert place is not None
    assert (place / "greeting").read_text() == "hello"
    (place / "greeting").write_text("kept")
    await folders_in(tmp_path).prepare(record)
    assert (place / "greeting").read_text() == "kept"
    assert folders.source_dir(RECORD) is None


async def _keep(folders: ExecutionFolders, tar: Path, cids: list[str]) -> None:
    cids.append(await folders.keep(tar))


async def test_what_is_no_tree_is_the_users_fault(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"nonsense" * 1000)
    with pytest.raises(BadSource, match="not a tar file"):
        await folders.keep(bad)
    assert list((tmp_path / "executions/sources").iterdir()) == []
    cid = FileBlobs(tmp_path / "other", 10_000_000).put_file(tar_of(tmp_path))
    with pytest.raises(SourceGone):
        await folders.prepare(replace(RECORD, source=cid))


async def test_an_execution_has_a_folder_once_it_asks(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    assert list((tmp_path / "executions/work").iterdir()) == []
    place = folders.work_dir(RECORD)
    assert place is not None
    assert place.is_dir()
    assert folders.work_dir(RECORD) == place
    folders.forget("ex-1")
    folders.forget("ex-2")
    assert not place.exists()
    assert folders.work_dir(RECORD) == place
    (place / "file").touch()
    folders.forget("ex-1")
    assert (place / "file").exists()


async def test_what_nobody_needs_is_swept(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    old = str(await folders.keep(tar_of(tmp_path, "old")))
    used = str(await folders.keep(tar_of(tmp_path, "used")))
    for id_ in ("ex-1", "ex-2"):
        folders.work_dir(replace(RECORD, id=id_))
    locked = tmp_path / "executions/work/ex-2/locked"
    locked.mkdir()
    (locked / "file").touch()
    locked.chmod(0o500)
    now_s = time.time_ns() / 1e9
    assert await folders.sweep(lambda id_: id_ == "ex-1") == 1
    assert sorted(path.name for path in (tmp_path / "executions/work").iterdir()) == ["ex-1"]
    assert await folders.sweep_sources(lambda: {used}, now_s) == 0
    assert await folders.sweep_sources(lambda: {used}, now_s + SOURCE_IDLE_S + HOUR_S) == 1
    assert [path.name for path in (tmp_path / "executions/sources").iterdir()] == [used]
    await folders.prepare(replace(RECORD, source=old))
    assert (tmp_path / "executions/sources" / old / "greeting").read_text() == "old"


async def test_what_a_dead_daemon_half_unpacked_or_half_removed_goes(tmp_path: Path) -> None:
    folders_in(tmp_path)
    (tmp_path / "executions/sources/.new-1234").mkdir()
    (tmp_path / f"executions/work/{DOOMED}ex-1").mkdir()
    folders_in(tmp_path)
    assert list((tmp_path / "executions/sources").iterdir()) == []
    assert await sweep(tmp_path / "executions/work", lambda name: not name.startswith(DOOMED)) == 1


async def test_steps_run_in_the_tree_that_came_along(tmp_path: Path) -> None:
    executions = executions_in(tmp_path)
    async with executions.opened():
        flow = document(shell("a", 'cat greeting; test "$PWD" != /'))
        begun = await executions.submit(Submission(flow, source=tar_of(tmp_path)))
        over = await ended(executions, begun.id)
        assert over.status == "completed"
        again = await executions.rerun(begun.id, failed=False, step=None)
        assert (await ended(executions, again.id)).status == "completed"
        assert b"hello" in await executions.reading.result(again.id, "a")
    assert len(list((tmp_path / "executions/sources").iterdir())) == 1
