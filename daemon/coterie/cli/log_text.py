"""A line of a job's log as people read it: GitHub's markers become headings, colours and nothing."""

from coterie.cli.follow import without_time
from coterie.cli.output import paint

MARKERS = {"##[error]": ("error: ", "red"), "##[warning]": ("warning: ", "yellow"), "##[notice]": ("notice: ", "cyan")}
GROUP, END_GROUP, DEBUG = "##[group]", "##[endgroup]", "##[debug]"


def readable(line: str) -> str | None:
    """The text of a log line without its time, marked by what it is; None where it shows nothing."""
    text = without_time(line)
    if not text.startswith("##["):
        return text
    if text.startswith(END_GROUP):
        return None
    if text.startswith(GROUP):
        return paint(f"▸ {text.removeprefix(GROUP)}", "bold")
    if text.startswith(DEBUG):
        return paint(text.removeprefix(DEBUG), "dim")
    for marker, (word, colour) in MARKERS.items():
        if text.startswith(marker):
            return paint(word + text.removeprefix(marker), colour)
    return text
