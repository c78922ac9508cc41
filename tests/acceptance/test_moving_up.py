"""A machine has become too small: its embedded queue moves to Kafka, and the move is killed.

What runs: `postalynk up` on the embedded queue, then on a real broker, and the sink, which defers
its `defer…` recipients once. What breaks: `up` is killed with mail in its lanes, and the move twice
with `kill -9`. What holds: the audit says the same before and after, what waits is delivered once
and what was delivered is not sent again (G1, G2); the old queue cannot be opened any more.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

from postalynk._engine import EmbeddedQueue
from tests.support.kafka import one_broker
from tests.support.processes import COMMAND, Postalynk, Sink, wait_for

LATER = """
from postalynk.policy import Attempt, Retry, policy

AGAIN = Retry("1h", max_age="3d", jitter=0)
# What was on the wire when the process was killed.
SOON = Retry("1s", max_age="3d", jitter=0)


@policy.retry
def retry(attempt: Attempt) -> Retry:
    return SOON if attempt.kind == "in_doubt" else AGAIN
"""
PARTITIONS = 4
FAR = "2999-01-01T00:00:00Z"
QUEUED = 150


@pytest.fixture
def own(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """One whose deferrals wait for long."""
    target = Postalynk(
        tmp_path_factory.mktemp("moving"),
        sink.address,
        policy=LATER,
        queue=f'[queue]\nurl = "embedded:data/queue"\npartitions = {PARTITIONS}\n',
    )
    try:
        yield target.start().prepare()
    finally:
        target.remove()


def queue_table(own: Postalynk) -> str:
    return (
        '[control]\nmaster_key_file = "data/queue/master.key"\n'
        f'[queue]\nurl = "{one_broker().url}"\ntopic_prefix = "moving{os.getpid()}."\n'
        f"partitions = {PARTITIONS}\nreplicas = 1\nmin_in_sync = 1\nsession_timeout_s = 6\n"
    )


def fill(own: Postalynk) -> dict[str, list[str]]:
    """Delivered, deferred, scheduled and dead mail, then some in the lanes of a killed process."""
    sent = {
        "delivered": [own.send(to=f"done{n}@rcpt.example") for n in range(5)],
        "deferred": [own.send(to=f"defer{n}@rcpt.example") for n in range(4)],
        "scheduled": [own.send(to=f"far{n}@rcpt.example", scheduled_at=FAR) for n in range(3)],
    }
    for message_id in sent["delivered"]:
        own.wait_state(message_id, "delivered")
    for message_id in sent["deferred"]:
        own.wait_state(message_id, "delivery_delayed")
    own.stop()
    queue = EmbeddedQueue(str(own.base / "data/queue"), partitions=PARTITIONS)
    queue.append(
        [("email.send.normal", 1, None, b"\x00odd"), ("email.send.bulk", 2, None, b"\x01")]
    )
    queue.close()
    own.start()
    wait_for(lambda: len(own.ask("dlq", "ls")) == 2, "the records are dead letters")
    own.ask("dlq", "drop", "--id", own.ask("dlq", "ls")[0]["id"], "--yes")
    mail = [
        {"from": "shop@example.com", "to": f"q{n}@rcpt.example", "subject": "Hello", "text": "Hi"}
        for n in range(QUEUED)
    ]
    sent["queued"] = []
    for first in range(0, QUEUED, 50):
        status, answer = own.request("POST", "/emails/batch", mail[first : first + 50])
        assert status in {200, 202}, answer
        sent["queued"] += [entry["id"] for entry in answer["data"]]
    own.kill()
    return sent


def killed_move(own: Postalynk, command: list[str]) -> None:
    """A move that is killed once it has begun to write."""
    note = own.base / "data/queue/moved.json"
    before = note.stat().st_mtime_ns if note.exists() else 0
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: note.exists() and note.stat().st_mtime_ns > before, "the move has begun")
    running.kill()
    running.wait()
    assert not json.loads(note.read_bytes())["is_over"]


def test_everything_moves_to_kafka_once(own: Postalynk, sink: Sink) -> None:
    sent = fill(own)
    before = own.ask("audit", "--full")
    assert before["unaccounted"] == before["twice"] == []
    letters = own.ask("dlq", "ls")
    own.config.write_text(own.config.read_text().replace(own.queue, queue_table(own)))
    own.ask("topics", "apply")
    way = ["--from", "embedded:data/queue", "--to", one_broker().url]
    would = own.ask("queue", "move", *way)
    assert (would["is_dry_run"], would["copied"]) == (True, 0)
    assert not (own.base / "data/queue/moved.json").exists()
    command = [str(COMMAND), "queue", "move", *way, "--yes", "--config", str(own.config)]
    killed_move(own, command)
    killed_move(own, command)
    done = own.ask("queue", "move", *way, "--yes")
    assert done["is_over"]
    assert done["records"] == would["records"]
    assert own.ask("queue", "move", *way, "--yes")["copied"] == 0
    assert own.ask("audit", "--full") == before
    assert own.ask("audit") == before, "the account that was kept goes on"
    after = own.ask("dlq", "ls")
    assert [(a["id"], a["reason"]) for a in after] == [(b["id"], b["reason"]) for b in letters]
    own.start()
    for message_id in sent["queued"]:
        own.wait_state(message_id, "delivered")
    assert own.ask("queue", "flush", "--all", "--yes")["deferred"] == 4
    for message_id in (*sent["deferred"], *sent["scheduled"]):
        own.wait_state(message_id, "delivered")
    report = own.ask("audit")
    assert report["unaccounted"] == report["twice"] == []
    assert report["accepted"] == before["accepted"]
    assert report["states"]["delivered"] == sum(map(len, sent.values()))
    copies = Counter(message_id.partition("@")[0] for message_id, _ in sink.received())
    # What the killed process had under way when it died may come twice, labelled: no more than its
    # open transactions.
    again = [m for known in sent.values() for m in known if copies[m] != 1]
    assert all(copies[m] == 2 for m in again)
    for message_id in again:
        assert any(event["type"].endswith("in_doubt") for event in own.events(message_id)), again


def test_a_queue_that_was_moved_is_not_opened_again(own: Postalynk) -> None:
    own.stop()
    (own.base / "data/queue/moved.json").write_text("{}")
    refused = own.command("audit")
    assert refused.returncode == 1
    assert "was moved to Kafka" in refused.stderr
