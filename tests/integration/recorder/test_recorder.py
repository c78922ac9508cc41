"""The recorder over a real PostgreSQL that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import psutil
import pytest

from postalynk.recorder import projection
from postalynk.recorder.projection import Recorder
from postalynk.storage.hot.embedded import EmbeddedPostgres
from tests.fixtures.events import DAY_US, NOW_US, accepted, event
from tests.fixtures.memory_log import JsonCodec, MemoryLog


def recorder(log: MemoryLog, dsn: Callable[[], str]) -> Recorder:
    queue: Any = log
    codec: Any = JsonCodec()
    return Recorder(queue, dsn, codec=codec, now_us=lambda: NOW_US)


@contextlib.asynccontextmanager
async def running(log: MemoryLog, dsn: Callable[[], str]) -> AsyncIterator[Recorder]:
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


async def eventually(check: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - what is waited for has no event to set
            await asyncio.sleep(0.02)


def once(numbers: range) -> Counter[tuple[str, int]]:
    return Counter({(table, n): 1 for table in ("messages", "events") for n in numbers})


async def test_what_is_appended_is_projected_and_committed(hot_dsn: str) -> None:
    log = MemoryLog()
    async with running(log, lambda: hot_dsn) as ours:
        for n in range(20):
            log.put(n % 4, accepted(n), event(n))
        await eventually(lambda: ours.lag() == 0)
        assert await projected(hot_dsn) == once(range(20))
        assert ours.progress.messages == ours.progress.events == 20
        await eventually(lambda: "recorder" in log.commits)
    assert {place: offset for place, (offset, _) in log.commits["recorder"].items()} == {
        ("email.events", n): 10 for n in range(4)
    }


async def test_stopping_projects_what_is_there_first(hot_dsn: str) -> None:
    log = MemoryLog()
    ours = recorder(log, lambda: hot_dsn)
    task = asyncio.create_task(ours.run())
    await eventually(lambda: ours.progress.is_connected)
    for n in range(300):
        log.put(n % 4, accepted(n), event(n))
    assert await ours.stop(timeout_s=20)
    assert task.done()
    assert await projected(hot_dsn) == once(range(300))


async def test_a_restart_goes_on_where_the_rows_end(hot_dsn: str) -> None:
    """Killed at any moment: what was written is not written again, the rest comes."""
    log = MemoryLog()
    for n in range(400):
        log.put(n % 4, accepted(n), event(n))
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
    log = MemoryLog()
    log.put(0, *(fact for n in range(10) for fact in (accepted(n), event(n))))
    async with running(log, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    log.commits["recorder"] = {} if how == "forgotten" else {("email.events", 0): (4, b"")}
    log.put(0, accepted(10), event(10))
    async with running(log, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    assert await projected(hot_dsn) == once(range(11))


async def test_a_shorter_log_than_was_projected_is_read_from_its_start(hot_dsn: str) -> None:
    old, new = MemoryLog(), MemoryLog()
    old.put(0, *(accepted(n) for n in range(10)))
    async with running(old, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    new.commits = old.commits
    new.put(0, accepted(20), event(20))
    async with running(new, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
    assert (await projected(hot_dsn))["events", 20] == 1


async def test_postgresql_goes_and_comes_back_mid_stream(own_server: EmbeddedPostgres) -> None:
    """Issue 3, item 10: appending never waits; afterwards nothing is missing, nothing double."""
    log = MemoryLog()

    async def feed() -> None:
        for n in range(600):
            log.put(n % 4, accepted(n), event(n))
            await asyncio.sleep(0.005)

    async with running(log, lambda: own_server.dsn) as ours:
        feeding = asyncio.create_task(feed())
        await eventually(lambda: ours.progress.messages > 0)
        await asyncio.to_thread(own_server.stop)
        await eventually(lambda: not ours.progress.is_connected)
        await feeding
        assert ours.lag() > 0
        await asyncio.to_thread(own_server.start)
        await eventually(lambda: ours.lag() == 0)
    assert await projected(own_server.dsn) == once(range(600))


async def test_it_starts_while_postgresql_is_down(own_server: EmbeddedPostgres) -> None:
    await asyncio.to_thread(own_server.stop)
    log = MemoryLog()
    log.put(0, accepted(0), event(0))
    async with running(log, lambda: own_server.dsn) as ours:
        await asyncio.sleep(0.3)
        assert not ours.progress.is_connected
        assert ours.lag() == 2
        await asyncio.to_thread(own_server.start)
        await eventually(lambda: ours.progress.events == 1)


async def test_stopping_does_not_wait_for_a_dead_postgresql() -> None:
    log = MemoryLog()
    ours = recorder(log, lambda: "postgresql://127.0.0.1:1/none")
    task = asyncio.create_task(ours.run())
    await asyncio.sleep(0.1)
    async with asyncio.timeout(1.0):
        assert not await ours.stop(timeout_s=30)
    assert task.cancelled()


async def test_stopping_does_not_wait_for_a_frozen_postgresql(own_server: EmbeddedPostgres) -> None:
    """A server that holds its connections and answers nothing, as on a dead disk."""
    log = MemoryLog()
    ours = recorder(log, lambda: own_server.dsn)
    task = asyncio.create_task(ours.run())
    log.put(0, accepted(0), event(0))
    await eventually(lambda: ours.lag() == 0 and ours.progress.messages == 1)
    async with frozen(own_server):
        log.put(0, accepted(1), event(1))
        await asyncio.sleep(0.5)
        async with asyncio.timeout(3.0):
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
    log = MemoryLog()
    for n in range(40):
        log.put(n % 4, accepted(n), event(n))
    log.put(0, b"\xffgarbage", accepted(90, at_us=NOW_US + 40_000 * DAY_US))
    log.put(1, accepted(91, tags="no json"), event(92, recorded_at_us=2**64 - 1))
    for n in range(40, 80):
        log.put(n % 4, accepted(n), event(n))
    async with running(log, lambda: hot_dsn) as ours:
        await eventually(lambda: ours.lag() == 0)
        assert ours.progress.dead_letters == 4
    assert await projected(hot_dsn) == once(range(80))
    letters = {value[0]: value[1] for _, _, _, value in log.others}
    assert letters == {
        ("email.events", 0, 20): "undecodable",
        ("email.events", 0, 21): "unprojectable",
        ("email.events", 1, 20): "unprojectable",
        ("email.events", 1, 21): "unprojectable",
    }
    assert [topic for topic, *_ in log.others] == ["email.dlq"] * 4


async def test_a_trickle_is_gathered(hot_dsn: str) -> None:
    """Records a few milliseconds apart become a handful of transactions, not one each."""
    log = MemoryLog()
    commits = 0

    class Counting(JsonCodec):
        def decode(self, records: Any) -> Any:
            nonlocal commits
            commits += 1
            return super().decode(records)

    queue: Any = log
    codec: Any = Counting()
    ours = Recorder(queue, lambda: hot_dsn, codec=codec, now_us=lambda: NOW_US)
    task = asyncio.create_task(ours.run())
    await eventually(lambda: ours.progress.is_connected)
    for n in range(100):
        log.put(0, accepted(n))
        await asyncio.sleep(0.01)
    await ours.stop()
    task.result()
    assert ours.progress.messages == 100
    assert commits <= 2.0 / projection.PACE_S
