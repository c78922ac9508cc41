"""PostgreSQL is new, the log is not: a replay writes all of it, and writes it once."""

from __future__ import annotations

from pathlib import Path

from postalynk.ingest.border import encode_messages, new_message_id
from postalynk.model import AcceptedMessage, Mailbox
from postalynk.queue.native import EmbeddedQueue
from postalynk.service.projecting import Replayed, Stretch, replayed

ANN = Mailbox("", "ann@example.org")


def message(org: str) -> AcceptedMessage:
    """One to Ann."""
    now_ms = 1_795_478_400_000
    return AcceptedMessage(
        id=new_message_id(now_ms),
        org=org,
        accepted_at_us=now_ms * 1_000,
        expires_at_us=0,
        lane="normal",
        reverse_path="shop@example.com",
        recipients=[ANN.address],
        from_=Mailbox("Shop", "shop@example.com"),
        to=[ANN],
        cc=[],
        bcc=[],
        reply_to=[],
        subject="Hello",
        text="Hi",
        html="",
        headers=[],
        attachments=[],
        tags=[],
        message_id="1@example.com",
        dkim_domain="",
        plan="standard",
        in_doubt="retry",
    )


async def test_a_new_database_gets_all_of_the_log_once(hot_dsn: str, tmp_path: Path) -> None:
    queue = EmbeddedQueue(str(tmp_path / "queue"), partitions=4)
    messages = [message(f"org_{number % 3}") for number in range(30)]
    queue.append(encode_messages(messages, 4))
    always = Stretch(0, 2**60)
    one = await replayed(queue, lambda: hot_dsn, Stretch(0, 2**60, "org_1"))
    assert one == Replayed(10, 10, 0, 0)
    assert await replayed(queue, lambda: hot_dsn, always) == Replayed(30, 20, 0, 0)
    assert await replayed(queue, lambda: hot_dsn, always) == Replayed(30, 0, 0, 0)
    early = Stretch(0, messages[0].accepted_at_us)
    assert await replayed(queue, lambda: hot_dsn, early) == Replayed(0, 0, 0, 0)
    queue.close()
