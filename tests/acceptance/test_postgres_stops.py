"""PostgreSQL stops answering, then dies: mail goes on and the projection catches up (G1).

What runs: `postalynk up` with its embedded PostgreSQL, and the sink. What breaks: the whole server
is frozen (its connections stay open and never answer, the worst kind of down), later its postmaster
is killed, last it cannot start. What holds: sending, the audit and readiness need no PostgreSQL;
afterwards every event is in it once.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.support.processes import Postalynk, Sink, wait_for

MESSAGES = 40


@pytest.fixture(scope="module")
def target(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """One of its own: others would wait for its PostgreSQL."""
    started = Postalynk(tmp_path_factory.mktemp("own"), sink.address)
    try:
        yield started.start().prepare()
    finally:
        started.remove()


def submit(target: Postalynk, name: str) -> list[str]:
    """Some messages, in one batch."""
    batch = [
        {
            "from": "shop@example.com",
            "to": f"{name}{number}@rcpt.example",
            "subject": name,
            "text": "Hi",
        }
        for number in range(MESSAGES)
    ]
    status, answer = target.request("POST", "/emails/batch", batch)
    assert status == 202
    return [entry["id"] for entry in answer["data"]]


@contextmanager
def frozen(target: Postalynk) -> Iterator[None]:
    """Every process of its PostgreSQL stopped, so that nothing answers and nothing is gone."""
    postmaster = target.postmaster()
    assert postmaster is not None
    server = psutil.Process(postmaster)
    server.suspend()  # first: it starts the others
    for child in server.children(recursive=True):
        child.suspend()
    try:
        yield
    finally:
        for child in server.children(recursive=True):
            child.resume()
        server.resume()


def ready(target: Postalynk) -> tuple[int, str]:
    """Status of /readyz, and what it says of PostgreSQL."""
    status, answer = target.request("GET", "/readyz")
    return status, answer["checks"]["postgresql"]


def test_mail_goes_on_while_postgresql_is_frozen_and_is_recorded_after(
    target: Postalynk, sink: Sink
) -> None:
    before = sink.count()
    with frozen(target):
        sent = submit(target, "frozen")
        wait_for(lambda: sink.count() == before + MESSAGES, "all are at the sink")
        assert target.ask("drain", "--timeout", "60s")["drained"]
        assert ready(target)[0] == 200
        assert target.metric("postalynk_projection_lag_records") > 0
        report = target.ask("audit")
        assert (report["unaccounted"], report["twice"]) == ([], [])
    recorded_once(target, sent)


def test_a_killed_postgresql_comes_back_by_itself(target: Postalynk, sink: Sink) -> None:
    before = sink.count()
    killed = target.postmaster()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    sent = submit(target, "killed")
    wait_for(lambda: sink.count() == before + MESSAGES, "all are at the sink")
    wait_for(lambda: target.postmaster() not in {None, killed}, "PostgreSQL is started again")
    recorded_once(target, sent)


def test_it_starts_and_sends_without_postgresql(target: Postalynk, sink: Sink) -> None:
    assert target.stop() == 0
    version = target.base / "data/hot/data/PG_VERSION"
    right = version.read_text()
    version.write_text("9\n")  # no PostgreSQL of today opens such a database
    try:
        before = sink.count()
        target.start()
        sent = submit(target, "absent")
        wait_for(lambda: sink.count() == before + MESSAGES, "all are at the sink")
        assert ready(target) == (200, "out of reach; mail goes on")
        # What was accepted a moment ago is known without it.
        status, message = target.request("GET", f"/emails/{sent[0]}")
        assert (status, message["last_event"]) == (200, "queued")
        assert target.stop() == 0
    finally:
        version.write_text(right)
    target.start()
    recorded_once(target, sent)


def recorded_once(target: Postalynk, sent: list[str]) -> None:
    """The projection catches up, and holds each delivery's one event."""
    wait_for(lambda: ready(target) == (200, "ok"), "/readyz says that PostgreSQL is back")
    target.wait_projected()
    for message_id in sent:
        assert [event["type"] for event in target.events(message_id)] == ["accepted", "delivered"]
