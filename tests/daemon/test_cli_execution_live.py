"""The live picture of an execution, and what feeds it."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from coterie.cli import execution_follow
from coterie.cli.execution_follow import ExecutionFollower
from coterie.cli.execution_live import execution_tree, watch_live
from coterie_protocols.errors import TryLater
from execution_double import EX, FORM, Document, execution, step

WAIT_S = 10.0
ASK = {"step": "approve", "form": FORM, "deadline_at": None}


class Source:
    """Tells what the test gave it."""

    def __init__(self, events: list[tuple[str, Document]], steps: list[Document] | None = None) -> None:
        self._events = events
        self._steps = steps or []

    def events(self) -> Iterator[tuple[str, Document]]:
        for event, document in self._events:
            if event == "error":
                raise TryLater("the daemon has stopped")
            yield event, document

    def steps(self) -> Iterator[Document]:
        return iter(self._steps)

    def lines(self, step: str) -> Iterator[str]:
        return iter([f"2026-11-21T12:00:01.000Z last of {step}"])


def picture(view: Document, steps: list[Document], rows: int = 40, **more: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=100).print(execution_tree(view, steps, more.pop("last", {}), rows, **more))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_steps_what_they_say_and_what_they_ask() -> None:
    view = execution("running", asks=[ASK], counts={"completed": 1, "running": 2, "failed": 1, "pending": 4})
    steps = [
        step("fetch", 0),
        step("load", 1, "running", attempt=2),
        step("approve", 2, "running"),
        step("check", 3, "failed", reason="bad\nmore"),
    ]
    lines = picture(view, steps, last={"load": "row 7"})
    assert lines[0].startswith("● ETL pipeline  running")
    assert "2 of 8 steps" in lines[0]
    assert lines[1] == "├── ✓ fetch    completed     3.2 s"
    assert lines[2].startswith("├── ● load     running")
    assert lines[2].endswith("try 2")
    assert lines[3] == "│   └── row 7"
    assert lines[4].endswith("Release? (ok, count, where)")
    assert lines[5] == f"│   └── coterie workflow answer {EX[:16]} approve"
    assert lines[6].endswith("failed        3.2 s  bad")
    assert lines[7] == "└── … 4 more"
    assert not any("workflow answer" in line for line in picture(view, steps, tell_answer=False))


def test_the_reason_of_the_end_is_the_last_line() -> None:
    assert picture(execution("failed", reason="check: bad\nmore"), [])[-1] == "└── check: bad"


def test_what_maps_made_gives_way_to_the_steps_of_the_plan() -> None:
    children = [step(f"resize[{number}]", number + 2) for number in range(100)]
    children[50] = step("resize[50]", 52, "failed", reason="bad")
    view = execution("running", counts={"completed": 100, "failed": 1, "pending": 1})
    lines = picture(view, [step("resize", 0, "running"), *children, step("total", 1, "pending")], rows=10)
    assert any("resize[50]" in line for line in lines)
    assert any("total" in line for line in lines)
    assert len(lines) <= 11


def test_children_stand_behind_their_map() -> None:
    steps = [step("a", 0), step("b", 1), step("a[0]", 2), step("a[1]", 3), step("a[0][0]", 4), step("gone[3]", 9)]
    follower = ExecutionFollower(Source([("execution", execution())], steps))
    assert [each["id"] for each in told(follower)] == ["a", "a[0]", "a[1]", "a[0][0]", "b", "gone[3]"]


def told(follower: ExecutionFollower) -> list[Document]:
    """The steps once it has ended."""
    seen = 0
    while True:
        seen, view, steps = follower.after(seen, WAIT_S)
        if view is not None and view["status"] == "completed":
            return steps


def test_of_very_many_steps_those_that_ended_first_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_follow, "STEPS_KEPT_MAX", 3)
    first = [step(f"s{number}", number, "pending" if number < 2 else "running") for number in range(4)]
    events = [("execution", execution("running")), *(("step", step(f"s{number}", number)) for number in (3, 2))]
    follower = ExecutionFollower(Source([*events, ("execution", execution())], first))
    assert [each["id"] for each in told(follower)] == ["s0", "s1", "s2"]


def test_the_end_of_the_news_is_an_error_unless_it_has_ended() -> None:
    with pytest.raises(TryLater):
        told(ExecutionFollower(Source([("execution", execution("running")), ("error", {})])))
    assert told(ExecutionFollower(Source([("execution", execution()), ("error", {})]))) == []


def test_it_is_drawn_to_its_end_and_questions_are_asked_between(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    going = execution("running", asks=[ASK])
    events = [
        ("execution", going),
        ("line", {"step": "approve", "text": "well?"}),
        ("step", step("approve", 0, "running")),
        ("execution", going),
    ]
    released: list[tuple[str, Document]] = []

    class Waiting(Source):
        def events(self) -> Iterator[tuple[str, Document]]:
            yield from super().events()
            while not asked:
                yield "other", {}
            yield from released

    released.append(("execution", execution("completed")))
    ended = watch_live(Waiting(events), lambda ask: asked.append(ask["step"]))
    assert (ended["status"], asked) == ("completed", ["approve"])
    assert "✓ ETL pipeline  completed" in capsys.readouterr().out
