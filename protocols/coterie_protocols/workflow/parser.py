"""Reads a workflow file into its typed form."""

from collections.abc import Mapping
from typing import Final

from coterie_protocols.workflow.availability import RUN_NAME, WORKFLOW_ENV
from coterie_protocols.workflow.defaults import read_defaults
from coterie_protocols.workflow.jobs import read_jobs
from coterie_protocols.workflow.reading import Reading
from coterie_protocols.workflow.triggers import read_triggers
from coterie_protocols.workflow.workflow_file import WorkflowFile
from coterie_protocols.workflow.yaml_nodes import Entry, Node
from coterie_protocols.workflow.yaml_reader import read_yaml_untrusted

_KEYS: Final = frozenset(
    {"on", "name", "description", "run-name", "env", "defaults", "permissions", "concurrency", "jobs"}
)


def parse_workflow_untrusted(source: str | bytes) -> tuple[WorkflowFile | None, Reading]:
    """The file in its typed form, None where there is none, and the reading with every problem found.

    Whatever the bytes, nothing is raised. The reading goes on collecting problems while the file is planned.
    """
    root, problems = read_yaml_untrusted(source)
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    reading = Reading(text)
    for problem in problems:
        reading.add(problem)
    return None if root is None else _workflow(reading, root), reading


def _workflow(reading: Reading, root: Node) -> WorkflowFile | None:
    fields = reading.fields(root, _KEYS)
    if not fields:
        if not reading.failed:
            reading.error(root, "Required property is missing: jobs")
        return None
    for name in ("on", "jobs"):
        if name not in fields:
            reading.error(root, f"Required property is missing: {name}")
    if "concurrency" in fields:
        reading.refuse(fields["concurrency"].key, "'concurrency'")
    if "permissions" in fields:
        reading.warning(fields["permissions"].key, "There are no tokens here: 'permissions' changes nothing")
    return _typed_workflow(reading, fields)


def _typed_workflow(reading: Reading, fields: Mapping[str, Entry]) -> WorkflowFile:
    events, inputs = read_triggers(reading, fields["on"].value) if "on" in fields else ((), {})
    jobs, job_keys = read_jobs(reading, fields["jobs"].value) if "jobs" in fields else ((), ())
    name, run_name, env = fields.get("name"), fields.get("run-name"), fields.get("env")
    return WorkflowFile(
        name=None if name is None else reading.text(name.value),
        run_name=None if run_name is None else reading.template(run_name.value, RUN_NAME),
        events=events,
        inputs=inputs,
        env={} if env is None else reading.templates(env.value, WORKFLOW_ENV),
        defaults=read_defaults(reading, fields.get("defaults"), RUN_NAME),
        jobs=jobs,
        job_keys=job_keys,
    )
