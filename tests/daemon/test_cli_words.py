"""Times, ids and counts as people read them."""

from datetime import UTC, datetime

import pytest

from coterie.cli.git_facts import repository_of
from coterie.cli.output import visible_width
from coterie.cli.words import age, count, duration, peer_names, seconds_between, short_digest, short_peer


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10.0 s"),
        (12.4, "12 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (4 * 86400 + 3 * 3600, "4 d 3 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_ages() -> None:
    now = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
    assert age("2026-11-21T12:00:00.000Z", now) == "30 s ago"
    assert age(None) == ""
    assert seconds_between("2026-11-21T12:00:00.000Z", "2026-11-21T12:00:01.500Z") == 1.5


def test_counts_and_ids() -> None:
    assert (count(1, "event"), count(1204, "event"), count(0, "event")) == ("1 event", "1,204 events", "0 events")
    assert short_peer("12D3KooWabcdefgh") == "…abcdefgh"
    assert (short_peer(None), short_digest("abc"), short_digest("a" * 64)) == ("", "abc", "a" * 12 + "…")


def test_peers_that_share_a_name_are_told_apart() -> None:
    members = [{"peer": "xx11111111", "name": "box"}, {"peer": "xx22222222", "name": "box"}, {"peer": "c", "name": "d"}]
    names = peer_names({"members": members})
    assert names == {"xx11111111": "box …11111111", "xx22222222": "box …22222222", "c": "d"}


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        ("git@example.org:office/tools.git", "office/tools"),
        ("https://example.org/office/tools", "office/tools"),
        ("https://example.org/group/office/tools.git/", "office/tools"),
        ("ssh://git@example.org:2222/office/tools.git", "office/tools"),
    ],
)
def test_the_repository_of_an_origin(url: str, repository: str, tmp_path: object) -> None:
    from pathlib import Path

    assert repository_of(url, Path("/")) == repository


def test_colours_take_no_room() -> None:
    assert visible_width("\x1b[31mred\x1b[0m ✓") == 5
