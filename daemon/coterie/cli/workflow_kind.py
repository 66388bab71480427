"""Which kind of workflow a file holds."""

from pathlib import Path

from coterie.cli.workflow_file import file_content


def is_engine_workflow(path: Path) -> bool:
    """Is it a `coterie: 1` file? Else it is taken for one of GitHub Actions. Raises UserError where there is none."""
    from coterie.engine.files.detect import is_engine_file

    return is_engine_file(file_content(path).decode(errors="replace"))
