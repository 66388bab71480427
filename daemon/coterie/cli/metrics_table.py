"""What an execution took, for people to read."""

from coterie.cli.output import paint, print_fields, print_table
from coterie.cli.words import count, duration
from coterie.control.client import Document

PATH_SHOWN_MAX = 20
STEPS_SHOWN_MAX = 30


def print_metrics(metrics: Document) -> None:
    """The sums, the path that determined the end, and the steps that took longest."""
    efficiency = metrics["parallel_efficiency"]
    print_fields(
        {
            "took": duration(metrics["wall_s"]),
            "work": f"{duration(metrics['work_s'])} one after the other",
            "parallel": "" if efficiency is None else f"{efficiency:.2f}, the work divided by what it took",
            "waited": f"{duration(metrics['queue_wait_max_s'])} for room at most, {_total(metrics)} in all",
            "retries": _retries(metrics),
            "steps": f"{metrics['steps']:,}",
        }
    )
    _print_path(metrics)
    _print_steps(metrics)


def _total(metrics: Document) -> str:
    return duration(metrics["queue_wait_s"])


def _retries(metrics: Document) -> str:
    lost = f", {count(metrics['lost'], 'try')} lost with the daemon" if metrics["lost"] else ""
    return f"{metrics['retries']:,}{lost}".replace("trys", "tries")


def _print_path(metrics: Document) -> None:
    path: list[Document] = metrics["critical_path"]
    if len(path) < 2:
        return
    print()
    print(f"the path that determined the end: {duration(metrics['critical_path_s'])}")
    for step in path[:PATH_SHOWN_MAX]:
        waited = f", waited {duration(step['queue_wait_s'])}" if step["queue_wait_s"] >= 0.1 else ""
        print(f"  {step['step']}  {paint(duration(step['duration_s']) + waited, 'dim')}")
    if len(path) > PATH_SHOWN_MAX:
        print(paint(f"  ... and {len(path) - PATH_SHOWN_MAX:,} more", "dim"))


def _print_steps(metrics: Document) -> None:
    ran = [step for step in metrics["by_step"] if step["duration_max_s"] is not None]
    steps = sorted(ran, key=lambda step: step["duration_max_s"], reverse=True)
    if not steps:
        return
    print()
    rows = [_row(step) for step in steps[:STEPS_SHOWN_MAX]]
    print_table(["step", "items", "took p50", "took max", "waited p50", "waited max", "retries"], rows)
    if metrics["steps"] > len(rows):
        print(paint(f"... and {metrics['steps'] - len(rows):,} more; all of them: --json", "dim"))


def _row(step: Document) -> list[str]:
    items = f"{step['items']:,}" if step["items"] > 1 else ""
    times = ("duration_p50_s", "duration_max_s", "queue_wait_p50_s", "queue_wait_max_s")
    retries = str(step["retries"]) if step["retries"] else ""
    return [step["step"], items, *("" if step[name] is None else duration(step[name]) for name in times), retries]
