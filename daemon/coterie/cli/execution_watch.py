"""Follows an execution to its end: as a live picture at a terminal, else as lines or JSON lines."""

import os
import sys
from itertools import islice

from coterie.cli.execution_source import DaemonSource, ExecutionSource, OnAsk, new_asks
from coterie.cli.execution_words import (
    WAITING,
    answer_command,
    asked_for,
    execution_took,
    first_line,
    step_line,
    steps_done,
)
from coterie.cli.log_text import readable
from coterie.cli.output import print_json, say
from coterie.cli.words import short_run
from coterie.control.client import Client, Document, StreamEnded
from coterie.control.client_executions import ENDED

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
BEGUN_SHOWN_MAX = 50
BEGUN = frozenset({"running", "completed", "failed", "cancelled"})


def watch_execution(client: Client, execution: str, as_json: bool, final_only: bool = False) -> int:
    """Shows an execution until it has ended and returns the exit code; Ctrl-C leaves it alone."""
    try:
        ended = show_execution(DaemonSource(client, execution), as_json, final_only)
    except KeyboardInterrupt:
        name = short_run(execution)
        say(f"it goes on; see it again: coterie workflow watch {name}")
        say(f"stop it: coterie workflow cancel {name}")
        return EXIT_INTERRUPTED
    return 0 if ended["status"] == "completed" else EXIT_FAILED


def show_execution(source: ExecutionSource, as_json: bool, final_only: bool, on_ask: OnAsk | None = None) -> Document:
    """Shows an execution until it has ended, and returns how; with `as_json` and `final_only` one document.

    `on_ask` is called with each new question, and answers it; without it people are told how to.
    """
    if as_json:
        return _watch_json(source, final_only, on_ask)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from coterie.cli.execution_live import watch_live

        return watch_live(source, on_ask)
    return _watch_lines(source, on_ask)


def _watch_json(source: ExecutionSource, final_only: bool, on_ask: OnAsk | None) -> Document:
    told: Document | None = None
    asked = set[str]()
    for event, document in source.events():
        if event != "execution" or document == told:
            continue
        for ask in new_asks(document, asked):
            if on_ask is not None:
                on_ask(ask)
        if not final_only or document["status"] in ENDED:
            print_json(document)
        told = document
    return _ended(told)


def _watch_lines(source: ExecutionSource, on_ask: OnAsk | None) -> Document:
    """One line a transition."""
    told = dict[str, str]()
    asked = set[str]()
    last: Document | None = None
    for event, document in source.events():
        if event == "step":
            _tell(document, told)
        elif event == "execution":
            if last is None:
                _tell_begun(source, told)
            for ask in new_asks(document, asked):
                _tell_asked(document, ask, on_ask)
            last = document
        elif event == "line":
            print(f"{document['step']} | {readable(document['text']) or ''}", flush=True)
    ended = _ended(last)
    why = f": {first_line(ended['reason'])}" if ended["reason"] else ""
    took = f" after {execution_took(ended)}" if execution_took(ended) else ""
    print(f"{ended['id']}: {ended['status']}{took}, {steps_done(ended['counts'])}{why}", flush=True)
    return ended


def _tell(step: Document, told: dict[str, str]) -> None:
    line = step_line(step)
    if told.get(step["id"]) != line and not (step["state"] in WAITING and not step["attempt"]):
        told[step["id"]] = line
        print(f"{step['id']}: {line}", flush=True)


def _tell_begun(source: ExecutionSource, told: dict[str, str]) -> None:
    """What happened before anybody watched."""
    begun = [step for step in source.steps() if step["state"] in BEGUN]
    for step in islice(begun, BEGUN_SHOWN_MAX):
        _tell(step, told)
    if len(begun) > BEGUN_SHOWN_MAX:
        print(f"... and {len(begun) - BEGUN_SHOWN_MAX} more that have begun", flush=True)


def _tell_asked(execution: Document, ask: Document, on_ask: OnAsk | None) -> None:
    if on_ask is not None:
        print(f"{ask['step']}: asks: {asked_for(ask)}", flush=True)
        on_ask(ask)
        return
    print(f"{ask['step']}: asks: {asked_for(ask)}; answer it: {answer_command(execution, ask)}", flush=True)


def _ended(execution: Document | None) -> Document:
    if execution is None:
        raise StreamEnded("the daemon told nothing of the execution", "see its log, or try again")
    return execution
