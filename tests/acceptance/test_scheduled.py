"""Scheduled mail outlives the process that took it, and goes once, at its time (G1, G2).

What runs: `postalynk up` and the sink. What breaks: SIGKILL while messages wait for a time that
comes while nothing runs. What holds: each goes once, the moved one at its new time, the cancelled
one never; every one is accounted for at every step.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.processes import Postalynk, Sink, wait_for


@pytest.fixture
def own(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """One that may be killed."""
    target = Postalynk(tmp_path_factory.mktemp("scheduled"), sink.address)
    try:
        yield target.start().prepare()
    finally:
        target.remove()


def after(seconds: float) -> str:
    """That time, as the API takes it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def states(own: Postalynk) -> dict[str, int]:
    """What the audit counts; it must be clean."""
    report = own.ask("audit")
    assert report["unaccounted"] == report["twice"] == []
    found: dict[str, int] = report["states"]
    return found


def test_scheduled_mail_goes_once_at_its_time(own: Postalynk, sink: Sink) -> None:
    first = own.send(to="first@rcpt.example", scheduled_at=after(1_000_000))
    second = own.send(to="second@rcpt.example", scheduled_at=after(300_000_000))
    taken = own.send(to="taken@rcpt.example", scheduled_at=after(1_000_000))
    kept = own.send(to="kept@rcpt.example", scheduled_at=after(300_000_000))
    assert own.request("POST", f"/emails/{taken}/cancel")[0] == 200
    assert own.request("POST", f"/emails/{taken}/cancel")[0] == 404
    own.wait_state(taken, "canceled")
    assert own.state(first) == own.state(kept) == "scheduled"
    assert own.ask("queue")["scheduled"] == 3
    assert states(own) == {"scheduled": 3, "cancelled": 1}
    # Their time comes while nothing runs.
    for message_id in (first, second):
        moved = own.request("PATCH", f"/emails/{message_id}", {"scheduled_at": after(10)})
        assert moved[0] == 200

    own.kill()
    assert own.ask("queue")["scheduled"] == 3
    assert states(own) == {"scheduled": 3, "cancelled": 1}
    own.start()
    for message_id in (first, second):
        own.wait_state(message_id, "delivered")
    wait_for(lambda: own.ask("queue")["scheduled"] == 1, "two have left the schedule")
    assert states(own) == {"scheduled": 1, "cancelled": 1, "delivered": 2}
    assert own.state(kept) == "scheduled"
    assert [event["type"] for event in own.events(first)] == ["accepted", "scheduled", "delivered"]
    assert "to be sent at this time" in own.command("why", kept).stdout
    received = [message_id for message_id, _ in sink.received()]
    for message_id in (first, second):
        assert sum(name.startswith(message_id) for name in received) == 1
    assert not any(name.startswith((taken, kept)) for name in received)
