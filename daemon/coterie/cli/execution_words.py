"""Executions and their steps in words, the same in tables, lines and live pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

from coterie.cli.words import clock_time, count, duration, seconds_between, short_run
from coterie.control.client import Document

STEP_ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})
WAITING = frozenset({"pending", "ready"})
ORDER = ("running", "completed", "failed", "skipped", "cancelled", "ready", "pending")


def steps_done(counts: Mapping[str, int]) -> str:
    """`9 steps`, or `4 of 9 steps`."""
    total = sum(counts.values())
    done = sum(number for state, number in counts.items() if state in STEP_ENDED)
    return count(total, "step") if done == total else f"{done:,} of {count(total, 'step')}"


def execution_took(execution: Document) -> str:
    """How long it has run, or ran."""
    if not execution["started_at"]:
        return ""
    return duration(seconds_between(execution["started_at"], execution["ended_at"]))


def step_took(step: Document) -> str:
    """How long its present try has run, or its last one ran; nothing while the next one is waited for."""
    if not step["started_at"] or step["state"] in WAITING:
        return ""
    return duration(seconds_between(step["started_at"], step["ended_at"]))


def step_note(step: Document) -> str:
    """Why it failed, was skipped, or waits."""
    if step["state"] == "pending" and step.get("due_at"):
        why = f": {step['reason']}" if step["reason"] else ""
        return f"tries again at {clock_time(step['due_at'])}{why}"
    return str(step["reason"] or "")


def in_order(steps: Sequence[Document]) -> list[Document]:
    """By position, but what a map step made (`resize[3]`) right behind it."""
    positions = {step["id"]: step["position"] for step in steps}

    def place(step: Document) -> tuple[int, int]:
        position: int = step["position"]
        return positions.get(step["id"].partition("[")[0], position), position

    return sorted(steps, key=place)


def step_line(step: Document) -> str:
    """A step's state in one line."""
    words = str(step["state"])
    if step["attempt"] > 1:
        words += f" (try {step['attempt']})"
    if step["state"] in STEP_ENDED and step_took(step) and step["state"] != "skipped":
        words += f" after {step_took(step)}"
    note = step_note(step)
    return f"{words}: {first_line(note)}" if note else words


def first_line(text: str) -> str:
    """What of a message fits a table."""
    return text.strip().partition("\n")[0]


def asked_for(ask: Document) -> str:
    """What an `input` step asks, in one line: its prompt and its fields."""
    form: Mapping[str, Any] = ask["form"]
    fields = ", ".join(form.get("properties", {}))
    prompt = str(form.get("title") or "")
    until = f", until {clock_time(ask['deadline_at'])}" if ask.get("deadline_at") else ""
    return f"{prompt} ({fields}){until}" if prompt else f"{fields}{until}"


def answer_command(execution: Document, ask: Document) -> str:
    """How to answer it."""
    return f"coterie workflow answer {short_run(execution['id'])} {ask['step']}"


def next_command(execution: Document) -> tuple[str, str] | None:
    """What a person would do next, and the command for it."""
    name = short_run(execution["id"])
    if execution["asks"]:
        return "answer", answer_command(execution, execution["asks"][0])
    match execution["status"]:
        case "failed":
            return "why", f"coterie workflow explain {name}; then try again: coterie workflow retry {name}"
        case "cancelled":
            return "go on", f"coterie workflow retry {name}"
        case "paused":
            return "go on", f"coterie workflow resume {name}"
        case "pending" | "running":
            return "follow", f"coterie workflow watch {name}"
        case _:
            return None
