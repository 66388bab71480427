"""kill -9 at random instants: nothing that was committed is lost, and at most what ran is repeated."""

from kills.loop import kill_until


def test_an_engine_killed_again_and_again_ends_its_run_right() -> None:
    tally = kill_until(kills=12, seed=20)
    assert tally.kills == 12
    assert tally.runs >= 1
