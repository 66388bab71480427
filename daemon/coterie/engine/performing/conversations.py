"""What steps wait for from outside: answers, signals, times. All of it is in the journal, so a restart loses none."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from coterie.engine.journal.port import Note
from coterie.engine.model import Json
from coterie_protocols.errors import UserError

if TYPE_CHECKING:
    from coterie.engine.performing.execution import LiveExecution

MS: Final = 1000


class NotAsked(UserError):
    """Nobody asked, or the question has been answered."""

    code = "not-asked"
    exit_code = 2


class BadAnswer(UserError):
    """The answer does not fit the form."""

    code = "bad-answer"
    exit_code = 65


class Conversations:
    """Wakes the steps of one execution that wait for a word from outside."""

    def __init__(self) -> None:
        self._heard = anyio.Event()

    def wake(self) -> None:
        """Has everybody look again."""
        self._heard.set()
        self._heard = anyio.Event()

    async def wait(self) -> None:
        """Returns when there is something new."""
        await self._heard.wait()


async def ask(live: "LiveExecution", step: str, form: Mapping[str, Json], deadline_s: float | None) -> Json:
    """Keeps the question once, and returns its answer. Raises TimeoutError at the deadline."""
    position = live.steps.position(step)
    question = _last(live, position, "asked")
    if question is None:
        now_ms = live.core.now_ms()
        deadline_ms = None if deadline_s is None else now_ms + int(deadline_s * MS)
        body: dict[str, Json] = {"form": dict(form), "deadline_ms": deadline_ms}
        await live.perform(partial(live.note, "asked", position, body))
        question = (0, Note(now_ms, "asked", position, body))
    with anyio.CancelScope(deadline=_deadline(live, question[1].body["deadline_ms"])):
        while True:
            answer = _last(live, position, "answered")
            if answer is not None and answer[0] > question[0]:
                return answer[1].body["value"]
            await live.conversations.wait()
    raise TimeoutError("nobody answered in time")


async def wait_signal(live: "LiveExecution", step: str, name: str) -> Json:
    """The data of the first signal of that name that no other step has had."""
    position = live.steps.position(step)
    while True:
        notes = live.core.journal.notes(live.record.id)
        had = {note.body["seq"]: note.position for _, note in notes if note.kind == "received"}
        for seq, note in notes:
            if note.kind != "signalled" or note.body["name"] != name or had.get(seq, position) != position:
                continue
            if seq not in had and seq not in live.claimed_signals:
                live.claimed_signals.add(seq)
                await live.perform(partial(live.note, "received", position, {"seq": seq}))
            elif seq not in had:
                continue
            return note.body["data"]
        await live.conversations.wait()


async def wait_until(live: "LiveExecution", step: str, seconds: float) -> None:
    """Returns that long after it was first called for this step, across restarts."""
    position = live.steps.position(step)
    known = _last(live, position, "waiting")
    until_ms = live.core.now_ms() + int(seconds * MS) if known is None else int(known[1].body["until_ms"])
    if known is None:
        await live.perform(partial(live.note, "waiting", position, {"until_ms": until_ms}))
    await anyio.sleep(max(0.0, (until_ms - live.core.now_ms()) / MS))


def check_answer(live_notes: list[tuple[int, Note]], step: str, value: Json) -> None:
    """Raises NotAsked or BadAnswer where `value` cannot be the answer of that step."""
    import jsonschema

    asked = [(seq, note) for seq, note in live_notes if note.kind == "asked"]
    answered = [seq for seq, note in live_notes if note.kind == "answered"]
    if not asked or (answered and answered[-1] > asked[-1][0]):
        raise NotAsked(f"{step} asks nothing now", "see what is asked: coterie workflow status RUN")
    checker: Any = jsonschema.Draft202012Validator(asked[-1][1].body["form"])
    errors = list(checker.iter_errors(value))
    if errors:
        told = "; ".join(
            f"{'.'.join(map(str, error.absolute_path)) or 'answer'}: {error.message}" for error in errors[:5]
        )
        raise BadAnswer(f"the answer does not fit: {told}", "the form names what it must be")


def _last(live: "LiveExecution", position: int, kind: str) -> tuple[int, Note] | None:
    """The newest note of that kind since the step was last reset."""
    found: tuple[int, Note] | None = None
    for seq, note in live.core.journal.notes(live.record.id, position):
        if note.kind == "reset":
            found = None
        elif note.kind == kind:
            found = (seq, note)
    return found


def _deadline(live: "LiveExecution", deadline_ms: int | None) -> float:
    if deadline_ms is None:
        return float("inf")
    return anyio.current_time() + (deadline_ms - live.core.now_ms()) / MS
