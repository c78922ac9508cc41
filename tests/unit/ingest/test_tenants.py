"""No route answers for a foreign organization: its messages do not exist (G6)."""

from __future__ import annotations

import uuid

import pytest

from tests.unit.ingest.service import Service, message

ROUTES = ["/emails/{id}", "/emails/{id}/events"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("is_projected", [False, True])
async def test_a_foreign_message_is_as_unknown_as_none(
    service: Service, route: str, *, is_projected: bool
) -> None:
    message_id = (await service.post(message())).json()["id"]
    if is_projected:
        place = (service.own.org, uuid.UUID(message_id).bytes)
        service.reader.messages[place] = {"id": message_id}
        service.reader.rows[place] = [{"type": "accepted"}]
    async with service.client() as client:
        assert (await client.get(route.format(id=message_id))).status_code == 200
    async with service.client(service.foreign.api_key) as client:
        foreign = await client.get(route.format(id=message_id))
        unknown = await client.get(route.format(id=uuid.UUID(int=7)))
        malformed = await client.get(route.format(id="x"))
    assert foreign.status_code == 404
    assert foreign.content == unknown.content == malformed.content


@pytest.mark.parametrize("route", [*ROUTES, "/emails", "/emails/batch"])
@pytest.mark.parametrize("token", [None, "", "pl_x", "pl_" + "a" * 8 + "_" + "a" * 32])
async def test_no_route_answers_without_a_key(
    service: Service, route: str, token: str | None
) -> None:
    path = route.format(id=uuid.UUID(int=7))
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with service.client() as client:
        client.headers.pop("authorization")
        if route in ROUTES:
            response = await client.get(path, headers=headers)
        else:
            response = await client.post(path, json=message(), headers=headers)
    assert response.status_code == 401
    name = "missing_api_key" if token is None else "invalid_api_key"
    assert response.json()["name"] == name
    assert response.headers["www-authenticate"] == "Bearer"


async def test_a_key_of_a_foreign_organization_cannot_send_from_our_domain(
    service: Service,
) -> None:
    async with service.client(service.foreign.api_key) as client:
        response = await client.post("/emails", json=message())
    assert response.status_code == 403
    assert service.own.org not in response.text
    assert service.accepted() == 0


async def test_organizations_share_no_idempotency_keys(service: Service) -> None:
    ours = await service.post(message(), idempotency_key="k")
    async with service.client(service.foreign.api_key) as client:
        theirs = await client.post(
            "/emails", json=message(from_="a@foreign.example"), headers={"idempotency-key": "k"}
        )
    assert ours.status_code == theirs.status_code == 202
    assert ours.json() != theirs.json()


async def test_a_revoked_key_is_refused_at_once(service: Service) -> None:
    service.control.revoke_key(service.own.prefix)
    assert (await service.post(message())).status_code == 401
