"""Whose turn it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.engine.admission.turns import Turns


class Player:
    """A member that is its own account."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = 0

    @property
    def account(self) -> "Player":
        return self


def test_the_one_with_the_fewest_goes_first() -> None:
    a, b, c = Player("a"), Player("b"), Player("c")
    a.running, b.running, c.running = 2, 1, 3
    turns = Turns[Player]()
    for player in (a, b, c):
        turns.join(player)
    assert turns.first() is b
    b.running = 2
    turns.moved(b)
    assert turns.first() is a  # as many as b, but b has moved since
    turns.leave(a)
    assert turns.first() is b


def test_what_happened_while_it_was_alone_counts() -> None:
    a, b = Player("a"), Player("b")
    turns = Turns[Player]()
    turns.join(a)
    turns.join(b)
    assert turns.first() is a
    turns.leave(b)
    a.running = 3
    assert turns.first() is a
    b.running = 1
    turns.join(b)
    assert turns.first() is b


def test_nobody_there() -> None:
    turns = Turns[Player]()
    with pytest.raises(IndexError):
        turns.first()
    turns.leave(Player("a"))
    turns.moved(Player("a"))
    assert turns.size == 0


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "more", "less", "ask"]), st.integers(0, 4)), max_size=80))
def test_it_is_always_one_of_those_with_the_fewest(what: list[tuple[str, int]]) -> None:
    players = [Player(name) for name in "abcde"]
    there: set[Player] = set()
    turns = Turns[Player]()
    for verb, number in what:
        player = players[number]
        match verb:
            case "join":
                turns.join(player)
                there.add(player)
            case "leave":
                turns.leave(player)
                there.discard(player)
            case "ask":
                if there:
                    first = turns.first()
                    assert first in there
                    assert first.running == min(each.running for each in there)
            case _:
                player.running += 1 if verb == "more" else -min(player.running, 1)
                turns.moved(player)
        assert turns.size == len(there)


def test_equals_go_round() -> None:
    players = [Player(name) for name in "abcd"]
    turns = Turns[Player]()
    for player in players:
        turns.join(player)
    order: list[str] = []
    for _ in range(8):
        first = turns.first()
        order.append(first.name)
        turns.moved(first)
    assert "".join(order) == "abcdabcd"
