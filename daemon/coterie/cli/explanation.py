"""Why steps stand where they do, for people to read."""

from collections.abc import Callable, Mapping
from typing import Any

from coterie.cli.execution_words import first_line
from coterie.cli.output import paint, status_sign
from coterie.cli.words import clock_time
from coterie.control.client import Document

DETAIL_LINES_MAX = 20
UNTOLD = frozenset({"expanded"})
"""What explains nothing."""


def print_explanation(steps: list[Document], target: Document) -> None:
    """Each step with its state, why, and what happened to it before."""
    if not steps:
        print("every step completed at its first try")
    for step in steps:
        tries = f"  try {step['attempt']}" if step["attempt"] > 1 else ""
        print(f"{status_sign(step['state'])}  {paint(step['step'], 'bold')}{paint(tries, 'yellow')}")
        why = str(step["why"]).removeprefix(f"{step['state']}: ")
        if why not in ("", step["state"]):
            print(f"    {why}")
        for note in step["history"]:
            if note["kind"] in UNTOLD:
                continue
            for line in history_lines(note):
                print(paint(f"    {line}", "dim"))


def history_lines(note: Mapping[str, Any]) -> list[str]:
    """One note of a step's history: when, what, and what of its detail a person would read."""
    words = _WORDS.get(note["kind"])
    told = words(note) if words else str(note["kind"])
    detail = str(note.get("detail") or "").strip().splitlines()
    if len(detail) > DETAIL_LINES_MAX:
        detail = ["...", *detail[-DETAIL_LINES_MAX:]]
    return [f"{clock_time(note['at'])}  {told}", *(f"          {line}" for line in detail)]


def _failed(note: Mapping[str, Any]) -> str:
    again = note.get("retry_at")
    why = note.get("no_retry")
    then = f"; the next try from {clock_time(again)} on" if again else f"; not tried again: {why}" if why else ""
    return f"try {note.get('attempt', '?')} failed ({note.get('class', 'failure')}): {_message(note)}{then}"


def _message(note: Mapping[str, Any]) -> str:
    """With the exception's name, where that says more: `KeyError: 'x'`."""
    message = first_line(str(note.get("message") or note.get("reason") or "no message"))
    named = note.get("class") == "failure" and note.get("type") and note["type"] != "ExitFailed"
    return f"{note['type']}: {message}" if named else message


def _because(verb: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda note: verb if note.get("reason") in (None, "", verb) else f"{verb}: {note['reason']}"


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "failed": _failed,
    "lost": lambda note: f"try {note.get('attempt', '?')} was running when the engine died: run again",
    "skipped": _because("skipped by a person"),
    "cancelled": _because("cancelled"),
    "reset": lambda note: "tried again by a person",
    "asked": lambda note: "asked for an answer",
    "answered": lambda note: "answered",
    "received": lambda note: "took a signal",
    "waiting": lambda note: f"waits until {clock_time(note['until'])}" if note.get("until") else "waits for a time",
    "compensated": lambda note: f"undone: {note.get('state', '')} {note.get('message', '')}".rstrip(": "),
    "code-changed": lambda note: f"resumed with other code: {', '.join(note.get('functions', ()))}",
}
