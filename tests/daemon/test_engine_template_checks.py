"""Whether templates name what there is when they are evaluated."""

from dataclasses import replace

import pytest

from coterie.engine.model import InputSpec, Json, StepSpec, WorkflowSpec
from coterie.engine.planning.spec_document import spec_to_bytes
from coterie.engine.template_checks import may_name_steps, reference_problems


def step(id_: str, needs: tuple[str, ...] = (), value: Json = None, **changes: Json) -> StepSpec:
    plain = StepSpec(id_, "output", needs=needs, config={"values": {"x": value}})
    return replace(plain, **changes)


def told(*steps: StepSpec, **head: Json) -> list[str]:
    return [problem.message for problem in reference_problems(replace(WorkflowSpec("w", steps=steps), **head))]


def early(step: str, named: str) -> str:
    return f"step '{step}' names step '{named}' in a template, but does not wait for it: add it to its needs"


A = step("a")
B = step("b", ("a",))


@pytest.mark.parametrize(
    "last",
    [
        step("c", ("b",), "${{ steps.a.result }} ${{ needs.b.result }}"),
        step("c", ("a",), if_="steps.a.state == 'failed'"),
        step("c", ("b",), type="conditional", config={"branches": [{"name": "x", "if": "steps.a.result"}]}),
        step("c", ("b",), type="process", config={"expression": "steps.a.result"}),
        step(
            "c", ("b",), compensate=step("c-undo", ("c",), "${{ steps.c.result }} ${{ needs.c.state }} ${{ steps.a }}")
        ),
        step("c", ("b",), "${{ inputs.anything }}"),
    ],
)
def test_what_has_ended_may_be_named(last: StepSpec) -> None:
    assert told(A, B, last) == []


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (step("c", (), "${{ steps.a.result }}"), early("c", "a")),
        (step("c", ("b",), "${{ needs.a.result }}"), early("c", "a")),
        (step("c", (), if_="steps.b.state"), early("c", "b")),
        (step("c", (), "${{ steps.c.result }}"), "step 'c' names itself in a template, before it has a result"),
        (
            step("fetch", (), "${{ steps.fetsh.result }}"),
            "step 'fetch' names step 'fetsh' in a template, which does not exist; did you mean 'fetch'?",
        ),
        (step("c", (), type="process", config={"expression": "steps.a.result"}), early("c", "a")),
        (step("c", type="conditional", config={"branches": [{"name": "x", "if": "steps.a"}]}), early("c", "a")),
        (step("c", (), compensate=step("c-undo", ("c",), "${{ steps.a }}")), early("c-undo", "a")),
        (
            step("c", (), "${{ vars.sise }}"),
            "step 'c' names the variable 'sise', which does not exist; did you mean 'size'?",
        ),
    ],
)
def test_what_has_not_ended_may_not(last: StepSpec, message: str) -> None:
    assert told(A, B, last, variables={"size": 1}) == [message]


def test_inputs_must_be_declared_where_any_is() -> None:
    named = step("c", (), "${{ inputs.URL }} ${{ inputs.ulr }}")
    assert told(named) == []
    declared = (InputSpec("url"),)
    assert told(named, inputs=declared) == ["step 'c' names the input 'ulr', which does not exist; did you mean 'url'?"]


def test_outputs_may_name_every_step_that_there_is() -> None:
    outputs = {"good": "${{ steps.a.result }}", "bad": "${{ steps.z.result }}", "odd": "${{ needs.a.result }}"}
    assert told(A, B, outputs=outputs) == [
        "the output 'bad' names step 'z' in a template, which does not exist",
        "the output 'odd' names needs.a, but outputs have no needs: write steps.a",
    ]


def test_most_workflows_need_not_be_looked_at() -> None:
    def asks(*steps: StepSpec) -> bool:
        return may_name_steps(spec_to_bytes(WorkflowSpec("w", steps=steps)))

    assert not asks(A, B)
    assert asks(A, step("c", value="${{ 1 }}"))
    assert asks(step("c", if_="true"))
    assert asks(step("c", type="conditional", config={"branches": [{"name": "x", "if": "steps.a"}]}))
    assert asks(step("c", type="process", config={"expression": "steps.a.result"}))


def test_a_long_chain_is_no_trouble() -> None:
    steps = [step("s0"), *(step(f"s{n}", (f"s{n - 1}",)) for n in range(1, 3000))]
    assert told(*steps, step("last", ("s2999",), "${{ steps.s0.result }}")) == []


def test_circles_end() -> None:
    assert told(step("a", ("b",)), step("b", ("a",)), step("c", ("a",), "${{ steps.b.result }}")) == []
