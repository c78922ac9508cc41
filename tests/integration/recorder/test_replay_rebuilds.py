"""PostgreSQL is new, the log is not: a replay writes all of it, and writes it once."""

from __future__ import annotations

from pathlib import Path

from postalynk.ingest.border import encode_messages
from postalynk.queue.native import EmbeddedQueue
from postalynk.service.projecting import Replayed, Stretch, replayed
from tests.support.workers import mail


async def test_a_new_database_gets_all_of_the_log_once(hot_dsn: str, tmp_path: Path) -> None:
    queue = EmbeddedQueue(str(tmp_path / "queue"), partitions=4)
    messages = [mail(number, f"org_{number % 3}") for number in range(30)]
    queue.append(encode_messages(messages, 4))
    always = Stretch(0, 2**60)
    one = await replayed(queue, lambda: hot_dsn, Stretch(0, 2**60, "org_1"))
    assert one == Replayed(10, 10, 0, 0)
    assert await replayed(queue, lambda: hot_dsn, always) == Replayed(30, 20, 0, 0)
    assert await replayed(queue, lambda: hot_dsn, always) == Replayed(30, 0, 0, 0)
    early = Stretch(0, messages[0].accepted_at_us)
    assert await replayed(queue, lambda: hot_dsn, early) == Replayed(0, 0, 0, 0)
    queue.close()
