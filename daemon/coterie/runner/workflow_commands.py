"""Lines by which a step speaks to its runner: `::error file=app.py,line=3::it broke`.

Source: actions/runner, src/Runner.Common/ActionCommand.cs and src/Runner.Worker/ActionCommandManager.cs.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from coterie.runner.masks import Masker

COMMANDS: Final = frozenset(
    (
        *("add-mask", "add-path", "debug", "echo", "endgroup", "error", "group", "notice", "save-state", "set-env"),
        *("set-output", "stop-commands", "warning"),
    )
)
UNSECURE_VARIABLE = "ACTIONS_ALLOW_UNSECURE_COMMANDS"
DEBUG_VARIABLE = "ACTIONS_STEP_DEBUG"
_DATA_ESCAPES: Final = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY_ESCAPES: Final = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_BRACKET_ESCAPES: Final = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))


@dataclass(frozen=True, slots=True)
class WorkflowCommand:
    """A parsed command line; names of commands ignore case and are kept in lower case."""

    name: str
    properties: Mapping[str, str]
    data: str


def parse_command(line: str, registered: Collection[str]) -> WorkflowCommand | None:
    """The command that a line of output is, or None. Only `registered` names (lower case) are commands."""
    if "::" not in line and "##[" not in line:
        return None
    return _parse_colons(line, registered) or _parse_brackets(line, registered)


def _parse_colons(line: str, registered: Collection[str]) -> WorkflowCommand | None:
    line = line.lstrip()
    if not line.startswith("::"):
        return None
    head, end, data = line[2:].partition("::")
    name, _, properties = head.partition(" ")
    if not end or name.lower() not in registered:
        return None
    pairs = _properties(properties.strip(), ",", _PROPERTY_ESCAPES)
    return WorkflowCommand(name.lower(), pairs, _unescape(data, _DATA_ESCAPES))


def _parse_brackets(line: str, registered: Collection[str]) -> WorkflowCommand | None:
    _, start, rest = line.partition("##[")
    head, end, data = rest.partition("]")
    name, _, properties = head.partition(" ")
    if not start or not end or name.lower() not in registered:
        return None
    pairs = _properties(properties.strip(), ";", _BRACKET_ESCAPES)
    return WorkflowCommand(name.lower(), pairs, _unescape(data, _BRACKET_ESCAPES))


def _properties(text: str, separator: str, escapes: tuple[tuple[str, str], ...]) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(separator))
    return {name.strip(): _unescape(value, escapes) for name, _, value in pairs if name and value}


def _unescape(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    if "%" in text:
        for escape, character in escapes:
            text = text.replace(escape, character)
    return text


@dataclass(slots=True)
class CommandEffects:
    """What the commands of one step came to."""

    outputs: dict[str, str] = field(default_factory=dict[str, str])
    state: dict[str, str] = field(default_factory=dict[str, str])
    env: dict[str, str] = field(default_factory=dict[str, str])
    path: list[str] = field(default_factory=list[str])
    errors: list[str] = field(default_factory=list[str])


class CommandReader:
    """Takes the lines of one step: obeys the commands among them and writes what people shall see."""

    def __init__(self, write: Callable[[str], None], masker: Masker, env: Mapping[str, str]) -> None:
        self.effects = CommandEffects()
        self._write = write
        self._masker = masker
        self._debug = env.get(DEBUG_VARIABLE, "").lower() == "true"
        self._unsecure = env.get(UNSECURE_VARIABLE, "").lower() == "true"
        self._echo = self._debug
        self._stop_token = ""

    def line(self, line: str) -> None:
        """Takes one line of output."""
        registered = (self._stop_token,) if self._stop_token else COMMANDS
        command = parse_command(line, registered)
        if command is None:
            self._write(line)
        elif self._stop_token:
            self._stop_token = ""
            self._write(line)
        else:
            self._obey(command, line)

    def _obey(self, command: WorkflowCommand, line: str) -> None:
        match command.name:
            case "add-mask":
                self._add_mask(command.data)
            case "set-output" | "save-state":
                self._set(command)
            case "set-env" | "add-path":
                self._unsecure_command(command)
            case "stop-commands":
                self._stop(command.data)
            case "echo":
                self._set_echo(command.data)
            case "debug":
                if self._debug:
                    self._write(f"##[debug]{command.data}")
            case "notice" | "warning" | "error":
                self._write(f"##[{command.name}]{_place(command.properties)}{command.data}")
            case _:  # group, endgroup
                self._write(f"##[{command.name}]{command.data}")
        if self._echo and command.name in ("add-mask", "set-output", "save-state", "set-env", "add-path"):
            self._write(line)

    def _add_mask(self, value: str) -> None:
        if not value.strip():
            self._write("##[warning]Can't add secret mask for empty string in ##[add-mask] command.")
            return
        self._masker.add(value)

    def _set(self, command: WorkflowCommand) -> None:
        name = command.properties.get("name", "")
        if not name:
            self._fail(f"Required field 'name' is missing in ##[{command.name}] command.")
        elif command.name == "set-output":
            self.effects.outputs[name] = command.data
        else:
            self.effects.state[name] = command.data

    def _unsecure_command(self, command: WorkflowCommand) -> None:
        name = command.properties.get("name", "")
        if not self._unsecure:
            self._fail(
                f"The `{command.name}` command is disabled. Please upgrade to using Environment Files or opt into "
                f"unsecure command execution by setting the `{UNSECURE_VARIABLE}` environment variable to `true`."
            )
        elif command.name == "add-path":
            self.effects.path.append(command.data)
        elif not name or name.upper() == "NODE_OPTIONS":
            self._fail("##[set-env] needs a name, and cannot set NODE_OPTIONS.")
        else:
            self.effects.env[name] = command.data

    def _stop(self, token: str) -> None:
        if not token or token.lower() in COMMANDS or token == "pause-logging":
            self._fail(f"Invalid stop token '{token}': it must not be empty or the name of a command.")
            return
        self._stop_token = token.lower()

    def _set_echo(self, data: str) -> None:
        match data.strip().lower():
            case "on":
                self._echo = True
            case "off":
                self._echo = False
            case _:
                self._fail("Invalid echo command value. Possible values can be: 'on', 'off'.")

    def _fail(self, message: str) -> None:
        self.effects.errors.append(message)
        self._write(f"##[error]{message}")


def _place(properties: Mapping[str, str]) -> str:
    """`app.py:3:1: title: `, as far as known."""
    place = ":".join(properties[key] for key in ("file", "line", "col") if key in properties)
    return "".join(f"{part}: " for part in (place, properties.get("title", "")) if part)
