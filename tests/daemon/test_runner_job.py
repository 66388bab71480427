"""Jobs with real shells: conditions, environments, outputs, time limits, as GitHub has them."""

from pathlib import Path

import pytest

from coterie.runner.job import JobLimits
from coterie.runner.runner import RunnerSettings
from coterie_protocols.effects import NeedResult
from runner_tasks import QUICK, Bench, one_job


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_plain_job(bench: Bench) -> None:
    result = await bench.run_steps("- run: echo hello")
    assert (result.status, result.reason) == ("success", "")
    assert result.started_ms <= result.ended_ms
    assert bench.reported == ["Run echo hello"]
    group = bench.log.lines.index("##[group]Run echo hello")
    assert bench.log.lines[group + 1] == "echo hello"
    assert bench.log.lines[group + 2].endswith("/bash -e {0}")
    assert bench.log.lines[group + 3 : group + 5] == ["##[endgroup]", "hello"]


async def test_a_failing_step_fails_the_job_and_skips_what_follows(bench: Bench) -> None:
    result = await bench.run_steps(
        """
- run: exit 7
- run: echo not this
- run: echo but this ${{ job.status }}
  if: failure()
- run: echo and that
  if: always()
- run: echo never
  if: cancelled()
"""
    )
    assert (result.status, result.reason) == ("failure", "step 'Run exit 7': Process completed with exit code 7.")
    assert "##[error]Process completed with exit code 7." in bench.log.lines
    assert "but this failure" in bench.log.lines
    assert "and that" in bench.log.lines
    assert "not this" not in bench.log.text.replace("echo not this", "")
    assert "never" not in bench.log.lines


async def test_a_signal_is_reported_as_one(bench: Bench) -> None:
    result = await bench.run_steps("- run: kill -SEGV $$")
    assert result.reason == "step 'Run kill -SEGV $$': Process ended by signal 11 (SIGSEGV)."


async def test_outcome_and_conclusion(bench: Bench) -> None:
    job = """
outputs:
  a: ${{ steps.a.outcome }} ${{ steps.a.conclusion }} ${{ steps.a.outputs.left }}
  b: ${{ steps.b.outcome }} ${{ steps.b.conclusion }}
  c: ${{ steps.nobody.outputs.x }}
"""
    steps = """
- id: a
  continue-on-error: ${{ 1 == 1 }}
  run: echo left=over >>$GITHUB_OUTPUT; exit 1
- id: b
  if: steps.a.outcome == 'success'
  run: exit 1
"""
    result = await bench.run(bench.task(one_job(steps, job=job)))
    assert result.status == "success"
    assert result.outputs == {"a": "failure success over", "b": "skipped skipped", "c": ""}
    assert any("steps.a.outcome is 'failure'" in line for line in bench.log.lines)


async def test_env_at_three_levels_and_from_files(bench: Bench) -> None:
    steps = """
- run: |
    echo $A $B $C
    echo "B=file" >>$GITHUB_ENV
    echo "A=file" >>$GITHUB_ENV
    echo "now $B"
  env: {C: step, A: "${{ env.A }}+step"}
- run: echo $A $B [$C] ${{ env.A }} [${{ env.HOME }}]
  env: {B: "${{ env.B }}+step"}
- run: echo "CI is $CI, home is $HOME" && test "$HOME" != /root
  env: {CI: mine}
"""
    workflow = one_job(steps, head="env: {A: file0, B: top}", job="env: {B: job}")
    result = await bench.run(bench.task(workflow))
    assert result.status == "success", bench.log.text
    assert "file0+step job step" in bench.log.lines
    assert "now job" in bench.log.lines
    assert "file file+step [] file []" in bench.log.lines
    assert any(line.startswith("CI is mine, home is ") for line in bench.log.lines)


async def test_paths_are_prepended_for_the_steps_after(bench: Bench) -> None:
    result = await bench.run_steps(
        """
- run: |
    mkdir one two
    for d in one two; do
      printf '#!/bin/sh\\necho from %s\\n' $d >$d/tool
      chmod +x $d/tool
      echo $PWD/$d >>$GITHUB_PATH
    done
    ! command -v tool
- run: tool
"""
    )
    assert result.status == "success", bench.log.text
    assert "from two" in bench.log.lines


async def test_shells(bench: Bench) -> None:
    result = await bench.run_steps(
        """
- run: "false | true; echo default survives a broken pipe; [ -n \\"$BASH\\" ]"
- run: echo "$BASH_VERSION" | grep -q . && [[ x == x ]]
  shell: bash
- run: "! echo ${BASH_VERSION-none} | grep -v none"
  shell: sh
- run: |
    import sys
    print("python", sys.argv[0].endswith(".py"))
  shell: python
- run: custom content
  shell: cat {0}
- id: pipefail
  continue-on-error: true
  shell: bash
  run: false | true
- run: test ${{ steps.pipefail.outcome }} = failure
"""
    )
    assert result.status == "success", bench.log.text
    assert "python True" in bench.log.lines
    assert bench.log.lines.count("custom content") == 2


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("shell: nosuchshell {0}\n  run: x", "the shell 'nosuchshell' is not installed on this peer"),
        ("shell: bash -c\n  run: x", "must hold {0}"),
        ("working-directory: missing\n  run: x", "does not exist"),
        ("run: x\n  if: fromJSON('{')", "Error parsing JSON"),
        ("run: echo ${{ fromJSON('{') }}", "Error parsing JSON"),
        ("run: x\n  timeout-minutes: ${{ fromJSON('-1') }}", "timeout-minutes must be a number above 0"),
        ("run: echo nonsense >>$GITHUB_ENV", "Unable to process file command: Invalid format 'nonsense'"),
        ("run: echo NODE_OPTIONS=x >>$GITHUB_ENV", "Can't store NODE_OPTIONS"),
        ("run: echo '::set-env name=a::b'", "The `set-env` command is disabled"),
        ("uses: actions/checkout@v4", "without a source tree"),
    ],
)
async def test_what_is_wrong_with_a_step_fails_it_with_a_reason(bench: Bench, step: str, reason: str) -> None:
    result = await bench.run_steps(f"- {step}\n- run: echo cleanup\n  if: always()")
    assert result.status == "failure"
    assert reason in result.reason
    assert "cleanup" in bench.log.lines
    assert any(line.startswith("##[error]") and reason in line for line in bench.log.lines)


async def test_working_directories(bench: Bench) -> None:
    steps = """
- run: mkdir -p job step && pwd
  working-directory: .
- run: pwd
- run: pwd
  working-directory: ${{ github.workspace }}/step
- run: pwd
  working-directory: /
"""
    await bench.run(bench.task(one_job(steps, job="defaults: {run: {working-directory: job}}")))
    places = [line for line in bench.log.lines if line.startswith("/")]
    assert [Path(place).name for place in places] == ["workspace", "job", "step", ""]


async def test_a_step_that_takes_too_long_fails(bench: Bench) -> None:
    result = await bench.run_steps(
        """
- run: trap 'echo interrupted; exit 0' INT; sleep 1000
  name: Slow
  timeout-minutes: 0.005
- run: echo after ${{ job.status }}
  if: always()
"""
    )
    assert (result.status, result.reason) == (
        "failure",
        "step 'Slow': The action 'Slow' has timed out after 0.005 minutes.",
    )
    assert "interrupted" in bench.log.lines
    assert "after failure" in bench.log.lines


async def test_a_job_that_takes_too_long_is_cancelled_and_cleans_up(bench: Bench) -> None:
    steps = """
- run: sleep 1000
  id: slow
- run: echo not this
- run: echo cleanup ${{ job.status }} ${{ steps.slow.outcome }}
  if: always()
- run: echo too
  if: cancelled()
- run: echo never
  if: failure()
"""
    result = await bench.run(bench.task(one_job(steps, job="timeout-minutes: 0.005")))
    assert (result.status, result.reason) == ("cancelled", "the job took more than its 0.005 minutes")
    assert "cleanup cancelled cancelled" in bench.log.lines
    assert "too" in bench.log.lines
    assert "never" not in bench.log.lines


async def test_cleaning_up_after_the_time_limit_is_bounded(tmp_path: Path) -> None:
    limits = JobLimits(job_minutes=0.005, cancelled_s=0.3)
    bench = Bench(tmp_path, RunnerSettings(env={"PATH": "/usr/bin:/bin"}, grace=QUICK, limits=limits))
    result = await bench.run_steps(
        "- run: sleep 1000\n- run: sleep 1000\n  if: always()\n- run: echo no\n  if: always()"
    )
    assert result.status == "cancelled"
    assert "no" not in bench.log.lines
    assert "##[error]The steps after the time limit took more than 0 s." in bench.log.lines


async def test_contexts(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  it:
    name: test ${{ matrix.os }}
    runs-on: any
    needs: []
    strategy:
      matrix: {os: [linux], version: [3.12]}
    steps:
      - run: |
          echo "1 ${{ github.sha }} ${{ github.ref_name }} ${{ github.event_name }} ${{ github.job }}"
          echo "2 ${{ matrix.os }} ${{ matrix.version }} ${{ strategy.job-total }} ${{ strategy.fail-fast }}"
          echo "3 ${{ runner.os }} ${{ runner.name }} ${{ inputs.flag }} ${{ inputs.flag == true }}"
          echo "4 ${{ github.event.number }} ${{ github.run_attempt }} ${{ github.repository_owner }}"
          echo "5 $(cat $GITHUB_EVENT_PATH)"
          test "$GITHUB_WORKSPACE" = "$PWD" && test "$RUNNER_TEMP" = "$TMPDIR" && test -d "$RUNNER_TOOL_CACHE"
          echo "6 $GITHUB_ACTIONS $CI $GITHUB_SHA $GITHUB_REF $GITHUB_REPOSITORY $GITHUB_JOB $RUNNER_OS $GITHUB_ACTION"
          echo "7 $COTERIE_RUN|$COTERIE_TASK|$COTERIE_ATTEMPT|$COTERIE_TOKEN|$COTERIE_IDEMPOTENCY_KEY"
"""
    result = await bench.run(bench.task(workflow, inputs={"flag": True}, payload={"number": 42}, attempt=2))
    assert result.status == "success", bench.log.text
    sha = "a" * 40
    assert [line for line in bench.log.lines if line[:2] in ("1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7 ")] == [
        f"1 {sha} main push it",
        "2 linux 3.12 1 true",
        "3 Linux here true true",
        "4 42 2 me",
        '5 {"number": 42}',
        f"6 true true {sha} refs/heads/main me/it it Linux __run",
        "7 bafyreirun|it (linux, 3.12)|2|2:bafyreiclaim|bafyreirun/it (linux, 3.12)",
    ]


async def test_needs_and_job_conditions(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  a: {runs-on: any, steps: [{run: "true"}]}
  b:
    needs: a
    runs-on: any
    if: needs.a.outputs.go == 'yes'
    steps: [{run: "echo got ${{ needs.a.outputs.go }} ${{ needs.a.result }}"}]
"""
    going = bench.task(workflow, "b", needs={"a": NeedResult("success", {"go": "yes"})})
    assert (await bench.run(going)).status == "success"
    assert "got yes success" in bench.log.lines

    staying = bench.task(workflow, "b", needs={"a": NeedResult("success", {"go": "no"})})
    result = await bench.run(staying)
    assert result.status == "skipped"
    assert result.reason == (
        "the condition success() && (needs.a.outputs.go == 'yes') is false"
        " (success() is true, needs.a.outputs.go is 'no')"
    )

    failed = bench.task(workflow, "b", needs={"a": NeedResult("failure", {"go": "yes"})})
    assert (await bench.run(failed)).status == "skipped"


@pytest.mark.parametrize(
    ("condition", "need", "ancestor", "runs"),
    [
        ("always()", "failure", "failure", True),
        ("failure()", "failure", "success", True),
        ("failure()", "skipped", "failure", True),
        ("failure()", "success", "success", False),
        ("success()", "success", "failure", False),
        ("success('b')", "success", "failure", True),
        ("!cancelled()", "failure", "success", True),
        ("cancelled()", "cancelled", "success", False),
        ("success() || needs.b.result == 'skipped'", "skipped", "success", True),
    ],
)
async def test_status_functions_of_jobs(bench: Bench, condition: str, need: str, ancestor: str, runs: bool) -> None:
    workflow = f"""
on: push
jobs:
  a: {{runs-on: any, steps: [{{run: "true"}}]}}
  b: {{needs: a, runs-on: any, steps: [{{run: "true"}}]}}
  c: {{needs: b, runs-on: any, if: "{condition}", steps: [{{run: "true"}}]}}
"""
    needs = {"b": NeedResult(need, {})}  # type: ignore[arg-type]
    task = bench.task(workflow, "c", needs=needs, ancestors={"a": ancestor, "b": need})  # type: ignore[dict-item]
    assert (await bench.run(task)).status == ("success" if runs else "skipped")


async def test_masks_never_reach_the_log(bench: Bench) -> None:
    job = "outputs: {leak: '${{ steps.s.outputs.leak }}', fine: ok}"
    steps = """
- id: s
  run: |
    echo "::add-mask::hunter22"
    echo "the password is hunter22"
    echo "leak=hunter22" >>$GITHUB_OUTPUT
- run: echo ${{ steps.s.outputs.leak }}
  name: Use ${{ steps.s.outputs.leak }}
"""
    result = await bench.run(bench.task(one_job(steps, job=job)))
    after = bench.log.text.partition("##[endgroup]")[2]
    assert "hunter22" not in after
    assert "the password is ***" in bench.log.lines
    assert bench.reported[1] == "Use ***"
    assert result.outputs == {"fine": "ok"}
    assert "##[warning]Skip output 'leak' since it may contain secret." in bench.log.lines


async def test_an_output_that_is_too_long(bench: Bench) -> None:
    job = "outputs: {big: '${{ steps.s.outputs.big }}'}"
    steps = "- id: s\n  run: echo big=$(head -c 20000 /dev/zero | tr '\\0' x) >>$GITHUB_OUTPUT"
    result = await bench.run(bench.task(one_job(steps, job=job)))
    assert (result.status, result.reason) == (
        "failure",
        "the output 'big' has 20000 characters; the limit is 16384",
    )


async def test_a_job_that_may_fail_by_an_expression_counts_as_success(bench: Bench) -> None:
    workflow = """
on: push
jobs:
  a: {runs-on: any, steps: [{run: "true"}]}
  b: {needs: a, runs-on: any, continue-on-error: "${{ needs.a.result == 'success' }}", steps: [{run: exit 1}]}
"""
    result = await bench.run(bench.task(workflow, "b", needs={"a": NeedResult("success", {})}))
    assert result.status == "success"
    assert result.reason.startswith("failed, but may (continue-on-error): step 'Run exit 1'")
