"""The recorder over a real PostgreSQL that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import asyncpg
import psutil
import pytest

from postalynk.recorder import projection
from postalynk.recorder.projection import Recorder
from postalynk.storage.hot.embedded import EmbeddedPostgres
from tests.fakes.queue import MemoryQueue
from tests.fixtures.events import DAY_US, NOW_US, JsonCodec, accepted, encode, event


def recorder(log: MemoryQueue, dsn: Callable[[], str], codec: JsonCodec | None = None) -> Recorder:
    return Recorder(log, dsn, codec=codec or JsonCodec(), now_us=lambda: NOW_US)


def put(log: MemoryQueue, partition: int, *facts: Mapping[str, Any] | bytes) -> None:
    """Append facts, or bytes as they are, to ``email.events``."""
    values = (fact if isinstance(fact, bytes) else encode(fact) for fact in facts)
    log.put("email.events", partition, *values)


@contextlib.asynccontextmanager
async def running(log: MemoryQueue, dsn: Callable[[], str]) -> AsyncIterator[Recorder]:
    ours = recorder(log, dsn)
    task = asyncio.create_task(ours.run())
    try:
        yield ours
    finally:
        await ours.stop()
        if not task.cancelled():
            task.result()


async def projected(dsn: str) -> Counter[tuple[str, int]]:
    """How often each message and event is there, by the number in its id."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    found: Counter[tuple[str, int]] = Counter()
    for table, column in (("messages", "id"), ("events", "message_id")):
        for row in await connection.fetch(f"SELECT {column} AS id FROM postalynk.{table}"):
            found[table, int(row["id"].hex[-12:], 16)] += 1
    await connection.close()
    return found


async def eventually(check: Callable[[], bool], within_s: float = 120.0) -> None:
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - what is waited for has no event to set
            await asyncio.sleep(0.02)


def once(numbers: range) -> Counter[tuple[str, int]]:
    return Counter({(table, n): 1 for table in ("messages", "events") for n in numbers})


async def test_what_is_appended_is_projected_and_committed(hot_dsn: str) -> None:
    log = MemoryQueue()
    async with running(log, lambda: hot_dsn) as ours:
        for n in range(20):
            put(log, n % 4, accepted(n), event(n))
        await eventually(lambda: ours.lag() == 0)
        assert await projected(hot_dsn) == once(range(20))
        assert ours.progress.messages == ours.progress.events == 20
        await eventually(lambda: bool(log.groups["recorder"]))
    assert {place: offset for place, (offset, _) in log.groups["recorder"].items()} == {
        ("email.events", n): 10 for n in range(4)
    }


async def test_stopping_projects_what_is_there_first(hot_dsn: str) -> None:
    log = MemoryQueue()
    ours = recorder(log, lambda: hot_dsn)
    task = asyncio.create_task(ours.run())
    await eventually(lambda: ours.progress.is_connected)
    for n in range(300):
        put(log, n % 4, accepted(n), event(n))
    assert await ours.stop(timeout_s=20)
    assert task.done()
    assert await projected(hot_dsn) == once(range(300))


async def test_a_restart_goes_on_where_the_rows_end(hot_dsn: str) -> None:
    """Killed at any moment: what was written is not written again, the rest comes."""
    log = MemoryQueue()
    for n in range(400):
        put(log, n % 4, accepted(n), event(n))
    for kill_after_s in (0.0, 0.05, 0.1, 0.15):
        ours = recorder(log, lambda: hot_dsn)
        task = asyncio.create_task(ours.run())
        await asyncio.sleep(kill_after_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    async with running(log, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    assert await projected(hot_dsn) == once(range(400))


@pytest.mark.parametrize("how", ["forgotten", "behind"])
async def test_an_earlier_position_in_the_queue_is_replayed(hot_dsn: str, how: str) -> None:
    """A new log under an old database, or a commit that did not follow: read again, no harm."""
    log = MemoryQueue()
    put(log, 0, *(fact for n in range(10) for fact in (accepted(n), event(n))))
    async with running(log, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    log.groups["recorder"] = {} if how == "forgotten" else {("email.events", 0): (4, b"")}
    put(log, 0, accepted(10), event(10))
    async with running(log, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    assert await projected(hot_dsn) == once(range(11))


async def test_a_shorter_log_than_was_projected_is_read_from_its_start(hot_dsn: str) -> None:
    old, new = MemoryQueue(), MemoryQueue()
    put(old, 0, *(accepted(n) for n in range(10)))
    async with running(old, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    new.groups.update(old.groups)
    put(new, 0, accepted(20), event(20))
    async with running(new, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    assert (await projected(hot_dsn))["events", 20] == 1


async def test_postgresql_goes_and_comes_back_mid_stream(own_server: EmbeddedPostgres) -> None:
    """Issue 3, item 10: appending never waits; afterwards nothing is missing, nothing double."""
    log = MemoryQueue()

    async def feed() -> None:
        for n in range(600):
            put(log, n % 4, accepted(n), event(n))
            await asyncio.sleep(0.005)

    async with running(log, lambda: own_server.dsn) as ours:
        feeding = asyncio.create_task(feed())
        await eventually(lambda: ours.progress.messages > 0)
        await asyncio.to_thread(own_server.stop)
        await eventually(lambda: not ours.progress.is_connected)
        await feeding
        put(log, 0, accepted(600), event(600))
        assert ours.lag() > 0
        await asyncio.to_thread(own_server.start)
        await eventually(lambda: ours.lag() == 0)
    assert await projected(own_server.dsn) == once(range(601))


async def test_it_starts_while_postgresql_is_down(own_server: EmbeddedPostgres) -> None:
    await asyncio.to_thread(own_server.stop)
    log = MemoryQueue()
    put(log, 0, accepted(0), event(0))
    async with running(log, lambda: own_server.dsn) as ours:
        await asyncio.sleep(0.3)
        assert not ours.progress.is_connected
        assert ours.lag() == 2
        await asyncio.to_thread(own_server.start)
        await eventually(lambda: ours.progress.events == 1)


async def test_stopping_does_not_wait_for_a_dead_postgresql() -> None:
    log = MemoryQueue()
    ours = recorder(log, lambda: "postgresql://127.0.0.1:1/none")
    task = asyncio.create_task(ours.run())
    await asyncio.sleep(0.1)
    async with asyncio.timeout(20):
        assert not await ours.stop(timeout_s=30)
    assert task.cancelled()


async def test_stopping_does_not_wait_for_a_frozen_postgresql(own_server: EmbeddedPostgres) -> None:
    """A server that holds its connections and answers nothing, as on a dead disk."""
    log = MemoryQueue()
    ours = recorder(log, lambda: own_server.dsn)
    task = asyncio.create_task(ours.run())
    put(log, 0, accepted(0), event(0))
    await eventually(lambda: ours.lag() == 0 and ours.progress.messages == 1)
    async with frozen(own_server):
        put(log, 0, accepted(1), event(1))
        await asyncio.sleep(0.5)
        async with asyncio.timeout(20):
            assert not await ours.stop(timeout_s=0.5)
        assert task.done()
    async with running(log, lambda: own_server.dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    assert await projected(own_server.dsn) == once(range(2))


@contextlib.asynccontextmanager
async def frozen(server: EmbeddedPostgres) -> AsyncIterator[None]:
    postmaster = psutil.Process(server.pid)
    processes = [postmaster, *postmaster.children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


async def test_bad_records_are_dead_lettered_and_stop_no_other(hot_dsn: str) -> None:
    """Garbage, an id of the year 5138, a malformed column: each alone, all others projected."""
    log = MemoryQueue()
    for n in range(40):
        put(log, n % 4, accepted(n), event(n))
    put(log, 0, b"\xffgarbage", accepted(90, at_us=NOW_US + 40_000 * DAY_US))
    put(log, 1, accepted(91, tags="no json"), event(92, recorded_at_us=2**64 - 1))
    for n in range(40, 80):
        put(log, n % 4, accepted(n), event(n))
    async with running(log, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
        assert ours.progress.dead_letters == 4
    assert await projected(hot_dsn) == once(range(80))
    letters = [json.loads(value) for p in range(4) for value in log.values("email.dlq", p)]
    assert [(*letter["from"], letter["reason"]) for letter in letters] == [
        ("email.events", 0, 20, "undecodable"),
        ("email.events", 0, 21, "unprojectable"),
        ("email.events", 1, 20, "unprojectable"),
        ("email.events", 1, 21, "unprojectable"),
    ]


async def test_a_trickle_is_gathered(hot_dsn: str) -> None:
    """Records a few milliseconds apart become a handful of transactions, not one each."""
    log = MemoryQueue()
    commits = 0

    class Counting(JsonCodec):
        def decode(self, records: Any) -> Any:
            nonlocal commits
            commits += 1
            return super().decode(records)

    ours = recorder(log, lambda: hot_dsn, Counting())
    task = asyncio.create_task(ours.run())
    await eventually(lambda: ours.progress.is_connected)
    began = time.monotonic()
    for n in range(100):
        put(log, 0, accepted(n))
        await asyncio.sleep(0.01)
    await ours.stop()
    took_s = time.monotonic() - began
    task.result()
    assert ours.progress.messages == 100
    assert commits <= 2 * took_s / projection.PACE_S
