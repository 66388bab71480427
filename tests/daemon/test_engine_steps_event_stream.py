"""Server-sent events, read as they come."""

import pytest

from coterie.engine.steps.event_stream import EVENT_CHARS_MAX, EventStream, EventTooLarge


def test_events_are_whole_however_they_come() -> None:
    data = "\ufeff: hi\r\ndata: a\rdata:b\n\nid: 1\nevent: x\n\ndata: ü\r\n\r\ndata: rest".encode()
    for size in (1, 2, 3, 7, len(data)):
        stream = EventStream()
        found = [event for at in range(0, len(data), size) for event in stream.feed(data[at : at + size])]
        assert found == ["a\nb", "ü"]


def test_a_blank_after_the_colon_is_left_out_once() -> None:
    assert EventStream().feed(b"data:  a\n\ndata\n\ndata:\n\n") == [" a", "", ""]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 1000, b"data: " + b"x" * 1000 + b"\n", b"x" * 1000])
def test_an_event_is_bounded(piece: bytes) -> None:
    stream = EventStream()
    for _ in range(EVENT_CHARS_MAX // 1010):
        assert stream.feed(piece) == []
    with pytest.raises(EventTooLarge):
        stream.feed(piece * 100)
