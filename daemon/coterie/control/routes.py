"""The routes under /v1, each a thin translation between HTTP and the `Daemon` protocol."""

import os
from contextlib import aclosing
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import Response

from coterie.control import schemas
from coterie.control.events import event_stream
from coterie.control.execution_routes import execution_routes
from coterie.control.execution_schemas import DOCUMENT_BYTES_MAX
from coterie.control.execution_submit import EXECUTIONS_PATH, Submitting
from coterie.control.guard import Guard
from coterie.control.problems import MEDIA_TYPE, body_of, problem_of_status, sentence_of
from coterie.control.streams import EVENT_STREAM, StreamResponse
from coterie.control.uploads import Uploads
from coterie.executions.service import Executions
from coterie.views import Daemon, SubmitRequest

RUNS_MAX = 1000
SOURCES_PATH = "/v1/sources"
OPENAPI_PATH = "/v1/openapi.json"


def create_app(
    daemon: Daemon, uploads: Uploads, version: str, executions: Executions | None, submitting: Submitting | None
) -> FastAPI:
    """The application that serves `daemon` and, where it executes workflows, its executions."""
    app = FastAPI(
        title="Coterie control socket",
        version=version,
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"model": schemas.Problem}, "5XX": {"model": schemas.Problem}},
    )
    app.include_router(_views(daemon))
    app.include_router(_actions(daemon, uploads))
    app.include_router(_streams(daemon))
    if executions is not None and submitting is not None:
        app.include_router(execution_routes(daemon, executions, submitting))
    large = {EXECUTIONS_PATH: DOCUMENT_BYTES_MAX}
    app.add_middleware(cast("Any", Guard), streamed=frozenset({SOURCES_PATH}), large=large)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    return app


def _views(daemon: Daemon) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/status")
    async def status() -> schemas.Status:
        """This daemon on one screen."""
        return schemas.Status.model_validate(daemon.status())

    @router.get("/v1/members")
    async def members() -> schemas.Members:
        """The coterie, this peer first."""
        return schemas.Members.model_validate({"members": daemon.members()})

    @router.get("/v1/clock")
    async def clock() -> schemas.Clock:
        """Heads, frontier and digest."""
        return schemas.Clock.model_validate(daemon.clock())

    @router.get("/v1/workflows")
    async def runs(limit: Annotated[int, Query(ge=1, le=RUNS_MAX)] = 50) -> schemas.Runs:
        """The newest runs first."""
        return schemas.Runs.model_validate({"runs": daemon.runs(limit)})

    @router.get("/v1/workflows/{run}")
    async def run(run: str) -> schemas.Run:
        """One run, by its id or a unique prefix."""
        return schemas.Run.model_validate(daemon.run(run))

    @router.get("/v1/health")
    async def health() -> schemas.Health:
        """The daemon serves."""
        return schemas.Health()

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters and gauges in Prometheus' text format."""
        return Response(daemon.metrics(), media_type=CONTENT_TYPE_LATEST)

    _use(status, members, clock, runs, run, health, metrics)
    return router


def _actions(daemon: Daemon, uploads: Uploads) -> APIRouter:
    router = APIRouter()

    @router.post(SOURCES_PATH, status_code=201)
    async def upload(request: Request) -> schemas.Source:
        """Takes a source tree as a tar file, for one submission."""
        async with aclosing(request.stream()) as chunks:
            name, size = await uploads.receive(chunks)
        return schemas.Source(source=name, bytes=size)

    @router.post("/v1/workflows", status_code=201)
    async def submit(body: schemas.SubmitBody) -> schemas.Run:
        """Plans and submits a run; answers once it is durable."""
        source = None if body.source is None else uploads.take(body.source)
        try:
            run = await daemon.submit(_request(body, None if source is None else str(source)))
        finally:
            if source is not None:
                source.unlink(missing_ok=True)
        return schemas.Run.model_validate(run)

    @router.post("/v1/workflows/{run}/cancel")
    async def cancel(run: str, body: Annotated[schemas.CancelBody, Body()]) -> schemas.Run:
        """Asks that nothing more of the run be started, and what runs be stopped."""
        return schemas.Run.model_validate(await daemon.cancel(run, body.reason))

    @router.post("/v1/invites", status_code=201)
    async def invite(body: schemas.InviteBody) -> schemas.Invite:
        """A token for newcomers."""
        return schemas.Invite.model_validate(daemon.invite(body.roles, body.labels, body.uses, body.valid_s))

    @router.post("/v1/store/verify")
    async def verify() -> schemas.Verify:
        """Checks every stored event again, rebuilds derived state and compares digests."""
        return schemas.Verify.model_validate(await daemon.verify())

    @router.post("/v1/stop", status_code=202, response_model=schemas.Stopping)
    async def stop() -> Response:
        """Begins a clean exit, once this answer is on its way."""
        answer = schemas.Stopping(pid=os.getpid()).model_dump()
        return JSONResponse(answer, status_code=202, background=BackgroundTask(_stop, daemon))

    _use(upload, submit, cancel, invite, verify, stop)
    return router


def _streams(daemon: Daemon) -> APIRouter:
    router = APIRouter()

    @router.get(
        "/v1/events",
        status_code=200,
        response_class=StreamResponse,
        responses={200: {"content": {EVENT_STREAM: {}}}},
    )
    async def events(run: str | None = None) -> StreamResponse:
        """`run` events with coterie.run/1 and `coterie` events with coterie.status/1, as they happen."""
        return StreamResponse(lambda: event_stream(daemon, run), EVENT_STREAM, {"cache-control": "no-store"})

    @router.get(
        "/v1/workflows/{run}/logs/{job:path}",
        status_code=200,
        response_class=StreamResponse,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def logs(
        run: str,
        job: str,
        attempt: Annotated[int | None, Query(ge=1)] = None,
        offset: Annotated[int, Query(ge=0)] = 0,
        follow: bool = False,
    ) -> StreamResponse:
        """A job's output from byte `offset` on; with `follow` until it ends. Without `attempt` the one that counts."""
        return StreamResponse(lambda: daemon.logs(run, job, attempt, offset, follow), "text/plain; charset=utf-8")

    _use(events, logs)
    return router


def _request(body: schemas.SubmitBody, source: str | None) -> SubmitRequest:
    return SubmitRequest(
        file=body.file,
        text=body.text,
        event=body.event,
        payload=body.payload,
        inputs=body.inputs,
        priority=body.priority,
        placement=body.placement,
        care=body.care,
        retries=body.retries,
        source=source,
        git=body.git,
    )


async def _stop(daemon: Daemon) -> None:
    daemon.stop()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _problem_response(422, sentence_of(error.errors()))


async def _plain(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem_response(error.status_code, str(error.detail))


def _problem_response(status: int, detail: str) -> Response:
    return Response(body_of(problem_of_status(status, detail)), status, media_type=MEDIA_TYPE)


def _use(*_: object) -> None:
    """The routes register themselves by their decorators; this tells type checkers that they are used."""
