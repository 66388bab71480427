"""What expressions can read, and the variables that scripts expect.

Source: docs.github.com, "Contexts reference" and "Variables reference"; actions/runner, GitHubContext.cs.
"""

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from coterie.runner.tracking import TRACKING_VARIABLE
from coterie.runner.workspace import Workspace
from coterie_protocols.effects import NeedResult, StartTask
from coterie_protocols.workflow.expressions import CaseSensitive
from coterie_protocols.workflow.model import Json, PlannedJob, Strategy, Submission

SERVER_URL: Final = "https://github.com"
NEEDS_FILE: Final = "needs.json"
_ARCHITECTURES: Final = {"x86_64": "X64", "aarch64": "ARM64", "armv7l": "ARM", "i686": "X86"}
# The keys of the github context that become GITHUB_ variables (those of the environment files are added per step).
_AS_VARIABLES: Final = (
    *("action", "actor", "api_url", "base_ref", "event_name", "event_path", "graphql_url", "head_ref", "job", "ref"),
    *("ref_name", "ref_protected", "ref_type", "repository", "repository_owner", "run_attempt", "run_id", "run_number"),
    *("server_url", "sha", "triggering_actor", "workflow", "workspace"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is fixed for all steps of one attempt."""

    task: StartTask
    submission: Submission
    workspace: Workspace
    peer_name: str
    base_env: Mapping[str, str]
    tracking_id: str


def github_context(setting: Setting, job: str) -> dict[str, Json]:
    """The `github` context as it stands outside of steps."""
    submission, task = setting.submission, setting.task
    git = submission.git
    repository = git.get("repository", "")
    return {
        "actor": git.get("actor", ""),
        "api_url": "https://api.github.com",
        "base_ref": git.get("base_ref", ""),
        "event": cast(Json, submission.payload),
        "event_name": submission.event,
        "event_path": str(setting.workspace.files / "event.json"),
        "graphql_url": "https://api.github.com/graphql",
        "head_ref": git.get("head_ref", ""),
        "job": job,
        "ref": git.get("ref", ""),
        "ref_name": git.get("ref_name", ""),
        "ref_protected": False,
        "ref_type": git.get("ref_type", ""),
        "repository": repository,
        "repository_owner": repository.partition("/")[0],
        "run_attempt": str(task.attempt),
        "run_id": task.run,
        "run_number": "1",
        "server_url": SERVER_URL,
        "sha": git.get("sha", ""),
        "token": "",
        "triggering_actor": git.get("actor", ""),
        "workflow": submission.plan.name,
        "workspace": str(setting.workspace.source),
    }


def runner_context(setting: Setting) -> dict[str, Json]:
    """The `runner` context."""
    return {
        "name": setting.peer_name,
        "os": platform.system(),
        "arch": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "environment": "self-hosted",
        "temp": str(setting.workspace.temp),
        "tool_cache": str(setting.workspace.tools),
        "workspace": str(setting.workspace.root),
        "debug": "",
    }


def needs_context(needs: Mapping[str, NeedResult]) -> dict[str, Json]:
    """The `needs` context."""
    return {key: {"result": need.result, "outputs": cast(Json, dict(need.outputs))} for key, need in needs.items()}


def strategy_context(strategy: Strategy) -> dict[str, Json]:
    """The `strategy` context of one cell."""
    return {
        "fail-fast": strategy.fail_fast,
        "job-index": strategy.job_index,
        "job-total": strategy.job_total,
        "max-parallel": strategy.max_parallel or strategy.job_total,
    }


def job_contexts(setting: Setting, job: PlannedJob) -> dict[str, Json]:
    """All contexts at the start of a job; `env`, `steps` and `job` are still empty."""
    return {
        "github": github_context(setting, job.job),
        "env": CaseSensitive(),
        "inputs": cast(Json, dict(setting.submission.inputs)),
        "job": {"status": "success"},
        "matrix": cast(Json, dict(job.matrix)) if job.matrix else None,
        "needs": needs_context(setting.task.needs),
        "runner": runner_context(setting),
        "secrets": {},
        "steps": {},
        "strategy": strategy_context(job.strategy),
        "vars": {},
    }


def condition_contexts(setting: Setting, job: str) -> dict[str, Json]:
    """The contexts that the `if` of a job can read: it is evaluated before the job has a runner."""
    return {
        "github": github_context(setting, job),
        "inputs": cast(Json, dict(setting.submission.inputs)),
        "needs": needs_context(setting.task.needs),
        "vars": {},
    }


def fixed_variables(setting: Setting, contexts: Mapping[str, Json]) -> dict[str, str]:
    """The variables that no `env` can change: GITHUB_, RUNNER_, COTERIE_ and the folders of the attempt."""
    github = cast(dict[str, Json], contexts["github"])
    runner = cast(dict[str, Json], contexts["runner"])
    task, workspace = setting.task, setting.workspace
    temp = str(workspace.temp)
    return {
        **{f"GITHUB_{key.upper()}": _plain(github.get(key, "")) for key in _AS_VARIABLES},
        **{f"RUNNER_{key.upper()}": _plain(value) for key, value in runner.items() if value != ""},
        "GITHUB_ACTIONS": "true",
        "GITHUB_RETENTION_DAYS": "0",
        "RUNNER_TRACKING_ID": setting.tracking_id,
        "COTERIE_RUN": task.run,
        "COTERIE_TASK": task.task,
        "COTERIE_ATTEMPT": str(task.attempt),
        # The fencing token: who sees a higher attempt has seen this one superseded.
        "COTERIE_TOKEN": f"{task.attempt}:{task.claim}",
        # The same for every attempt, so that a service can recognise work that it has done already.
        "COTERIE_IDEMPOTENCY_KEY": f"{task.run}/{task.task}",
        # The `needs` context as a file: without quoting, and without the kernel's bound on a variable.
        "COTERIE_NEEDS_PATH": str(workspace.files / NEEDS_FILE),
        # The interpreter that has the daemon's own packages, for steps that are carried out by the engine.
        "COTERIE_PYTHON": sys.executable,
        TRACKING_VARIABLE: setting.tracking_id,
        "TMPDIR": temp,
        "TMP": temp,
        "TEMP": temp,
    }


def default_variables(setting: Setting) -> dict[str, str]:
    """The variables that a workflow may change."""
    return {**setting.base_env, "HOME": str(setting.workspace.home), "CI": "true"}


def _plain(value: Json) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return str(value)
