"""Reads `defaults`."""

from coterie_protocols.workflow.availability import Scope
from coterie_protocols.workflow.model import Defaults
from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.yaml_nodes import Entry


def read_defaults(reading: Reading, entry: Entry | None, scope: Scope) -> Defaults:
    """`defaults.run` of a workflow or a job."""
    if entry is None:
        return Defaults()
    run = reading.fields(entry.value, {"run"}).get("run")
    if run is None:
        return Defaults()
    fields = reading.fields(run.value, {"shell", "working-directory"})
    shell, directory = fields.get("shell"), fields.get("working-directory")
    return Defaults(
        shell=None if shell is None else reading.template(shell.value, scope),
        working_directory=None if directory is None else reading.template(directory.value, scope),
    )
