"""The types of steps, and how their configuration is checked and completed."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from coterie.engine.failures import ConfigurationFailure, ValidationFailure
from coterie.engine.files.file_model import StepFile
from coterie.engine.model import Json, StepSpec
from coterie.engine.steps import factory
from coterie.engine.steps.config_problems import field_names
from coterie.engine.steps.executor import StepCall, StepExecutor
from coterie.engine.steps.factory import BUILT_IN, StepExecutorFactory, UnknownStepType
from coterie_protocols.errors import UserError


class Place(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str
    port: int = 5432


class SqlConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=3)
    limit: int | None = None
    where: Place | None = None
    tags: list[int | bool] = []
    raw: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _small(self) -> "SqlConfig":
        if self.limit == 13:
            raise ValueError("13 is no limit")
        return self


class SqlExecutor(StepExecutor[SqlConfig]):
    config_model: ClassVar[type[BaseModel]] = SqlConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"raw"})

    async def execute(self, call: StepCall[SqlConfig]) -> Json:
        return call.config.query

    @classmethod
    def problems(cls, step: StepSpec, config: BaseModel) -> list[str]:
        return ["it needs nothing"] if not step.needs else []


class OtherExecutor(SqlExecutor):
    pass


@pytest.fixture(autouse=True)
def sql(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(StepExecutorFactory, "_classes", {})
    monkeypatch.setattr(StepExecutorFactory, "_good", set[object]())
    StepExecutorFactory.register("sql", SqlExecutor)
    yield
    factory.installed.cache_clear()


def step(config: Mapping[str, Json], type_: str = "sql", needs: tuple[str, ...] = ("a",)) -> StepSpec:
    return StepSpec("it", type_, needs=needs, config=config)


def test_types_can_be_added() -> None:
    assert StepExecutorFactory.executor_class("sql") is SqlExecutor
    assert StepExecutorFactory.known() == sorted([*BUILT_IN, "sql"])
    StepExecutorFactory.register("sql", SqlExecutor)
    with pytest.raises(UserError, match="the step type 'sql' is SqlExecutor already"):
        StepExecutorFactory.register("sql", OtherExecutor)
    with pytest.raises(UserError, match="the step type 'http' is HttpExecutor already"):
        StepExecutorFactory.register("http", OtherExecutor)
    StepExecutorFactory.register("sql", OtherExecutor, replace=True)
    assert StepExecutorFactory.executor_class("sql") is OtherExecutor


def test_only_executors_can_be_added() -> None:
    class Bare(StepExecutor[SqlConfig]):
        async def execute(self, call: StepCall[SqlConfig]) -> Json:
            return None

    with pytest.raises(UserError, match="cannot carry out 'x' steps"):
        StepExecutorFactory.register("x", SqlConfig)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="does not say how its steps are configured"):
        StepExecutorFactory.register("x", Bare)


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(UnknownStepType) as caught:
        StepExecutorFactory.executor_class("htpp")
    assert str(caught.value).startswith(
        "the type 'htpp' is unknown; known types: ai, conditional, data_validation, http"
    )
    assert str(caught.value).endswith("; did you mean 'http'?")
    assert StepExecutorFactory.check_step(step({}, "htpp")) == [str(caught.value)]


@pytest.mark.parametrize("type_", sorted(BUILT_IN))
def test_every_built_in_type_can_be_loaded(type_: str) -> None:
    executor = StepExecutorFactory.executor_class(type_)
    assert issubclass(executor, StepExecutor)
    assert executor.config_model.model_config.get("extra") == "forbid"
    assert executor.raw_fields <= set(field_names(executor.config_model))
    taken = set(field_names(executor.config_model)) & set(field_names(StepFile))
    assert not taken, "in a file they stand beside those that all steps have"
    for name, field in executor.config_model.model_fields.items():
        assert field.description, f"{type_}.{name} has no description"


def test_installed_packages_bring_types(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint("graphql", f"{__name__}:OtherExecutor", factory.ENTRY_POINTS),
        EntryPoint("broken", "no_such_module_at_all:X", factory.ENTRY_POINTS),
        EntryPoint("wrong", f"{__name__}:SqlConfig", factory.ENTRY_POINTS),
    ]
    factory.installed.cache_clear()

    def entry_points(group: str) -> list[EntryPoint]:
        return entries if group == factory.ENTRY_POINTS else []

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    assert "graphql" in StepExecutorFactory.known()
    assert StepExecutorFactory.executor_class("graphql") is OtherExecutor
    with pytest.raises(UserError, match="cannot carry out 'wrong' steps"):
        StepExecutorFactory.executor_class("wrong")
    told = StepExecutorFactory.check_step(step({}, "broken"))
    assert "the step type 'broken' cannot be loaded from no_such_module_at_all:X" in told[0]


def test_what_is_wrong_is_told_in_sentences_with_its_place() -> None:
    config: dict[str, Json] = {"query": "", "limt": 5, "where": {"port": "x"}, "tags": [1, "x", []], "limit": "many"}
    problems = StepExecutorFactory.problems(step(config), more_fields=("timeout",))
    told = {problem.path: problem.message for problem in problems}
    assert told == {
        ("query",): "'query': String should have at least 3 characters",
        ("limt",): "'limt' is not known here; did you mean 'limit'?",
        ("where",): "'where.host' is missing",
        ("where", "port"): "'where.port' should be an integer, unable to parse string as an integer, not 'x'",
        ("tags", 1): "'tags[1]' should be an integer, unable to parse string as an integer or a boolean,"
        " unable to interpret input, not 'x'",
        ("tags", 2): "'tags[2]' should be an integer or a boolean, not a list",
        ("limit",): "'limit' should be an integer, unable to parse string as an integer, not 'many'",
    }
    assert [problem.path for problem in problems if problem.at_key] == [("limt",)]
    near = StepExecutorFactory.problems(step({"query": "abc", "timeut": 1}), more_fields=("timeout",))
    assert near[0].message == "'timeut' is not known here; did you mean 'timeout'?"


def test_the_executor_says_what_the_model_cannot_see() -> None:
    assert StepExecutorFactory.check_step(step({"query": "abc"})) == []
    assert StepExecutorFactory.check_step(step({"query": "abc"}, needs=())) == ["it needs nothing"]
    assert StepExecutorFactory.check_step(step({"query": "abc", "limit": 13})) == ["13 is no limit"]


def test_values_with_templates_are_checked_when_these_are_evaluated() -> None:
    config = {
        "query": "${{ 1 }}",
        "limit": "${{ inputs.limit }}",
        "where": {"host": "h", "port": "${{ inputs.port }}"},
        "tags": ["${{ item }}", 1],
    }
    assert StepExecutorFactory.check_step(step(config)) == []
    problems = StepExecutorFactory.check_step(step({**config, "where": {"host": 5, "port": "${{ inputs.port }}"}}))
    assert problems == ["'where.host' should be a string, not 5"]


def test_templates_that_cannot_be_read_are_told_but_raw_fields_are_left_alone() -> None:
    problems = StepExecutorFactory.problems(step({"query": "${{ github.ref }}", "raw": {"x": "${{ nonsense"}}))
    assert [problem.path for problem in problems] == [("query",)]
    assert problems[0].message.startswith("'query': Unrecognized named-value: 'github'")


def test_a_configuration_is_completed_from_the_contexts() -> None:
    config = {"query": "select ${{ inputs.what }}", "limit": "${{ inputs.n }}", "raw": {"x": "${{ inputs.n }}"}}
    made = StepExecutorFactory.prepare(step(config), {"inputs": {"what": "*", "n": 5}})
    assert isinstance(made, SqlConfig)
    assert (made.query, made.limit, made.raw) == ("select *", 5, {"x": "${{ inputs.n }}"})


def test_contexts_are_made_only_where_they_are_needed() -> None:
    def contexts() -> Mapping[str, Json]:
        raise AssertionError("there is no template")

    assert StepExecutorFactory.prepare(step({"query": "abc", "raw": {"x": "${{ 1 }}"}}), contexts)


def test_what_does_not_fit_when_it_is_evaluated_fails_the_step_for_good() -> None:
    text = "${{ inputs.text }}"
    with pytest.raises(ValidationFailure, match=r"'limit' should be an integer.*, not 'x'"):
        StepExecutorFactory.prepare(step({"query": "abc", "limit": text}), {"inputs": {"text": "x"}})
    with pytest.raises(ValidationFailure, match=r"'limit' should be an integer.*, not"):
        StepExecutorFactory.prepare(step({"query": "abc", "limit": text}), {"inputs": {"text": "${{ 1 }}"}})
    with pytest.raises(ConfigurationFailure, match="'limit': Error parsing JSON"):
        StepExecutorFactory.prepare(step({"query": "abc", "limit": "${{ fromJSON('{') }}"}), {})


def test_a_configuration_like_one_that_was_good_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = StepSpec("a", "output", config={"values": {"x": 1}})
    assert StepExecutorFactory.check_step(one) == []

    def problems(*_: object) -> list[str]:
        pytest.fail("looked at again")

    monkeypatch.setattr(StepExecutorFactory, "problems", problems)
    assert StepExecutorFactory.check_step(StepSpec("b", "output", config={"values": {"y": [2]}})) == []


def test_a_bad_one_is_told_each_time_and_like_is_not_alike() -> None:
    assert StepExecutorFactory.check_step(StepSpec("a", "map", config={"items": 1})) != []
    assert StepExecutorFactory.check_step(StepSpec("b", "map", config={"items": 1})) != []
    for good, bad in (({"seconds": 1}, {"seconds": True, "x": 1}), ({"seconds": 1}, {"seconds": "x"})):
        assert StepExecutorFactory.check_step(StepSpec("a", "wait", config=good)) == []
        assert StepExecutorFactory.check_step(StepSpec("a", "wait", config=bad)) != []


def test_to_import_the_factory_is_light() -> None:
    heavy = ("httpx", "jsonschema", "importlib.metadata", "coterie.engine.steps.http", "sqlite3", "trio", "asyncio")
    code = f"import sys, coterie.engine.steps.factory; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert found.stdout.strip() == "[]"
