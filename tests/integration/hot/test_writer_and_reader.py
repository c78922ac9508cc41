"""The projection in a real PostgreSQL: written once, whatever is repeated; read by its owner."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postalynk.errors import StorageError
from postalynk.storage.hot.connection import RowsRefused
from postalynk.storage.hot.partitions import drop_expired
from postalynk.storage.hot.reader import HotReader
from postalynk.storage.hot.writer import HotWriter, Written
from tests.fixtures.events import (
    DAY_US,
    NOW_US,
    ORG,
    FakeColumns,
    accepted,
    deferred,
    event,
    message_id,
)

AT = ("email.events", 3)


def writer(dsn: str, now_us: int = NOW_US) -> HotWriter:
    return HotWriter(lambda: dsn, lambda: now_us)


async def rows(dsn: str, query: str = "") -> list[tuple[Any, ...]]:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    try:
        if query:
            return [tuple(row) for row in await connection.fetch(query)]
        all_rows: list[tuple[Any, ...]] = []
        for table in ("messages", "events"):
            fetched = await connection.fetch(f"SELECT t::text FROM postalynk.{table} t ORDER BY 1")
            all_rows += [(table, row[0]) for row in fetched]
        return all_rows
    finally:
        await connection.close()


async def test_the_position_is_written_with_the_rows(hot_dsn: str) -> None:
    hot = writer(hot_dsn)
    assert await hot.positions() == {}
    facts = FakeColumns([accepted(), event()])
    assert await hot.write(facts, {AT: 7, ("email.events", 4): 1}) == Written(1, 1)
    assert await hot.write(FakeColumns([]), {AT: 9}) == Written(0, 0)
    hot.close()
    again = writer(hot_dsn)
    assert await again.positions() == {AT: 9, ("email.events", 4): 1}
    again.close()


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_law_replay_rewrites_nothing(hot_server: str, data: st.DataObject) -> None:
    """Law `replay_rewrites_nothing`: batches cut and repeated in any way leave the same rows."""
    log = [accepted(n) for n in range(4)]
    log += [deferred(n % 4, recipient=n // 4, at_us=NOW_US + n) for n in range(8)]
    log += [event(n % 4, recipient=n // 4, attempt=2, at_us=NOW_US + 100 + n) for n in range(8)]
    places = st.integers(0, len(log))
    spans = data.draw(st.lists(st.tuples(places, places).map(sorted), max_size=6))

    async def story() -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        dsn = hot_server
        once, often = writer(dsn), writer(dsn)
        await once.positions()  # the tables
        await rows(dsn, "TRUNCATE postalynk.messages, postalynk.events")
        await once.write(FakeColumns(log), {AT: len(log)})
        wanted = await rows(dsn)
        await rows(dsn, "TRUNCATE postalynk.messages, postalynk.events")
        for start, end in spans:
            await often.write(FakeColumns(log[start:end]), {AT: end})
        await often.write(FakeColumns(log), {AT: len(log)})
        got = await rows(dsn)
        once.close()
        often.close()
        return wanted, got

    wanted, got = asyncio.run(story())
    assert len(wanted) == len(log)
    assert got == wanted


async def test_after_a_replay_new_rows_go_straight_in_again(hot_dsn: str) -> None:
    hot = writer(hot_dsn)
    assert await hot.write(FakeColumns([accepted(1), event(1)]), {AT: 2}) == Written(1, 1)
    assert await hot.write(FakeColumns([accepted(1), event(1)]), {AT: 2}) == Written(0, 0)
    assert await hot.write(FakeColumns([accepted(1), accepted(2)]), {AT: 3}) == Written(1, 0)
    assert await hot.write(FakeColumns([accepted(3)]), {AT: 4}) == Written(1, 0)
    assert await hot.write(FakeColumns([accepted(4)]), {AT: 5}) == Written(1, 0)
    hot.close()


async def test_values_postgresql_cannot_hold_are_mended(hot_dsn: str) -> None:
    hot = writer(hot_dsn)
    odd = event(
        reply="a\0b", attempt=2**32 - 1, size_bytes=2**64 - 1, at_us=NOW_US, due_at_us=2**63
    )
    assert await hot.write(FakeColumns([accepted(subject="\0"), odd]), {AT: 1}) == Written(1, 1)
    hot.close()
    reader = HotReader(lambda: hot_dsn)
    (_, found) = await reader.events(ORG, message_id(1)) or []
    assert found["reply"]["text"] == "a\ufffdb"
    assert found["attempt"] == 2**31 - 1
    assert found["due_at"].startswith("9999-12-31")
    await reader.close()


async def test_a_row_no_day_can_hold_is_refused_whole(hot_dsn: str) -> None:
    hot = writer(hot_dsn)
    await hot.positions()
    for bad in (
        accepted(at_us=NOW_US + 9 * DAY_US),
        accepted(at_us=0),
        event(recorded_at_us=2**64 - 1),
        accepted(id=b"short"),
        accepted(tags="no json"),
    ):
        with pytest.raises(RowsRefused):
            await hot.write(FakeColumns([accepted(5), bad]), {AT: 1})
    assert await rows(hot_dsn) == []
    assert await hot.positions() == {}
    assert await hot.write(FakeColumns([accepted(5)]), {AT: 1}) == Written(1, 0)
    hot.close()


async def test_days_get_partitions_ahead_across_midnight_and_late(hot_dsn: str) -> None:
    midnight = (NOW_US // DAY_US + 1) * DAY_US
    hot = writer(hot_dsn, midnight - 1)
    await hot.write(FakeColumns([]), {})
    days = (
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'events_2%' ORDER BY 1"
    )
    assert [name for (name,) in await rows(hot_dsn, days)] == [
        f"events_202611{day}" for day in (24, 25, 26, 27)
    ]
    around = [
        accepted(1, at_us=midnight - 1000),
        accepted(2, at_us=midnight),
        event(1, message_at_us=midnight - 1000, recorded_at_us=midnight - 1),
        event(2, message_at_us=midnight, recorded_at_us=midnight),
        accepted(3, at_us=midnight - 8 * DAY_US),
        event(3, message_at_us=midnight - 8 * DAY_US, recorded_at_us=midnight - 7 * DAY_US),
    ]
    assert await hot.write(FakeColumns(around), {AT: 6}) == Written(3, 3)
    for table in ("messages", "events"):
        found = await rows(
            hot_dsn,
            "SELECT relname, count(*) FROM pg_class c"
            f" JOIN postalynk.{table} t ON t.tableoid = c.oid GROUP BY 1 ORDER BY 1",
        )
        first = "17" if table == "messages" else "18"
        assert found == [(f"{table}_202611{day}", 1) for day in (first, "24", "25")]
    hot.close()


async def test_old_days_are_dropped_only_when_asked_and_can_come_back(hot_dsn: str) -> None:
    hot = writer(hot_dsn)
    late = [accepted(1, at_us=NOW_US - 31 * DAY_US), event(1, recorded_at_us=NOW_US - 31 * DAY_US)]
    await hot.write(FakeColumns([*late, accepted(2)]), {AT: 3})
    connection: asyncpg.Connection[Any] = await asyncpg.connect(hot_dsn)
    assert await drop_expired(connection, NOW_US, 31) == []
    assert await drop_expired(connection, NOW_US, 30) == ["events_20261024", "messages_20261024"]
    assert len(await rows(hot_dsn)) == 1
    # The writer still believes the day is there, and finds out.
    assert await hot.write(FakeColumns(late), {AT: 3}) == Written(1, 1)
    # A detached day that a crash left behind is dropped as well.
    await connection.execute(
        "ALTER TABLE postalynk.events DETACH PARTITION postalynk.events_20261024"
    )
    assert await drop_expired(connection, NOW_US, 30) == ["events_20261024", "messages_20261024"]
    await connection.close()
    hot.close()


async def test_a_story_with_several_deliveries(hot_dsn: str) -> None:
    hot = writer(hot_dsn)
    facts = [
        accepted(recipients='["a@rcpt.example", "b@rcpt.example", "c@rcpt.example"]'),
        deferred(at_us=NOW_US + 1_000_000, fallback=True, route_reason="policy raised KeyError"),
        event(
            recipient=1,
            address="b@rcpt.example",
            kind="bounced",
            reply_code=550,
            enhanced="5.1.1",
            reply="no such user",
            at_us=NOW_US + 2_000_000,
        ),
        event(attempt=2, at_us=NOW_US + 61_000_000, dot_us=900, connect_us=300),
    ]
    await hot.write(FakeColumns(facts), {AT: 4})
    hot.close()
    reader = HotReader(lambda: hot_dsn)

    message = await reader.message(ORG, message_id(1))
    assert message is not None
    assert message["object"] == "email"
    assert message["to"] == ["a@rcpt.example"]
    assert message["tags"] == [{"name": "campaign", "value": "spring"}]
    assert message["last_event"] == "delivered"
    assert message["created_at"] == "2026-11-24T12:00:00+00:00"
    assert [(d["address"], d["state"], d["attempts"]) for d in message["deliveries"]] == [
        ("a@rcpt.example", "delivered", 2),
        ("b@rcpt.example", "bounced", 1),
        ("c@rcpt.example", "queued", 0),
    ]
    assert message["deliveries"][1]["reply"] == {
        "code": 550,
        "enhanced": "5.1.1",
        "text": "no such user",
    }

    story = await reader.story(message_id(1))
    assert story is not None
    assert story["message"]["org"] == ORG
    first, second = story["deliveries"][0]["events"]
    assert first["policy"] == {
        "version": "d41d8cd9",
        "reason": "policy raised KeyError",
        "is_fallback": True,
        "explanation": None,
    }
    assert first["due_at"] == "2026-11-24T12:01:01+00:00"
    assert second["latency_us"] == {"connect": 300, "mail": 0, "dot": 900, "total": 4200}
    assert story["deliveries"][2]["events"] == []
    assert await reader.story(message_id(99)) is None
    await reader.close()


async def test_events_come_in_pages(hot_dsn: str) -> None:
    hot = writer(hot_dsn)
    tries = [deferred(attempt=n, at_us=NOW_US + n // 2) for n in range(1, 8)]
    await hot.write(FakeColumns([accepted(), *tries]), {AT: 8})
    hot.close()
    reader = HotReader(lambda: hot_dsn)
    seen: list[dict[str, Any]] = []
    after: str | None = None
    while page := await reader.events(ORG, message_id(1), after, 3):
        assert len(page) <= 3
        seen += page
        after = page[-1]["cursor"]
    assert [e["type"] for e in seen] == ["accepted", *["deferred"] * 7]
    assert [e["attempt"] for e in seen[1:]] == list(range(1, 8))
    with pytest.raises(ValueError, match="no cursor"):
        await reader.events(ORG, message_id(1), "1.2.3.'; DROP", 3)
    await reader.close()


async def test_no_organization_sees_another(hot_dsn: str) -> None:
    other = "org_00000000000000000002"
    hot = writer(hot_dsn)
    # The worst case: an event of another organization under the same message id.
    facts = [accepted(), event(), event(org=other, kind="bounced", at_us=NOW_US + 9)]
    await hot.write(FakeColumns(facts), {AT: 3})
    hot.close()
    reader = HotReader(lambda: hot_dsn)
    assert await reader.message(other, message_id(1)) is None
    assert await reader.events(other, message_id(1)) is None
    mine = await reader.message(ORG, message_id(1))
    assert mine is not None
    assert mine["last_event"] == "delivered"
    assert [e["type"] for e in await reader.events(ORG, message_id(1)) or []] == [
        "accepted",
        "delivered",
    ]
    await reader.close()


async def test_a_reader_out_of_reach_says_so_without_the_password() -> None:
    reader = HotReader(lambda: "postgresql://me:secret@127.0.0.1:1/none")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1") as caught:
        await reader.story(message_id(1))
    assert "secret" not in str(caught.value)
    await reader.close()


async def test_a_database_without_tables_is_told_apart(hot_dsn: str) -> None:
    reader = HotReader(lambda: hot_dsn)
    with pytest.raises(StorageError, match="no tables"):
        await reader.message(ORG, message_id(1))
    await reader.close()


async def test_two_writers_may_begin_at_once(hot_dsn: str) -> None:
    writers = [writer(hot_dsn) for _ in range(4)]
    await asyncio.gather(
        *(w.write(FakeColumns([accepted(n)]), {AT: n}) for n, w in enumerate(writers))
    )
    assert len(await rows(hot_dsn)) == 4
    for w in writers:
        w.close()
