"""The daemon as its user sees it: found by prefix, planned, invited, logged, verified."""

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from coterie.blobs.file_blobs import FileBlobs
from coterie.founding import join
from coterie.ports import Unreachable
from coterie.runner.logs import FileLogs
from coterie.service import Service
from coterie.store.sqlite import SqliteStore
from coterie.views import RunView, SubmitRequest
from coterie.wall_clock import unix_ms
from coterie_protocols.errors import InvalidWorkflow, NotAllowed, NotFound, TryLater, UserError
from coterie_protocols.identity import PeerId
from coterie_protocols.messages import BlobRequest, LogRequest, decode_request_untrusted
from coterie_protocols.ops import RunId
from coterie_protocols.stimuli import TaskResult
from coterie_protocols.workflow.document import decode_submission_untrusted
from protocols.building import Pen, claim, done, key, run_of, spec, submit
from shell_doubles import Home, WatchedStore

OTHER = key(2).peer_id
FLOW = """
name: ci
on: {workflow_dispatch: {inputs: {target: {type: choice, options: [test, prod], default: test}}}, push: {}}
jobs:
  build: {runs-on: ubuntu-latest, steps: [{run: make}]}
  test:
    needs: build
    runs-on: ubuntu-latest
    strategy: {matrix: {os: [a, b]}}
    steps: [{run: make test}]
"""
REQUEST = SubmitRequest("ci.yml", FLOW, "push", {}, {}, 3.0, "job", "normal", 0, None, {})
BROKEN = "on: push\njobs: {build: {steps: 7}}\n"


class House:
    """A peer with its service; blobs and logs are real files."""

    def __init__(self, tmp_path: Path, pen: Pen | None = None, number: int = 1, slots: int = 1) -> None:
        blobs = FileBlobs(tmp_path / "blobs", 10_000_000)
        logs = FileLogs(tmp_path / "logs", 1_000_000, unix_ms)
        self.home = Home(pen, number, slots=slots, labels=("ubuntu-latest",), blobs=blobs, logs=logs)
        self.blobs, self.stopping = blobs, trio.Event()
        self.service = Service(
            key=self.home.key,
            name="home",
            data_dir=tmp_path,
            peer=self.home.peer,
            store=self.home.store,
            network=self.home.network,
            blobs=blobs,
            logs_here=logs,
            copies=self.home.copies,
            stopping=self.stopping,
            started_at=0.0,
        )

    async def log(self, run: str, job: str, attempt: int | None = None, offset: int = 0, follow: bool = False) -> bytes:
        async with self.service.logs(run, job, attempt, offset, follow) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def until(self, run: str, status: str) -> RunView:
        async with self.service.changes() as changes:
            while (view := self.service.run(run)).status != status:
                await anext(changes)
            return view


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def shared(tmp_path: Path, slots: int = 0) -> tuple[Pen, House]:
    """A coterie of two, of which this peer runs nothing."""
    pen = Pen()
    pen.join(2)
    return pen, House(tmp_path, pen, slots=slots)


# -- finding --------------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_a_unique_prefix(tmp_path: Path) -> None:
    pen = Pen()
    runs = [run_of(pen.write(1, submit())) for _ in range(40)]
    service = House(tmp_path, pen).service
    for run in runs:
        rivals = [other for other in runs if other != run]
        unique = next(n for n in range(1, 27) if not any(other.startswith(run[:n]) for other in rivals))
        assert service.run(run[:unique]).run == run
        assert service.run(run).run == run
    first = runs[0][0]
    many = [run for run in runs if run.startswith(first)]
    if len(many) > 1:
        with pytest.raises(NotFound, match=f"{len(many)} runs begin with"):
            service.run(first)
    for prefix in ("", "0", runs[0] + "a", "../x"):
        with pytest.raises(NotFound):
            service.run(prefix)


def test_an_ambiguous_prefix_shows_some_candidates(tmp_path: Path) -> None:
    pen = Pen()
    runs = [run_of(pen.write(1, submit())) for _ in range(300)]
    letter = max("abcdefghijklmnopqrstuvwxyz234567", key=lambda each: sum(run[0] == each for run in runs))
    with pytest.raises(NotFound) as caught:
        House(tmp_path, pen).service.run(letter)
    assert sum(run in caught.value.message for run in runs) == 5


def test_the_newest_runs_come_first_and_no_more_than_asked(tmp_path: Path) -> None:
    pen = Pen()
    runs = [run_of(pen.write(1, submit(), time_ms=1_000 * number)) for number in (3, 1, 2)]
    views = House(tmp_path, pen).service.runs(2)
    assert [view.run for view in views] == [runs[0], runs[2]]


def test_what_nobody_may_have_submitted_is_not_there(tmp_path: Path) -> None:
    """An op of a member without the role, and a claim of a run that nobody submitted."""
    pen = Pen()
    pen.join(2, "work")
    void = run_of(pen.write(2, submit()))
    pen.write(2, claim(RunId("a" * 26)))
    service = House(tmp_path, pen).service
    assert service.runs(10) == ()
    for run in (void, "a" * 26):
        with pytest.raises(NotFound):
            service.run(run)


def test_a_mad_clock_elsewhere_does_not_keep_us_from_listing(tmp_path: Path) -> None:
    pen = Pen()
    event = pen.write(1, submit(), time_ms=2**53)
    assert House(tmp_path, pen).service.run(run_of(event)).submitted_at == "9999-12-31T23:59:59.999Z"


async def test_the_status_on_one_screen(house: House, autojump_clock: MockClock) -> None:
    async with house.home.up():
        run = await house.service.submit(REQUEST)
        await house.home.runner.begun(1)
        status = house.service.status()
        assert (status.peer, status.coterie_name, status.members, status.connected) == (key(1).peer_id, "home", 1, 0)
        assert (status.slots, status.free, status.runs) == (1, 0, {"running": 1})
        assert status.running == (f"{run.run}/build",)
        assert status.digest == house.service.clock().digest
        (member,) = house.service.members()
        assert (member.state, member.slots, member.free, member.connected) == ("self", 1, 0, True)
        assert b"coterie_" in house.service.metrics()


def test_stop_is_passed_on(house: House) -> None:
    house.service.stop()
    assert house.stopping.is_set()


# -- wishing --------------------------------------------------------------------------------------------------------


async def test_a_submission_is_planned_and_kept(house: House, autojump_clock: MockClock) -> None:
    async with house.home.up():
        view = await house.service.submit(replace(REQUEST, payload={"ref": "main"}, git={"sha": "1" * 40}))
    assert [job.id for job in view.jobs] == ["build", "test (a)", "test (b)"]
    (run,) = house.home.replica.state.runs
    assert run.submission is not None
    kept = decode_submission_untrusted(house.blobs.path(run.submission.op.plan).read_bytes())
    assert (kept.event, kept.payload, kept.git) == ("push", {"ref": "main"}, {"sha": "1" * 40})


async def test_inputs_are_typed_and_refused_where_they_do_not_fit(house: House, autojump_clock: MockClock) -> None:
    wanted = replace(REQUEST, event="workflow_dispatch")
    async with house.home.up():
        await house.service.submit(replace(wanted, inputs={"target": "prod"}))
        for inputs in ({"target": "moon"}, {"unknown": "x"}):
            with pytest.raises(UserError):
                await house.service.submit(replace(wanted, inputs=inputs))
    (run,) = house.home.replica.state.runs
    assert run.submission is not None
    assert run.submission.op.inputs == {"target": "prod"}


@pytest.mark.parametrize("text", [BROKEN, "", "\0", "{", "a: &a [*a]", "on: push\njobs: {}\n"])
async def test_what_cannot_be_planned_changes_nothing(house: House, text: str, autojump_clock: MockClock) -> None:
    async with house.home.up():
        with pytest.raises(InvalidWorkflow) as caught:
            await house.service.submit(replace(REQUEST, text=text))
        assert "ci.yml" in caught.value.message
    assert not house.home.replica.state.runs
    assert house.home.store.count() == 1


async def test_a_source_is_kept(house: House, tmp_path: Path, autojump_clock: MockClock) -> None:
    (tmp_path / "source.tar").write_bytes(b"tar")
    async with house.home.up():
        await house.service.submit(replace(REQUEST, source=str(tmp_path / "source.tar")))
    (run,) = house.home.replica.state.runs
    assert run.submission is not None
    assert run.submission.op.source is not None
    assert house.blobs.path(run.submission.op.source).read_bytes() == b"tar"


async def test_who_may_not_submit_is_told_before_anything_is_kept(tmp_path: Path, autojump_clock: MockClock) -> None:
    pen = Pen()
    pen.join(2, "observe")
    house = House(tmp_path, pen, 2)
    async with house.home.up():
        with pytest.raises(NotAllowed):
            await house.service.submit(REQUEST)
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


async def test_a_run_is_cancelled_by_prefix(house: House, autojump_clock: MockClock) -> None:
    async with house.home.up():
        run = await house.service.submit(REQUEST)
        await house.home.runner.begun(1)
        assert (await house.service.cancel(run.run[:8], "enough")).status in ("running", "cancelled")
        view = await house.until(run.run, "cancelled")
        assert [(job.status, job.reason) for job in view.jobs][1:] == [("cancelled", "enough")] * 2
        with pytest.raises(NotFound):
            await house.service.cancel("zzz", "")


# -- inviting -------------------------------------------------------------------------------------------------------


def test_a_token_opens_the_door(house: House, tmp_path: Path) -> None:
    invite = house.service.invite(("work", "submit"), ("gpu",), 3, 3600)
    joined = join(tmp_path / "new", invite.token, "new", (), 1)
    assert joined.roles == ("submit", "work")
    assert joined.coterie == house.home.pen.coterie
    assert (invite.uses, invite.labels) == (3, ("gpu",))


def test_an_admin_that_was_invited_invites_in_turn(tmp_path: Path) -> None:
    pen = Pen()
    pen.join(2, "admin")
    pen.join(3, "admin", "work", issuer=2)
    invite = House(tmp_path, pen, 3).service.invite(("work",), (), 1, 60)
    joined = join(tmp_path / "new", invite.token, "new", (), 1)
    assert joined.contacts.keys() == {key(3).peer_id}
    assert len(joined.events) == 4


def test_only_admins_invite(tmp_path: Path) -> None:
    pen = Pen()
    pen.join(2)
    with pytest.raises(NotAllowed):
        House(tmp_path, pen, 2).service.invite(("work",), (), 1, 60)


@pytest.mark.parametrize(
    ("roles", "labels", "uses", "valid_s"),
    [
        ((), (), 1, 60.0),
        (("king",), (), 1, 60.0),
        (("work",), (), 0, 60.0),
        (("work",), (), 1, 0.0),
        (("work",), (), 1, float("nan")),
        (("work",), (), 1, 1e12),
        (("work",), tuple("abcdefghijklmnopqrstuvwxyz0123456"), 1, 60.0),
        (("work",), ("x" * 300,), 1, 60.0),
    ],
)
def test_what_nobody_could_use_is_no_invitation(
    house: House, roles: tuple[str, ...], labels: tuple[str, ...], uses: int, valid_s: float
) -> None:
    with pytest.raises(UserError):
        house.service.invite(roles, labels, uses, valid_s)


# -- logs -----------------------------------------------------------------------------------------------------------


async def test_the_log_of_a_job_that_runs_here(house: House, autojump_clock: MockClock) -> None:
    async with house.home.up():
        run = (await house.service.submit(REQUEST)).run
        await house.home.runner.begun(1)
        assert (await house.log(run, "build")).endswith(b"build begins\n")
        got: list[bytes] = []

        async def follow() -> None:
            got.append(await house.log(run[:6], "bui", follow=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            assert not got
            house.home.runner.end("build", TaskResult("success"))
    assert got[0].endswith(b"build begins\n")


async def test_the_log_of_a_job_that_ran_here_is_its_blob(
    house: House, tmp_path: Path, autojump_clock: MockClock
) -> None:
    for job in ("build", "test (a)", "test (b)"):
        house.home.runner.end(job, TaskResult("success"))
    async with house.home.up():
        run = (await house.service.submit(REQUEST)).run
        view = await house.until(run, "success")
    for file in (tmp_path / "logs").rglob("*.log"):
        file.unlink()
    assert view.jobs[0].log is not None
    log = await house.log(run, "build")
    assert log.endswith(b"build begins\n")
    assert await house.log(run, "build", offset=len(log) - 3) == b"ns\n"
    with pytest.raises(NotFound, match="several jobs match"):
        await house.log(run, "test")
    assert await house.log(run, "test (b)")


async def test_the_log_of_an_earlier_attempt(house: House, autojump_clock: MockClock) -> None:
    house.home.runner.end("build", TaskResult("failure"))
    async with house.home.up():
        run = (await house.service.submit(replace(REQUEST, retries=1))).run
        view = await house.until(run, "failure")
    assert view.jobs[0].attempt == 2
    assert await house.log(run, "build", attempt=1)
    assert await house.log(run, "build", attempt=2) == await house.log(run, "build")
    with pytest.raises(NotFound, match="attempt 3 of build"):
        await house.log(run, "build", attempt=3)


async def test_there_is_no_log_of_what_nobody_ran(tmp_path: Path) -> None:
    pen, house = shared(tmp_path)
    pen.write(1, submit(spec("build"), spec("test", "build")))
    house = House(tmp_path, pen, slots=0)
    (run,) = house.home.replica.state.runs
    with pytest.raises(NotFound, match="nobody has run it"):
        await house.log(run.id, "build")
    with pytest.raises(NotFound, match="no job 'deploy'"):
        await house.log(run.id, "deploy")


def ran_elsewhere(tmp_path: Path, log: bytes | None, ended: bool) -> tuple[House, RunId]:
    """A run whose one task peer 2 claimed; its log is a blob, or nothing yet."""
    pen, house = shared(tmp_path)
    submission = pen.write(1, submit())
    run = run_of(submission)
    claimed = pen.write(2, claim(run))
    if ended:
        cid = None if log is None else FileBlobs(tmp_path / "theirs", 1000).put(log)
        pen.write(2, replace(done(run, claimed), log=cid))
    house = House(tmp_path, pen, slots=0)
    house.home.network.reached = {OTHER}
    return house, run


async def test_the_log_of_a_job_that_ran_elsewhere_is_fetched_once(tmp_path: Path) -> None:
    house, run = ran_elsewhere(tmp_path, b"their log\n", ended=True)

    @asynccontextmanager
    async def answer(peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        assert isinstance(decode_request_untrusted(request), BlobRequest)
        yield _once(b"their log\n")

    house.home.network.answer = answer
    assert await house.log(run, "t") == b"their log\n"
    assert await house.log(run, "t", offset=6) == b"log\n"
    assert house.home.network.fetches == [OTHER]


async def test_the_log_of_a_job_that_runs_elsewhere_is_streamed(tmp_path: Path) -> None:
    house, run = ran_elsewhere(tmp_path, None, ended=False)
    asked: list[LogRequest] = []

    @asynccontextmanager
    async def answer(peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        asked.append(cast(LogRequest, decode_request_untrusted(request)))
        yield _once(b"so far\n")

    house.home.network.answer = answer
    assert await house.log(run, "t", offset=5, follow=True) == b"so far\n"
    assert asked == [LogRequest(run, "t", 1, 5, True)]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_log_that_cannot_be_had_now_is_no_bug_of_ours(tmp_path: Path, ended: bool) -> None:
    house, run = ran_elsewhere(tmp_path, b"lost", ended)
    with pytest.raises(TryLater):
        await house.log(run, "t")


async def test_a_log_that_breaks_off_is_no_bug_of_ours_even_in_a_nursery(tmp_path: Path) -> None:
    house, run = ran_elsewhere(tmp_path, None, ended=False)

    @asynccontextmanager
    async def answer(peer: PeerId, request: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        yield _break_off()

    house.home.network.answer = answer

    async def read() -> None:
        async with house.service.logs(run, "t", None, 0, False) as chunks, trio.open_nursery():
            async for _ in chunks:
                pass

    with pytest.raises(ExceptionGroup) as caught:
        await read()
    assert [type(each) for each in caught.value.exceptions] == [TryLater]


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _break_off() -> AsyncIterator[bytes]:
    yield b"a"
    raise Unreachable("it broke off")


# -- verifying ------------------------------------------------------------------------------------------------------


def written(path: Path) -> Pen:
    pen = Pen()
    pen.join(2)
    for _ in range(20):
        run = run_of(pen.write(1, submit()))
        pen.write(2, claim(run))
    store = SqliteStore(path)
    store.append(pen.events)
    store.close()
    return pen


def test_a_sound_store_is_verified(house: House) -> None:
    house.home.pen.write(1, submit())
    fresh = Home(house.home.pen)
    house.service.peer, house.service.store = fresh.peer, fresh.store
    view = house.service.verify()
    assert (view.problems, view.events) == ((), 2)
    assert view.live_digest == view.rebuilt_digest


def test_every_damaged_event_is_found(tmp_path: Path) -> None:
    """Flips one byte in each stored event in turn; the database itself notices none of that."""
    path = tmp_path / "coterie.db"
    pen = written(path)
    store = SqliteStore(path)
    sound = dict(enumerate(store.replay(), 1))
    store.close()
    for position in (1, 2, 3, 10, len(sound)):
        for place in (3, len(sound[position]) // 2, len(sound[position]) - 1):
            damaged = bytearray(sound[position])
            damaged[place] ^= 1
            with sqlite3.connect(path) as database:
                database.execute("UPDATE event SET data = ? WHERE position = ?", (bytes(damaged), position))
            database.close()
            store = SqliteStore(path)
            house = House(tmp_path, pen, slots=0)
            house.service.store = store
            assert house.service.verify().problems, (position, place)
            store.close()
        with sqlite3.connect(path) as database:
            database.execute("UPDATE event SET data = ? WHERE position = ?", (sound[position], position))
        database.close()
    store = SqliteStore(path)
    house = House(tmp_path, pen, slots=0)
    house.service.store = store
    assert house.service.verify().problems == ()
    store.close()


def test_a_missing_event_is_found(tmp_path: Path) -> None:
    pen = Pen()
    pen.write(1, submit())
    house = House(tmp_path, pen, slots=0)
    lacking = WatchedStore()
    lacking.append(pen.events[:1])
    house.service.store = lacking
    assert house.service.verify().problems


def test_problems_are_bounded(tmp_path: Path) -> None:
    house = House(tmp_path)
    store = WatchedStore()
    house.service.store = store
    store.replay = lambda: iter([b"garbage"] * 1000)  # type: ignore[method-assign]
    assert len(house.service.verify().problems) == 100
