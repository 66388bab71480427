"""A mergeable heap in which making a key smaller is as cheap as inserting.

M. L. Fredman, R. E. Tarjan: Fibonacci heaps and their uses in improved network optimization algorithms,
J. ACM 34 (1987); told as in Cormen, Leiserson, Rivest, Stein: Introduction to Algorithms, 3rd ed., chapter 19.

Amortised: insert, minimum, merge and decrease_key O(1), extract_min and delete O(log n). A node of degree d heads
at least F(d+2) nodes, hence the logarithm. No method recurses: equal keys by the million make no deep stack.
"""

from typing import Any, Generic, Protocol, TypeVar


class Comparable(Protocol):
    """What can be a key: its `<` is a total order that does not change while the key is in a heap."""

    def __lt__(self, other: Any, /) -> bool:
        """Does this come first?"""
        ...


K = TypeVar("K", bound=Comparable)
V = TypeVar("V")


class _Membership:
    """Says which heap nodes belong to. A merge makes one point to another: union-find, not a walk over all nodes."""

    __slots__ = ("joined",)

    def __init__(self) -> None:
        self.joined: _Membership | None = None

    def resolve(self) -> "_Membership":
        at = self
        while at.joined is not None:
            if at.joined.joined is not None:
                at.joined = at.joined.joined  # halves the path for whoever comes next
            at = at.joined
        return at


class Node(Generic[K, V]):
    """The handle of an item. Read `key` and `value`; all else is the heap's own."""

    __slots__ = ("child", "degree", "key", "left", "marked", "membership", "parent", "right", "value")

    def __init__(self, key: K, value: V, membership: _Membership) -> None:
        self.key = key
        self.value = value
        self.membership: _Membership | None = membership
        self.parent: Node[K, V] | None = None
        self.child: Node[K, V] | None = None
        self.left: Node[K, V] = self  # siblings are a circle
        self.right: Node[K, V] = self
        self.degree = 0
        self.marked = False  # lost a child since it became a child itself

    def __repr__(self) -> str:
        return f"Node({self.key!r}, {self.value!r})"


class FibonacciHeap(Generic[K, V]):
    """A min-heap of (key, value); which of several equal keys comes first is not defined."""

    __slots__ = ("_membership", "_minimum", "_size")

    def __init__(self) -> None:
        self._membership = _Membership()
        self._minimum: Node[K, V] | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def insert(self, key: K, value: V) -> Node[K, V]:
        """Adds an item; the handle it returns is valid until the item is removed."""
        node: Node[K, V] = Node(key, value, self._membership)
        self._minimum = _splice(self._minimum, node)
        self._size += 1
        return node

    def minimum(self) -> Node[K, V]:
        """The item with the least key. Raises IndexError if there is none."""
        if self._minimum is None:
            raise IndexError("the heap is empty")
        return self._minimum

    def extract_min(self) -> Node[K, V]:
        """Removes and returns the item with the least key. Raises IndexError if there is none."""
        node = self.minimum()
        self._remove_root(node)
        return node

    def decrease_key(self, handle: Node[K, V], key: K) -> None:
        """Gives an item a key that is smaller or equal. Raises ValueError for a greater one or a foreign handle."""
        self._check(handle)
        if handle.key < key:
            raise ValueError(f"decrease_key: {key!r} is greater than {handle.key!r}")
        handle.key = key
        parent = handle.parent
        if parent is not None and key < parent.key:
            self._cut(handle, parent)
            self._cascade(parent)
        if key < self.minimum().key:
            self._minimum = handle

    def delete(self, handle: Node[K, V]) -> None:
        """Removes an item wherever it is. Raises ValueError for a foreign handle."""
        self._check(handle)
        parent = handle.parent
        if parent is not None:
            self._cut(handle, parent)
            self._cascade(parent)
        self._remove_root(handle)

    def merge(self, other: "FibonacciHeap[K, V]") -> None:
        """Takes over all items of `other`, with their handles, and leaves it empty. Raises ValueError for itself."""
        if other is self:
            raise ValueError("a heap can't be merged with itself")
        if other._minimum is not None:
            self._minimum = _splice(self._minimum, other._minimum)
        self._size += other._size
        other._membership.joined = self._membership
        other._membership, other._minimum, other._size = _Membership(), None, 0

    def _check(self, handle: Node[K, V]) -> None:
        if handle.membership is None:
            raise ValueError(f"{handle!r} was removed from its heap")
        if handle.membership.resolve() is not self._membership:
            raise ValueError(f"{handle!r} is in another heap")

    def _remove_root(self, node: Node[K, V]) -> None:
        if node.child is not None:
            for child in _circle(node.child):
                child.parent = None
                child.marked = False
            _splice_circles(node, node.child)
        neighbour = node.right
        _unlink(node)
        self._size -= 1
        if self._minimum is node or self._size == 0:
            self._minimum = self._consolidate(neighbour) if self._size else None
        _retire(node)

    def _consolidate(self, start: Node[K, V]) -> Node[K, V]:
        """Links roots until no two have one degree; returns the least of them."""
        of_degree: dict[int, Node[K, V]] = {}
        for root in _circle(start):
            top = root
            while (twin := of_degree.pop(top.degree, None)) is not None:
                if twin.key < top.key:
                    top, twin = twin, top
                self._link(twin, top)
            of_degree[top.degree] = top
        return _make_circle(list(of_degree.values()))

    def _link(self, child: Node[K, V], parent: Node[K, V]) -> None:
        """Makes one root the child of another; the circle of roots is made anew when all are linked."""
        child.parent = parent
        child.left = child.right = child
        if parent.child is None:
            parent.child = child
        else:
            _splice_circles(parent.child, child)
        parent.degree += 1

    def _cut(self, node: Node[K, V], parent: Node[K, V]) -> None:
        parent.degree -= 1
        if parent.child is node:
            parent.child = node.right if parent.degree else None
        _unlink(node)
        node.parent = None
        node.marked = False
        _splice_circles(self.minimum(), node)

    def _cascade(self, node: Node[K, V]) -> None:
        at = node
        while (parent := at.parent) is not None:
            if not at.marked:
                at.marked = True
                return
            self._cut(at, parent)
            at = parent


def _circle(start: Node[K, V]) -> list[Node[K, V]]:
    nodes = [start]
    node = start.right
    while node is not start:
        nodes.append(node)
        node = node.right
    return nodes


def _make_circle(nodes: list[Node[K, V]]) -> Node[K, V]:
    """Makes one circle of the nodes, wherever they pointed before; returns the least."""
    left = least = nodes[-1]
    for node in nodes:
        left.right, node.left = node, left
        left = node
        if node.key < least.key:
            least = node
    return least


def _unlink(node: Node[K, V]) -> None:
    node.left.right, node.right.left = node.right, node.left
    node.left = node.right = node


def _splice_circles(one: Node[K, V], other: Node[K, V]) -> None:
    """Makes one circle of two."""
    one_next, other_last = one.right, other.left
    one.right, other.left = other, one
    other_last.right, one_next.left = one_next, other_last


def _splice(minimum: Node[K, V] | None, other: Node[K, V]) -> Node[K, V]:
    """Makes one root list of two; returns the lesser of the two roots."""
    if minimum is None:
        return other
    _splice_circles(minimum, other)
    return other if other.key < minimum.key else minimum


def _retire(node: Node[K, V]) -> None:
    node.membership = node.child = None
    del node.left, node.right  # a node that stayed in a circle with itself would wait for the cycle collector
