"""The folders of one attempt: made fresh, and removed with all that the steps left in them."""

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

import trio

from coterie.disk import disk_errors
from coterie_protocols.effects import StartTask


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one attempt lives. `files` holds scripts, environment files and the event; the rest belongs to steps."""

    root: Path

    @property
    def source(self) -> Path:
        """GITHUB_WORKSPACE."""
        return self.root / "workspace"

    @property
    def home(self) -> Path:
        """HOME: a step's dot files neither meet the user's nor stay."""
        return self.root / "home"

    @property
    def temp(self) -> Path:
        """RUNNER_TEMP and TMPDIR."""
        return self.root / "tmp"

    @property
    def tools(self) -> Path:
        """RUNNER_TOOL_CACHE."""
        return self.root / "tools"

    @property
    def files(self) -> Path:
        """What passes between the runner and the steps."""
        return self.root / "files"


def workspace_for(work_dir: Path, task: StartTask) -> Workspace:
    """Names the workspace of an attempt. The name is short: sockets below TMPDIR have 107 bytes for their path."""
    digest = hashlib.sha256(f"{task.run}\0{task.task}\0{task.claim}".encode()).hexdigest()[:12]
    return Workspace(work_dir / f"{digest}-{task.attempt}")


def make_workspace(workspace: Workspace) -> None:
    """Makes the folders, empty. Raises DiskFailed."""
    with disk_errors(workspace.root):
        if workspace.root.exists():
            remove_tree(workspace.root)
        for folder in (workspace.source, workspace.home, workspace.temp, workspace.tools, workspace.files):
            folder.mkdir(parents=True, mode=0o700)


async def remove_workspace(workspace: Workspace) -> None:
    """Removes the folders, also while the caller is being cancelled."""
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(remove_tree, workspace.root)


def remove_tree(root: Path) -> None:
    """Removes a tree in which a step may have made folders unwritable, as `go mod` does."""
    try:
        shutil.rmtree(root)
    except FileNotFoundError:
        return
    except PermissionError:
        for folder, _, _ in os.walk(root):
            os.chmod(folder, stat.S_IRWXU)
        shutil.rmtree(root)
