"""Workflow commands against the tests of GitHub's own runner, where they are at hand, and by hand."""

import json
from typing import Any

import pytest

from conformance.shared_data import FOLDER, needs_shared_data
from coterie.runner.masks import Masker
from coterie.runner.workflow_commands import CommandReader, WorkflowCommand, parse_command

CONFORMANCE = FOLDER / "runner_commands.json"


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(CONFORMANCE.read_text())["cases"] if CONFORMANCE.exists() else []
    return found


@needs_shared_data
def test_all_cases_are_there() -> None:
    assert len(cases()) == 14


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["line"])
def test_as_githubs_runner(case: dict[str, Any]) -> None:
    command = parse_command(case["line"], {"do-something"})
    name = case["command"]
    assert command == (None if name is None else WorkflowCommand(name, case["properties"], case["data"]))


def test_names_ignore_case_and_unknown_ones_are_text() -> None:
    assert parse_command("::Do-Something::x", {"do-something"}) == WorkflowCommand("do-something", {}, "x")
    assert parse_command("::other::x", {"do-something"}) is None
    assert parse_command("::do-something", {"do-something"}) is None
    assert parse_command("##[do-something", {"do-something"}) is None


class Talk:
    """A step that says lines."""

    def __init__(self, **env: str) -> None:
        self.lines: list[str] = []
        self.masker = Masker()
        self._reader = CommandReader(lambda line: self.lines.append(self.masker.mask(line)), self.masker, env)
        self.effects = self._reader.effects

    def say(self, *lines: str) -> list[str]:
        self.lines.clear()
        for line in lines:
            self._reader.line(line)
        return list(self.lines)


def test_messages_and_groups() -> None:
    talk = Talk()
    assert talk.say("::error file=a.py,line=3,col=1,title=Oops::it%0Abroke") == ["##[error]a.py:3:1: Oops: it\nbroke"]
    assert talk.say("::warning::careful", "::notice title=N::see") == ["##[warning]careful", "##[notice]N: see"]
    assert talk.say("::group::Build", "in", "::endgroup::") == ["##[group]Build", "in", "##[endgroup]"]


def test_debug_is_silent_until_asked_for() -> None:
    assert Talk().say("::debug::x") == []
    assert Talk(ACTIONS_STEP_DEBUG="true").say("::debug::x") == ["##[debug]x"]


def test_masks_hold_from_the_next_line_in_every_spelling() -> None:
    talk = Talk()
    assert talk.say("hunter22", "::add-mask::hunter22", "a hunter22 b", "aHVudGVyMjI=") == [
        "hunter22",
        "a *** b",
        "***=",
    ]
    assert talk.say("::add-mask::one%0Atwo words", "just two words") == ["just ***"]
    assert talk.say("::add-mask:: ") == ["##[warning]Can't add secret mask for empty string in ##[add-mask] command."]
    assert talk.say('::add-mask::say "x"', '{"a": "say \\"x\\""}', "say%20%22x%22") == ['{"a": "***"}', "***"]


def test_base64_of_a_mask_is_found_at_every_offset() -> None:
    import base64

    masker = Masker()
    masker.add("correct horse")
    for prefix in (b"", b"u", b"us"):
        encoded = base64.b64encode(prefix + b"correct horse" + b"!").decode()
        assert "***" in masker.mask(encoded)


def test_stopped_commands_are_text_until_the_token() -> None:
    talk = Talk()
    said = talk.say("::stop-commands::tOken-1", "::set-output name=a::b", "::other::", "::token-1::", "::notice::on")
    assert said == ["::set-output name=a::b", "::other::", "::token-1::", "##[notice]on"]
    assert talk.effects.outputs == {}


@pytest.mark.parametrize("token", ["", "debug", "pause-logging"])
def test_bad_stop_tokens_fail(token: str) -> None:
    talk = Talk()
    talk.say(f"::stop-commands::{token}", "::set-output name=a::b")
    assert talk.effects.errors
    assert talk.effects.outputs == {"a": "b"}


def test_deprecated_outputs_and_state() -> None:
    talk = Talk()
    assert talk.say("::set-output name=a::1%0A2", "::save-state name=s::t") == []
    assert (talk.effects.outputs, talk.effects.state) == ({"a": "1\n2"}, {"s": "t"})
    talk.say("::set-output::x")
    assert talk.effects.errors == ["Required field 'name' is missing in ##[set-output] command."]


def test_unsecure_commands_fail_unless_allowed() -> None:
    talk = Talk()
    assert "The `set-env` command is disabled" in talk.say("::set-env name=A::b")[0]
    assert talk.effects.errors
    talk = Talk(ACTIONS_ALLOW_UNSECURE_COMMANDS="true")
    talk.say("::set-env name=A::b", "::add-path::/x")
    assert (talk.effects.env, talk.effects.path, talk.effects.errors) == ({"A": "b"}, ["/x"], [])
    talk.say("::set-env name=node_options::b")
    assert talk.effects.errors


def test_echo_shows_commands() -> None:
    talk = Talk()
    assert talk.say("::echo::on", "::set-output name=a::b", "::echo::off", "::set-output name=a::c") == [
        "::set-output name=a::b"
    ]
    talk.say("::echo::maybe")
    assert talk.effects.errors
