"""One execution as a state machine, against a slow model that is obviously right, and against its own promises."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from run_world import World, expected, plan_of

RANDOMS = st.randoms(use_true_random=False)


@given(RANDOMS)
@settings(max_examples=150, deadline=None)
def test_every_order_of_events_comes_to_what_the_model_says(random: Random) -> None:
    world = World(plan_of(random), random)
    world.finish_all()
    count = len(world.plan.graph.ids)
    assert [world.machine.state(position) for position in range(count)] == expected(world.plan)


@given(RANDOMS)
@settings(max_examples=150, deadline=None)
def test_an_execution_that_was_interrupted_anywhere_comes_to_the_same(random: Random) -> None:
    world = World(plan_of(random), random)
    for _ in range(random.randrange(4)):
        for _ in range(random.randrange(12)):
            if world.ended is None:
                world.step()
        world.restart()
    world.finish_all()
    count = len(world.plan.graph.ids)
    assert [world.machine.state(position) for position in range(count)] == expected(world.plan)
    undone = [row.position for row in world.rows.values() if row.compensation]
    if world.ended == "completed":
        assert not undone
    else:
        completed = [node for node in world.plan.compensable if world.machine.state(node) == "completed"]
        assert set(completed) == {node for node in undone if node < count}


@given(RANDOMS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_promise_is_broken_whatever_people_do(random: Random, fail_fast: bool) -> None:
    world = World(plan_of(random), random, fail_fast)
    for _ in range(random.randrange(40)):
        chance = random.random()
        if chance < 0.25:
            world.command()
        elif chance < 0.3:
            world.restart()
        elif world.ended is None and world.told | world.running | world.gather:
            world.step()
    world.finish_all()
