"""Fifty seeds, twenty machines each: faults, liars and users for ninety seconds, and then it must all come right."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, cast

import pytest

from simulation.night import try_seed
from simulation.scenario import Outcome, play

SEEDS: Final = 50
PEERS: Final = 20
SEED_TIMEOUT_S: Final = 240.0
SURVIVES: Final = "test_a_swarm_survives"

Outcomes = dict[int, "Future[Outcome | str]"]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    """The seeds that were asked for, under way on all cores."""
    mine = [cast(Any, item) for item in request.session.items if item.name.startswith(f"{SURVIVES}[")]
    wanted = [cast(int, item.callspec.params["seed"]) for item in mine]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(wanted)), get_context("spawn")) as pool:
        yield {seed: pool.submit(try_seed, seed, PEERS) for seed in wanted}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_swarm_survives(seed: int, outcomes: Outcomes) -> None:
    outcome = outcomes[seed].result(SEED_TIMEOUT_S)
    assert isinstance(outcome, Outcome), outcome


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    here = play(3, peers=6).trace
    assert play(3, peers=6).trace == here
    program = "from simulation.scenario import play; print(play(3, peers=6).trace)"
    environment = {**os.environ, "PYTHONHASHSEED": "1234", "PYTHONPATH": str(Path(__file__).parent.parent)}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert there.stdout.strip() == here


def test_another_seed_tells_another_story() -> None:
    assert play(3, peers=4).trace != play(4, peers=4).trace
