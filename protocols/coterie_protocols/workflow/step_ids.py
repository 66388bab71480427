"""Ids of jobs and steps: which are valid, and what a step without one is called."""

import re
from typing import Final

ID_CHARS_MAX: Final = 100

_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_-]")


def id_problem(name: str) -> str | None:
    """Why `name` cannot be an id, in GitHub's words; None where it can."""
    if not _ID.fullmatch(name) or len(name) >= ID_CHARS_MAX:
        return (
            f"The identifier '{name}' is invalid. IDs may only contain alphanumeric characters, '_', and '-'. "
            f"IDs must start with a letter or '_' and and must be less than {ID_CHARS_MAX} characters."
        )
    if name.startswith("__"):
        return f"The identifier '{name}' is invalid. IDs starting with '__' are reserved."
    return None


class StepIds:
    """The ids of one job's steps."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str) -> str | None:
        """Takes an id that the file gives; answers what is wrong with it, or None."""
        problem = id_problem(name)
        if problem is None and name.lower() in self._taken:
            problem = f"The identifier '{name}' may not be used more than once within the same scope."
        self._taken.add(name.lower())
        return problem

    def generate(self, uses: str | None) -> str:
        """An id for a step without one: `__run`, `__run_2`, `__actions_checkout`."""
        base = "__" + _ILLEGAL.sub("_", _subject(uses))
        candidate, attempt = base[:ID_CHARS_MAX], 1
        while candidate.lower() in self._taken:
            attempt += 1
            suffix = f"_{attempt}"
            candidate = base[: ID_CHARS_MAX - len(suffix)] + suffix
        self._taken.add(candidate.lower())
        return candidate


def _subject(uses: str | None) -> str:
    """What a step is about: `run`, or the owner and name of its action."""
    if uses is None:
        return "run"
    if uses.startswith("docker://"):
        return uses.removeprefix("docker://")
    if uses.startswith(("./", ".\\")):
        return "self"
    segments = [segment for segment in re.split(r"[\\/]", uses.partition("@")[0]) if segment]
    return "/".join(segments[:2]) if len(segments) >= 2 else "run"
