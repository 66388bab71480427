"""The routes of executions, each a thin translation between HTTP and `Executions`.

Answers are dataclasses of `coterie.executions.views`, turned into JSON as they are.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from coterie.control import execution_schemas as bodies
from coterie.control.execution_events import execution_stream
from coterie.control.execution_submit import EXECUTIONS_PATH, Submitting
from coterie.control.schemas import CancelBody
from coterie.control.streams import EVENT_STREAM, StreamResponse
from coterie.engine.model import Json, WorkflowSpec
from coterie.engine.planning.spec_document import spec_from_json
from coterie.executions import views
from coterie.executions.planning import plan_of_run, validate
from coterie.executions.service import Executions
from coterie.serving import closing
from coterie.views import Daemon, RunView
from coterie_protocols.errors import NotFound, UserError

EXECUTIONS_MAX = 1000
STEPS_MAX = 1000
COLUMNS_MAX = 1000
PICTURES = {"text": "text/plain; charset=utf-8", "svg": "image/svg+xml"}

Limit = Annotated[int, Query(ge=1, le=EXECUTIONS_MAX)]
Start = Annotated[int, Query(ge=0)]
Page = Annotated[int, Query(ge=1, le=STEPS_MAX)]


def execution_routes(daemon: Daemon, executions: Executions, submitting: Submitting) -> APIRouter:
    """Everything under /v1/executions, and what /v1/workflows says of plans."""
    router = APIRouter()
    _lists(router, executions, submitting)
    _details(router, executions)
    _streams(router, executions)
    _commands(router, executions)
    _plans(router, daemon, executions)
    return router


def _lists(router: APIRouter, executions: Executions, submitting: Submitting) -> None:
    @router.post(EXECUTIONS_PATH, **_answers(views.ExecutionView, 201), openapi_extra=_takes(bodies.ExecutionBody))
    async def submit(request: Request) -> Response:
        """Submits an execution; it is durable and has begun when this answers."""
        return Response(await submitting.submit(await request.body()), 201, media_type="application/json")

    @router.get(EXECUTIONS_PATH, **_answers(views.ExecutionsView))
    async def newest(limit: Limit = 50, workflow: str | None = None) -> Response:
        """The newest executions first, of one workflow or of all."""
        return _json(executions.reading.views(limit, workflow))

    _use(submit, newest)


def _details(router: APIRouter, executions: Executions) -> None:
    reading = executions.reading

    @router.get("/v1/executions/{execution}", **_answers(views.ExecutionView))
    async def one(execution: str) -> Response:
        """One execution: by its id, a prefix of it, `@last`, `@last-failed`, or the newest of a workflow's id."""
        return _json(reading.view(execution))

    @router.get("/v1/executions/{execution}/steps", **_answers(views.StepsView))
    async def steps(execution: str, start: Start = 0, limit: Page = 100) -> Response:
        """Its steps by position, a page."""
        return _json(await reading.steps(execution, start, limit))

    @router.get("/v1/executions/{execution}/steps/{step}/result", **_answers(views.ResultView))
    async def result(execution: str, step: str) -> Response:
        """What a completed step returned."""
        return Response(await reading.result(execution, step), media_type="application/json")

    @router.get("/v1/executions/{execution}/explain", **_answers(views.ExplanationView))
    async def explain(execution: str, step: str | None = None) -> Response:
        """Why a step stands where it does; without one, of all that did not simply complete."""
        return _json(reading.explain(execution, step))

    @router.get("/v1/executions/{execution}/metrics", **_answers(views.MetricsView))
    async def metrics(execution: str, start: Start = 0, limit: Page = 100) -> Response:
        """What it took: durations, waits, retries, parallel efficiency, the path that determined the end."""
        return _json(await executions.measuring.metrics(execution, start, limit))

    @router.get("/v1/executions/{execution}/timeline", **_answers(views.TimelineView))
    async def timeline(
        execution: str,
        format: bodies.Picture = "json",
        start: Start = 0,
        columns: Annotated[int, Query(ge=20, le=COLUMNS_MAX)] = 80,
    ) -> Response:
        """When each attempt was ready, began and ended; as JSON, or as a picture."""
        if format == "json":
            return _json(await executions.timelines.timeline(execution, start))
        picture = await executions.timelines.picture(execution, format, columns)
        return Response(picture, media_type=PICTURES[format])

    _use(one, steps, result, explain, metrics, timeline)


def _streams(router: APIRouter, executions: Executions) -> None:
    @router.get(
        "/v1/executions/{execution}/events",
        status_code=200,
        response_class=StreamResponse,
        responses={200: {"content": {EVENT_STREAM: {}}}},
    )
    async def events(execution: str) -> StreamResponse:
        """`execution` events with coterie.execution/1, and `step` events, until it has ended."""
        source = partial(execution_stream, executions, execution)
        return StreamResponse(source, EVENT_STREAM, {"cache-control": "no-store"})

    @router.get(
        "/v1/executions/{execution}/logs/{step}",
        status_code=200,
        response_class=StreamResponse,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def logs(
        execution: str,
        step: str,
        attempt: Annotated[int | None, Query(ge=1)] = None,
        offset: Start = 0,
        follow: bool = False,
    ) -> StreamResponse:
        """What an attempt (by default the last one) put out, from byte `offset` on; with `follow` until it ends."""

        @asynccontextmanager
        async def source() -> AsyncGenerator[AsyncIterator[bytes]]:
            async with closing(executions.following.log(execution, step, attempt, offset, follow)) as chunks:
                yield chunks

        return StreamResponse(source, "text/plain; charset=utf-8")

    _use(events, logs)


def _commands(router: APIRouter, executions: Executions) -> None:
    answers = _answers(views.ExecutionView)

    @router.post("/v1/executions/{execution}/cancel", **answers)
    async def cancel(execution: str, body: CancelBody) -> Response:
        """Stops what runs and starts nothing more; answers once it has ended."""
        return _json(await executions.cancel(execution, body.reason))

    @router.post("/v1/executions/{execution}/pause", **answers)
    async def pause(execution: str, body: bodies.NoBody | None = None) -> Response:
        """Starts nothing more until it is resumed; what runs goes on."""
        return _json(await executions.pause(execution))

    @router.post("/v1/executions/{execution}/resume", **answers)
    async def resume(execution: str, body: bodies.NoBody | None = None) -> Response:
        """Goes on with a paused execution."""
        return _json(await executions.resume(execution))

    @router.post("/v1/executions/{execution}/retry", **answers)
    async def retry(execution: str, body: bodies.RetryBody) -> Response:
        """Tries failed and cancelled steps (or one) again, in the same execution."""
        return _json(await executions.retry(execution, body.step))

    @router.post("/v1/executions/{execution}/rerun", **_answers(views.ExecutionView, 201))
    async def rerun(execution: str, body: bodies.RerunBody) -> Response:
        """Executes the same plan again, as a new execution, which this answers with."""
        return _json(await executions.rerun(execution, body.failed, body.step), 201)

    @router.post("/v1/executions/{execution}/skip", **answers)
    async def skip(execution: str, body: bodies.SkipBody) -> Response:
        """Has a step count as done without a result; one that runs is stopped."""
        return _json(await executions.skip(execution, body.step, body.reason))

    @router.post("/v1/executions/{execution}/signal", **answers)
    async def signal(execution: str, body: bodies.SignalBody) -> Response:
        """Sends a signal, which a `wait` step takes, now or later."""
        return _json(await executions.signal(execution, body.name, body.data))

    @router.post("/v1/executions/{execution}/answer", **answers)
    async def answer(execution: str, body: bodies.AnswerBody) -> Response:
        """Answers an `input` step."""
        return _json(await executions.answer(execution, body.step, body.value))

    _use(cancel, pause, resume, retry, rerun, skip, signal, answer)


def _plans(router: APIRouter, daemon: Daemon, executions: Executions) -> None:
    planning = executions.planning

    @router.get("/v1/workflows/{workflow}/execution-plan", status_code=200, response_model=None)
    async def execution_plan(workflow: str) -> Response:
        """The plan (coterie.execution-plan/1) of a workflow's newest execution, of an execution, or of a run."""
        try:
            return _json(await planning.execution_plan(workflow))
        except UserError as error:
            return _json(plan_of_run(_run(daemon, workflow, error)))

    @router.post("/v1/workflows/{workflow}/validate-dependencies", **_answers(views.ValidationView))
    async def validate_dependencies(workflow: str, body: bodies.ValidateBody) -> Response:
        """Is the workflow of the document sound, or the one that the path names? With every problem and cycle."""
        if body.document is not None:
            return _json(await validate(partial(spec_from_json, body.document)))
        try:
            spec = await planning.spec(workflow)
        except UserError as error:
            return _json(_sound(plan_of_run(_run(daemon, workflow, error))))
        return _json(await validate(partial(_same, spec)))

    _use(execution_plan, validate_dependencies)


def _run(daemon: Daemon, run: str, otherwise: UserError) -> RunView:
    """The run of that id. Raises `otherwise` where there is none either."""
    try:
        return daemon.run(run)
    except NotFound:
        raise otherwise from None


def _sound(plan: Mapping[str, Json]) -> views.ValidationView:
    """Of a run, which was planned before it began."""
    listed: list[list[str]] = plan["batches"]
    return views.ValidationView(True, (), (), tuple([tuple(batch) for batch in listed]), tuple(plan["critical_path"]))


def _same(spec: WorkflowSpec) -> WorkflowSpec:
    return spec


def _json(view: object, status: int = 200) -> Response:
    return Response(to_json(view), status, media_type="application/json")


def _answers(view: type, status: int = 200) -> dict[str, Any]:
    """What OpenAPI says of a route that answers with `view`."""
    return {"status_code": status, "response_model": None, "responses": {status: {"model": view}}}


def _takes(body: type[bodies.ExecutionBody]) -> dict[str, Any]:
    """What OpenAPI says of a body that a route reads by itself."""
    schema = body.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _use(*_: object) -> None:
    """The routes register themselves by their decorators; this tells type checkers that they are used."""
