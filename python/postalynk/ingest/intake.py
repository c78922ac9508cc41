"""``POST /emails`` and ``POST /emails/batch``: the raw ASGI branch.

The order is that of cost: route, key, head, body, validation, durability. Nothing is answered 202
before the acceptor says that the append is durable.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postalynk.ingest import idempotency
from postalynk.ingest.acceptor import Acceptor
from postalynk.ingest.answers import Answer, busy, refusal
from postalynk.ingest.body import Body, Budget, ClientGone, Receive, bearer, check_head, read_head
from postalynk.ingest.compose import Composer
from postalynk.ingest.idempotency import Idempotency, Prepared
from postalynk.ingest.judge import Judge
from postalynk.ingest.receipt import Receipt
from postalynk.ingest.recent import Recent
from postalynk.ingest.requests import Reading
from postalynk.observability import get_logger

if TYPE_CHECKING:
    from postalynk.control.directory import Directory, Grant
    from postalynk.model import AcceptedMessage
    from postalynk.observability import Metrics

log = get_logger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

NOT_STORED = busy("the message may not have been stored: send it again with an Idempotency-Key")


@dataclass(frozen=True)
class IntakeParts:
    """What the accept routes work with."""

    directory: Directory
    acceptor: Acceptor
    idempotency: Idempotency
    recent: Recent
    budget: Budget
    metrics: Metrics
    max_body_bytes: int
    clock: Callable[[], int]
    """Microseconds since the Unix epoch."""
    is_signing: bool = True
    judge: Judge | None = None
    """Asks the policy's `accept`; None: there is no policy to ask."""


class _Attempt:
    """One request as `Idempotency` sees it."""

    __slots__ = ("_body", "_parts", "_reading", "size")

    def __init__(self, reading: Reading, body: bytes, parts: IntakeParts) -> None:
        self._reading = reading
        self._body = body
        self._parts = parts
        self.size = len(body)

    def prepare(self, ids: list[bytes] | None) -> Prepared | Answer:
        return self._reading.prepare(self._body, ids)

    async def judge(self, prepared: Prepared) -> Prepared | Answer:
        judge = self._parts.judge
        if judge is None:
            return prepared
        return await judge.judged(prepared, "http", is_strict=self._reading.is_strict)

    def accepted(self, receipt: Receipt, messages: Sequence[AcceptedMessage]) -> None:
        self._parts.recent.add(messages)
        if receipt.errors:
            self._parts.metrics.rejected.labels("validation_error").inc(len(receipt.errors))


def authenticate(directory: Directory, authorization: bytes | None) -> Grant | Answer:
    """The organization of the bearer key, or 401."""
    challenge = ((b"www-authenticate", b"Bearer"),)
    token = bearer(authorization)
    if token is None:
        message = "send the API key as Authorization: Bearer pl_…"
        return refusal(401, "missing_api_key", message, headers=challenge)
    grant = directory.grant(token)
    if grant is None:
        message = "the API key is not valid, or was revoked"
        return refusal(401, "invalid_api_key", message, headers=challenge)
    return grant


class Intake:
    """The ASGI callable of the accept routes."""

    def __init__(self, parts: IntakeParts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, is_batch: bool) -> None:
        """Serve one request."""
        try:
            answer = await self._answer(scope, receive, is_batch=is_batch)
        except ClientGone:
            return
        except Exception:
            log.exception("accept failed", path=scope["path"])
            answer = refusal(500, "application_error", "an unexpected error; it has been logged")
        await send_answer(send, answer, self._parts.metrics)

    async def _answer(self, scope: Scope, receive: Receive, *, is_batch: bool) -> Answer:
        parts = self._parts
        head = read_head(scope["headers"])
        grant = authenticate(parts.directory, head.authorization)
        if isinstance(grant, Answer):
            return grant
        wrong = check_head(head, parts.max_body_bytes)
        if wrong is None and head.idempotency_key is not None:
            wrong = idempotency.check_key(head.idempotency_key)
        mode = (head.batch_validation or b"permissive").lower()
        if wrong is None and mode not in {b"strict", b"permissive"}:
            message = "x-batch-validation is neither strict nor permissive"
            wrong = refusal(400, "validation_error", message)
        if wrong is not None:
            return wrong
        holder = Body(parts.budget, grant.organization.id)
        try:
            body = await holder.read(receive, parts.max_body_bytes)
            if isinstance(body, Answer):
                return body
            composer = Composer(
                parts.directory,
                grant.organization,
                parts.clock(),
                is_signing=parts.is_signing,
            )
            is_strict = mode == b"strict"
            reading = Reading(composer, is_batch=is_batch, is_strict=is_strict)
            attempt = _Attempt(reading, body, parts)
            if head.idempotency_key is None:
                return await self._accept(attempt)
            request = hashlib.sha256(b"%d%d" % (is_batch, is_strict) + body).digest()
            org = grant.organization.id
            return await parts.idempotency.answer(org, head.idempotency_key, request, attempt)
        finally:
            holder.release()

    async def _accept(self, attempt: _Attempt) -> Answer:
        prepared = attempt.prepare(None)
        if isinstance(prepared, Prepared):
            prepared = await attempt.judge(prepared)
        if isinstance(prepared, Answer):
            return prepared
        receipt, messages = prepared
        # Shielded: a caller that hangs up does not take its message back.
        if not await asyncio.shield(self._parts.acceptor.submit(messages, attempt.size)):
            return NOT_STORED
        attempt.accepted(receipt, messages)
        return receipt.answer()


async def send_answer(send: Send, answer: Answer, metrics: Metrics) -> None:
    """Write an answer and count a refusal."""
    if answer.reason:
        metrics.rejected.labels(answer.reason).inc()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
