"""Reads `on`: the events of a workflow, and the inputs of `workflow_dispatch`."""

from collections.abc import Mapping
from typing import Final, Literal, cast

from coterie_protocols.workflow.expressions.values import to_text
from coterie_protocols.workflow.inputs import input_problem
from coterie_protocols.workflow.model import InputSpec
from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.yaml_nodes import Mapping as MappingNode
from coterie_protocols.workflow.yaml_nodes import Node, Scalar, Sequence

InputType = Literal["string", "boolean", "choice", "number", "environment"]

INPUTS_MAX: Final = 25

EVENTS: Final = frozenset(
    [
        "branch_protection_rule",
        "check_run",
        "check_suite",
        "create",
        "delete",
        "deployment",
        "deployment_status",
        "discussion",
        "discussion_comment",
        "fork",
        "gollum",
        "image_version",
        "issue_comment",
        "issues",
        "label",
        "merge_group",
        "milestone",
        "page_build",
        "project",
        "project_card",
        "project_column",
        "public",
        "pull_request",
        "pull_request_comment",
        "pull_request_review",
        "pull_request_review_comment",
        "pull_request_target",
        "push",
        "registry_package",
        "release",
        "repository_dispatch",
        "schedule",
        "status",
        "watch",
        "workflow_call",
        "workflow_dispatch",
        "workflow_run",
    ]
)
"""Source: docs.github.com, "Events that trigger workflows"."""

_BRANCHES: Final = frozenset({"branches", "branches-ignore"})
_PATHS: Final = frozenset({"paths", "paths-ignore"})
_FILTERS: Final[Mapping[str, frozenset[str]]] = {
    "push": _BRANCHES | _PATHS | {"tags", "tags-ignore"},
    "pull_request": _BRANCHES | _PATHS | {"types"},
    "pull_request_target": _BRANCHES | _PATHS | {"types"},
    "merge_group": _BRANCHES | {"types"},
    "workflow_run": _BRANCHES | {"types", "workflows"},
    "workflow_call": frozenset({"inputs", "outputs", "secrets"}),
    "image_version": frozenset({"names", "versions"}),
}
_TYPES: Final = frozenset({"types"})
_INPUT_KEYS: Final = frozenset({"description", "type", "required", "default", "options", "deprecationMessage"})
INPUT_TYPES: Final = frozenset({"string", "boolean", "choice", "number", "environment"})


def read_triggers(reading: Reading, node: Node) -> tuple[tuple[str, ...], dict[str, InputSpec]]:
    """The names of the events in their order, and the inputs of `workflow_dispatch` by name."""
    if not isinstance(node, MappingNode):
        names = [name for name, item in reading.texts(node) if _known(reading, item, name)]
        return tuple(dict.fromkeys(names)), {}
    events: list[str] = []
    inputs: dict[str, InputSpec] = {}
    for name, entry in reading.mapping(node).items():
        if not _known(reading, entry.key, name):
            continue
        events.append(name)
        if name == "workflow_dispatch":
            inputs = _dispatch_inputs(reading, entry.value)
        elif name == "schedule":
            _check_schedule(reading, entry.value)
        elif not _is_null(entry.value):
            reading.fields(entry.value, _FILTERS.get(name, _TYPES))
    if not events and not reading.failed:
        reading.unexpected(node)
    return tuple(events), inputs


def _known(reading: Reading, at: Node, name: str) -> bool:
    if name in EVENTS:
        return True
    reading.unknown(at, name, EVENTS)
    return False


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _check_schedule(reading: Reading, node: Node) -> None:
    if not isinstance(node, Sequence):
        reading.unexpected(node)
        return
    for item in node.items:
        if "cron" not in reading.fields(item, {"cron", "timezone"}):
            reading.error(item, "Required property is missing: cron")


def _dispatch_inputs(reading: Reading, node: Node) -> dict[str, InputSpec]:
    if _is_null(node):
        return {}
    declared = reading.mapping(node).get("inputs")
    if declared is None or _is_null(declared.value):
        return {}
    entries = reading.mapping(declared.value)
    if len(entries) > INPUTS_MAX:
        reading.error(declared.key, f"There are {len(entries)} inputs; the limit is {INPUTS_MAX}")
    return {name: _input(reading, name, entry.value) for name, entry in entries.items()}


def _input(reading: Reading, name: str, node: Node) -> InputSpec:
    if _is_null(node):
        return InputSpec()
    fields = reading.fields(node, _INPUT_KEYS)
    kind = reading.text(fields["type"].value) if "type" in fields else "string"
    if kind not in INPUT_TYPES:
        if kind is not None:
            reading.unknown(fields["type"].value, kind, INPUT_TYPES)
        return InputSpec()
    required = reading.boolean(fields["required"].value) if "required" in fields else False
    options = _options(reading, fields["options"].value) if "options" in fields else ()
    spec = InputSpec(
        type=cast(InputType, kind),
        required=required is True,
        default=_default(reading, fields["default"].value) if "default" in fields else None,
        options=options,
        description=(reading.text(fields["description"].value) or "") if "description" in fields else "",
    )
    _check_input(reading, name, node, spec)
    return spec


def _options(reading: Reading, node: Node) -> tuple[str, ...]:
    """The options of a choice; the empty text may be one."""
    if not isinstance(node, Sequence):
        reading.unexpected(node)
        return ()
    texts = [reading.text(item) for item in node.items]
    return tuple(text for text in texts if text is not None)


def _default(reading: Reading, node: Node) -> str | None:
    if isinstance(node, Scalar):
        return None if node.value is None else to_text(node.value)
    reading.unexpected(node)
    return None


def _check_input(reading: Reading, name: str, node: Node, spec: InputSpec) -> None:
    if spec.type == "choice" and not spec.options:
        reading.error(node, f"The input '{name}' is a choice without options")
    elif spec.default is not None:
        problem = input_problem(name, spec, spec.default)
        if problem:
            reading.error(node, problem)
