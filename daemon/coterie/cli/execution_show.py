"""An execution on one screen, as plain lines: for `workflow status`."""

from collections.abc import Sequence

from coterie.cli.execution_words import (
    answer_command,
    asked_for,
    execution_took,
    first_line,
    in_order,
    next_command,
    step_note,
    step_took,
    steps_done,
)
from coterie.cli.output import paint, print_fields, print_table, say, status_sign
from coterie.cli.words import age
from coterie.control.client import Document


def print_execution(execution: Document, steps: Sequence[Document], hidden: int) -> None:
    """The execution, some of its steps, what it asks and why it failed; the next command is talk."""
    print(f"{status_sign(execution['status'])}  {paint(execution['name'], 'bold')}  {execution['id']}")
    print(paint(f"  {_circumstances(execution)}", "dim"))
    if execution["reason"]:
        print(f"  {execution['reason']}")
    print()
    asked = {ask["step"] for ask in execution["asks"]}
    rows = [_row(step, step["id"] in asked) for step in in_order(steps)]
    print_table(["step", "status", "type", "try", "took", "note"], rows)
    if hidden:
        print(paint(f"... and {hidden:,} more; all of them: --all", "dim"))
    _print_asks(execution)
    print_outputs(execution)
    _say_rest(execution)


def _circumstances(execution: Document) -> str:
    told = [execution["workflow"] if execution["workflow"] != execution["name"] else ""]
    who = execution["submitter"].partition(":")[2] or execution["submitter"]
    by = f" by {who}" if who else ""
    told.append(f"submitted {age(execution['created_at'])}{by}")
    if took := execution_took(execution):
        told.append(f"took {took}")
    told.append(steps_done(execution["counts"]))
    if execution["origin"]:
        told.append(f"runs {execution['origin']} again")
    if execution["key"]:
        told.append(f"key {execution['key']}")
    return ", ".join(filter(None, told))


def _row(step: Document, asks: bool) -> list[str]:
    attempt = str(step["attempt"]) if step["attempt"] > 1 else ""
    note = first_line(step_note(step))
    return [step["id"], status_sign("asks" if asks else step["state"]), step["type"], attempt, step_took(step), note]


def _print_asks(execution: Document) -> None:
    for ask in execution["asks"]:
        print()
        print(f"{paint('?', 'yellow')} {paint(ask['step'], 'bold')} asks: {asked_for(ask)}")
        print(f"  answer it: {answer_command(execution, ask)}")


def print_outputs(execution: Document) -> None:
    """What it gives, by name."""
    import json

    outputs: dict[str, object] = execution["outputs"]
    if outputs:
        print()
        texts = {name: each if isinstance(each, str) else json.dumps(each) for name, each in outputs.items()}
        print_fields(texts)


def _say_rest(execution: Document) -> None:
    if execution["code_changed"]:
        names = ", ".join(execution["code_changed"])
        say(f"{paint('warning:', 'yellow')} the code of {names} has changed since it was submitted")
    following = next_command(execution)
    if following is not None and not execution["asks"]:
        say(f"{following[0]}: {following[1]}")
