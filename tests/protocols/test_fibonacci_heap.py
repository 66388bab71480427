"""The heap gives what a sorted list would, keeps its shape, and does no more work than the textbook allows."""

import gc
import math
import weakref
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]
)

from coterie_protocols.fibonacci_heap import FibonacciHeap, Node

Heap = FibonacciHeap[int, int]
Handle = Node[int, int]


class CountingHeap(FibonacciHeap[int, int]):
    """Counts the steps that the analysis counts, and knows its roots for the checker."""

    def __init__(self) -> None:
        super().__init__()
        self.links = 0
        self.cuts = 0

    def _link(self, child: Handle, parent: Handle) -> None:
        self.links += 1
        super()._link(child, parent)

    def _cut(self, node: Handle, parent: Handle) -> None:
        self.cuts += 1
        super()._cut(node, parent)


def siblings(start: Handle) -> list[Handle]:
    """The circle that a node is in, checked in both directions."""
    circle, node = [start], start.right
    while node is not start:
        assert node.left.right is node
        circle.append(node)
        node = node.right
    assert start.left is circle[-1]
    return circle


def check_shape(heap: Heap) -> int:
    """Asserts heap order, degrees and their bound, marks and circles; returns how many nodes there are."""
    if not len(heap):
        return 0
    minimum = heap.minimum()
    roots = siblings(minimum)
    assert all(root.parent is None and not root.marked and not root.key < minimum.key for root in roots)
    stack, count = list(roots), 0
    while stack:
        node = stack.pop()
        count += 1
        children = siblings(node.child) if node.child is not None else []
        assert len(children) == node.degree <= 1.4405 * math.log2(len(heap)) + 1  # 1 / log2(golden ratio)
        for child in children:
            assert child.parent is node
            assert not child.key < node.key
        stack += children
    assert count == len(heap)
    return count


def drain(heap: Heap) -> list[int]:
    """All keys, in the order of extraction."""
    return [heap.extract_min().key for _ in range(len(heap))]


class HeapAgainstSortedList(RuleBasedStateMachine):
    """Two heaps that are merged now and then; the model is a plain map of what is in each."""

    handles: Bundle[Handle] = Bundle("handles")

    @initialize()
    def begin(self) -> None:
        self.heaps: list[Heap] = [FibonacciHeap(), FibonacciHeap()]
        self.models: list[dict[Handle, int]] = [{}, {}]
        self.gone: list[Handle] = []

    def _where(self, handle: Handle) -> int | None:
        return next((index for index in range(2) if handle in self.models[index]), None)

    @rule(target=handles, index=st.integers(0, 1), key=st.integers(-20, 20))
    def insert(self, index: int, key: int) -> Handle:
        return self._insert(index, key)

    def _insert(self, index: int, key: int) -> Handle:
        handle = self.heaps[index].insert(key, key)
        self.models[index][handle] = key
        return handle

    @rule(target=handles, index=st.integers(0, 1), keys=st.lists(st.integers(-20, 20), max_size=40))
    def insert_many(self, index: int, keys: list[int]) -> MultipleResults[Handle]:
        return multiple(*(self._insert(index, key) for key in keys))

    @rule(index=st.integers(0, 1))
    def extract_min(self, index: int) -> None:
        if not self.models[index]:
            with pytest.raises(IndexError):
                self.heaps[index].extract_min()
            return
        node = self.heaps[index].extract_min()
        assert node.key == self.models[index].pop(node) == min([node.key, *self.models[index].values()])
        self.gone.append(node)

    @rule(handle=handles, by=st.integers(0, 30))
    def decrease_key(self, handle: Handle, by: int) -> None:
        index = self._where(handle)
        if index is None:
            with pytest.raises(ValueError, match="removed"):
                self.heaps[0].decrease_key(handle, -100)
            return
        self.heaps[index].decrease_key(handle, handle.key - by)
        self.models[index][handle] -= by
        with pytest.raises(ValueError, match="greater"):
            self.heaps[index].decrease_key(handle, handle.key + 1)
        with pytest.raises(ValueError, match="another heap"):
            self.heaps[1 - index].decrease_key(handle, -100)

    @rule(handle=consumes(handles))
    def delete(self, handle: Handle) -> None:
        index = self._where(handle)
        if index is None:
            with pytest.raises(ValueError, match="removed"):
                self.heaps[0].delete(handle)
            return
        self.heaps[index].delete(handle)
        del self.models[index][handle]

    @rule(index=st.integers(0, 1))
    def merge(self, index: int) -> None:
        self.heaps[index].merge(self.heaps[1 - index])
        self.models[index].update(self.models[1 - index])
        self.models[1 - index].clear()

    @invariant()
    def is_well_shaped_and_agrees(self) -> None:
        for heap, model in zip(self.heaps, self.models, strict=True):
            assert check_shape(heap) == len(heap) == len(model)
            if model:
                assert heap.minimum().key == min(model.values())

    def teardown(self) -> None:
        if hasattr(self, "heaps"):
            for heap, model in zip(self.heaps, self.models, strict=True):
                assert drain(heap) == sorted(model.values())


def test_heap_against_sorted_list() -> None:
    run_state_machine_as_test(
        HeapAgainstSortedList, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


@pytest.mark.parametrize("count", [1, 2, 50, 20_000])
def test_equal_keys_by_the_thousand_need_no_stack(count: int) -> None:
    heap = CountingHeap()
    for value in range(count):
        heap.insert(7, value)
    values = {heap.extract_min().value for _ in range(count // 2)}
    assert check_shape(heap) == count - count // 2
    values |= {heap.extract_min().value for _ in range(len(heap))}
    assert values == set(range(count))


def test_a_chain_of_marked_nodes_is_cut_without_recursion() -> None:
    heap = CountingHeap()
    bottom = chain_of_marked_nodes(heap, 3000)
    before = heap.cuts
    heap.decrease_key(bottom, -(10**9))
    assert heap.cuts - before == 3000 + 1  # all that are marked, and the lowest
    heap.extract_min()
    check_shape(heap)


def chain_of_marked_nodes(heap: CountingHeap, depth: int) -> Handle:
    """Makes one deep tree, the worst case of a cascade (after CLRS, exercise 19.4-1); returns its lowest node.

    Each round makes a tree of four, which becomes the parent of the tree so far, as both have degree 2. Then the new
    root gives up its other large child, and the old root its last other child, which marks it.
    """
    spare: Handle | None = None
    bottom: Handle | None = None
    for level in range(depth + 1):
        least = -10 * level
        for key in (least, least + 1, least + 2, least + 3, least - 1):
            heap.insert(key, level)
        heap.extract_min()
        root = heap.minimum()
        assert root.child is not None
        of_this_level = [child for child in siblings(root.child) if child.value == level]
        leaf, pair = sorted(of_this_level, key=lambda child: child.degree)
        assert pair.child is not None
        heap.delete(pair.child)
        if bottom is None or spare is None:
            bottom = pair
        else:
            heap.delete(pair)
            heap.delete(spare)
        spare = leaf
    assert bottom is not None
    return bottom


def test_cost_of_a_random_run_is_what_the_analysis_allows() -> None:
    random = Random(1)
    heap = CountingHeap()
    handles: list[Handle] = []
    inserts = decreases = extracts = 0
    for _ in range(60_000):
        choice = random.random()
        if choice < 0.45:
            handles.append(heap.insert(random.randrange(10**9), 0))
            inserts += 1
        elif choice < 0.85 and handles:
            handle = random.choice(handles)
            if handle.membership is not None:
                heap.decrease_key(handle, handle.key - random.randrange(10**6))
                decreases += 1
        elif len(heap):
            heap.extract_min()
            extracts += 1
    # potential: trees + 2 x marked nodes. An insert adds 1 to it, a cut pays for itself with the mark that it clears,
    # a link takes 1 away, an extraction adds at most the degree of what it removes.
    degree_max = 1.4405 * math.log2(inserts) + 1
    assert heap.cuts <= 2 * decreases
    assert heap.links <= inserts + heap.cuts + extracts * degree_max


@pytest.mark.parametrize("count", [1_000, 8_000])
def test_insert_and_decrease_key_do_constant_work(count: int) -> None:
    random = Random(2)
    heap = CountingHeap()
    handles = [heap.insert(random.randrange(10**9), 0) for _ in range(count)]
    assert (heap.links, heap.cuts) == (0, 0)
    heap.extract_min()
    assert heap.links < count
    for handle in handles:
        if handle.membership is not None:
            heap.decrease_key(handle, handle.key - 10**6)
    assert heap.cuts < 2 * count
    links = heap.links
    heap.extract_min()
    assert heap.links - links < count


def test_merge_touches_no_node() -> None:
    one, other = CountingHeap(), CountingHeap()
    handles = [heap.insert(key, key) for key in range(2000) for heap in (one, other)]
    one.merge(other)
    assert (one.links, one.cuts, len(one), len(other)) == (0, 0, 4000, 0)
    one.decrease_key(handles[-1], -1)
    assert one.minimum() is handles[-1]
    with pytest.raises(ValueError, match="another heap"):
        other.delete(handles[-1])
    assert other.insert(5, 5) is other.minimum()


def test_long_rows_of_merges_keep_handles_valid() -> None:
    heap: Heap = FibonacciHeap()
    first = heap.insert(0, 0)
    for key in range(1, 3000):
        fresh: Heap = FibonacciHeap()
        fresh.insert(key, key)
        fresh.merge(heap)
        heap = fresh
    heap.decrease_key(first, -1)
    assert heap.extract_min() is first
    assert len(heap) == 2999


def test_what_cannot_be_done_says_so() -> None:
    heap: Heap = FibonacciHeap()
    with pytest.raises(IndexError, match="empty"):
        heap.minimum()
    with pytest.raises(ValueError, match="itself"):
        heap.merge(heap)
    handle = heap.insert(1, 1)
    assert heap.extract_min() is handle
    assert (handle.key, handle.value, len(heap)) == (1, 1, 0)
    with pytest.raises(ValueError, match="removed from its heap"):
        heap.delete(handle)


class Item:
    """A value that can be watched."""


def test_a_removed_item_is_freed_at_once() -> None:
    heap: FibonacciHeap[int, Item] = FibonacciHeap()
    for key in range(10):
        heap.insert(key, Item())
    gc.disable()
    try:
        watched = [weakref.ref(heap.extract_min().value) for _ in range(5)]
        assert [each() for each in watched] == [None] * 5
    finally:
        gc.enable()
