"""The HTTP API as an ASGI application: the accept branch, and Starlette for all else.

| route | answer |
|---|---|
| ``POST /emails``, ``/emails/batch`` | see `intake` |
| ``GET /emails/{id}`` | the message and its deliveries: from the projection, or if just accepted |
| ``GET /emails/{id}/events`` | its events; ``?after=CURSOR&limit=N`` |
| ``PATCH /emails/{id}``, ``POST /emails/{id}/cancel`` | see `schedule` |
| ``/templates``, ``/templates/{id}`` | see `templates` |
| ``GET /healthz`` | 200 while the process serves |
| ``GET /readyz`` | 200 when mail is taken and sent, with every check; else 503 |

An unknown id and another organization's id have the same answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from postalynk.errors import StorageError
from postalynk.ingest.acceptor import Acceptor
from postalynk.ingest.answers import Answer, Problem, busy, invalid, refusal, shown
from postalynk.ingest.body import Budget
from postalynk.ingest.idempotency import Idempotency
from postalynk.ingest.intake import Intake, IntakeParts, Scope, Send, authenticate
from postalynk.ingest.judge import Judge
from postalynk.ingest.recent import Recent
from postalynk.ingest.schedule import ScheduleRoutes, Scheduling
from postalynk.ingest.templates import TemplateRoutes, TemplateWriter
from postalynk.ingest.templates import response as _response
from postalynk.observability import get_logger
from postalynk.settings import Api

if TYPE_CHECKING:
    from postalynk.control.directory import Directory
    from postalynk.ingest.body import Receive
    from postalynk.ingest.reader import HotReader
    from postalynk.observability import Metrics
    from postalynk.policy import Policies
    from postalynk.queue.protocol import Queue

log = get_logger(__name__)

App = Callable[[Scope, "Receive", Send], Awaitable[None]]

BUDGET_BYTES = 256_000_000
SWEEP_INTERVAL_S = 1.0
MAX_EVENTS = 100


class Readiness(msgspec.Struct, frozen=True):
    """Whether mail is taken and sent; `checks` says of each part ``ok`` or what is wrong.

    PostgreSQL out of reach is shown but leaves `is_ready` true: mail goes on.
    """

    is_ready: bool
    checks: dict[str, str]


def now_us() -> int:
    """The system's clock."""
    return time.time_ns() // 1000


@dataclass(frozen=True)
class IngestContext:
    """What the application needs from the process around it."""

    queue: Queue
    directory: Directory
    reader: HotReader
    readiness: Callable[[], Readiness]
    metrics: Metrics
    templates: TemplateWriter
    scheduling: Scheduling
    settings: Api = field(default_factory=Api)
    policies: Callable[[], Policies] | None = None
    """The policy in force, whose `accept` is asked; None: there is none."""
    policy_faults: Counter[str] = field(default_factory=Counter)
    """Version → failures of its `accept`, for the trial of a canary."""
    is_signing: bool = True
    """False: messages go without DKIM (``delivery.sign``)."""
    clock: Callable[[], int] = now_us
    """Microseconds since the Unix epoch."""


def intake_parts(context: IngestContext) -> IntakeParts:
    """What the accept routes and SMTP submission share: one acceptor, one set of keys."""
    policies, metrics = context.policies, context.metrics
    acceptor = Acceptor(context.queue, context.metrics, context.scheduling.accepted)
    return IntakeParts(
        directory=context.directory,
        acceptor=acceptor,
        idempotency=Idempotency(context.queue, acceptor, context.clock),
        recent=Recent(),
        budget=Budget(BUDGET_BYTES),
        metrics=context.metrics,
        is_signing=context.is_signing,
        judge=policies and Judge(policies, metrics, context.clock, context.policy_faults),
        max_body_bytes=context.settings.max_body_bytes,
        clock=context.clock,
    )


def build_app(context: IngestContext, parts: IntakeParts | None = None) -> App:
    """The application, for one event loop; the server's lifespan events stop it cleanly.

    ``parts`` is given where SMTP submission shares it; that must stop before the application.
    """
    parts = parts or intake_parts(context)
    intake = Intake(parts)
    reading = _Reading(context, parts)
    templates = TemplateRoutes(context.directory, context.templates, parts.budget, context.clock)
    schedule = ScheduleRoutes(context.directory, context.scheduling, parts.budget, context.clock)
    pages = Starlette(
        routes=[
            Route("/emails/{id}", reading.message, methods=["GET"]),
            Route("/emails/{id}/events", reading.events, methods=["GET"]),
            *schedule.routes(),
            *templates.routes(),
            Route("/healthz", reading.healthz, methods=["GET"]),
            Route("/readyz", reading.readyz, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _unexpected},
        lifespan=_lifespan(parts),
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path in {"/emails", "/emails/batch"}:
                if scope["method"] != "POST":
                    await _method_not_allowed(scope, receive, send)
                    return
                await intake(scope, receive, send, is_batch=path == "/emails/batch")
                return
        await pages(scope, receive, send)

    return app


def _lifespan(
    parts: IntakeParts,
) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(parts.idempotency))
        try:
            yield
        finally:
            sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeper
            await parts.acceptor.close()
            if parts.judge is not None:
                parts.judge.close()

    return lifespan


async def _sweep(idempotency: Idempotency) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL_S)
        try:
            await idempotency.sweep()
        except Exception:
            log.exception("sweeping expired idempotency keys failed")


class _Reading:
    """The GET routes."""

    def __init__(self, context: IngestContext, parts: IntakeParts) -> None:
        self._context = context
        self._recent = parts.recent

    async def healthz(self, _: Request) -> Response:
        return _json(200, {"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        readiness = self._context.readiness()
        status = "ready" if readiness.is_ready else "not ready"
        tree = {"status": status, "checks": readiness.checks}
        return _json(200 if readiness.is_ready else 503, tree)

    async def message(self, request: Request) -> Response:
        found = self._find(request)
        if isinstance(found, Answer):
            return _response(found)
        org, message_id = found
        # Before the projection is asked, so that no message falls between ring and projection.
        recent = self._recent.message(org, message_id)
        try:
            tree = await self._context.reader.message(org, message_id)
        except StorageError as error:
            if recent is None:
                return _response(_unreadable(error))
            tree = None
        tree = tree or recent
        return _response(NOT_FOUND) if tree is None else _json(200, tree)

    async def events(self, request: Request) -> Response:
        found = self._find(request)
        if isinstance(found, Answer):
            return _response(found)
        org, message_id = found
        after = request.query_params.get("after")
        text = request.query_params.get("limit", str(MAX_EVENTS))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_EVENTS):
            problem = Problem("limit", text[:100], "is no limit", f"use 1 to {MAX_EVENTS}")
            return _response(invalid([problem]))
        limit = int(text)
        recent = self._recent.events(org, message_id)
        try:
            rows = await self._context.reader.events(org, message_id, after, limit + 1)
        except ValueError:
            problem = Problem("after", shown(after), "is no cursor", "give that of an event")
            return _response(invalid([problem]))
        except StorageError as error:
            if recent is None:
                return _response(_unreadable(error))
            rows = None
        if rows is None:
            if recent is None:
                return _response(NOT_FOUND)
            rows = recent if after is None else []
        return _json(200, {"object": "list", "has_more": len(rows) > limit, "data": rows[:limit]})

    def _find(self, request: Request) -> tuple[str, bytes] | Answer:
        """The caller's organization and the id asked for, or the refusal."""
        authorization = request.headers.get("authorization")
        raw = None if authorization is None else authorization.encode("latin-1")
        grant = authenticate(self._context.directory, raw)
        if isinstance(grant, Answer):
            return grant
        try:
            return grant.organization.id, uuid.UUID(request.path_params["id"]).bytes
        except ValueError:
            return NOT_FOUND


NOT_FOUND = refusal(404, "not_found", "there is no message with this id")


def _unreadable(error: StorageError) -> Answer:
    log.warning("messages cannot be read", error=error.message)
    return busy("messages cannot be read at the moment; sending goes on")


def _json(status: int, tree: Any) -> Response:
    return Response(msgspec.json.encode(tree), status, media_type="application/json")


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        return _response(refusal(405, "method_not_allowed", "this route does not take that method"))
    if status == 404:
        return _response(refusal(404, "not_found", "there is no such route"))
    return _response(refusal(status, "application_error", "the request cannot be served"))


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return _response(refusal(500, "application_error", "an unexpected error; it has been logged"))


async def _method_not_allowed(scope: Scope, receive: Receive, send: Send) -> None:
    answer = refusal(405, "method_not_allowed", "use POST", headers=((b"allow", b"POST"),))
    await _response(answer)(scope, receive, send)
