"""Heads and bodies: what is refused before it is read, and what never fills memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from postalynk.ingest import body as body_module
from postalynk.ingest.body import Body, Budget
from postalynk.settings import Api
from tests.unit.ingest.service import Service, message


class Wire:
    """Plays the server of one request: hands chunks out and counts how many were asked for."""

    def __init__(self, chunks: Iterable[bytes], headers: dict[str, str]) -> None:
        self._chunks = list(chunks)
        self.read = 0
        self.sent: list[dict[str, Any]] = []
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": "/emails",
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        }

    async def receive(self) -> dict[str, Any]:
        if self.read == len(self._chunks):
            return {"type": "http.disconnect"}
        chunk = self._chunks[self.read]
        self.read += 1
        is_more = self.read < len(self._chunks)
        return {"type": "http.request", "body": chunk, "more_body": is_more}

    async def send(self, event: Any) -> None:
        self.sent.append(event)

    async def run(self, service: Service) -> int:
        await service.app(self.scope, self.receive, self.send)
        return int(self.sent[0]["status"]) if self.sent else 0


def head(service: Service, **changes: str | None) -> dict[str, str]:
    fields: dict[str, str | None] = {
        "authorization": f"Bearer {service.own.api_key}",
        "content-type": "application/json",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in fields.items() if value is not None}


async def test_a_body_of_30_mb_is_refused_before_anything_is_read(service: Service) -> None:
    wire = Wire([b"x" * 1000] * 31_000, head(service, content_length="31000000"))
    assert await wire.run(service) == 413
    assert wire.read == 0
    assert service.accepted() == 0


async def test_a_chunked_body_is_refused_at_the_chunk_that_crosses_the_limit() -> None:
    service = Service(settings=Api(max_body_bytes=10_000))
    wire = Wire([b"x" * 1000] * 50, head(service, transfer_encoding="chunked"))
    assert await wire.run(service) == 413
    assert wire.read == 11


async def test_a_lying_content_length_is_found_out() -> None:
    service = Service(settings=Api(max_body_bytes=10_000))
    wire = Wire([b"x" * 20_000], head(service, content_length="10"))
    assert await wire.run(service) == 413


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"content_type": None}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "multipart/form-data; boundary=x"}, 415),
        ({"content_encoding": "gzip"}, 415),
        ({"content_length": None}, 411),
        ({"content_length": "-1"}, 400),
        ({"content_length": "ten"}, 400),
        ({"content_length": "1" * 40}, 400),
        ({"content_type": "Application/JSON; charset=utf-8"}, 422),
        ({"authorization": None}, 401),
        ({"authorization": "Basic x"}, 401),
        ({"idempotency_key": "k" * 257}, 400),
        ({"idempotency_key": ""}, 400),
        ({"idempotency_key": "a\tb"}, 400),
        ({"x_batch_validation": "maybe"}, 400),
    ],
    ids=str,
)
async def test_a_head_is_judged_alone(
    service: Service, changes: dict[str, str | None], status: int
) -> None:
    wire = Wire([b"{}"], head(service, **{"content_length": "2", **changes}))
    assert await wire.run(service) == status
    assert wire.read == (1 if status == 422 else 0)


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b"{",
            b"nonsense",
            b'{"from":}',
            b'\xff\xfe{"a":1}',
            b'{"to": NaN}',
            b'{"a":"x\ny"}',
        ),
        *(b"[" * 100_000, b'{"to":' * 100_000, b"1" * 5000),
    ],
    ids=lambda raw: repr(raw[:20]),
)
@pytest.mark.parametrize("path", ["/emails", "/emails/batch"])
async def test_what_is_no_json_is_400(service: Service, path: str, raw: bytes) -> None:
    async with service.client() as client:
        json_type = {"content-type": "application/json"}
        response = await client.post(path, content=raw, headers=json_type)
    assert response.status_code == 400, response.text
    assert response.json()["name"] == "invalid_json"
    assert service.accepted() == 0


@pytest.mark.parametrize("tree", [None, 1, "x", [], [message()], True], ids=str)
async def test_json_of_another_shape_is_422(service: Service, tree: Any) -> None:
    assert (await service.post(tree)).status_code == 422


async def test_a_caller_who_hangs_up_gets_no_answer_and_nothing_is_queued(service: Service) -> None:
    wire = Wire([], head(service, content_length="100"))
    assert await wire.run(service) == 0
    assert service.accepted() == 0


async def test_a_stalled_body_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "READ_TIMEOUT_S", 0.01)
    wire = Wire([b"{", b"}"], head(service, content_length="1000"))

    async def receive() -> dict[str, Any]:
        if wire.read:
            await asyncio.sleep(10)
        return await Wire.receive(wire)

    wire.receive = receive  # type: ignore[method-assign]
    assert await wire.run(service) == 408


def test_the_budget_is_shared_fairly_and_given_back() -> None:
    budget = Budget(100)
    assert budget.take("org_a", 50) is None
    flood = budget.take("org_a", 1)
    assert flood is not None
    assert flood.status == 429
    assert budget.take("org_b", 40) is None
    full = budget.take("org_c", 11)
    assert full is not None
    assert full.status == 503
    assert (b"retry-after", b"1") in full.headers
    budget.release("org_a", 50)
    assert budget.take("org_c", 11) is None


async def test_a_body_gives_its_octets_back_whatever_happens() -> None:
    budget = Budget(100)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 20, "more_body": True}

    body = Body(budget, "org_a")
    answer = await body.read(receive, 1000)
    assert not isinstance(answer, bytes)
    assert answer.status == 429
    body.release()
    assert budget.take("org_a", 50) is None
