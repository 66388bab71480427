"""Times, ids and counts as people read them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

RUN_CHARS = 12
EXECUTION_CHARS = 16  # `ex-`, nine characters of time, and four of chance for those of one millisecond
EXECUTION_PREFIX = "ex-"
PEER_CHARS = 8
DIGEST_CHARS = 12


def short_run(run: str) -> str:
    """Enough of the id of a run or an execution to name it."""
    return run[: EXECUTION_CHARS if run.startswith(EXECUTION_PREFIX) else RUN_CHARS]


def short_peer(peer: str | None) -> str:
    """The end of a peer id: all ids of Ed25519 keys begin alike."""
    return f"…{peer[-PEER_CHARS:]}" if peer else ""


def short_digest(digest: str) -> str:
    """Enough of a digest or CID to compare two by eye."""
    return f"{digest[:DIGEST_CHARS]}…" if len(digest) > DIGEST_CHARS + 1 else digest


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {smaller}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def age(timestamp: str | None, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 time was."""
    return f"{duration(seconds_between(timestamp, None, now))} ago" if timestamp else ""


def seconds_between(begin: str | None, end: str | None, now: datetime | None = None) -> float:
    """Seconds from one RFC 3339 time to another, or to now."""
    if not begin:
        return 0.0
    last = datetime.fromisoformat(end) if end else (now or datetime.now(UTC))
    return (last - datetime.fromisoformat(begin)).total_seconds()


def clock_time(timestamp: str) -> str:
    """An RFC 3339 time as the clock on the wall shows it: 14:31:05."""
    return datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")


def count(number: int, noun: str) -> str:
    """1 peer, 2 peers, 1,204 events."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def peer_names(members: Mapping[str, Any]) -> dict[str, str]:
    """What to call each peer, from coterie.members/1: its name, or where two share one, name and id."""
    listed: Sequence[Mapping[str, Any]] = members["members"]
    names = [str(member["name"]) for member in listed]
    return {
        str(member["peer"]): _call(str(member["name"]), str(member["peer"]), names.count(str(member["name"])))
        for member in listed
    }


def _call(name: str, peer: str, bearers: int) -> str:
    if not name:
        return short_peer(peer)
    return name if bearers == 1 else f"{name} {short_peer(peer)}"
