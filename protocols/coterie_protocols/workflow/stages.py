"""Orders jobs by what they need."""

from collections import deque
from collections.abc import Mapping, Sequence


def stages(needs: Mapping[str, Sequence[str]]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The stage of every job that can run, and the jobs that cannot because they wait for a cycle.

    `needs` maps every job to the jobs it needs, all of them keys. A job's stage is the length of the longest chain
    of needs before it. Source: A. B. Kahn, "Topological sorting of large networks", 1962; O(jobs + needs).
    """
    waiting = {job: len(needed) for job, needed in needs.items()}
    dependents: dict[str, list[str]] = {job: [] for job in needs}
    for job, needed in needs.items():
        for one in needed:
            dependents[one].append(job)
    stage = {job: 0 for job, count in waiting.items() if count == 0}
    ready = deque(stage)
    while ready:
        done = ready.popleft()
        for job in dependents[done]:
            waiting[job] -= 1
            stage[job] = max(stage.get(job, 0), stage[done] + 1)
            if waiting[job] == 0:
                ready.append(job)
    stuck = tuple(job for job, count in waiting.items() if count)
    return {job: stage[job] for job in needs if not waiting[job]}, stuck


def cycles(needs: Mapping[str, Sequence[str]], stuck: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The cycles that hold `stuck` jobs up, each as `(a, b, c, a)` from the job that comes first in the file.

    Every stuck job is on a cycle or waits for one; of cycles that share a job only one is told.
    """
    among = set(stuck)
    seen: set[str] = set()
    found: list[tuple[str, ...]] = []
    for start in stuck:
        path: list[str] = []
        places: dict[str, int] = {}
        job = start
        while job not in seen and job not in places:
            places[job] = len(path)
            path.append(job)
            job = next(one for one in needs[job] if one in among)
        seen.update(path)
        if job in places:
            found.append(_from_first(path[places[job] :], stuck))
    return tuple(found)


def _from_first(cycle: list[str], order: Sequence[str]) -> tuple[str, ...]:
    rank = {job: place for place, job in enumerate(order)}
    first = min(range(len(cycle)), key=lambda place: rank[cycle[place]])
    return (*cycle[first:], *cycle[:first], cycle[first])
