"""Workflow files of the engine: what they say, and what is told of those that say it wrong."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from coterie.engine.files.reader import UnreadableFile, id_of_name, read_workflow_file, read_workflow_text
from coterie.engine.model import InputSpec, StepSpec, WorkflowSpec
from coterie.engine.planning.spec_document import spec_from_json, spec_to_json
from coterie.engine.planning.spec_problems import InvalidSpec
from coterie.engine.retry import NO_RETRY, RetryConfig

ETL = """\
coterie: 1
name: ETL
inputs:
  url: {required: true, description: Where it is}
  currency: {default: EUR, options: [EUR, USD]}
  plain:
variables: {page: 100}
max_parallel: 8
fail_fast: true
timeout: 1h
priority: 2
steps:
  fetch:
    type: http
    url: ${{ inputs.url }}
    query: {limit: "${{ vars.page }}"}
    name: Fetch it
    timeout: 1m30s
    total_timeout: 10m
    queue_timeout: 5
    heartbeat_timeout: 500ms
    retry:
      {max_attempts: 5, base_delay: 500ms, max_delay: 1m, exponential_base: 3, jitter: false, retryable_errors: [lost]}
    priority: 1.5
    resources: {cpu: 2, memory: 512MB, disk: 1GiB, gpu: 1}
    key: orders
    continue_on_error: true
  choose:
    type: conditional
    needs: fetch
    branches:
      - {name: many, if: "steps.fetch.result[9] != null", then: [price]}
      - {name: few, then: [tell]}
  price:
    type: map
    needs: [fetch]
    items: ${{ steps.fetch.result }}
    step: {type: output, values: {n: "${{ item }}"}, retry: 3, timeout: 1s}
  tell:
    type: output
    values: {}
    compensate: {type: output, values: {sorry: "${{ steps.tell.result }}"}, timeout: 10s}
  join:
    type: output
    needs: [price, tell]
    merge: any
    if: true
    retry: 2
    values: {}
outputs:
  n: ${{ steps.price.result }}
"""


def read(text: str, name: str = "flow.yml") -> WorkflowSpec:
    return read_workflow_text(text, name)


def problems(text: str, name: str = "f.yml") -> list[str]:
    with pytest.raises(InvalidSpec) as caught:
        read(text, name)
    return caught.value.message.splitlines()


def steps(text: str) -> str:
    """A file with those steps."""
    return "coterie: 1\nsteps:\n" + text


def by_id(spec: WorkflowSpec) -> dict[str, StepSpec]:
    return {step.id: step for step in spec.steps}


def test_the_head_of_a_file() -> None:
    spec = read(ETL, "jobs/nightly etl.yml")
    assert (spec.id, spec.name, spec.max_parallel, spec.fail_fast) == ("nightly-etl", "ETL", 8, True)
    assert (spec.timeout_s, spec.priority, spec.variables) == (3600.0, 2.0, {"page": 100})
    assert spec.inputs == (
        InputSpec("url", required=True, description="Where it is"),
        InputSpec("currency", default="EUR", options=("EUR", "USD")),
        InputSpec("plain"),
    )
    assert spec.outputs == {"n": "${{ steps.price.result }}"}


def test_what_all_steps_have_stands_beside_what_their_type_has() -> None:
    fetch = read(ETL).steps[0]
    assert fetch == StepSpec(
        id="fetch",
        type="http",
        name="Fetch it",
        config={"url": "${{ inputs.url }}", "query": {"limit": "${{ vars.page }}"}},
        retry=RetryConfig(5, 0.5, 60.0, 3.0, False, frozenset({"lost"})),
        timeout_s=90.0,
        total_timeout_s=600.0,
        queue_timeout_s=5.0,
        heartbeat_timeout_s=0.5,
        priority=1.5,
        resources={"cpu": 2.0, "memory": 512e6, "disk": float(2**30), "gpu": 1.0},
        key="orders",
        tolerated=True,
        line=13,
        column=3,
    )


def test_a_branch_gives_its_steps_a_need_and_an_arm() -> None:
    found = by_id(read(ETL))
    assert (found["price"].needs, found["price"].arms) == (("fetch", "choose"), {"choose": "many"})
    assert (found["tell"].needs, found["tell"].arms) == (("choose",), {"choose": "few"})
    assert (found["join"].needs, found["join"].merge, found["join"].if_) == (("price", "tell"), "any", "true")
    assert found["join"].retry == RetryConfig(max_attempts=2)
    assert found["choose"].retry == NO_RETRY


def test_the_step_of_a_map_and_a_compensation_are_steps() -> None:
    found = by_id(read(ETL))
    assert found["price"].config["step"] == {
        "type": "output",
        "config": {"values": {"n": "${{ item }}"}},
        "retry": {"max_attempts": 3},
        "timeout_s": 1,
    }
    undo = found["tell"].compensate
    assert undo is not None
    assert (undo.id, undo.needs, undo.type, undo.timeout_s) == ("tell-undo", ("tell",), "output", 10.0)


def test_a_file_survives_being_kept() -> None:
    spec = read(ETL)
    kept = spec_from_json(json.loads(json.dumps(spec_to_json(spec))))
    assert spec_to_json(kept) == spec_to_json(spec)


def test_json_says_the_same() -> None:
    import yaml

    text = json.dumps(yaml.safe_load(ETL))
    assert spec_to_json(read(text, "flow.json")) == spec_to_json(read(ETL))


def test_tries_that_cannot_be_meant_are_told_of_the_step_of_a_map_too() -> None:
    found = problems(steps("  a: {type: map, items: [], step: {type: wait, seconds: 1, retry: 20000}}\n"))
    assert found == ["f.yml:3:67: step 'a': max_attempts must be from 1 to 10000, and is 20000"]


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("a.yml", "a"),
        ("x/y/Deploy now!.yaml", "Deploy-now"),
        ("2nd.json", "_2nd"),
        ("é.yml", "workflow"),
        ("", "workflow"),
    ],
)
def test_the_id_comes_from_the_name_of_the_file(name: str, id_: str) -> None:
    assert id_of_name(name) == id_


def test_all_problems_are_told_at_once_each_at_its_place() -> None:
    found = problems(
        """\
coterie: 1
nmae: x
inputs:
  a: {type: integer, default: "x"}
  b: {required: true, default: 1, type: integer}
  c: {options: [p], default: q}
steps:
  one:
    type: htpp
  two:
    type: http
    urll: x
    method: FOO
    timeout: soon
    needs: [thre]
  three:
    type: http
    url: http://x/${{ inputs.a }}
    query: {x: "${{ steps.one.result + }}"}
    headers: {A: "${{ inputs.z }}", B: [1]}
    if: a ==
  four:
    type: conditional
    needs: five
    branches:
      - name: x
        if: steps.three.result
        then: [three, ten]
      - name: y
        if: foo ==
        then:
          - three
  five:
    type: map
    needs: four
    items: 5
    step:
      type: http
      url: x
      retry: {max_attempts: 0}
      needs: x
    compensate: {type: output, valuess: {}}
  six:
    type: wait
  seven:
    type: output
    retry: 20000
    values: {a: "${{ steps.six.result }}"}
outputs:
  x: ${{ steps.nope.result }}
  y: |
    hello
      ${{ foo }}
"""
    )
    expected = [
        "2:1: 'nmae' is not known here; did you mean 'name'?",
        "4:31: the input 'a' must be of type integer, not 'x'",
        "5:32: the input 'b' is required, so its default is never used",
        "6:30: the default of the input 'c' is not among its options",
        "9:11: step 'one': the type 'htpp' is unknown; known types: ",
        "10:3: step 'two': 'url' is missing",
        "10:3: step 'two' needs 'thre', which does not exist; did you mean 'three'?",
        "12:5: step 'two': 'urll' is not known here; did you mean 'url'?",
        "13:13: step 'two': 'method' should be 'GET', 'HEAD',",
        "14:14: step 'two': 'timeout' should be a duration such as 30s, 5m or 1h30m, not 'soon'",
        "16:3: step 'three' names the input 'z', which does not exist",
        "19:38: step 'three': 'query.x': Unexpected symbol: '+'",
        "20:40: step 'three': 'headers.B' should be a string or an integer or a number or a boolean, not a list",
        "21:9: step 'three': Unrecognized named-value: 'a'",
        "22:3: steps need each other in a circle: four -> five -> four",
        "22:3: step 'four' names step 'three' in a template, but does not wait for it: add it to its needs",
        "28:23: step 'four': 'then' names the step 'ten', which does not exist",
        "30:13: step 'four': 'branches[1].if': Unrecognized named-value: 'foo'",
        "32:13: step 'four': the step 'three' stands in the branch 'x' already: it can have one",
        "36:12: step 'five': 'items' should be a list, not 5",
        "39:12: step 'five': 'url' should begin with http:// or https:// and a host, not 'x'",
        "40:29: step 'five': 'retry.max_attempts' should be greater than or equal to 1, not 0",
        "41:7: step 'five': 'needs' is not known here",
        "42:5: step 'five': 'values' is missing",
        "42:32: step 'five': 'valuess' is not known here; did you mean 'values'?",
        "43:3: step 'six': exactly one of seconds, duration, until, signal, execution must be",
        "45:3: step 'seven' names step 'six' in a template, but does not wait for it: add it to its needs",
        "47:12: step 'seven': max_attempts must be",
        "50:6: the output 'x' names step 'nope' in a template, which does not exist",
        "53:11: Unrecognized named-value: 'foo'",
    ]
    for line, start in zip(found, expected, strict=False):
        assert line.startswith(f"f.yml:{start}")
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: The file is empty"),
        ("5", "1:1: a workflow file is a map, with 'coterie: 1' and 'steps'"),
        ("[1]", "1:1: a workflow file is a map, with 'coterie: 1' and 'steps'"),
        ("coterie: 2\nsteps: {}", "1:10: 'coterie: 1' must be there: it is the version of the format"),
        ("steps: {}", "1:1: 'coterie: 1' must be there: it is the version of the format"),
        ("coterie: true\nsteps: {}", "1:10: 'coterie: 1' must be there"),
        ("coterie: 1", "1:1: 'steps' must be a map with a step in it at least"),
        ("coterie: 1\nsteps: []", "2:8: 'steps' must be a map with a step in it at least"),
        ("coterie: 1\nsteps: {a: 5}", "2:12: step 'a': 'a' must be a map with a 'type'"),
        ("coterie: 1\nsteps: {a: {}}", "2:9: step 'a': 'type' is missing"),
        ("coterie: 1\nsteps: {a: {type: 5}}", "2:19: step 'a': 'type' should be a string, not 5"),
        ("coterie: 1\nsteps: {9a: {type: output, values: {}}}", "2:9: the step id '9a' is none: "),
        ("coterie: 1\nid: a b\nsteps: {a: {type: output, values: {}}}", "1:1: the workflow's id 'a b' is none"),
        ("coterie: 1\ncoterie: 1\nsteps: {a: {type: output, values: {}}}", "2:1: 'coterie' is already defined"),
        (
            "coterie: 1\nvariables: {x: .nan}\nsteps: {a: {type: wait, seconds: 1}}",
            "2:16: '.nan' cannot be kept as JSON",
        ),
        (
            "coterie: 1\nsteps: {a: {type: wait, seconds: 1, timeout: 0}}",
            "2:46: step 'a': 'timeout' should be greater than 0",
        ),
        (
            "coterie: 1\nfail_fast: 1\nsteps: {a: {type: output, values: {}}}",
            "2:12: 'fail_fast' should be a boolean, not 1",
        ),
        ("coterie: 1\nsteps: {a: {type: workflow, file: b.yml}}", "2:35: step 'a': names a file, but this"),
        ("coterie: 1\nsteps:\n\ta: 1", "3:1: Not YAML: "),
        ("coterie: 1\nx: &a [*a]\nsteps: {}", "2:8: The alias '*a' stands within its own anchor"),
    ],
)
def test_what_is_told_of_one_mistake(text: str, problem: str) -> None:
    found = problems(text)
    assert found[0].startswith(f"f.yml:{problem}")
    assert len(found) == 1


@pytest.mark.parametrize(
    ("field", "column", "problem"),
    [
        ("needs: 5", 46, "'needs' should be a string or a list, not 5"),
        ("merge: some", 46, "'merge' should be 'none-failed', 'all'"),
        ("resources: {gpu: -1}", 50, "'resources': 'gpu' should be an amount"),
        ("retry: {jitter: maybe}", 55, "'retry.jitter' should be a boolean"),
    ],
)
def test_what_is_told_of_a_field_that_all_steps_have(field: str, column: int, problem: str) -> None:
    found = problems(f"coterie: 1\nsteps: {{a: {{type: output, values: {{}}, {field}}}}}")
    assert found[0].startswith(f"f.yml:2:{column}: step 'a': {problem}")
    assert len(found) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"coterie": 1,\n "steps": {"a": {"type": "wait",\n  "secnds": 1}}}', "3:3: step 'a': 'secnds' is not known"),
        ('{"coterie": 1, "steps": {"a": {"type": "wait", "seconds": 1, "needs": ["b"]}}}', "1:26: step 'a' needs 'b'"),
        ('{"coterie": 1, "coterie": 1, "steps": {}}', "1:16: 'coterie' is already"),
        ('{"coterie": 1, "variables": {"x": 1e999}, "steps": {}}', "1:35: '1e999' cannot"),
        ('{"coterie": 1, "steps": ' + "[" * 80 + "]" * 80 + "}", "1:75: Maximum object depth exceeded"),
        ('{"coterie": 1, "steps": {', "1:26: Not YAML"),
    ],
)
def test_json_has_places_too(text: str, problem: str) -> None:
    assert any(line.startswith(f"f.json:{problem}") for line in problems(text, "f.json")), problems(text, "f.json")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="No such file"):
        read_workflow_file(tmp_path / "none.yml")
    (tmp_path / "image.yml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UnreadableFile, match="no text in UTF-8"):
        read_workflow_file(tmp_path / "image.yml")
    (tmp_path / "big.yml").write_text("coterie: 1\n" + "#" * (1024 * 1024))
    with pytest.raises(InvalidSpec, match="the limit is 1048576"):
        read_workflow_file(tmp_path / "big.yml")


def large(count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for n in range(count):
        found[f"s{n}"] = {
            "type": "http",
            "name": f"Step {n}",
            "needs": [f"s{n - 1}"] if n else [],
            "url": "http://127.0.0.1/${{ inputs.path }}",
            "query": {"page": n, "before": f"${{{{ steps.s{n - 1}.result.id }}}}" if n else "0"},
            "timeout": "30s",
            "retry": {"max_attempts": 3, "base_delay": "1s"},
            "resources": {"cpu": 1, "memory": "64MB"},
        }
    return {"coterie": 1, "inputs": {"path": {"required": True}}, "steps": found}


def test_a_hundred_steps_are_read_at_once() -> None:
    import yaml

    for text in (yaml.safe_dump(large(100), sort_keys=False), json.dumps(large(100))):
        read(text)  # what is imported first is not measured
        took: list[float] = []
        for _ in range(5):
            begun = time.perf_counter()
            read(text)
            took.append(time.perf_counter() - begun)
        assert min(took) < 0.25, "0.03 s where nothing else runs"
