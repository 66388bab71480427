"""A settings file as YAML, with the line of every key, so that a mistake can be pointed at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml

from coterie_protocols.errors import UserError

Place = tuple[str | int, ...]
"""A key, or a key and the index of an item in its list."""


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a file says; `lines` counts from 1. A key whose value is null is left out: the default stands."""

    path: Path
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    lines: Mapping[Place, int] = field(default_factory=dict[Place, int])

    def where(self, place: Place) -> str:
        """`file:line` of a key or a list item, as exactly as it is known."""
        for end in (2, 1):
            if line := self.lines.get(place[:end]):
                return f"{self.path}:{line}"
        return str(self.path)


def read_settings_file(path: Path) -> SettingsFile:
    """Reads one YAML mapping of the settings. Raises UserError with the line where it is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "Name another file with --config.") from error
    try:
        return _understood(path, yaml.SafeLoader(content))
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is not YAML: it holds bytes that no text has") from error


def _understood(path: Path, loader: yaml.SafeLoader) -> SettingsFile:
    root = loader.get_single_node()
    if root is None:  # pyright: ignore[reportUnnecessaryComparison]  # the stub forgets the empty document
        return SettingsFile(path)
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:1: must be a mapping, one `key: value` a line")
    lines: dict[Place, int] = {}
    values: dict[str, object] = {}
    for key_node, value_node in root.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if (key,) in lines:
            raise UserError(f"{path}:{line}: `{key}` stands here a second time, after line {lines[(key,)]}")
        lines[(key,)] = line
        if isinstance(value_node, yaml.SequenceNode):
            lines |= {(key, index): item.start_mark.line + 1 for index, item in enumerate(value_node.value)}
        value = cast("object", loader.construct_object(value_node, deep=True))  # pyright: ignore[reportUnknownMemberType]
        if value is not None:
            values[key] = value
    return SettingsFile(path, values, lines)
