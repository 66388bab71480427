"""Runs a `coterie: 1` file in this process, or goes on with one, and shows it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from coterie.cli.answer_form import ask_person, described, filled
from coterie.cli.embedded import Begin, EmbeddedRun
from coterie.cli.execution_show import print_outputs
from coterie.cli.execution_submit import typed_inputs
from coterie.cli.execution_watch import EXIT_FAILED, EXIT_INTERRUPTED, show_execution
from coterie.cli.explanation import print_explanation
from coterie.cli.local_runs import find_folder, new_folder
from coterie.cli.output import say
from coterie.cli.typed_values import pairs
from coterie.cli.words import short_run
from coterie.client_request import prepare_file
from coterie.control.client import Document
from coterie.engine.engine import WorkflowEngine
from coterie.engine.journal.port import ExecutionRecord
from coterie.engine.model import plan_hash
from coterie.engine.performing.submission import Request
from coterie.engine.planning.spec_document import spec_from_json
from coterie_protocols.errors import UserError

Answers = Mapping[str, Mapping[str, str]]
"""By step and field."""


class NobodyToAsk(UserError):
    """A step asks, and there is neither an answer nor a terminal."""

    code = "nobody-to-ask"


def start_run(file: Path, store: Path | None, inputs: Sequence[str], answers: Sequence[str], as_json: bool) -> int:
    """Executes a file and returns the exit code. Raises InvalidWorkflow, BadInputs, UserError."""
    prepared = prepare_file(file)
    given = typed_inputs(prepared.spec, inputs)
    known = _answers(answers)

    def begin(engine: WorkflowEngine) -> ExecutionRecord:
        spec = spec_from_json(prepared.document)
        return engine.submissions.accept(Request(spec, given, source=str(prepared.tree)))

    engine = WorkflowEngine()  # has no store: it only says what is wrong before a folder is made
    engine.submissions.plan(prepared.spec)
    engine.close()
    return _run(store or new_folder(), store, begin, known, as_json)


def resume_run(name: str, file: Path | None, store: Path | None, answers: Sequence[str], as_json: bool) -> int:
    """Goes on with a run and returns the exit code. Raises NotFound."""
    folder, execution = find_folder(name) if store is None else (store, "@last" if name == "last" else name)
    expected = None if file is None else plan_hash(prepare_file(file).document)

    def begin(engine: WorkflowEngine) -> ExecutionRecord:
        record = engine.execution(engine.core.journal.find(execution).id)
        if expected not in (None, record.plan_hash):
            say(f"{file} has changed since: the run goes on with the plan that it began with")
        if record.state == "completed":
            say("it has completed already")
        return record

    return _run(folder, store, begin, _answers(answers), as_json)


def _run(folder: Path, store: Path | None, begin: Begin, answers: Answers, as_json: bool) -> int:
    if store is not None:
        store.mkdir(parents=True, exist_ok=True)
    source = EmbeddedRun(folder, begin)
    told = f" --store {store}" if store else ""

    def on_ask(ask: Document) -> None:
        source.answer(ask["step"], _answer(ask, answers, f"coterie workflow run --resume {_name(source)}{told}"))

    try:
        ended = show_execution(source, as_json, final_only=True, on_ask=on_ask)
    except (KeyboardInterrupt, click.Abort) as interrupted:
        say("\n" * isinstance(interrupted, click.Abort) + "stopping what runs ...")
        source.stop()
        say(f"what has completed is kept; go on with: coterie workflow run --resume {_name(source)}{told}")
        return EXIT_INTERRUPTED
    except BaseException:
        source.stop()
        raise
    if not as_json:
        _tell_end(source, ended, told)
    return 0 if ended["status"] == "completed" else EXIT_FAILED


def _tell_end(source: EmbeddedRun, ended: Document, told: str) -> None:
    if ended["status"] == "completed":
        print_outputs(ended)
        return
    print()
    print_explanation(source.explanation, ended)
    say(f"try again from there: coterie workflow run --resume {_name(source)}{told}")


def _name(source: EmbeddedRun) -> str:
    return short_run(source.execution) if source.execution else "last"


def _answer(ask: Document, answers: Answers, resume: str) -> Mapping[str, object]:
    step, form = ask["step"], ask["form"]
    if step in answers:
        return filled(form, answers[step])
    if sys.stdin.isatty():
        return ask_person(form, step)
    raise NobodyToAsk(
        f"{step} asks for an answer, and there is no terminal; {described(form)}",
        f"{resume} --answer {step}.NAME=VALUE, or at a terminal",
    )


def _answers(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in pairs(texts, "--answer ").items():
        step, dot, field = name.partition(".")
        if not dot:
            raise UserError(f"--answer {name!r} names no field", "for example: --answer approve.ok=yes")
        found.setdefault(step, {})[field] = value
    return found
