"""Which actions a step may use, and with what."""

import re
from collections.abc import Mapping
from typing import Final

from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.yaml_nodes import Entry, Node

CHECKOUT: Final = "actions/checkout"

_REFERENCE: Final = re.compile(r"[^/\\@]+[/\\][^/\\@]+([/\\][^@]+)?@[^@]+")
_HARMLESS: Final = frozenset(
    [
        "path",
        "clean",
        "fetch-depth",
        "fetch-tags",
        "filter",
        "persist-credentials",
        "set-safe-directory",
        "show-progress",
        "ssh-key",
        "ssh-known-hosts",
        "ssh-strict",
        "ssh-user",
        "token",
    ]
)
"""Inputs of checkout that change nothing when the tree comes from the submission, and `path`, which is honoured."""
_SAME: Final[Mapping[str, frozenset[str]]] = {
    "repository": frozenset({"", "${{github.repository}}"}),
    "ref": frozenset({"", "${{github.ref}}", "${{github.sha}}", "${{github.ref_name}}"}),
    "lfs": frozenset({"", "false"}),
    "submodules": frozenset({"", "false"}),
    "sparse-checkout": frozenset({""}),
    "sparse-checkout-cone-mode": frozenset({"", "true", "false"}),
    "github-server-url": frozenset({"", "${{github.server_url}}"}),
}
"""Inputs of checkout with the values, blanks aside, that ask for nothing but the submitted tree."""


def is_checkout(uses: str) -> bool:
    """True for `actions/checkout@` anything."""
    return uses.partition("@")[0].lower() == CHECKOUT


def check_uses(reading: Reading, node: Node, uses: str) -> None:
    """Refuses by name every action that cannot be run here."""
    if uses.startswith("docker://"):
        reading.refuse(node, f"The container action '{uses}'")
    elif uses.startswith(("./", ".\\")):
        reading.refuse(node, f"The local action '{uses}'")
    elif not _REFERENCE.fullmatch(uses):
        reading.error(node, f"Expected format {{org}}/{{repo}}[/path]@ref. Actual '{uses}'")
    elif not is_checkout(uses):
        reading.refuse(node, f"The action '{uses}' (only {CHECKOUT} is built in)")


def check_inputs(reading: Reading, with_: Entry, uses: str, given: Mapping[str, str]) -> None:
    """Refuses by name inputs of checkout that would bring another tree than the submitted one."""
    if not is_checkout(uses):
        return
    keys = reading.mapping(with_.value)
    for name, text in given.items():
        key = name.lower()
        if key in _HARMLESS:
            continue
        if key not in _SAME:
            reading.warning(keys[name].key, f"{CHECKOUT} has no input '{name}'")
        elif re.sub(r"\s", "", text) not in _SAME[key]:
            reading.refuse(keys[name].key, f"The input '{name}' of {CHECKOUT} with a value of its own")
