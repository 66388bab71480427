"""Who is a member: a function of the set of entries, whatever order they come in."""

from itertools import permutations

from coterie_protocols.authority import Authority, authority_op, resolve_authority
from coterie_protocols.event import Event
from coterie_protocols.ops import Role
from protocols.building import Pen, key, submit


def resolve(events: list[Event]) -> Authority:
    """The members, the same for every order."""
    ops = [op for event in events if (op := authority_op(event)) is not None]
    results = [resolve_authority(order) for order in permutations(ops)]
    assert all(result.members == results[0].members for result in results)
    return results[0]


def roles(authority: Authority, number: int) -> set[Role]:
    """The roles of a peer."""
    member = authority.members.get(key(number).peer_id)
    return set() if member is None else set(member.roles)


def test_the_founder_may_everything() -> None:
    authority = resolve(Pen().events)
    assert roles(authority, 1) == {"admin", "submit", "work", "observe"}
    assert not authority.may(key(2).peer_id, "observe")


def test_a_newcomer_may_what_its_certificate_says() -> None:
    pen = Pen()
    certificate = pen.certificate(900, ("work",), labels=("gpu", "linux"))
    pen.join_with(2, certificate, 900, labels=("linux", "big"), slots=3)
    authority = resolve(pen.events)
    member = authority.members[key(2).peer_id]
    assert (member.name, member.labels, member.slots) == ("peer 2", ("gpu", "linux", "big"), 3)
    assert authority.may(member.peer, "work")
    assert not authority.may(member.peer, "submit")


def test_only_an_admins_certificate_counts() -> None:
    pen = Pen()
    worker, admin = pen.join(2, "work"), pen.join(3, "admin")
    pen.join(4, issuer=2, parents=[worker])
    pen.join(5, issuer=3, parents=[admin])
    authority = resolve(pen.events)
    assert not roles(authority, 4)
    assert roles(authority, 5) == {"submit", "work"}


def test_a_certificate_admits_as_many_as_it_says_the_first_ones() -> None:
    pen = Pen()
    certificate = pen.certificate(900, uses=2)
    late = pen.write(1)
    entries = [
        pen.join_with(2, certificate, 900),
        pen.join_with(3, certificate, 900),
        pen.join_with(4, certificate, 900, parents=[late, pen.genesis]),
    ]
    authority = resolve(pen.events)
    assert [bool(roles(authority, number)) for number in (2, 3, 4)] == [True, True, False]
    without = resolve([event for event in pen.events if event is not entries[0]])
    assert roles(without, 4)


def test_who_loses_its_place_takes_along_whom_it_invited() -> None:
    pen = Pen()
    certificate = pen.certificate(900, ("admin",), uses=1)
    late = pen.write(1)
    second = pen.join_with(3, certificate, 900, parents=[late, pen.genesis])
    pen.join(4, issuer=3, parents=[second])
    assert roles(resolve(pen.events), 4)
    pen.join_with(2, certificate, 900)
    authority = resolve(pen.events)
    assert roles(authority, 2)
    assert not roles(authority, 3)
    assert not roles(authority, 4)


def test_a_second_entry_changes_nothing() -> None:
    pen = Pen()
    first = pen.join(2, "observe")
    pen.join_with(2, pen.certificate(901, ("admin",)), 901, parents=[pen.write(1)])
    authority = resolve(pen.events)
    assert roles(authority, 2) == {"observe"}
    assert authority.members[key(2).peer_id].entry == first.cid


def test_other_events_bear_on_nothing() -> None:
    pen = Pen()
    assert authority_op(pen.write(1)) is None
    assert authority_op(pen.write(1, submit())) is None
    again = pen.join(2).ops
    assert authority_op(pen.write(1, *again)) is None  # a join that is not an author's first
