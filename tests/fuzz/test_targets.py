"""A short run of the fuzzer's targets, so that they do not rot; `run.py` is the long one."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie_protocols.errors import BadMessage
from fuzz.run import mangle
from fuzz.targets import TARGETS, corpus, event, frame, request, token, try_all

SEEDS = corpus()


def test_every_target_accepts_some_seed() -> None:
    """Else the search would never get beyond its first check."""
    for target in TARGETS:
        accepted = 0
        for data in SEEDS:
            try:
                target(data)
            except BadMessage:
                continue
            accepted += 1
        assert accepted or target.__name__ == "op", target


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    try_all(data)


@pytest.mark.parametrize("seed", range(10))
def test_spoilt_vectors(seed: int) -> None:
    chance = Random(seed)
    for _ in range(60):
        try_all(mangle(SEEDS, chance))


def test_the_targets_are_those_of_the_wire() -> None:
    assert {event, frame, request, token} <= set(TARGETS)
