"""Each op survives its round trip; each spoilt field makes it bad, an unknown kind, or another op of the same rank."""

from dataclasses import replace

import pytest

from coterie_protocols import ops
from coterie_protocols.encoding import Value, cid_of_blob, decode_value_untrusted, encode
from coterie_protocols.errors import BadMessage
from coterie_protocols.op_reading import op_untrusted
from coterie_protocols.op_writing import op_to_value
from coterie_protocols.ops import Done, Genesis, JobReport, Join, Op, Submit, TaskSpec, Unknown
from protocols.building import Pen, cancel, claim, done, release, run_of, spec, submit
from protocols.mangling import spoilt

pen = Pen()
joined = pen.join(2, "admin", labels=("gpu",)).ops[0]
held = pen.write(2, submit())
RUN = run_of(held)
assert isinstance(joined, Join)

FULL = Submit(
    workflow="ci.yml",
    event="push",
    plan=cid_of_blob(bytes(32)),
    source=cid_of_blob(b"\x01" * 32),
    inputs={"level": "9"},
    priority=1.5,
    placement="run",
    care="at-most-once",
    retries=3,
    tasks=(spec("a"), TaskSpec("b (1)", "b", ("a",), ("linux",), True, True, True, 2)),
)
EVERY: dict[str, Op] = {
    "genesis": Genesis("home", bytes(16), {"quota": "7"}),
    "join": joined,
    "submit": FULL,
    "claim": claim(RUN, "t", 2, held),
    "first claim": replace(claim(RUN), consumed={"a": held.cid}),
    "release": release(RUN, held),
    "done": done(RUN, held),
    "full done": replace(done(RUN, held), log=FULL.plan, jobs=(JobReport("a", "success", 1, 2),)),
    "cancel": cancel(RUN),
}


def through(value: Value) -> Op:
    """As if it had come from a peer."""
    return op_untrusted(decode_value_untrusted(encode(value), 1 << 20))


@pytest.mark.parametrize("op", EVERY.values(), ids=EVERY)
def test_round_trip(op: Op) -> None:
    value = op_to_value(op)
    assert through(value) == op
    assert op_to_value(through(value)) == value


@pytest.mark.parametrize("op", EVERY.values(), ids=EVERY)
def test_spoilt_fields(op: Op) -> None:
    bad = 0
    for worse in spoilt(op_to_value(op)):
        try:
            again = through(worse)
        except BadMessage:
            bad += 1
            continue
        if not isinstance(again, Unknown):
            assert through(op_to_value(again)) == again  # within all bounds: it could be written by us
    assert bad > 20


def wrong(op: Op, **changes: Value) -> dict[str, Value]:
    """The op's map with fields replaced."""
    return {**op_to_value(op), **changes}


def task(**changes: Value) -> list[Value]:
    """One task with fields replaced."""
    return [{"id": "a", "job": "a", "needs": [], "labels": [], **changes}]


BAD: dict[str, Value] = {
    "no kind": {"name": "x"},
    "kind too long": {"op": "x" * 33},
    "kind is no text": {"op": 1},
    "no map": "claim",
    "no tasks": wrong(FULL, tasks=[]),
    "too many tasks": wrong(FULL, tasks=[*(task(id=str(i))[0] for i in range(ops.TASKS_MAX + 1))]),
    "a task twice": wrong(FULL, tasks=[*task(), *task()]),
    "a need that comes later": wrong(FULL, tasks=[*task(needs=["b"]), *task(id="b")]),
    "a task that needs itself": wrong(FULL, tasks=task(needs=["a"])),
    "a need that is nowhere": wrong(FULL, tasks=task(needs=["z"])),
    "a flag that is a number": wrong(FULL, tasks=task(**{"if": 1})),
    "a flag that is null": wrong(FULL, tasks=task(coe=None)),
    "a flag that is text": wrong(FULL, tasks=task(fail_fast="true")),
    "a limit that is null": wrong(FULL, tasks=task(max_parallel=None)),
    "a limit below zero": wrong(FULL, tasks=task(max_parallel=-1)),
    "priority of a thousand and one": wrong(FULL, priority=1001),
    "priority below zero": wrong(FULL, priority=-0.5),
    "a placement of no meaning": wrong(FULL, placement="here"),
    "care of no meaning": wrong(FULL, care="much"),
    "a plan that is an event": wrong(FULL, plan=held.cid),
    "a source that is an event": wrong(FULL, source=held.cid),
    "attempt 0": wrong(claim(RUN), attempt=0),
    "attempt 1001": wrong(claim(RUN), attempt=ops.ATTEMPT_MAX + 1),
    "a claim that is a blob": wrong(release(RUN, held), claim=FULL.plan),
    "a status of no meaning": wrong(done(RUN, held), status="fine"),
    "an output too long": wrong(done(RUN, held), outputs={"x": "y" * (ops.OUTPUT_CHARS_MAX + 1)}),
    "too many outputs": wrong(done(RUN, held), outputs={str(i): "" for i in range(ops.OUTPUTS_MAX + 1)}),
    "a reason too long": wrong(cancel(RUN), reason="x" * 513),
    "a run's name too long": wrong(cancel(RUN), run="x" * 33),
    "an unknown role": wrong(joined, certificate={**wrong(joined)["certificate"], "roles": ["root"]}),  # type: ignore[dict-item]
    "no role": wrong(joined, certificate={**wrong(joined)["certificate"], "roles": []}),  # type: ignore[dict-item]
    "no use": wrong(joined, certificate={**wrong(joined)["certificate"], "uses": 0}),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_bad_ops(value: Value) -> None:
    with pytest.raises(BadMessage):
        through(value)


def test_ops_of_a_later_version_are_kept_and_never_written() -> None:
    op = through({"op": "checkpoint", "at": [1, {"deep": True}]})
    assert op == Unknown("checkpoint")
    with pytest.raises(ValueError, match="can't be written"):
        op_to_value(op)


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert through(wrong(cancel(RUN), later=1)) == cancel(RUN)


def test_a_result_without_job_reports_is_as_short_as_can_be() -> None:
    short = op_to_value(done(RUN, held))
    assert "jobs" not in short
    again = through({**short, "jobs": []})
    assert isinstance(again, Done)
    assert again.jobs == ()
