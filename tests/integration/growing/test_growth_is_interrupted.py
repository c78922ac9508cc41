"""More partitions on a real broker, with deferrals and claims in place, and a growth that dies.

What runs: `topics grow` 4 → 8 on topics with mail. What breaks: records still wait to be sent; then
the growth dies between the first topic and the others. What holds: nothing is changed while mail
waits; run again, every record is where it was, claims are where their organizations are looked for,
and the audit says the same (G1).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from postalynk._engine import encode_messages, partition_of
from postalynk.errors import QueueError
from postalynk.queue.kafka import KafkaQueue, growth
from postalynk.queue.kafka.growth import grow
from postalynk.queue.topics import DEFERRED, IDEMPOTENCY, SEND_TOPICS, WORKER_GROUP
from postalynk.service.auditing import audit
from tests.support.kafka import topics
from tests.support.workers import mail

BEFORE, AFTER = 4, 8
ORGS = [f"org_{n}" for n in range(12)]


def claim(org: str) -> bytes:
    return f"claim of {org}".encode()


def test_a_growth_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with topics(BEFORE) as cluster:
        queue = KafkaQueue(cluster, tmp_path, timeout_s=30)
        messages = [mail(number, org) for number, org in enumerate(ORGS)]
        queue.append(encode_messages(messages, BEFORE))
        # All of them are deferred: the key is the message's id and the recipient's number.
        places = {message.id + bytes(4): partition_of(message.org, BEFORE) for message in messages}
        queue.append([(DEFERRED, place, key, b"later") for key, place in places.items()])
        queue.append(
            [(IDEMPOTENCY, partition_of(org, BEFORE), claim(org), b"claimed") for org in ORGS]
        )
        with pytest.raises(QueueError, match="12 records wait to be sent"):
            grow(cluster, tmp_path, AFTER, is_dry_run=False)
        reader = queue.consumer(WORKER_GROUP, SEND_TOPICS)
        reader.commit(
            {
                (lane, partition): (end, b"")
                for lane in SEND_TOPICS
                for partition, (_, end) in enumerate(queue.offsets(lane))
                if end
            }
        )
        reader.close()
        said = audit(queue)
        assert said.states == {"deferred": 12}
        queue.close()
        assert grow(cluster, tmp_path, AFTER, is_dry_run=True).claims == 12
        whole = growth._add
        with monkeypatch.context() as patched:
            patched.setattr(growth, "_add", lambda a, c, t, n: whole(a, c, t[:1], n))
            patched.setattr(growth, "_copy_claims", _died)
            with pytest.raises(KeyboardInterrupt):
                grow(cluster, tmp_path, AFTER, is_dry_run=False)
        grow(cluster, tmp_path, AFTER, is_dry_run=False)
        assert grow(cluster, tmp_path, AFTER, is_dry_run=True).before == AFTER
        grown = KafkaQueue(cluster, tmp_path, timeout_s=30)
        try:
            assert grown.partitions == AFTER
            for key, place in places.items():
                assert grown.get(DEFERRED, place, [key]) == [b"later"]
            for org in ORGS:
                assert grown.get(IDEMPOTENCY, partition_of(org, AFTER), [claim(org)]) == [
                    b"claimed"
                ], org
            assert audit(grown) == said
        finally:
            grown.close()


def _died(*_: object, is_dry_run: bool) -> int:
    assert not is_dry_run
    raise KeyboardInterrupt
