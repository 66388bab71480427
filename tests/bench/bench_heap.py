"""Fibonacci heap against heapq, both in this interpreter.

heapq is written in C and keeps its items in one list; the Fibonacci heap is Python and pays for its pointers. Both
get the same keys. For decrease-key, heapq does what its documentation advises: push a new entry, skip the stale ones.
"""

import gc
import heapq
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.figures import Effort, Figure, main
from coterie_protocols.fibonacci_heap import FibonacciHeap
from coterie_protocols.priority_queue import WorkflowPriorityQueue

ITEMS = {Effort.QUICK: 5_000, Effort.NORMAL: 20_000, Effort.LONG: 50_000}
ROUNDS = 3
DECREASES_PER_POP = (1, 10, 50)


def best_s(measure: Callable[[], None]) -> float:
    """The shortest of a few runs, in seconds, with the cycle collector out of the way."""
    times: list[float] = []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        measure()
        times.append(time.perf_counter() - start)
        gc.enable()
    return min(times)


def push_pop_heapq(keys: list[int]) -> None:
    """n pushes, n pops."""
    heap: list[tuple[int, int]] = []
    for value, key in enumerate(keys):
        heapq.heappush(heap, (key, value))
    while heap:
        heapq.heappop(heap)


def push_pop_fibonacci(keys: list[int]) -> None:
    """The same."""
    heap: FibonacciHeap[int, int] = FibonacciHeap()
    for value, key in enumerate(keys):
        heap.insert(key, value)
    while len(heap):
        heap.extract_min()


def push_pop_queue(keys: list[int]) -> None:
    """The same through the workflow queue, which also keeps an index and the ageing."""
    queue: WorkflowPriorityQueue[int] = WorkflowPriorityQueue()
    for value, key in enumerate(keys):
        queue.push(value, 1.0 + key % 6, key, 0.0)
    while len(queue):
        queue.pop()


def decrease_heapq(keys: list[int], changes: list[tuple[int, int]], per_pop: int) -> None:
    """n pushes, then decreases with a pop after every `per_pop`, then the rest of the pops."""
    current = dict(enumerate(keys))
    heap = [(key, value) for value, key in enumerate(keys)]
    heapq.heapify(heap)
    for index, (value, by) in enumerate(changes):
        if value in current:
            current[value] -= by
            heapq.heappush(heap, (current[value], value))
        if index % per_pop == per_pop - 1:
            pop_live(heap, current)
    while current:
        pop_live(heap, current)


def pop_live(heap: list[tuple[int, int]], current: dict[int, int]) -> None:
    """Pops the first entry that is not stale."""
    while heap:
        key, value = heapq.heappop(heap)
        if current.get(value) == key:
            del current[value]
            return


def decrease_fibonacci(keys: list[int], changes: list[tuple[int, int]], per_pop: int) -> None:
    """The same."""
    heap: FibonacciHeap[int, int] = FibonacciHeap()
    nodes = {value: heap.insert(key, value) for value, key in enumerate(keys)}
    for index, (value, by) in enumerate(changes):
        node = nodes.get(value)
        if node is not None:
            heap.decrease_key(node, node.key - by)
        if index % per_pop == per_pop - 1 and len(heap):
            del nodes[heap.extract_min().value]
    while len(heap):
        heap.extract_min()


def cost(what: str, operations: int, floor_s: float, ours_s: float) -> Figure:
    """Microseconds per operation of both."""
    us = 1e6 / operations
    return Figure(what=what, value=ours_s * us, unit="us each", floor=floor_s * us, floor_is="heapq, in C")


def measure(effort: Effort) -> Iterator[Figure]:
    """Pushes and pops, then decreases of keys between them."""
    items, random = ITEMS[effort], Random(1)
    keys = [random.randrange(10**9) for _ in range(items)]
    floor_s = best_s(lambda: push_pop_heapq(keys))
    yield cost("Fibonacci heap: push all, pop all", 2 * items, floor_s, best_s(lambda: push_pop_fibonacci(keys)))
    yield cost("workflow queue: push all, pop all", 2 * items, floor_s, best_s(lambda: push_pop_queue(keys)))
    for per_pop in DECREASES_PER_POP:
        count = min(items * per_pop, 10 * items)
        changes = [(random.randrange(items), random.randrange(10**7)) for _ in range(count)]
        yield cost(
            f"Fibonacci heap: {per_pop} decreases per pop",
            count + 2 * items,
            best_s(lambda: decrease_heapq(keys, changes, per_pop)),  # noqa: B023 - called at once
            best_s(lambda: decrease_fibonacci(keys, changes, per_pop)),  # noqa: B023 - called at once
        )


if __name__ == "__main__":
    main(measure)
