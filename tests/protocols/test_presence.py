"""Who is believed to be there: by announcements and connections, until the goodbye."""

from dataclasses import replace

from coterie_protocols.messages import Announcement
from coterie_protocols.presence import Presence
from protocols.building import key

PEER, OTHER = key(1).peer_id, key(2).peer_id
HELLO = Announcement(10, 1, "one", (), 1, False, (), (), (), bytes(32), ())


def test_nobody_is_there_at_first() -> None:
    presence = Presence(alive_for_s=25.0)
    assert not presence.alive(PEER, 0.0)
    assert presence.liveness(PEER, 0.0) == "unknown"
    presence.sighting(PEER)
    assert (presence.liveness(PEER, 0.0), presence.connected()) == ("unknown", [])
    assert presence.changed_at == float("-inf")


def test_who_was_heard_of_is_alive_for_a_while() -> None:
    presence = Presence(alive_for_s=25.0)
    assert presence.hear(PEER, HELLO, 100.0)
    assert presence.changed_at == 100.0
    assert presence.alive(PEER, 124.9)
    presence.refresh([PEER], 124.9)
    assert presence.changed_at == 100.0
    assert not presence.alive(PEER, 125.0)
    assert presence.liveness(PEER, 125.0) == "suspect"
    presence.refresh([PEER], 126.0)
    assert presence.changed_at == 126.0


def test_who_is_connected_is_alive() -> None:
    presence = Presence(alive_for_s=25.0)
    presence.connect(PEER, 0.0)
    presence.connect(OTHER, 0.0, counts=False)
    assert (presence.alive(PEER, 1e6), presence.liveness(PEER, 1e6)) == (True, "alive")
    assert presence.connected() == sorted([PEER, OTHER])
    presence.disconnect(PEER, 1e6)
    assert not presence.alive(PEER, 1e6)  # cut off is not the same as silent
    presence.hear(PEER, HELLO, 1e6 + 1)
    assert presence.alive(PEER, 1e6 + 1)


def test_who_said_goodbye_is_gone_until_it_comes_back() -> None:
    presence = Presence(alive_for_s=25.0)
    presence.connect(PEER, 0.0)
    presence.hear(PEER, replace(HELLO, leaving=True), 1.0)
    assert (presence.alive(PEER, 1.0), presence.liveness(PEER, 1.0)) == (False, "gone")
    presence.hear(PEER, replace(HELLO, boot_ms=11), 2.0)
    assert presence.alive(PEER, 2.0)


def test_old_announcements_are_passed_over() -> None:
    presence = Presence(alive_for_s=25.0)
    second = replace(HELLO, number=2, slots=9)
    assert presence.hear(PEER, second, 0.0)
    for old in (HELLO, second, replace(HELLO, boot_ms=9, number=99)):
        assert not presence.hear(PEER, old, 50.0)
    assert presence.sighting(PEER).announcement == second
    assert not presence.alive(PEER, 50.0)
    assert presence.hear(PEER, replace(HELLO, boot_ms=11), 50.0)


def test_strangers_are_forgotten() -> None:
    presence = Presence(alive_for_s=25.0)
    presence.connect(PEER, 0.0, counts=False)
    presence.forget(PEER)
    presence.forget(OTHER)
    assert (presence.connected(), presence.liveness(PEER, 0.0)) == ([], "unknown")
    assert presence.changed_at == float("-inf")
