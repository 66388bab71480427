"""When to announce and what: within the budget, news inline, four signs of life to a lease."""

import pytest

from coterie_protocols.announcer import LABELS_BYTES_MAX, Announcer
from coterie_protocols.clock import Clock, NoHeaders
from coterie_protocols.messages import CLAIMS_SHOWN_MAX, HEADS_SHOWN_MAX, INLINE_BYTES_MAX
from protocols.building import Pen


def announcer() -> Announcer:
    """With round numbers."""
    return Announcer("one", ("linux",), 2, interval_s=0.1, presence_interval_s=10.0)


def clock_of(pen: Pen) -> Clock:
    """A clock that knows all of it."""
    clock = Clock(pen.coterie, NoHeaders())
    for event in pen.events:
        clock.insert(event)
    return clock


def test_the_first_is_due_at_once_and_the_next_by_need() -> None:
    one, clock = announcer(), clock_of(Pen())
    assert one.due(None) == float("-inf")
    one.publish(clock, (), 5.0)
    assert one.due(None) == 15.0
    assert one.due(lease_s=12.0) == 8.0
    assert one.due(lease_s=400.0) == 15.0
    one.want()
    assert one.due(None) == 5.1
    one.publish(clock, (), 5.1)
    one.add(b"\xaa")
    assert one.due(None) == pytest.approx(5.2)


def test_what_is_said() -> None:
    pen = Pen()
    for number in range(2, 14):
        pen.join(number)
    clock = clock_of(pen)
    one = announcer()
    one.start(77)
    one.addresses = ("/ip4/127.0.0.1/tcp/1",) * 20
    claims = [head.cid for head in clock.heads] * 10
    said = one.publish(clock, claims, 0.0)
    assert (said.boot_ms, said.number, said.name, said.labels, said.slots) == (77, 1, "one", ("linux",), 2)
    assert said.claims == tuple(claims[:CLAIMS_SHOWN_MAX])
    assert said.heads == tuple(head.cid for head in clock.heads[:HEADS_SHOWN_MAX])
    assert (len(said.addresses), said.fingerprint, said.leaving) == (16, clock.fingerprint, False)
    one.leaving = True
    assert one.compose(clock, ()).number == 2
    assert one.compose(clock, ()).leaving


def test_news_are_told_once_and_while_they_are_small() -> None:
    one, clock = announcer(), clock_of(Pen())
    small, large = b"\xaa" * 100, b"\xaa" * INLINE_BYTES_MAX
    one.add(small)
    one.add(large)
    one.add(small)
    assert one.publish(clock, (), 0.0).events == (small, small)
    assert one.publish(clock, (), 1.0).events == ()


def test_labels_have_room_or_are_refused() -> None:
    Announcer("one", ("x" * LABELS_BYTES_MAX,), 1, 0.1, 10.0)
    with pytest.raises(ValueError, match="labels"):
        Announcer("one", ("x" * LABELS_BYTES_MAX, "y"), 1, 0.1, 10.0)
