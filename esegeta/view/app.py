"""The page and its requests. Nothing is read from disk by a name that a request brings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from esegeta.errors import EsegetaError
from esegeta.report.page.assets import static_text
from esegeta.report.page.live import LIVE_FILES, LivePage, live_page
from esegeta.view.answers import Answer
from esegeta.view.guard import App, Guard
from esegeta.view.jobs import BusyError, Job, Jobs
from esegeta.view.session import Session

MOST_BYTES = 10_000
"""Largest number of bytes in the body of a request."""

PATIENCE_S = 5.0
"""Seconds that a request for a job's progress waits for news."""

KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


def create_app(session: Session, jobs: Jobs, *, port: int, token: str) -> App:
    """Return the application of a session, guarded.

    Args:
        session: session that explains.
        jobs: queue in which it explains.
        port: port that it is served at.
        token: token that every request must bring.
    """
    session.relay.listener = jobs.advance
    server = _Server(session, jobs, token)
    routes = [
        Route("/", server.page),
        Route("/static/{name}", server.static),
        Route("/volumes/{name}", server.volume),
        Route("/api/explain", server.explain, methods=["POST"]),
        Route("/api/keep", server.keep, methods=["POST"]),
        Route("/api/jobs/{number:int}", server.job),
        Route("/api/jobs/{number:int}/cancel", server.cancel, methods=["POST"]),
    ]
    handlers: Any = {EsegetaError: _refused, HTTPException: _http}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), port, token)


class _Server:
    """Endpoints; those that may wait or search are run in threads."""

    def __init__(self, session: Session, jobs: Jobs, token: str) -> None:
        self._session, self._jobs, self._token = session, jobs, token

    def page(self, request: Request) -> Response:
        session = self._session
        content = LivePage(
            case=session.ground.entry,
            labels=session.labels,
            methods=tuple(session.methods),
            has_truth=session.scene.truth is not None,
            focus=session.ground.focus_mm,
            kept_in=str(session.experiment.root),
        )
        return Response(live_page(content, self._token), media_type="text/html")

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in LIVE_FILES:
            raise HTTPException(404, "there is no such file")
        suffix = name[name.rindex(".") :]
        return Response(static_text(name), media_type=KINDS[suffix])

    def volume(self, request: Request) -> Response:
        content = self._session.volume(request.path_params["name"])
        if content is None:
            raise HTTPException(404, "the map is no longer available; ask for it again")
        return Response(content, media_type="application/octet-stream")

    async def explain(self, request: Request) -> Response:
        return await run_in_threadpool(self._explain, await _body(request))

    def _explain(self, body: object) -> Response:
        session = self._session
        question = session.question(body)
        aim = session.aim(question)
        known = session.answers.known(aim, question.method)
        if known is not None:
            return JSONResponse({"state": "done", "result": known.describe(), "cached": True})

        frozen = session.freeze(aim)

        def work() -> dict[str, Any]:
            return session.answer(aim, question.method, frozen).describe()

        total = session.expected_windows(frozen, question.method)
        return self._submitted(work, total)

    async def keep(self, request: Request) -> Response:
        body = await _body(request)
        identity = body.get("answer") if isinstance(body, dict) else None
        answer = self._session.answers.find(str(identity))
        if answer is None:
            raise HTTPException(404, "the map is no longer available; ask for it again")
        return await run_in_threadpool(self._keep, answer)

    def _keep(self, answer: Answer) -> Response:
        session, aim, method = self._session, answer.aim, answer.method
        frozen = session.freeze(aim)

        def work() -> dict[str, Any]:
            return {"map": str(session.keep(aim, method, frozen).map)}

        return self._submitted(work, session.expected_windows(frozen, method))

    def _submitted(self, work: Callable[[], dict[str, Any]], total: int | None) -> Response:
        try:
            job = self._jobs.submit(work, total=total)
        except BusyError as error:
            raise HTTPException(429, str(error)) from error
        return JSONResponse(job.describe(), 202)

    def job(self, request: Request) -> Response:
        after = request.query_params.get("after", "-1")
        version = int(after) if after.lstrip("-").isdigit() else -1
        return JSONResponse(self._jobs.wait(self._found(request), version, PATIENCE_S))

    def cancel(self, request: Request) -> Response:
        job = self._found(request)
        self._jobs.cancel(job)
        return JSONResponse(job.describe())

    def _found(self, request: Request) -> Job:
        job = self._jobs.find(request.path_params["number"])
        if job is None:
            raise HTTPException(404, "there is no such job")
        return job


async def _body(request: Request) -> object:
    """Return a request's JSON.

    Raises:
        HTTPException: it is not JSON, or too long.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise HTTPException(415, "send JSON")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, "too long")
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "not JSON") from error
    return found


async def _refused(request: Request, error: EsegetaError) -> Response:
    return JSONResponse({"message": str(error)}, 422)


async def _http(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"message": error.detail}, error.status_code)
