"""Batches: an answer per entry, in order; strict only when asked."""

from __future__ import annotations

import pytest

from tests.unit.ingest.service import Service, message

BATCH = "/emails/batch"


async def test_every_good_entry_has_an_id(service: Service) -> None:
    response = await service.post([message() for _ in range(1000)], BATCH)
    assert response.status_code == 202
    ids = [entry["id"] for entry in response.json()["data"]]
    assert len(set(ids)) == 1000
    assert "errors" not in response.json()
    assert service.accepted() == 1000


async def test_bad_entries_are_reported_at_their_index_and_the_others_are_accepted(
    service: Service,
) -> None:
    batch = [message(), message(to="x"), message(from_="a@foreign.example"), message(), 7]
    response = await service.post(batch, BATCH)
    assert response.status_code == 202
    answer = response.json()
    kinds = ["id" if "id" in entry else entry["error"]["statusCode"] for entry in answer["data"]]
    assert kinds == ["id", 422, 403, "id", 422]
    assert [error["field"] for error in answer["data"][1]["error"]["errors"]] == ["[1].to"]
    # What Resend's SDKs read.
    assert [error["index"] for error in answer["errors"]] == [1, 2, 4]
    assert all(error["message"] for error in answer["errors"])
    assert service.accepted() == 2
    assert service.count("postalynk_rejected_total", reason="validation_error") == 3


async def test_a_wrong_type_in_one_entry_spoils_no_other(service: Service) -> None:
    response = await service.post([message(), message(subject=5), message()], BATCH)
    assert [set(entry) for entry in response.json()["data"]] == [{"id"}, {"error"}, {"id"}]
    assert service.accepted() == 2


async def test_strict_refuses_all_for_one(service: Service) -> None:
    batch = [message(), message(to=["a@y.example", "x"]), message(subject=5)]
    response = await service.post(batch, BATCH, x_batch_validation="strict")
    assert response.status_code == 422
    fields = [problem["field"] for problem in response.json()["errors"]]
    assert sorted(fields) == ["[1].to[1]", "[2].subject"]
    assert service.accepted() == 0


async def test_a_batch_without_one_good_entry_is_refused(service: Service) -> None:
    response = await service.post([message(to="x"), message(text=...)], BATCH)
    assert response.status_code == 422
    assert [p["field"] for p in response.json()["errors"]] == ["[0].to", "[1].html"]


@pytest.mark.parametrize("count", [0, 1001])
@pytest.mark.parametrize("subject", ["fine", 5])
async def test_a_batch_has_1_to_1000_entries(service: Service, count: int, subject: object) -> None:
    response = await service.post([message(subject=subject)] * count, BATCH)
    assert response.status_code == 422
    assert service.accepted() == 0


async def test_a_batch_full_of_mistakes_has_a_bounded_answer(service: Service) -> None:
    wrong = message(to=["x"] * 50, cc=["x"] * 50)
    response = await service.post([wrong] * 1000, BATCH)
    assert response.status_code == 422
    errors = response.json()["errors"]
    assert len(errors) <= 2000
    assert {int(e["field"].split("]")[0][1:]) for e in errors} == set(range(1000))


async def test_strict_resend_header_and_object_body(service: Service) -> None:
    response = await service.post(message(), BATCH)
    assert response.status_code == 422
    assert response.json()["errors"][0]["fix"] == "send a list of messages"
