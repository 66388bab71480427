"""What a job tells the run of the step that it carried out."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from coterie.engine.model import Json
from coterie.engine.spread.one_step import NULL
from coterie_protocols.ops import OUTPUT_CHARS_MAX

RESULT_BYTES_MAX: Final = 3 * OUTPUT_CHARS_MAX
"""In UTF-8: the event that tells of the job has room for 64 KiB with everything."""

ERROR_CHARS_MAX: Final = 1000
SUCCESSES: Final = frozenset({"completed", "skipped"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. `result` is JSON; `error` says why it failed."""

    state: Literal["completed", "failed", "skipped", "cancelled"]
    arm: str = ""
    result: str = NULL
    error: str = ""

    @property
    def ok(self) -> bool:
        """Is its job a success?"""
        return self.state in SUCCESSES

    def fitting(self, what: str) -> "Ended":
        """Itself, or a failure where a job cannot tell so much; `what` is what returned it."""
        size = len(self.result.encode())
        if len(self.result) <= OUTPUT_CHARS_MAX and size <= RESULT_BYTES_MAX:
            return self
        error = (
            f"{what} returned {len(self.result)} characters ({size} bytes) of JSON, and a job can hand on "
            f"{OUTPUT_CHARS_MAX} characters ({RESULT_BYTES_MAX} bytes): write it where all peers can read it and "
            "return its address, or submit with placement run"
        )
        return replace(self, state="failed", arm="", result=NULL, error=error)

    def write(self, path: Path) -> None:
        """Appends the outputs to the file that GITHUB_OUTPUT names. Source: docs.github.com, "Workflow commands"."""
        mark = f"end-{secrets.token_hex(16)}"
        outputs = {"state": self.state, "arm": self.arm, "result": self.result, "error": self.error[:ERROR_CHARS_MAX]}
        with path.open("a", encoding="utf-8") as file:
            for name, value in outputs.items():
                file.write(f"{name}<<{mark}\n{value}\n{mark}\n")


def whole_result(outputs: Mapping[str, Json]) -> str:
    """The outputs of a workflow as one text."""
    return json.dumps(dict(outputs), ensure_ascii=False, separators=(",", ":"))
