"""SMTP in, in front of Kafka: 250 means that a broker has it (G1).

What runs: `postalynk up` on a real broker, ten programs that submit with Python's smtplib, and the
sink. What breaks: SIGKILL after the last 250. What holds: every message that was answered 250 is
delivered, once as far as the audit knows, and a repeated key gives the first answer.
"""

from __future__ import annotations

import email.policy
import os
import smtplib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.acceptance.conftest import QUICK_RETRIES
from tests.support.kafka import one_broker
from tests.support.processes import Postalynk, Sink

CLIENTS, MESSAGES = 10, 8


@pytest.fixture
def own(sink: Sink, tmp_path: Path) -> Iterator[Postalynk]:
    """One on a real broker."""
    (tmp_path / "master.key").write_text("A" * 43 + "=")
    (tmp_path / "master.key").chmod(0o600)
    table = (
        '[control]\nmaster_key_file = "master.key"\n'
        f'[queue]\nurl = "{one_broker().url}"\ntopic_prefix = "smtp{os.getpid()}."\n'
        "partitions = 8\nreplicas = 1\nmin_in_sync = 1\nsession_timeout_s = 6\n"
    )
    # What was on the wire at the kill is in doubt, and tried again soon.
    target = Postalynk(tmp_path, sink.address, queue=table, policy=QUICK_RETRIES)
    try:
        target.ask("topics", "apply")
        yield target.start().prepare()
    finally:
        target.remove()


def submit(own: Postalynk, client: int, messages: int, key: str = "") -> list[str]:
    """The ids of a session's messages, from the answers; each is to a recipient of its own."""
    found = []
    with smtplib.SMTP("127.0.0.1", own.smtp_port, timeout=60) as session:
        session.login("postalynk", own.api_key)
        for number in range(messages):
            message = EmailMessage()
            message["From"] = "shop@example.com"
            message["To"] = f"c{client}n{number}@rcpt.example"
            message["Subject"] = "Hello"
            if key:
                message["X-Postalynk-Idempotency-Key"] = key
            message.set_content("Hi\n")
            session.mail("shop@example.com")
            session.rcpt(message["To"])
            code, answer = session.data(message.as_bytes(policy=email.policy.SMTP))
            assert (code, answer[:18]) == (250, b"2.0.0 Accepted as "), answer
            found.append(answer[18:].decode())
    return found


def test_what_smtp_accepted_is_with_the_brokers(own: Postalynk, sink: Sink) -> None:
    """Killed after the last answer, everything is delivered by who comes after."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        sessions = clients.map(lambda client: submit(own, client, MESSAGES), range(CLIENTS))
        sent = [message_id for session in sessions for message_id in session]
    sent += submit(own, CLIENTS, 1, "again-1")
    assert submit(own, CLIENTS, 1, "again-1") == sent[-1:]
    own.kill()
    own.start()
    for message_id in sent:
        own.wait_state(message_id, "delivered")
    came = {message_id.partition("@")[0] for message_id, _ in sink.received()}
    assert [message_id for message_id in sent if message_id not in came] == []
    report = own.ask("audit")
    assert report["accepted"] == len(sent) == CLIENTS * MESSAGES + 1
    assert (report["unaccounted"], report["twice"]) == ([], [])
