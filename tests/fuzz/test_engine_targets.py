"""A short run of the engine's fuzz targets; `run.py --engine` is the long one."""

from random import Random

import pytest

from coterie_protocols.errors import UserError
from fuzz.engine_targets import TARGETS, corpus, try_all
from fuzz.run import mangle

SEEDS = corpus()


def test_every_target_accepts_some_seed() -> None:
    for target in TARGETS:
        accepted = 0
        for data in SEEDS:
            try:
                target(data)
            except UserError:
                continue
            accepted += 1
        assert accepted, target


@pytest.mark.parametrize("seed", range(6))
def test_spoilt_examples(seed: int) -> None:
    chance = Random(seed)
    for _ in range(25):
        try_all(mangle(SEEDS, chance))
