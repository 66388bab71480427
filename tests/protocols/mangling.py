"""Values of DAG-CBOR, and the ways in which bytes and maps are spoilt."""

from collections.abc import Iterator, Mapping, Sequence

from hypothesis import strategies as st

from coterie_protocols.encoding import Value

EVENT_LINK = b"\x01\x71\x12\x20"
event_links = st.binary(min_size=32, max_size=32).map(lambda digest: EVENT_LINK + digest)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != 0 or str(x) == "0.0")
scalars: st.SearchStrategy[Value] = (
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | numbers | texts | event_links
)
values: st.SearchStrategy[Value] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)

WRONG: tuple[Value, ...] = (
    None,
    True,
    -1,
    2**63,
    1.5,
    "",
    "x" * 70_000,
    "bafkreiaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    b"\x00",
    EVENT_LINK + bytes(32),
    [],
    [None],
    [["x"]],
    ["x" * 300],
    {},
    {"x": 1},
)


def spoilt(value: Value) -> Iterator[Value]:
    """The value with each part of it, in turn, replaced by each wrong thing, left out, or added to."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield {other: each for other, each in value.items() if other != key}
            for worse in [*WRONG, *spoilt(item)]:
                yield {**value, key: worse}
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, item in enumerate(value):
            for worse in [*WRONG, *spoilt(item)]:
                yield [*value[:index], worse, *value[index + 1 :]]
        if value:
            yield [*value, *value]


def cut(data: bytes) -> Iterator[bytes]:
    """Every proper beginning."""
    return (data[:length] for length in range(len(data)))


def flipped(data: bytes) -> Iterator[bytes]:
    """Every byte changed, in one bit and in all."""
    for index, byte in enumerate(data):
        for mask in (1 << (index % 8), 0xFF):
            yield data[:index] + bytes([byte ^ mask]) + data[index + 1 :]
