"""Plans: batches, paths and estimates of workflows that can run; every problem of those that cannot."""

import json
from collections.abc import Mapping

import pytest

from coterie.engine.model import InputSpec, StepSpec, WorkflowSpec, plan_hash
from coterie.engine.planning.plan import Estimate, ExecutionPlan, Widest, make_plan
from coterie.engine.planning.plan_checks import CYCLE_NAMES_MAX, CYCLES_MAX
from coterie.engine.planning.spec_document import spec_from_json, spec_to_json
from coterie.engine.planning.spec_problems import InvalidSpec
from coterie_protocols.errors import InvalidWorkflow


def workflow(needs: Mapping[str, str], **said: object) -> WorkflowSpec:
    """A workflow of shell steps: id -> the ids that it needs, blank between them."""
    steps = tuple(StepSpec(id_, "shell", tuple(each.split())) for id_, each in needs.items())
    return WorkflowSpec("w", steps=steps, **said)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


DIAMOND = workflow({"fetch": "", "left": "fetch", "right": "fetch", "join": "left right", "alone": ""})


def problems(spec: WorkflowSpec, **how: object) -> list[str]:
    with pytest.raises(InvalidWorkflow) as caught:
        make_plan(spec, **how)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert caught.value.exit_code == 65
    return caught.value.message.splitlines()


def test_batches_hold_steps_by_their_longest_chain_of_needs() -> None:
    plan = make_plan(DIAMOND)
    assert plan.batches == (("fetch", "alone"), ("left", "right"), ("join",))
    assert (plan.steps, plan.edges, plan.widest) == (5, 4, Widest(0, 2))
    assert plan.critical_path == ("fetch", "left", "join")


def test_steps_may_be_written_before_what_they_need() -> None:
    plan = make_plan(workflow({"c": "b", "b": "a", "a": ""}))
    assert plan.batches == (("a",), ("b",), ("c",))


def test_a_need_that_is_named_twice_is_one() -> None:
    plan = make_plan(workflow({"a": "", "b": "a a"}))
    assert (plan.batches, plan.edges) == ((("a",), ("b",)), 1)


def test_a_workflow_without_steps_is_a_plan_of_nothing() -> None:
    plan = make_plan(WorkflowSpec("w"), estimates={})
    assert (plan.batches, plan.critical_path, plan.widest) == ((), (), Widest(0, 0))
    assert plan.estimated_s(1) == Estimate(1, 0.0, 0.0, 0.0)


def test_the_critical_path_is_the_longest_by_time_where_that_is_known() -> None:
    estimates = {"fetch": 1.0, "left": 2.0, "right": 5.0, "join": 1.0, "alone": 30.0}
    plan = make_plan(DIAMOND, estimates=estimates)
    assert plan.critical_path == ("alone",)
    assert make_plan(DIAMOND, estimates={**estimates, "alone": 1.0}).critical_path == ("fetch", "right", "join")


def test_an_estimate_says_what_more_workers_are_good_for() -> None:
    plan = make_plan(DIAMOND, estimates={"fetch": 1.0, "left": 2.0, "right": 5.0, "join": 1.0})
    assert plan.estimated_s(1) == Estimate(1, sequential_s=9.0, critical_s=7.0, elapsed_s=9.0)
    assert plan.estimated_s(2) == Estimate(2, sequential_s=9.0, critical_s=7.0, elapsed_s=7.0)
    assert make_plan(DIAMOND).estimated_s(2) is None
    with pytest.raises(ValueError, match="at least one worker"):
        plan.estimated_s(0)


def test_the_plan_is_named_after_the_document() -> None:
    plan = make_plan(DIAMOND)
    assert plan.plan_hash == plan_hash(spec_to_json(DIAMOND))
    assert plan.plan_hash != make_plan(workflow({"a": ""})).plan_hash


def test_the_plan_for_scripts_holds_all_of_it() -> None:
    document = make_plan(DIAMOND, estimates={"fetch": 1.5}).to_json(workers=4)
    assert json.loads(json.dumps(document)) == {
        "schema": "coterie.execution-plan/1",
        "workflow": "w",
        "name": "w",
        "plan_hash": make_plan(DIAMOND).plan_hash,
        "steps": 5,
        "edges": 4,
        "batches": [["fetch", "alone"], ["left", "right"], ["join"]],
        "widest": {"batch": 0, "steps": 2},
        "critical_path": ["fetch", "left", "join"],
        "needs": {"left": ["fetch"], "right": ["fetch"], "join": ["left", "right"]},
        "estimate": {"workers": 4, "sequential_s": 1.5, "critical_s": 1.5, "elapsed_s": 1.5},
    }
    assert "estimate" not in make_plan(DIAMOND).to_json()


def test_a_cycle_is_told_as_its_path_of_names() -> None:
    assert problems(workflow({"a": "b", "b": "c", "c": "a", "d": "c"})) == [
        "steps need each other in a circle: a -> b -> c -> a"
    ]


def test_every_independent_cycle_is_told_once_and_the_shortest_of_those_that_meet() -> None:
    needs = {"x": "y", "y": "x", "a": "b", "b": "c", "c": "d", "d": "a c", "free": "", "after": "a free"}
    assert problems(workflow(needs)) == [
        "steps need each other in a circle: x -> y -> x",
        "steps need each other in a circle: c -> d -> c",
    ]


def test_a_step_that_needs_itself_is_told_beside_other_cycles() -> None:
    assert problems(workflow({"me": "me a", "a": "b", "b": "a"})) == [
        "step 'me' needs itself",
        "steps need each other in a circle: a -> b -> a",
    ]


def test_long_cycles_are_shortened_and_many_are_counted() -> None:
    long = {f"s{number}": f"s{(number + 1) % 1000}" for number in range(1000)}
    (told,) = problems(workflow(long))
    assert told.startswith("steps need each other in a circle: s0 -> s1 -> ")
    assert f" -> … {1000 - CYCLE_NAMES_MAX} more … -> " in told
    assert told.endswith(" -> s999 -> s0")
    many = {f"{side}{number}": f"{other}{number}" for number in range(30) for side, other in ("ab", "ba")}
    told_all = problems(workflow(many))
    assert len(told_all) == CYCLES_MAX + 1
    assert told_all[0] == "… and 10 more circles of steps that need each other" or told_all[-1].startswith("… and 10")


def test_a_chain_of_ten_thousand_that_bites_its_tail_needs_no_recursion() -> None:
    ring = {f"s{number}": f"s{(number + 1) % 10_000}" for number in range(10_000)}
    assert len(problems(workflow(ring))) == 1


def test_an_unknown_need_is_told_with_the_nearest_name() -> None:
    assert problems(workflow({"fetch": "", "process": "fetsh zzz"})) == [
        "step 'process' needs 'fetsh', which does not exist; did you mean 'fetch'?",
        "step 'process' needs 'zzz', which does not exist",
    ]


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    steps = (
        StepSpec("a", "shell", ("b",), line=3, column=5),
        StepSpec("b", "shell", ("a",), line=4, column=5),
        StepSpec("a", "shell", timeout_s=-1, line=5, column=5),
        StepSpec("c", "shel", ("d",), line=2, column=5),
    )
    assert problems(WorkflowSpec("w", steps=steps), known_types={"shell", "http"}, file="w.yml") == [
        "w.yml:2:5: step 'c' needs 'd', which does not exist",
        "w.yml:2:5: step 'c' has the unknown type 'shel'; did you mean 'shell'?; known are http, shell",
        "w.yml:3:5: steps need each other in a circle: a -> b -> a",
        "w.yml:5:5: two steps have the id 'a'; the first is in line 3",
        "w.yml:5:5: step 'a': timeout_s is -1; it must be a number of seconds, from 0 to 1e+09",
    ]


def test_problems_know_their_step_and_place() -> None:
    with pytest.raises(InvalidSpec) as caught:
        make_plan(WorkflowSpec("w", steps=(StepSpec("a", "shell", ("a",), line=3, column=5),)))
    (problem,) = caught.value.problems
    assert (problem.step, problem.position.line, problem.position.column) == ("a", 3, 5)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (StepSpec("1", "shell"), "the step id '1' is none: letters, digits"),
        (StepSpec("a b", "shell"), "the step id 'a b' is none"),
        (StepSpec("a" * 101, "shell"), "the step id 'aaa"),
        (StepSpec("a", "!"), "step 'a' has the unknown type '!'; a type is a word"),
        (StepSpec("a", "shell", merge="sum"), "step 'a': merge is 'sum'; it must be one of none-failed"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (StepSpec("a", "shell", queue_timeout_s=float("nan")), "step 'a': queue_timeout_s is nan; it must be"),
        (StepSpec("a", "shell", heartbeat_timeout_s="5"), "step 'a': heartbeat_timeout_s is '5'; it must be"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (StepSpec("a", "shell", priority=-1), "step 'a': priority is -1; it must be from 0 to"),
        (StepSpec("a", "shell", resources={"cpu": -1}), "step 'a': resources is {'cpu': -1}; an amount must be"),
        (
            StepSpec("a", "shell", compensate=StepSpec("u", "shell", compensate=StepSpec("v", "shell"))),
            "step 'u' undoes another step, and cannot have a compensation of its own",
        ),
        (StepSpec("a", "shell", compensate=StepSpec("u", "shell", timeout_s=-2)), "step 'u': timeout_s is -2"),
    ],
)
def test_a_field_that_cannot_be_meant_is_told(step: StepSpec, message: str) -> None:
    (told,) = problems(WorkflowSpec("w", steps=(step,)))
    assert told.startswith(message)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (WorkflowSpec("a workflow"), "the workflow's id 'a workflow' is none"),
        (WorkflowSpec("w", timeout_s=-1), "the workflow's timeout_s is -1"),
        (WorkflowSpec("w", priority=-1), "the workflow's priority is -1"),
        (WorkflowSpec("w", max_parallel=-1), "the workflow's max_parallel is -1"),
        (WorkflowSpec("w", inputs=(InputSpec("a"), InputSpec("a"))), "the input 'a' is there twice"),
    ],
)
def test_a_workflow_that_cannot_be_meant_is_told(spec: WorkflowSpec, message: str) -> None:
    (told,) = problems(spec)
    assert told.startswith(message)


CHOOSE = StepSpec("choose", "conditional", config={"branches": [{"name": "big", "if": "x"}, {"name": "small"}]})


def test_an_arm_of_a_conditional_is_planned() -> None:
    plan = make_plan(WorkflowSpec("w", steps=(CHOOSE, StepSpec("do", "shell", ("choose",), arms={"choose": "big"}))))
    assert plan.batches == (("choose",), ("do",))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            StepSpec("do", "shell", ("choose",), arms={"choose": "bigg"}),
            "step 'do' waits for the arm 'bigg' of 'choose', which has only 'big', 'small'; did you mean 'big'?",
        ),
        (StepSpec("do", "shell", (), arms={"choose": "big"}), "step 'do' waits for an arm of 'choose', but does not"),
        (
            StepSpec("do", "shell", ("plain",), arms={"plain": "big"}),
            "step 'do' waits for an arm of 'plain', which is no conditional step but of type 'shell'",
        ),
        (
            StepSpec("do", "shell", (), arms={"chose": "big"}),
            "step 'do' waits for an arm of 'chose', which does not exist; did you mean 'choose'?",
        ),
    ],
)
def test_an_arm_that_cannot_be_chosen_is_told(step: StepSpec, message: str) -> None:
    (told,) = problems(WorkflowSpec("w", steps=(CHOOSE, StepSpec("plain", "shell"), step)))
    assert told.startswith(message)


def test_a_conditional_whose_config_is_unsound_is_left_to_its_executor() -> None:
    for config in ({}, {"branches": 3}, {"branches": [1, {"if": "x"}]}):
        chooser = StepSpec("choose", "conditional", config=config)
        plan = make_plan(WorkflowSpec("w", steps=(chooser, StepSpec("do", "shell", ("choose",), arms={"choose": "a"}))))
        assert plan.steps == 2


def test_what_the_executors_say_becomes_problems_of_their_steps() -> None:
    def check(step: StepSpec) -> list[str]:
        return [] if step.config else ["run is missing"]

    steps = (
        StepSpec("a", "shell", config={"run": "x"}, compensate=StepSpec("undo", "shell")),
        StepSpec("b", "shell", line=2),
    )
    assert problems(WorkflowSpec("w", steps=steps), check_step=check) == [
        "step 'undo': run is missing",
        "2:0: step 'b': run is missing",
    ]


def test_a_workflow_that_was_read_is_planned_like_one_that_was_made() -> None:
    spec = WorkflowSpec(
        "w", steps=(CHOOSE, StepSpec("do", "shell", ("choose",), arms={"choose": "no"}, compensate=StepSpec("u", "x")))
    )
    read = spec_from_json(spec_to_json(spec))
    assert problems(read, known_types={"shell", "conditional"}) == problems(spec, known_types={"shell", "conditional"})


def test_a_plan_of_a_wide_workflow_is_small() -> None:
    plan = make_plan(workflow({f"s{number}": "" for number in range(300)}))
    assert isinstance(plan, ExecutionPlan)
    assert plan.widest == Widest(0, 300)
