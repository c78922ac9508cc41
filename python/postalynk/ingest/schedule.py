"""``PATCH /emails/{id}`` and ``POST /emails/{id}/cancel``: another time, or none.

Both answer ``{"object": "email", "id": …}`` as Resend does, once the change is durable. A message
that is under way, over, unknown or another organization's has one answer: there is no such
scheduled message. Which of these it is, ``GET /emails/{id}`` says to its owner.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from postalynk.errors import QueueError
from postalynk.ingest import checks
from postalynk.ingest.answers import Answer, Problem, busy, invalid, refusal, shown
from postalynk.ingest.body import Body, Budget, ClientGone, check_head, read_head
from postalynk.ingest.checks import Flaw
from postalynk.ingest.intake import authenticate
from postalynk.ingest.templates import response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from postalynk.control.directory import Directory, Grant
    from postalynk.model import AcceptedMessage

MAX_BODY = 10_000

NOT_SCHEDULED = refusal(
    404,
    "not_found",
    "no scheduled message has this id: it is on its way, over, cancelled, or not yours",
)
UNKNOWN = busy("the change may not have been stored: look, and try again")


class Scheduling(Protocol):
    """Where scheduled messages wait (`postalynk.control.schedule`); calls block."""

    def accepted(self, messages: Sequence[AcceptedMessage]) -> None:
        """These are durable; some of them may be scheduled."""

    def move(self, org: str, message_id: bytes, due_at_us: int) -> bool:
        """Give it another time; False when it is not scheduled."""

    def cancel(self, org: str, message_id: bytes) -> bool:
        """Take it back; False when it is not scheduled."""


class ScheduleRoutes:
    """The routes, for one event loop."""

    def __init__(
        self,
        directory: Directory,
        scheduling: Scheduling,
        budget: Budget,
        clock: Callable[[], int],
    ) -> None:
        """``clock``: microseconds since the Unix epoch."""
        self._directory = directory
        self._scheduling = scheduling
        self._budget = budget
        self._clock = clock

    def routes(self) -> list[Route]:
        """For the application's table."""
        return [
            Route("/emails/{id}", self.move, methods=["PATCH"]),
            Route("/emails/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def move(self, request: Request) -> Response:
        """Give a message another time."""
        grant = self._grant(request)
        if isinstance(grant, Answer):
            return response(grant)
        due_at_us = await self._time(request, grant.organization.id)
        if isinstance(due_at_us, Answer):
            return response(due_at_us)
        return await self._change(request, grant, self._scheduling.move, due_at_us)

    async def cancel(self, request: Request) -> Response:
        """Take a message back."""
        grant = self._grant(request)
        if isinstance(grant, Answer):
            return response(grant)
        return await self._change(request, grant, self._scheduling.cancel)

    def _grant(self, request: Request) -> Grant | Answer:
        header = request.headers.get("authorization")
        token = None if header is None else header.encode("latin-1", "replace")
        return authenticate(self._directory, token)

    async def _time(self, request: Request, org: str) -> int | Answer:
        head = read_head(request.scope["headers"])
        wrong = check_head(head, MAX_BODY)
        if wrong is not None:
            return wrong
        holder = Body(self._budget, org)
        try:
            octets = await holder.read(request.receive, MAX_BODY)
            return octets if isinstance(octets, Answer) else read_time(octets, self._clock())
        except ClientGone:
            return refusal(400, "validation_error", "the request ended before its body")
        finally:
            holder.release()

    async def _change(
        self, request: Request, grant: Grant, change: Callable[..., bool], *arguments: int
    ) -> Response:
        try:
            id_ = uuid.UUID(request.path_params["id"])
        except ValueError:
            return response(NOT_SCHEDULED)
        try:
            # Shielded: a caller that hangs up leaves no half of a change behind.
            work = asyncio.to_thread(change, grant.organization.id, id_.bytes, *arguments)
            is_done = await asyncio.shield(work)
        except QueueError:
            return response(UNKNOWN)
        if not is_done:
            return response(NOT_SCHEDULED)
        tree = {"object": "email", "id": str(id_)}
        return response(Answer(200, msgspec.json.encode(tree)))


def read_time(octets: bytes, now_us: int) -> int | Answer:
    """``scheduled_at`` of a body in microseconds, or every problem of it."""
    try:
        tree: Any = json.loads(octets)
    except (ValueError, RecursionError) as error:
        return refusal(400, "invalid_json", f"the body is not JSON: {error}"[:300])
    if not isinstance(tree, dict):
        return invalid([Problem("", shown(tree), "is no object", "send an object of fields")])
    problems = [
        Problem(str(shown(name)), shown(value), "cannot be changed", "send scheduled_at alone")
        for name, value in tree.items()
        if name != "scheduled_at"
    ][:100]
    text = tree.get("scheduled_at")
    due_at_us = 0
    if not isinstance(text, str):
        fix = "write when to send it, as in 2030-01-31T12:00:00Z"
        problems.append(Problem("scheduled_at", shown(text), "is missing or no string", fix))
    else:
        try:
            due_at_us = checks.in_future(checks.instant_us(checks.plain(text)), now_us)
        except Flaw as flaw:
            problems.append(Problem("scheduled_at", shown(text), str(flaw), flaw.fix))
    return invalid(problems) if problems else due_at_us
