"""The daemon as its user sees it: found by prefix, planned, invited."""

from dataclasses import replace
from pathlib import Path

import pytest
from trio.testing import MockClock

from coterie.founding import join
from coterie_protocols.errors import InvalidWorkflow, NotAllowed, NotFound, UserError
from coterie_protocols.ops import RunId
from coterie_protocols.workflow.document import decode_submission_untrusted
from protocols.building import Pen, claim, key, run_of, submit
from service_house import BROKEN, REQUEST, House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


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
