"""Reading a request: its head, then its body, both within bounds.

**Bounds.** A body over the limit is refused from its Content-Length before anything is read, or at
the chunk that crosses it. `Budget` bounds what all requests together hold, and what one
organization holds of it (G6). A body that stalls is given up after a minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

from postalynk.ingest.answers import Answer, busy, refusal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

READ_TIMEOUT_S = 60.0


class ClientGone(Exception):
    """The caller hung up before its body was whole; nobody waits for an answer."""


class Head(NamedTuple):
    """The headers the accept routes look at; None where absent."""

    authorization: bytes | None = None
    content_type: bytes | None = None
    content_length: bytes | None = None
    content_encoding: bytes | None = None
    transfer_encoding: bytes | None = None
    idempotency_key: bytes | None = None
    batch_validation: bytes | None = None


_WANTED = {
    b"authorization": 0,
    b"content-type": 1,
    b"content-length": 2,
    b"content-encoding": 3,
    b"transfer-encoding": 4,
    b"idempotency-key": 5,
    b"x-batch-validation": 6,
}


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Pick the wanted headers; ASGI gives names in lower case. Of equal names the last counts."""
    found: list[bytes | None] = [None] * len(_WANTED)
    for name, value in headers:
        index = _WANTED.get(name)
        if index is not None:
            found[index] = value
    return Head(*found)


def bearer(authorization: bytes | None) -> str | None:
    """The token of ``Bearer TOKEN`` (RFC 6750 section 2.1)."""
    if authorization is None or authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip().decode("latin-1")


def check_head(head: Head, limit: int) -> Answer | None:
    """What the head alone already forbids."""
    kind = (head.content_type or b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        message = "the body must be JSON: send Content-Type: application/json"
        return refusal(415, "unsupported_media_type", message)
    if head.content_encoding not in {None, b"identity"}:
        message = "compressed bodies are not taken: leave Content-Encoding out"
        return refusal(415, "unsupported_media_type", message)
    if head.content_length is None:
        if head.transfer_encoding is None:
            return refusal(411, "length_required", "send Content-Length, or a chunked body")
        return None
    if not head.content_length.isdigit() or len(head.content_length) > 18:
        return refusal(400, "invalid_content_length", "Content-Length is no number of octets")
    return too_large(limit) if int(head.content_length) > limit else None


def too_large(limit: int) -> Answer:
    """413."""
    return refusal(
        413, "payload_too_large", f"the body is larger than {limit:,} octets: send less at a time"
    )


class Budget:
    """Octets of bodies held by requests that are not answered yet."""

    def __init__(self, total: int) -> None:
        """One organization may hold half of ``total``."""
        self._free = total
        self._share = total // 2
        self._held: dict[str, int] = {}

    def take(self, org: str, size: int) -> Answer | None:
        """Reserve octets; an answer when there is no room. Give back with `release`."""
        held = self._held.get(org, 0) + size
        if held > self._share:
            message = "your organization has too many requests waiting: send fewer at a time"
            return refusal(429, "rate_limit_exceeded", message, headers=((b"retry-after", b"1"),))
        if size > self._free:
            return busy("too many requests are waiting: try again")
        self._held[org] = held
        self._free -= size
        return None

    def release(self, org: str, size: int) -> None:
        """Give octets back."""
        self._free += size
        held = self._held[org] - size
        if held:
            self._held[org] = held
        else:
            del self._held[org]


class Body:
    """One request's body and the octets it holds of the budget, until `release`."""

    __slots__ = ("_budget", "_org", "size")

    def __init__(self, budget: Budget, org: str) -> None:
        self._budget = budget
        self._org = org
        self.size = 0

    async def read(self, receive: Receive, limit: int) -> bytes | Answer:
        """All of it, or why not. Raises ClientGone."""
        chunk, is_last = await self._chunk(receive)
        if is_last:
            return self._take(chunk, limit) or chunk
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                while True:
                    answer = self._take(chunk, limit)
                    if answer is not None:
                        return answer
                    chunks.append(chunk)
                    if is_last:
                        return b"".join(chunks)
                    chunk, is_last = await self._chunk(receive)
        except TimeoutError:
            message = f"the body did not arrive within {READ_TIMEOUT_S:.0f} seconds"
            return refusal(408, "request_timeout", message)

    def release(self) -> None:
        """Give the octets back; once, at the end."""
        if self.size:
            self._budget.release(self._org, self.size)
            self.size = 0

    def _take(self, chunk: bytes, limit: int) -> Answer | None:
        if self.size + len(chunk) > limit:
            return too_large(limit)
        answer = self._budget.take(self._org, len(chunk)) if chunk else None
        if answer is None:
            self.size += len(chunk)
        return answer

    @staticmethod
    async def _chunk(receive: Receive) -> tuple[bytes, bool]:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), not message.get("more_body", False)
