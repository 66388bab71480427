"""What the engine counts, for Prometheus. All names begin with `coterie_engine_`.

The numbers are kept in plain lists and become samples when somebody asks: a transition costs about a microsecond.
Labels are bounded: the first WORKFLOWS_MAX workflows have series of their own, all others share "other".
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from coterie.engine.journal.port import ExecutionChange, Note, StepRow
from coterie.engine.model import RUN_ENDED, STEP_ENDED
from coterie.engine.performing.core import Core
from coterie.engine.performing.execution import LiveExecution

WORKFLOWS_MAX: Final = 50
OTHER: Final = "other"
STEP_SECONDS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
WAIT_SECONDS: Final = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
RUN_SECONDS: Final = (0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 43_200.0)
MS: Final = 1000


class _Histogram:
    """One series: how many fell into each bucket, the last of which has no bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as the text format wants them."""
        found: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class _Series:
    """Everything that is counted of one workflow."""

    __slots__ = ("attempts", "compensations", "executions", "lost", "retries", "run_seconds", "steps", "wait_seconds")

    def __init__(self) -> None:
        self.attempts = 0
        self.lost = 0
        self.retries: dict[str, int] = {}
        self.compensations: dict[str, int] = {}
        self.executions: dict[str, int] = {}
        self.steps: dict[str, _Histogram] = {}
        self.run_seconds: dict[str, _Histogram] = {}
        self.wait_seconds = _Histogram(WAIT_SECONDS)


class EngineMetrics(Collector):
    """Implements `engine.core.Observer`. `watch` gives it the engine whose present state the gauges show."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self._core: Core | None = None

    def watch(self, core: Core) -> None:
        """From now on the gauges are about this engine."""
        self._core = core

    # --- Observer ---

    def committed(
        self, live: LiveExecution, rows: Sequence[StepRow], notes: Sequence[Note], change: ExecutionChange | None
    ) -> None:
        """Counts what was committed."""
        series = self._series_of(live.record.workflow)
        for row in rows:
            self._row(series, row)
        for note in notes:
            self._note(series, note)
        if change is not None and change.state in RUN_ENDED and change.ended_ms is not None:
            state = str(change.state)
            _add(series.executions, state)
            began_ms = change.started_ms if change.started_ms is not None else live.record.created_ms
            histogram = series.run_seconds.setdefault(state, _Histogram(RUN_SECONDS))
            histogram.observe(max(0, change.ended_ms - began_ms) / MS)

    def _row(self, series: _Series, row: StepRow) -> None:
        if row.started_ms is None:
            return
        if row.state == "running":
            series.attempts += 1
            if row.ready_ms is not None:
                series.wait_seconds.observe(max(0, row.started_ms - row.ready_ms) / MS)
        elif row.state in STEP_ENDED and row.ended_ms is not None and not row.compensation:
            histogram = series.steps.get(row.state)
            if histogram is None:
                histogram = series.steps[row.state] = _Histogram(STEP_SECONDS)
            histogram.observe(max(0, row.ended_ms - row.started_ms) / MS)

    def _note(self, series: _Series, note: Note) -> None:
        if note.kind == "lost":
            series.lost += 1
        elif note.kind == "failed" and note.body.get("retry_at_ms") is not None:
            _add(series.retries, str(note.body.get("class", OTHER)))
        elif note.kind == "compensated":
            _add(series.compensations, str(note.body.get("state", OTHER)))

    def _series_of(self, workflow: str) -> _Series:
        series = self._series.get(workflow)
        if series is None:
            name = workflow if len(self._series) < WORKFLOWS_MAX else OTHER
            series = self._series.setdefault(name, _Series())
        return series

    # --- Collector ---

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """All samples, as of now."""
        yield from self._totals()
        yield from self._lengths()
        if self._core is not None:
            yield from _present(self._core)

    def _totals(self) -> Iterable[Metric]:
        attempts = CounterMetricFamily("coterie_engine_attempts", "Attempts that began", labels=["workflow"])
        lost = CounterMetricFamily("coterie_engine_lost", "Attempts that died with a daemon", labels=["workflow"])
        retries = CounterMetricFamily("coterie_engine_retries", "Failures tried again", labels=["workflow", "class"])
        undone = CounterMetricFamily("coterie_engine_compensations", "Steps undone", labels=["workflow", "state"])
        ended = CounterMetricFamily("coterie_engine_executions", "Executions that ended", labels=["workflow", "state"])
        for workflow, series in self._series.items():
            attempts.add_metric([workflow], series.attempts)
            lost.add_metric([workflow], series.lost)
            _add_all(retries, workflow, series.retries)
            _add_all(undone, workflow, series.compensations)
            _add_all(ended, workflow, series.executions)
        return (attempts, lost, retries, undone, ended)

    def _lengths(self) -> Iterable[Metric]:
        steps = HistogramMetricFamily(
            "coterie_engine_step_seconds", "From start to end of an attempt", labels=["workflow", "state"]
        )
        waits = HistogramMetricFamily("coterie_engine_queue_wait_seconds", "From ready to started", labels=["workflow"])
        runs = HistogramMetricFamily(
            "coterie_engine_execution_seconds", "From start to end of an execution", labels=["workflow", "state"]
        )
        for workflow, series in self._series.items():
            waits.add_metric([workflow], series.wait_seconds.buckets(), series.wait_seconds.sum)
            _add_each(steps, workflow, series.steps)
            _add_each(runs, workflow, series.run_seconds)
        return (steps, waits, runs)


def _present(core: Core) -> Iterable[Metric]:
    executions: dict[str, int] = {"pending": 0, "running": 0, "paused": 0}
    running = waiting = 0
    for live in core.live.values():
        _add(executions, live.state)
        counts = live.machine.counts()
        running += counts.get("running", 0)
        waiting += counts.get("ready", 0)
    open_ = GaugeMetricFamily("coterie_engine_executions_open", "Executions under way here, by state", labels=["state"])
    for state, count in executions.items():
        open_.add_metric([state], count)
    yield open_
    yield GaugeMetricFamily("coterie_engine_steps_running", "Steps that run", value=running)
    yield GaugeMetricFamily("coterie_engine_steps_waiting", "Steps that wait for room", value=waiting)


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _add_all(family: CounterMetricFamily, workflow: str, counts: Mapping[str, int]) -> None:
    for label, count in counts.items():
        family.add_metric([workflow, label], count)


def _add_each(family: HistogramMetricFamily, workflow: str, series: Mapping[str, _Histogram]) -> None:
    for state, histogram in series.items():
        family.add_metric([workflow, state], histogram.buckets(), histogram.sum)
