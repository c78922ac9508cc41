"""A policy does its worst to one organization's mail; everybody's is delivered all the same.

What runs: a worker on the embedded queue, the engine, the sink. What breaks: the policy, in one way
a story. What holds: no message is lost, the bad organization's takes the fallback where the policy
gave no answer, the others take their own route, and the fault is counted with its line (G4, G6).
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from postalynk._engine import EmbeddedQueue, Engine, Sink, encode_messages, new_message_id
from postalynk.model import AcceptedMessage, Mailbox
from postalynk.observability import Metrics
from postalynk.policy import Pools, load
from postalynk.worker.parts import Parts, wall_us
from postalynk.worker.pipeline import Worker
from tests.support.processes import wait_for

BAD = {
    "raises": "raise ValueError('seven')",
    "loops": "while True: pass",
    "answers junk": "return 5",
    "mutates globals": "SEEN.append(msg.id)",
    "opens a socket": "socket.create_connection(('127.0.0.1', 9))",
    "allocates a gigabyte": "bytearray(1 << 30)[5].no_such",
}
POLICY = """
import socket
from postalynk.policy import *

SEEN = []

@policy.route
def route(msg, pools, now):
    if msg.org.id == "org_bad":
        {bad}
    return Route("good", reason="as it should be")
"""
MESSAGES = 40


@pytest.fixture
def sink() -> Iterator[Sink]:
    started = Sink()
    yield started
    started.stop()


def mail(number: int, org: str) -> AcceptedMessage:
    return AcceptedMessage(
        id=new_message_id(wall_us() // 1_000),
        org=org,
        accepted_at_us=wall_us(),
        expires_at_us=0,
        lane="normal",
        reverse_path="bounce@example.com",
        recipients=[f"r{number}@example.org"],
        from_=Mailbox("", "shop@example.com"),
        to=[Mailbox("", f"r{number}@example.org")],
        cc=[], bcc=[], reply_to=[], subject="Hello", text="Hi", html="", headers=[],
        attachments=[], tags=[], message_id=f"{org}-{number}@example.com", dkim_domain="",
        plan="standard", in_doubt="retry",
    )  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_a_bad_policy_costs_no_message(sink: Sink, tmp_path: Path, how: str) -> None:
    directory = tmp_path / "policy"
    directory.mkdir()
    (directory / "policy.py").write_text(POLICY.format(bad=BAD[how]))
    queue = EmbeddedQueue(str(tmp_path / "queue"), partitions=4)
    settings = {"smart_host": sink.address, "journal": str(tmp_path / "attempts.journal")}
    engine = Engine(json.dumps(settings))
    sources = [{"name": "s1", "ip": "127.0.0.1"}]
    pools = [{"name": name, "sources": {"s1": 1}} for name in ("good", "default")]
    engine.configure(json.dumps({"sources": sources, "pools": pools}))
    failures: list[BaseException] = []
    parts = Parts(
        queue=queue,
        engine=engine,
        policies=load(directory),
        pools=Pools({"good": ["s1"], "default": ["s1"]}),
        metrics=Metrics(),
        on_failure=failures.append,
    )
    worker = Worker(parts)
    try:
        messages = [mail(n, "org_bad" if n % 2 else "org_good") for n in range(MESSAGES)]
        queue.append(encode_messages(messages, 4))
        worker.start()
        wait_for(lambda: sink.received() >= MESSAGES or failures, "all are delivered")
        # The loop's batch took the fallback whole; the next one of the others does not.
        queue.append(encode_messages([mail(MESSAGES, "org_good")], 4))
        wait_for(lambda: sink.received() > MESSAGES or failures, "the next is delivered")
        assert not failures
        assert worker.alive()
        assert worker.drain(30)
    finally:
        worker.stop()
        queue.close()
    assert sink.received() == MESSAGES + 1
    text = parts.metrics.exposition().decode()
    assert 'postalynk_policy_errors_total{function="route",hook="route",line="policy.py:' in text
