"""The JSON of the control socket: stable keys, only ever added to. `schema` names each document's shape.

The answers mirror the dataclasses of `coterie.views` field by field; a test holds the two together.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from coterie.views import JobStatus, RunStatus

TEXT_CHARS_MAX = 1024 * 1024
LABELS_MAX = 32
INPUTS_MAX = 64
GIT_FACTS_MAX = 16
USES_MAX = 1_000_000
VALID_S_MAX = 366 * 86_400.0

Short = Annotated[str, Field(max_length=256)]
Label = Annotated[str, Field(min_length=1, max_length=128)]


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True, serialize_by_alias=True)


class Job(_Answer):
    """A job of a run. Times are RFC 3339 UTC with milliseconds; `peer` holds or held it."""

    id: str
    job: str
    status: JobStatus
    peer: str | None
    attempt: int
    started_at: str | None
    ended_at: str | None
    needs: tuple[str, ...]
    labels: tuple[str, ...]
    step: str | None
    reason: str
    log: str | None
    outputs: Mapping[str, str]


class Run(_Answer):
    """A run, the same on every peer that has heard of it."""

    schema_: Annotated[Literal["coterie.run/1"], Field(serialization_alias="schema")] = "coterie.run/1"
    run: str
    status: RunStatus
    workflow: str
    event: str
    submitter: str
    priority: float
    placement: str
    submitted_at: str
    ended_at: str | None
    jobs: tuple[Job, ...]


class Runs(_Answer):
    """Runs, the newest first."""

    schema_: Annotated[Literal["coterie.runs/1"], Field(serialization_alias="schema")] = "coterie.runs/1"
    runs: tuple[Run, ...]


class Member(_Answer):
    """A member as this peer sees it; `seen_s` is the age of its last sign of life in seconds."""

    peer: str
    name: str
    roles: tuple[str, ...]
    labels: tuple[str, ...]
    slots: int
    free: int
    state: Literal["self", "alive", "suspect", "gone", "unknown"]
    connected: bool
    seen_s: float | None
    addresses: tuple[str, ...]


class Members(_Answer):
    """The coterie, the peer that answers first."""

    schema_: Annotated[Literal["coterie.members/1"], Field(serialization_alias="schema")] = "coterie.members/1"
    members: tuple[Member, ...]


class Clock(_Answer):
    """The Merkle clock of this peer; `frontier` maps author to [seq, cid]."""

    schema_: Annotated[Literal["coterie.clock/1"], Field(serialization_alias="schema")] = "coterie.clock/1"
    coterie: str
    heads: tuple[str, ...]
    frontier: Mapping[str, tuple[int, str]]
    digest: str
    events: int
    pending: int


class Status(_Answer):
    """The daemon on one screen."""

    schema_: Annotated[Literal["coterie.status/1"], Field(serialization_alias="schema")] = "coterie.status/1"
    peer: str
    name: str
    coterie: str
    coterie_name: str
    version: str
    pid: int
    uptime_s: float
    roles: tuple[str, ...]
    labels: tuple[str, ...]
    slots: int
    free: int
    addresses: tuple[str, ...]
    members: int
    connected: int
    events: int
    digest: str
    runs: Mapping[str, int]
    running: tuple[str, ...]
    data_dir: str


class Verify(_Answer):
    """What came of rebuilding derived state; without `problems` all is well."""

    schema_: Annotated[Literal["coterie.verify/1"], Field(serialization_alias="schema")] = "coterie.verify/1"
    events: int
    live_digest: str
    rebuilt_digest: str
    problems: tuple[str, ...]


class Invite(_Answer):
    """A token, and what it allows."""

    schema_: Annotated[Literal["coterie.invite/1"], Field(serialization_alias="schema")] = "coterie.invite/1"
    token: str
    roles: tuple[str, ...]
    labels: tuple[str, ...]
    uses: int
    expires_at: str


class Health(_Answer):
    """The daemon serves."""

    schema_: Annotated[Literal["coterie.health/1"], Field(serialization_alias="schema")] = "coterie.health/1"
    status: Literal["ok"] = "ok"


class Stopping(_Answer):
    """The daemon has begun a clean exit; `pid` is its process."""

    schema_: Annotated[Literal["coterie.stopping/1"], Field(serialization_alias="schema")] = "coterie.stopping/1"
    pid: int


class Source(_Answer):
    """An uploaded source tree, to be named once by a submission."""

    schema_: Annotated[Literal["coterie.source/1"], Field(serialization_alias="schema")] = "coterie.source/1"
    source: str
    bytes: int


class Problem(_Answer):
    """Why a request failed (RFC 9457), with a stable `code`, the next step, and the exit code for a command."""

    schema_: Annotated[Literal["coterie.problem/1"], Field(serialization_alias="schema")] = "coterie.problem/1"
    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str
    exit_code: int


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SubmitBody(_Body):
    """A run to submit. `source` is what /v1/sources answered for the source tree."""

    file: Annotated[str, Field(min_length=1, max_length=4096)]
    text: Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
    event: Annotated[str, Field(min_length=1, max_length=64)] = "workflow_dispatch"
    payload: dict[str, JsonValue] = {}
    inputs: Annotated[dict[Short, str], Field(max_length=INPUTS_MAX)] = {}
    priority: Annotated[float, Field(ge=0.0, le=1000.0, allow_inf_nan=False)] = 3.0
    placement: Literal["job", "run"] = "job"
    care: Literal["normal", "careful", "at-most-once"] = "normal"
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    source: Short | None = None
    git: Annotated[dict[Short, Annotated[str, Field(max_length=4096)]], Field(max_length=GIT_FACTS_MAX)] = {}


class CancelBody(_Body):
    """Why a run is to end."""

    reason: Annotated[str, Field(max_length=512)] = ""


class InviteBody(_Body):
    """What a token is to allow; `valid_s` is in seconds."""

    roles: Annotated[tuple[Literal["admin", "submit", "work", "observe"], ...], Field(min_length=1, max_length=4)] = (
        "submit",
        "work",
    )
    labels: Annotated[tuple[Label, ...], Field(max_length=LABELS_MAX)] = ()
    uses: Annotated[int, Field(ge=1, le=USES_MAX)] = 1
    valid_s: Annotated[float, Field(gt=0.0, le=VALID_S_MAX, allow_inf_nan=False)] = 86_400.0
