"""What git knows of the tree around a workflow file, for the `github` context."""

import re
import subprocess
from pathlib import Path

GIT_TIMEOUT_S = 10.0
_REPOSITORY = re.compile(r"[:/]([^/:]+/[^/]+?)(?:\.git)?/?$")


def git_facts(folder: Path) -> dict[str, str]:
    """sha, ref, ref_name, ref_type, repository and actor, as far as git can tell; empty outside a work tree."""
    sha = _git(folder, "rev-parse", "HEAD")
    if not sha:
        return {}
    ref = _git(folder, "symbolic-ref", "-q", "HEAD")
    tag = "" if ref else _git(folder, "describe", "--tags", "--exact-match")
    facts = {
        "sha": sha,
        "ref": ref or (f"refs/tags/{tag}" if tag else ""),
        "ref_name": ref.removeprefix("refs/heads/") or tag,
        "ref_type": "branch" if ref else "tag" if tag else "",
        "repository": repository_of(_git(folder, "config", "--get", "remote.origin.url"), folder),
        "actor": _git(folder, "config", "--get", "user.name"),
    }
    return {name: value for name, value in facts.items() if value}


def repository_of(url: str, folder: Path) -> str:
    """`owner/name` of an origin such as git@host:owner/name.git; without one the folder's name alone."""
    found = _REPOSITORY.search(url)
    return found[1] if found else (_git(folder, "rev-parse", "--show-toplevel") or str(folder)).rsplit("/", 1)[-1]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git, no facts: a run does not need them
    return done.stdout.strip() if done.returncode == 0 else ""
