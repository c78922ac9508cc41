"""Messages with a time of their own: accept, move, cancel, restart; over a queue in memory."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from postalynk.control.schedule import Schedule
from postalynk.engine import encode_event
from postalynk.queue.topics import EVENTS, SCHEDULED
from postalynk.recorder.codec import RecordCodec
from tests.fakes.queue import MemoryQueue
from tests.unit.ingest.service import Service, message

if TYPE_CHECKING:
    from collections.abc import Sequence

LATER = "2031-01-01T00:00:00Z"
LATER_US = 1_924_992_000_000_000
SOONER = "2030-12-01T00:00:00+00:00"
SOONER_US = 1_922_313_600_000_000


async def scheduled(service: Service, **changes: Any) -> str:
    """The id of a message scheduled for then."""
    answer = await service.post(message(scheduled_at=LATER, **changes))
    assert answer.status_code == 202
    return str(answer.json()["id"])


def kinds(queue: MemoryQueue) -> list[tuple[str, int | None]]:
    """(kind, due time) of every event but ACCEPTED."""
    rows = [row for (topic, _), rows in queue.records.items() if topic == EVENTS for row in rows]
    columns = RecordCodec().decode(rows).events()
    return list(zip(columns["kind"], columns["due_at_us"], strict=True))


def entries(queue: MemoryQueue) -> list[bytes]:
    """Keys of the schedule."""
    return [
        key for (topic, _), table in queue.tables.items() if topic == SCHEDULED for key in table
    ]


async def test_a_scheduled_message_waits_beside_the_lanes_and_goes_when_due(
    service: Service,
) -> None:
    sent = await scheduled(service)
    assert service.accepted() == 0
    assert entries(service.queue) == [uuid.UUID(sent).bytes]
    async with service.client() as client:
        shown = (await client.get(f"/emails/{sent}")).json()
    assert (shown["last_event"], shown["scheduled_at"]) == (
        "scheduled",
        "2031-01-01T00:00:00+00:00",
    )
    service.clock.now_us = LATER_US - 1
    assert service.schedule.once() == (0, [])
    service.clock.now_us = LATER_US
    assert service.schedule.once() == (1, [])
    assert service.accepted() == 1
    assert entries(service.queue) == []
    assert len(service.schedule) == 0


async def test_it_is_moved_and_cancelled_by_its_owner_alone(service: Service) -> None:
    sent = await scheduled(service, to=["a@x.example", "b@x.example"])
    url = f"/emails/{sent}"
    async with service.client(service.foreign.api_key) as client:
        assert (await client.patch(url, json={"scheduled_at": SOONER})).status_code == 404
        assert (await client.post(f"{url}/cancel")).status_code == 404
    async with service.client() as client:
        moved = await client.patch(url, json={"scheduled_at": SOONER})
        assert (moved.status_code, moved.json()) == (200, {"object": "email", "id": sent})
        assert kinds(service.queue) == [("scheduled", SOONER_US)] * 2
        cancelled = await client.post(f"{url}/cancel")
        assert (cancelled.status_code, cancelled.json()) == (200, {"object": "email", "id": sent})
        assert kinds(service.queue)[2:] == [("cancelled", None)] * 2
        assert (await client.post(f"{url}/cancel")).status_code == 404
        assert (await client.patch(url, json={"scheduled_at": SOONER})).status_code == 404
    service.clock.now_us = LATER_US
    assert service.schedule.once() == (0, [])
    assert service.accepted() == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "scheduled_at"),
        ({"scheduled_at": None}, "scheduled_at"),
        ({"scheduled_at": "tomorrow"}, "scheduled_at"),
        ({"scheduled_at": "2001-01-01T00:00:00Z"}, "scheduled_at"),
        ({"scheduled_at": SOONER, "subject": "x"}, "subject"),
        ([], ""),
    ],
)
async def test_a_bad_time_is_refused_by_field(service: Service, body: Any, field: str) -> None:
    sent = await scheduled(service)
    async with service.client() as client:
        answer = await client.patch(f"/emails/{sent}", json=body)
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["errors"]] == [field]
    assert kinds(service.queue) == []


async def test_the_entry_is_durable_before_the_event_that_speaks_of_it(service: Service) -> None:
    def die(appends: Sequence[Any]) -> None:
        if appends[0][0] == SCHEDULED:
            raise OSError("the disk is gone")

    service.queue.after = die
    answer = await service.post(message(scheduled_at=LATER), idempotency_key="k")
    assert answer.status_code == 503
    assert kinds(service.queue) == []
    service.queue.after = lambda _: None
    again = await service.post(message(scheduled_at=LATER), idempotency_key="k")
    assert again.status_code == 202
    assert len(entries(service.queue)) == 1


@pytest.mark.parametrize("is_consumed", [False, True])
async def test_a_crash_between_record_and_removal_sends_nothing_twice(
    service: Service, is_consumed: bool
) -> None:
    sent = await scheduled(service)
    queue = service.queue
    before = {place: dict(table) for place, table in queue.tables.items() if place[0] == SCHEDULED}
    service.clock.now_us = LATER_US
    service.schedule.once()
    queue.storage.tables.update(before)  # as if the removal had not reached the disk
    if is_consumed:
        record = queue.messages()[0]
        for (topic, partition), rows in list(queue.records.items()):
            if topic.startswith("email.send.") and rows:
                commits = {(topic, partition): (len(rows), b"")}
                consumer = queue.consumer("worker", [topic])
                consumer.commit(commits)
                service.schedule._queue.append(
                    [(EVENTS, partition, None, ended(record, service.clock()))]
                )
    again = Schedule(queue, service.clock)
    assert sum(again.restore(partition) for partition in range(queue.partitions)) == 0
    assert again.once() == (0, [])
    assert service.accepted() == 1
    assert entries(queue) == []
    assert sent


def ended(record: bytes, at_us: int) -> bytes:
    """An event that ends the message's only delivery."""
    return encode_event(record, "cancelled", at_us, 0, 1, 0, "")


async def test_a_restart_goes_on_with_all_times(service: Service) -> None:
    await scheduled(service)
    other = await scheduled(service)
    service.schedule.move(service.own.org, uuid.UUID(other).bytes, SOONER_US)
    again = Schedule(service.queue, service.clock)
    assert sum(again.restore(partition) for partition in range(service.queue.partitions)) == 2
    service.clock.now_us = SOONER_US
    assert again.once()[0] == 1
    service.clock.now_us = LATER_US
    assert again.once()[0] == 1
    assert service.accepted() == 2


async def test_a_cancel_that_died_half_way_is_finished(service: Service) -> None:
    sent = await scheduled(service)
    before = {place: dict(t) for place, t in service.queue.tables.items() if place[0] == SCHEDULED}
    assert service.schedule.cancel(service.own.org, uuid.UUID(sent).bytes)
    service.queue.storage.tables.update(before)
    again = Schedule(service.queue, service.clock)
    assert sum(again.restore(partition) for partition in range(service.queue.partitions)) == 0
    assert entries(service.queue) == []


async def test_what_cannot_be_decoded_is_handed_out_with_its_key(service: Service) -> None:
    key = bytes(16)
    service.queue.append([(SCHEDULED, 1, key, b"nonsense")])
    again = Schedule(service.queue, service.clock)
    assert again.restore(1) == 1
    assert again.once() == (1, [(1, key, b"nonsense")])
