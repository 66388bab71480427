"""Reads YAML from strangers into nodes with positions; whatever the bytes, the outcome is nodes or problems.

libyaml's events are composed here and not by PyYAML, because its composer refuses an anchor that is defined again
(which is legal), recurses without a limit, and expands aliases without counting.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import yaml

if TYPE_CHECKING:
    from yaml._yaml import Mark as CMark

from coterie_protocols.workflow.core_schema import TAGS, Value, resolve_plain
from coterie_protocols.workflow.model import Position, Problem
from coterie_protocols.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

FILE_BYTES_MAX: Final = 1024 * 1024
DEPTH_MAX: Final = 50
ALIASED_NODES_MAX: Final = 50_000
"""How many nodes all aliases of a file together may stand for."""

_SEQUENCE_TAG: Final = "tag:yaml.org,2002:seq"
_MAPPING_TAG: Final = "tag:yaml.org,2002:map"
_STYLES: Final = {"'": "SingleQuoted", '"': "DoubleQuoted", "|": "Literal", ">": "Folded"}
_START: Final = Position(1, 1)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class YamlProblem(Exception):
    """The one thing that stopped the reading of a file."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.problem = Problem(message, position)


def read_yaml_untrusted(source: str | bytes) -> tuple[Node | None, tuple[Problem, ...]]:
    """The document's root node and the problems found. The node is None when the file could not be read to its end.

    A duplicate key is a problem, and its first value counts.
    """
    try:
        text = _text_of(source)
        composer = _Composer(text)
        return composer.document(), tuple(composer.problems)
    except YamlProblem as stopped:
        return None, (stopped.problem,)


def _text_of(source: str | bytes) -> str:
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(data) > FILE_BYTES_MAX:
        raise YamlProblem(f"The file has {len(data)} bytes; the limit is {FILE_BYTES_MAX}", _START)
    text = (source if isinstance(source, str) else _decoded(source)).removeprefix("\ufeff")
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        message = f"The character U+{ord(unprintable[0]):04X} is not allowed in YAML: is this a binary file?"
        raise YamlProblem(message, _position_at(text, unprintable.start()))
    if not text.strip():
        raise YamlProblem("The file is empty", _START)
    return text


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise YamlProblem("The file is not text in UTF-8", _position_at(before, len(before))) from None


def _position_at(text: str, offset: int) -> Position:
    lines = _LINE_BREAK.split(text[:offset])
    return Position(len(lines), len(lines[-1]) + 1)


class _Composer:
    """Builds nodes from events. `_anchors` maps a name to its node and weight, None while it is being built."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._events = _events(text)
        self._anchors: dict[str | None, tuple[Node, int] | None] = {}
        self._aliased = 0
        self._weight = 0

    def document(self) -> Node:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise YamlProblem("The file holds nothing but comments", _START)
        root = self._node(next(self._events), 0)
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise YamlProblem("A second document begins here; a workflow file holds one", _position(event))
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > DEPTH_MAX:
            raise YamlProblem("Maximum object depth exceeded", _position(event))
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        before = self._weight
        self._weight += 1
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        node = _scalar(event) if isinstance(event, yaml.ScalarEvent) else self._collection(event, depth)
        if anchor is not None:
            self._anchors[anchor] = (node, self._weight - before)
        return node

    def _collection(self, event: yaml.CollectionStartEvent, depth: int) -> Node:
        position = _position(event)
        is_sequence = isinstance(event, yaml.SequenceStartEvent)
        if event.tag not in (None, "!", _SEQUENCE_TAG if is_sequence else _MAPPING_TAG):
            raise YamlProblem(f"Unexpected tag '{event.tag}'", position)
        if is_sequence:
            return Sequence(self._items(depth), position.line, position.column)
        return Mapping(self._entries(depth), position.line, position.column)

    def _alias(self, event: yaml.AliasEvent) -> Node:
        name = event.anchor
        if name not in self._anchors:
            raise YamlProblem(f"The alias '*{name}' has no anchor '&{name}' before it", _position(event))
        target = self._anchors[name]
        if target is None:
            raise YamlProblem(f"The alias '*{name}' stands within its own anchor", _position(event))
        node, weight = target
        self._weight += weight
        self._aliased += weight
        if self._aliased > ALIASED_NODES_MAX:
            message = f"The aliases stand for more than {ALIASED_NODES_MAX} values"
            raise YamlProblem(message, _position(event))
        return node

    def _items(self, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return tuple(items)

    def _entries(self, depth: int) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        seen: set[str] = set()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                what = "mapping" if isinstance(key, Mapping) else "sequence"
                self.problems.append(Problem(f"A {what} was not expected", key.position))
            elif key.text in seen:
                self.problems.append(Problem(f"'{key.text}' is already defined", key.position))
            else:
                seen.add(key.text)
                entries.append(Entry(key, value))
        return tuple(entries)


def _scalar(event: yaml.ScalarEvent) -> Scalar:
    text, tag, style = event.value, event.tag, event.style or None
    mark = _mark(event)
    if tag is None:
        value = resolve_plain(text) if style is None else text
    else:
        value = text if tag == "!" else _tagged(text, tag, style, _position(event))
    return Scalar(value, text, style, mark.line + 1, mark.column + 1)


def _tagged(text: str, tag: str, style: str | None, position: Position) -> Value:
    read = TAGS.get(tag)
    if read is None:
        raise YamlProblem(f"Unexpected tag '{tag}'", position)
    if style is not None and read is not str:
        at = f"on line {position.line} and column {position.column}"
        raise YamlProblem(f"The scalar style '{_STYLES[style]}' {at} is not valid with the tag '{tag}'", position)
    try:
        return read(text)
    except ValueError:
        at = f"on line {position.line} and column {position.column}"
        raise YamlProblem(f"The value '{text}' {at} is invalid for the type '{tag}'", position) from None


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)  # pyright: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = _LINE_BREAK.split(text)
        position = _START if mark is None else Position(mark.line + 1, mark.column + 1)
        if position.line > len(lines):  # libyaml puts the end of the stream on a line of its own
            position = Position(len(lines), len(lines[-1]) + 1)
        context = f" {error.context}" if error.context else ""
        raise YamlProblem(f"Not YAML: {error.problem or 'unreadable'}{context}", position) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise YamlProblem(f"Not YAML: {error}", _START) from None


def _mark(event: yaml.Event) -> "yaml.Mark | CMark":
    mark = event.start_mark
    assert mark is not None, "libyaml marks every event"
    return mark


def _position(event: yaml.Event) -> Position:
    mark = _mark(event)
    return Position(mark.line + 1, mark.column + 1)
