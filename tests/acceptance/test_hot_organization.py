"""An organization becomes too hot for one partition, and its salt is changed with mail on its way.

What runs: `postalynk up` on the embedded queue and on a real broker, and the sink, which defers its
`defer…` recipients once. What breaks: the salt goes from 1 to 8 to 3 with mail queued, deferred and
scheduled, and the process is killed in between. What holds: nothing is lost and nothing comes twice
(G1, G2); flush, cancel, `why`, keys and the audit reach mail in whatever partition it stands.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from postalynk.queue import open_queue
from postalynk.queue.topics import EVENTS
from postalynk.settings import load
from tests.acceptance.test_moving_up import LATER
from tests.support.kafka import one_broker
from tests.support.processes import Postalynk, Sink, wait_for

PARTITIONS = 8
FAR = "2999-01-01T00:00:00Z"


@pytest.fixture(params=["embedded", "kafka"])
def own(
    request: pytest.FixtureRequest, sink: Sink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Postalynk]:
    """One whose deferrals wait for long."""
    base = tmp_path_factory.mktemp("hot")
    table = f'[queue]\nurl = "embedded:data/queue"\npartitions = {PARTITIONS}\n'
    if request.param == "kafka":
        table = (
            '[control]\nmaster_key_file = "master.key"\n'
            f'[queue]\nurl = "{one_broker().url}"\ntopic_prefix = "hot{os.getpid()}."\n'
            f"partitions = {PARTITIONS}\nreplicas = 1\nmin_in_sync = 1\nsession_timeout_s = 6\n"
        )
        (base / "master.key").write_text("A" * 43 + "=")
        (base / "master.key").chmod(0o600)
    target = Postalynk(base, sink.address, policy=LATER, queue=table)
    try:
        if request.param == "kafka":
            target.ask("topics", "apply")
        yield target.start().prepare()
    finally:
        target.remove()


def places(own: Postalynk) -> int:
    """In how many partitions events stand; nothing runs."""
    queue = open_queue(load(str(own.config), environ={}))
    try:
        return sum(end > 0 for _, end in queue.offsets(EVENTS))
    finally:
        queue.close()


def send(own: Postalynk, name: str) -> dict[str, list[str]]:
    """A round of mail: at once, deferred, to several recipients, scheduled."""
    mail = [
        {"from": "shop@example.com", "to": f"{name}{n}@one.example", "subject": "Hi", "text": "Hi"}
        for n in range(12)
    ]
    key = {"Idempotency-Key": name}
    status, answer = own.request("POST", "/emails/batch", mail, key)
    assert status in {200, 202}, answer
    assert own.request("POST", "/emails/batch", mail, key)[1] == answer
    several = [f"{name}a@one.example", f"defer.{name}@one.example"]
    return {
        "at once": [entry["id"] for entry in answer["data"]],
        "deferred": [own.send(to=f"defer.{name}{n}@one.example") for n in range(3)],
        "several": [own.send(to=several)],
        "scheduled": [own.send(to=f"far{name}{n}@one.example", scheduled_at=FAR) for n in range(3)],
        "cancelled": [own.send(to=f"no{name}{n}@two.example", scheduled_at=FAR) for n in range(2)],
    }


def wait_tried(own: Postalynk, message_id: str) -> None:
    """Until its first attempt is over."""
    wait_for(lambda: own.state(message_id) in {"delivery_delayed", "delivered"}, "it is tried")


def test_the_salt_changes_with_mail_on_its_way(own: Postalynk, sink: Sink) -> None:
    name = own.base.name  # the sink remembers whom it has deferred
    sent = [send(own, name)]
    for salt in (8, 3):
        assert own.ask("org", "update", own.org, "--salt", str(salt))["salt"] == salt
        sent.append(send(own, f"{name}s{salt}"))
        own.kill()
        own.start()
    for round_ in sent:
        for message_id in round_["deferred"]:
            # Delivered: tried twice, because the first end was not recorded before the kill.
            wait_tried(own, message_id)
        assert round_["at once"][0] in str(own.ask("why", round_["at once"][0]))
    gone = own.ask("queue", "cancel", "--domain", "two.example", "--yes")
    assert (gone["scheduled"], gone["left"]) == (6, 0)
    own.ask("queue", "flush", "--org", own.org, "--yes")
    for round_ in sent:
        for kind in ("at once", "deferred", "several", "scheduled"):
            for message_id in round_[kind]:
                own.wait_state(message_id, "delivered")
    report = own.ask("audit")
    assert report["unaccounted"] == report["twice"] == []
    assert report["states"] == {"delivered": 3 * 20, "cancelled": 6}
    known = {m for round_ in sent for kind in round_.values() for m in kind}
    copies = Counter(
        (message_id.partition("@")[0], rcpt) for message_id, all_ in sink.received()
        for rcpt in all_ if message_id.partition("@")[0] in known
    )  # fmt: skip
    again = {message_id for (message_id, _), count in copies.items() if count > 1}
    for message_id in again:
        # Under way when the process was killed: labelled (G2).
        assert any(event["type"].endswith("in_doubt") for event in own.events(message_id))
    assert own.stop() == 0
    assert places(own) > 3
