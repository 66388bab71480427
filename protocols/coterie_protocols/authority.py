"""Who is a member, and what each may do: resolved from the genesis and the joins alone, before all other ops.

The order is (Lamport, CID), never wall time. A certificate with `uses` n admits the first n newcomers in that
order; when an earlier join turns up late, a later one loses its place again, on every peer alike.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from coterie_protocols.encoding import Cid
from coterie_protocols.event import Event, Header
from coterie_protocols.identity import PeerId
from coterie_protocols.ops import ROLES, Genesis, Join, Role


@dataclass(frozen=True, slots=True)
class Member:
    """A peer that the coterie let in; `entry` is the event of its genesis or join."""

    peer: PeerId
    entry: Cid
    name: str
    roles: frozenset[Role]
    labels: tuple[str, ...]
    slots: int


class Authority:
    """The members, and what each may do."""

    __slots__ = ("members",)

    def __init__(self, members: Mapping[PeerId, Member]) -> None:
        self.members = members

    def may(self, peer: PeerId, role: Role) -> bool:
        """Does the peer have the role?"""
        member = self.members.get(peer)
        return member is not None and role in member.roles


FOUNDER_ROLES: Final[frozenset[Role]] = frozenset(("admin", "submit", "work", "observe"))
assert FOUNDER_ROLES == ROLES

AuthorityOp = tuple[Header, Genesis | Join]


def authority_op(event: Event) -> AuthorityOp | None:
    """The op of `event` that bears on authority, if it has one: only an author's first event can."""
    first = event.ops[0] if event.ops and event.header.prev is None else None
    return (event.header, first) if isinstance(first, Genesis | Join) else None


def resolve_authority(ops: Iterable[AuthorityOp]) -> Authority:
    """The members that a set of authority ops makes, whatever the order of arrival."""
    members: dict[PeerId, Member] = {}
    uses: dict[PeerId, int] = {}
    for header, op in sorted(ops, key=lambda each: (each[0].lamport, each[0].cid)):
        if header.author in members:
            continue
        match op:
            case Genesis():
                members[header.author] = Member(header.author, header.cid, op.name, FOUNDER_ROLES, (), 0)
            case Join(certificate=certificate):
                issuer = members.get(certificate.issuer)
                used = uses.get(certificate.invite, 0)
                if issuer is None or "admin" not in issuer.roles or used >= certificate.uses:
                    continue
                uses[certificate.invite] = used + 1
                members[header.author] = _newcomer(header, op)
    return Authority(members)


def _newcomer(header: Header, op: Join) -> Member:
    labels = tuple(dict.fromkeys((*op.certificate.labels, *op.labels)))
    return Member(header.author, header.cid, op.name, frozenset(op.certificate.roles), labels, op.slots)
