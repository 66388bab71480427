"""One reading of one workflow file: its values are taken for what they must be, and every complaint is kept."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ValidationError

from coterie.engine.files.detect import VERSION
from coterie.engine.files.file_model import ChildFile, InputFile, StepFile, WorkFile, WorkflowHead
from coterie.engine.files.file_text import FileText, Path
from coterie.engine.files.spec_of import child_document, step_spec, then_entries, workflow_spec
from coterie.engine.model import Json, StepSpec, WorkflowSpec
from coterie.engine.planning.plan import make_plan
from coterie.engine.planning.spec_document import spec_to_json
from coterie.engine.planning.spec_problems import InvalidSpec, SpecProblem
from coterie.engine.retry import BadRetryConfig
from coterie.engine.steps.config_problems import ConfigProblem, field_names, near, problems_of
from coterie.engine.steps.factory import StepExecutorFactory
from coterie.engine.template_checks import output_problems, step_reference_problems
from coterie.engine.templates import condition_problem, template_problems
from coterie_protocols.workflow.model import Position

Include = Callable[[str], WorkflowSpec | str]
"""Reads the file that a `workflow` step names; a text says why that cannot be."""

Model = TypeVar("Model", bound=BaseModel)

_HEAD_FIELDS: Final = (*field_names(WorkflowHead), "steps")
_FIELDS: Final[Mapping[type[WorkFile], frozenset[str]]] = {
    model: frozenset(field_names(model)) for model in (StepFile, ChildFile, WorkFile)
}
_SOUND_CHILD: Final[Mapping[str, Json]] = {"type": "output", "config": {"values": {}}}
"""Stands for the step of a map while the map itself is checked, where that step has been complained about."""


Work = TypeVar("Work", bound=WorkFile)


class FileReading:
    """Reads a file into a workflow; `problems` is what is wrong with it."""

    def __init__(self, text: FileText, id_: str, include: Include) -> None:
        self._text = text
        self._id = id_
        self._include = include
        self._places: Mapping[str, Position] = {}
        self.problems: list[SpecProblem] = [SpecProblem(one.message, "", one.position) for one in text.problems]

    def read(self) -> WorkflowSpec | None:
        """The workflow, or None where there are problems."""
        value = self._text.value
        spec = self._workflow(cast(dict[str, Json], value)) if isinstance(value, dict) else None
        if spec is None and not self.problems:
            self._complain((), f"a workflow file is a map, with 'coterie: {VERSION}' and 'steps'")
        return None if self.problems else spec

    # --- the file from its top ---

    def _workflow(self, value: dict[str, Json]) -> WorkflowSpec | None:
        if value.get("coterie") != VERSION or isinstance(value.get("coterie"), bool):
            self._complain(("coterie",), f"'coterie: {VERSION}' must be there: it is the version of the format")
            return None
        steps: Any = value.get("steps")
        rest = {name: one for name, one in value.items() if name != "steps"}
        head = self._model(WorkflowHead, rest, (), _HEAD_FIELDS)
        if not isinstance(steps, dict) or not steps:
            self._complain(("steps",), "'steps' must be a map with a step in it at least")
            return None
        specs = self._steps(cast(dict[str, Json], steps))
        if head is None:
            head = WorkflowHead(coterie=VERSION)
        for name, declared in head.inputs.items():
            self._input(name, declared or InputFile())
        self._templates(head.outputs, ("outputs",))
        spec = workflow_spec(head, head.id or self._id, specs)
        self._plan(spec)
        return spec

    def _input(self, name: str, declared: InputFile) -> None:
        from coterie.engine.steps.schema_errors import schema_errors

        path = ("inputs", name)
        if declared.required and declared.default is not None:
            self._complain((*path, "default"), f"the input '{name}' is required, so its default is never used")
        values = [(("options", index), option) for index, option in enumerate(declared.options)]
        given = [] if declared.default is None else [(("default",), declared.default)]
        for where, value in (*values, *given):
            if schema_errors({"type": declared.type}, value):
                self._complain((*path, *where), f"the input '{name}' must be of type {declared.type}, not {value!r}")
        if given and declared.options and declared.default not in declared.options:
            self._complain((*path, "default"), f"the default of the input '{name}' is not among its options")

    def _plan(self, spec: WorkflowSpec) -> None:
        try:
            make_plan(spec)
        except InvalidSpec as error:
            self._keep(error.problems)
        self._keep(step_reference_problems(spec))
        for name, message in output_problems(spec):
            self._complain(("outputs", name), message)

    def _keep(self, problems: Collection[SpecProblem]) -> None:
        for problem in problems:
            if problem.step in self._places or not problem.position.line:
                path = ("steps", problem.step) if problem.step else ()
                problem = SpecProblem(problem.message, problem.step, self._text.position(path, at_key=True))
            self.problems.append(problem)

    # --- steps ---

    def _steps(self, steps: dict[str, Json]) -> tuple[StepSpec, ...]:
        self._places = self._text.places(("steps",))
        arms = self._arms(steps)
        return tuple(self._step(id_, value, arms.get(id_, {})) for id_, value in steps.items())

    def _arms(self, steps: dict[str, Json]) -> dict[str, dict[str, str]]:
        """For each step that conditional steps name in a `then`: these steps, and the arm of each."""
        arms: dict[str, dict[str, str]] = {}
        for entry in then_entries(steps):
            path = ("steps", entry.chooser, "branches", entry.branch, "then", entry.index)
            known = arms.setdefault(entry.step, {})
            if entry.step not in steps:
                hint = near(entry.step, steps)
                self._complain(path, f"'then' names the step '{entry.step}', which does not exist{hint}")
            elif known.setdefault(entry.chooser, entry.arm) != entry.arm:
                other = known[entry.chooser]
                self._complain(path, f"the step '{entry.step}' stands in the branch '{other}' already: it can have one")
        return arms

    def _step(self, id_: str, value: Json, arms: Mapping[str, str]) -> StepSpec:
        """The step, or one that only has its id and its needs: these are checked whatever is wrong with the rest."""
        path: Path = ("steps", id_)
        position = self._places.get(id_, Position(0, 0))
        file, config = self._work(StepFile, value, path, id_)
        given = cast(dict[str, Json], value) if isinstance(value, dict) else {}
        if file is None:
            type_ = given.get("type")
            file = StepFile(type=type_ if isinstance(type_, str) else "output", needs=_needs(given.get("needs")))
        elif problem := condition_problem(file.if_):
            self._complain((*path, "if"), problem)
        undo_config: Mapping[str, Json] = {}
        if file.compensate is not None:
            undo, undo_config = self._work(WorkFile, given["compensate"], (*path, "compensate"), id_)
            file = file.model_copy(update={"compensate": undo})
        try:
            return step_spec(id_, file, config, arms, position, undo_config)
        except BadRetryConfig as error:
            self._complain((*path, "retry"), error.message)
            return step_spec(id_, file.model_copy(update={"retry": None}), config, arms, position, undo_config)

    def _work(self, model: type[Work], value: Json, path: Path, id_: str) -> tuple[Work | None, dict[str, Json]]:
        """A step of some kind, and the fields that belong to its type: both are checked."""
        if not isinstance(value, dict):
            self._complain(path, f"'{path[-1]}' must be a map with a 'type'")
            return None, {}
        given = cast(dict[str, Json], value)
        common = _FIELDS[model]
        file = self._model(model, {name: one for name, one in given.items() if name in common}, path, common)
        config = {name: one for name, one in given.items() if name not in common}
        type_ = given.get("type")
        if isinstance(type_, str):
            config = self._config(type_, config, path, id_, common)
        return file, config

    def _config(
        self, type_: str, config: dict[str, Json], path: Path, id_: str, common: Collection[str]
    ) -> dict[str, Json]:
        if type_ == "map" and isinstance(config.get("step"), dict):
            config = {**config, "step": self._child(config["step"], (*path, "step"))}
        elif type_ == "workflow" and isinstance(config.get("file"), str):
            config = self._included(config, path)
        for problem in StepExecutorFactory.problems(StepSpec(id_, type_, config=config), common):
            self._tell(problem, path)
        return config

    def _child(self, value: Json, path: Path) -> Mapping[str, Json]:
        before = len(self.problems)
        file, config = self._work(ChildFile, value, path, "child")
        if file is None or len(self.problems) > before:
            return _SOUND_CHILD
        try:
            return child_document(file, config)
        except BadRetryConfig as error:
            self._complain((*path, "retry"), error.message)
            return _SOUND_CHILD

    def _included(self, config: dict[str, Json], path: Path) -> dict[str, Json]:
        """The configuration of a `workflow` step with the workflow itself in place of its file."""
        rest = {name: one for name, one in config.items() if name != "file"}
        found = self._include(config["file"])
        if isinstance(found, WorkflowSpec):
            return {**rest, "document": spec_to_json(found)}
        for line in found.splitlines():
            self._complain((*path, "file"), line)
        return {**rest, "document": {}}

    # --- complaints ---

    def _model(self, model: type[Model], value: Mapping[str, Json], path: Path, known: Collection[str]) -> Model | None:
        """The value as the model has it; what is wrong with it is told, and the rest taken."""
        try:
            return model.model_validate(value)
        except ValidationError as error:
            problems = problems_of(error, value, known=known, skip_templates=False)
        for problem in problems:
            self._tell(problem, path)
        wrong = {problem.path[0] for problem in problems if problem.path}
        try:
            return model.model_validate({name: one for name, one in value.items() if name not in wrong})
        except ValidationError:
            return None

    def _templates(self, value: Json, path: Path) -> None:
        for problem in template_problems(value):
            self._complain((*path, *problem.path), problem.message)

    def _tell(self, problem: ConfigProblem, path: Path) -> None:
        self._complain((*path, *problem.path), problem.message, problem.at_key or not problem.path)

    def _complain(self, path: Path, message: str, at_key: bool = False) -> None:
        position = self._text.position(path, at_key)
        if path and not at_key:
            position = self._text.fault_position(path, position)
        step = str(path[1]) if path[:1] == ("steps",) and len(path) > 1 else ""
        self.problems.append(SpecProblem(f"step '{step}': {message}" if step else message, step, position))


def _needs(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    return [item for item in cast(list[object], value) if isinstance(item, str)]
