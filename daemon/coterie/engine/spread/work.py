"""What a job is to carry out, as its environment tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from coterie.engine.journal.port import ExecutionRecord
from coterie.engine.model import Json, WorkflowSpec
from coterie.engine.spread.one_step import Need, part_of
from coterie.engine.spread.payload import STEP_VARIABLE, read_json, read_payload
from coterie_protocols.errors import UserError

PRIVATE: Final = frozenset({STEP_VARIABLE, "GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE"})
"""Variables by which the job's process speaks with its runner: what it starts has no part in that."""


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do. `step` is empty for a whole workflow; `attempt` counts the peers that began it, from 1.

    Implements `Folders`: steps find the job's checkout, and its folder for what is temporary.
    """

    spec: WorkflowSpec
    inputs: Mapping[str, Json]
    step: str
    needs: Mapping[str, Need]
    run: str
    attempt: int
    submitter: str
    checkout: Path
    temporary: Path
    output: Path
    env: Mapping[str, str]

    def part(self) -> WorkflowSpec:
        """What is carried out here. Raises UserError where the workflow has no such step."""
        if not self.step:
            return self.spec
        for step in self.spec.steps:
            if step.id == self.step:
                return part_of(self.spec, step)
        raise UserError(f"the workflow {self.spec.id} has no step '{self.step}'", "submit it again")

    def source_dir(self, record: ExecutionRecord) -> Path | None:
        """Where functions are imported from, and scripts run."""
        return self.checkout

    def work_dir(self, record: ExecutionRecord) -> Path | None:
        """Gone with the job."""
        return self.temporary


def read_work(environ: Mapping[str, str], here: Path) -> Work:
    """What the runner's variables say; `here` is the folder of the step. Raises UserError."""
    try:
        spec, inputs = read_payload(read_json(Path(environ["GITHUB_EVENT_PATH"])))
        return Work(
            spec=spec,
            inputs=inputs,
            step=environ.get(STEP_VARIABLE, ""),
            needs=_needs(read_json(Path(environ["COTERIE_NEEDS_PATH"]))),
            run=environ["COTERIE_RUN"],
            attempt=int(environ["COTERIE_ATTEMPT"]),
            submitter=environ.get("GITHUB_ACTOR", ""),
            checkout=here,
            temporary=Path(environ["RUNNER_TEMP"]),
            output=Path(environ["GITHUB_OUTPUT"]),
            env={name: value for name, value in environ.items() if name not in PRIVATE},
        )
    except KeyError as missing:
        raise UserError(
            f"the variable {missing.args[0]} is not set", "this is for steps of jobs: see `coterie workflow submit`"
        ) from None


def _needs(document: object) -> dict[str, Need]:
    known = cast("dict[str, dict[str, Any]]", document)
    return {id_: Need(need["result"], need["outputs"]) for id_, need in known.items()}
