"""Which steps run by their merge rules and arms, and which by the limits of their group."""

import pytest

from coterie.engine.model import Merge, StepState
from run_play import NOW_MS, play_of

# --- merge rules ---


@pytest.mark.parametrize(
    ("merge", "ends", "expected", "reason"),
    [
        ("none-failed", "cc", "ready", ""),
        ("none-failed", "ck", "ready", ""),
        ("none-failed", "tk", "ready", ""),
        ("none-failed", "kk", "skipped", "a and b were skipped"),
        ("none-failed", "cf", "skipped", "b failed"),
        ("none-failed", "fx", "skipped", "a failed and b was cancelled"),
        ("none-failed", "ff", "skipped", "a and b failed"),
        ("all", "ct", "ready", ""),
        ("all", "ck", "skipped", "b was skipped"),
        ("all", "fk", "skipped", "a failed and b was skipped"),
        ("any", "fc", "ready", ""),
        ("any", "kt", "ready", ""),
        ("any", "fk", "skipped", "none of a and b completed"),
        ("first", "cf", "ready", ""),
        ("first", "fc", "ready", ""),
        ("first", "xk", "skipped", "none of a and b completed"),
        ("ended", "fx", "ready", ""),
        ("ended", "kk", "ready", ""),
    ],
)
def test_merge_rules(merge: Merge, ends: str, expected: StepState, reason: str) -> None:
    play = play_of("a b join:a,b", {"join": merge})
    play.begin()
    for name, end in zip("ab", ends, strict=True):
        match end:
            case "c":
                play.complete(name)
            case "t":
                play.fail(name, tolerated=True)
            case "f":
                play.fail(name)
            case "x":
                play.start(name)
                play.stopped(name)
            case _:
                play.machine.skipped(play.at(name), "no", NOW_MS)
    assert play.state("join") == expected
    assert play.reason("join") == reason


def test_only_first_starts_before_all_needs_have_ended() -> None:
    rules: tuple[Merge, ...] = ("none-failed", "all", "any", "ended", "first")
    merge: dict[str, Merge] = {f"m{place}": rule for place, rule in enumerate(rules)}
    play = play_of("a b " + " ".join(f"{id_}:a,b" for id_ in merge), merge)
    assert play.begin() == ["Ready a", "Ready b"]
    assert play.complete("a") == ["Ready m4"]
    play.start("m4")
    assert play.complete("b") == ["Ready m0", "Ready m1", "Ready m2", "Ready m3"]


def test_a_single_need_of_an_any_is_named() -> None:
    play = play_of("a b:a", {"b": "any"})
    play.begin()
    play.fail("a")
    assert play.reason("b") == "a failed"


# --- branches ---

BRANCHES = "size small:size large:size join:small,large"
ARMS = {"small": {"size": "small"}, "large": {"size": "large"}}


def test_a_join_after_a_branch_runs_when_one_arm_did() -> None:
    play = play_of(BRANCHES, arms=ARMS)
    play.begin()
    assert play.complete("size", arm="small") == ["Ready small"]
    assert play.machine.row(0).arm == "small"
    assert (play.state("large"), play.reason("large")) == ("skipped", "arm 'large' of size was not chosen")
    assert play.complete("small") == ["Ready join"]
    assert play.complete("join") == ["Ended completed"]


@pytest.mark.parametrize("merge", ["none-failed", "all", "any", "first", "ended"])
def test_an_arm_must_have_been_chosen_whatever_the_merge_rule(merge: Merge) -> None:
    play = play_of("size x both:size,x", {"both": merge}, {"both": {"size": "small"}})
    play.begin()
    play.complete("x")
    assert play.state("both") == "pending"
    play.complete("size", arm="large")
    assert play.state("both") == "skipped"


def test_first_waits_for_its_arms_and_for_nothing_else() -> None:
    play = play_of("size x y j:size,x,y", {"j": "first"}, {"j": {"size": "small"}})
    play.begin()
    assert play.complete("x") == []
    assert play.complete("size", arm="small") == ["Ready j"]


def test_a_conditional_that_failed_chose_no_arm() -> None:
    play = play_of(BRANCHES, arms=ARMS)
    play.begin()
    assert play.fail("size", tolerated=True) == ["Ended completed"]
    assert play.states() == "fkkk"
