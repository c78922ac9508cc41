"""GET routes: projection first, the ring of the newest where it has nothing yet or is down."""

from __future__ import annotations

import uuid

import pytest

from postalynk.ingest.app import Readiness
from postalynk.ingest.recent import Recent
from tests.unit.ingest.service import START_US, Service, message, read


async def test_a_message_is_there_right_after_202(service: Service) -> None:
    tree = message(cc="Bob <bob@y.example>", tags=[{"name": "kind", "value": "welcome"}])
    message_id = (await service.post(tree)).json()["id"]
    async with service.client() as client:
        for service.reader.is_down in (False, True):
            response = await client.get(f"/emails/{message_id}")
            assert response.status_code == 200
            shown = response.json()
            assert shown["object"] == "email"
            assert shown["id"] == message_id
            assert shown["from"] == "Shop <shop@example.com>"
            assert shown["cc"] == ["Bob <bob@y.example>"]
            assert shown["last_event"] == "queued"
            assert shown["tags"] == [{"name": "kind", "value": "welcome"}]
            assert [d["address"] for d in shown["deliveries"]] == [
                "ann@rcpt.example",
                "bob@y.example",
            ]
            assert "Hi" not in response.text.replace('"Hi', "")
            events = await client.get(f"/emails/{message_id}/events")
            assert [e["type"] for e in events.json()["data"]] == ["accepted"]


async def test_the_projection_knows_better(service: Service) -> None:
    message_id = (await service.post(message())).json()["id"]
    place = (service.own.org, uuid.UUID(message_id).bytes)
    service.reader.messages[place] = {"id": message_id, "last_event": "delivered"}
    service.reader.rows[place] = [{"type": str(n)} for n in range(150)]
    async with service.client() as client:
        shown = (await client.get(f"/emails/{message_id.upper()}")).json()
        assert shown["last_event"] == "delivered"
        page = (await client.get(f"/emails/{message_id}/events")).json()
        assert (len(page["data"]), page["has_more"]) == (100, True)
        page = (await client.get(f"/emails/{message_id}/events?after=100&limit=60")).json()
        assert (len(page["data"]), page["has_more"]) == (50, False)
        for query in ("limit=0", "limit=101", "limit=x", "limit=²", "after=nonsense"):
            response = await client.get(f"/emails/{message_id}/events?{query}")
            assert response.status_code == 422


async def test_only_when_neither_knows_it_is_503(service: Service) -> None:
    service.reader.is_down = True
    async with service.client() as client:
        for route in ("/emails/{}", "/emails/{}/events"):
            response = await client.get(route.format(uuid.UUID(int=1)))
            assert response.status_code == 503
            assert response.headers["retry-after"] == "1"


async def test_health_and_readiness(service: Service) -> None:
    async with service.client() as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).status_code == 200
        service.readiness = Readiness(is_ready=False, checks={"worker": "stopped"})
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["checks"] == {"worker": "stopped"}
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/email", 404),
        ("POST", "/emails/x/y", 404),
        ("GET", "/emails", 405),
        ("PUT", "/emails", 405),
        ("GET", "/emails/batch", 405),
        ("POST", "/healthz", 405),
        ("DELETE", f"/emails/{uuid.UUID(int=1)}", 405),
    ],
)
async def test_unknown_routes_answer_in_json(
    service: Service, method: str, path: str, status: int
) -> None:
    async with service.client() as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert response.json()["statusCode"] == status


def test_the_ring_forgets_the_oldest(service: Service) -> None:
    ring = Recent(capacity=3)
    messages = [read(service, message()).messages[0] for _ in range(5)]
    ring.add(messages)
    known = [ring.message(service.own.org, m.id) is not None for m in messages]
    assert known == [False, False, True, True, True]
    shown = ring.message(service.own.org, messages[4].id)
    assert shown is not None
    assert shown["created_at"] == "2030-03-17T17:46:40+00:00"
    assert messages[4].accepted_at_us == START_US
