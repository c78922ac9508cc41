"""What the log retains is done again: into PostgreSQL, or to a receiver (G1, G2).

What runs: `postalynk up` and the sink. What breaks: an operator replays what PostgreSQL has, sends
again what was delivered, and the process is killed. What holds: no row changes; the second delivery
is a labelled attempt with the next number, also for the audit, and is not repeated.
"""

from collections.abc import Iterator

import pytest

from tests.support.processes import Postalynk, Sink


@pytest.fixture
def own(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """One whose past is short."""
    target = Postalynk(tmp_path_factory.mktemp("replay"), sink.address)
    try:
        yield target.start().prepare()
    finally:
        target.remove()


NOW = ("--from", "1d", "--to", "2999-01-01T00:00:00Z")


def test_the_log_rebuilds_postgresql_and_sends_again(own: Postalynk) -> None:
    sent = own.send(to="ada@rcpt.example")
    bounced = own.send(to="bounce@rcpt.example")
    own.wait_state(sent, "delivered")
    own.wait_state(bounced, "bounced")
    before = own.request("GET", f"/emails/{sent}/events")
    nothing = own.ask("replay", *NOW, "--into", "projections")
    assert (nothing["new_messages"], nothing["new_events"], nothing["events"]) == (0, 0, 4)
    assert own.ask("replay", *NOW, "--org", "org_x", "--into", "projections")["events"] == 0

    refused = own.command("replay", *NOW, "--resend", "--message", sent)
    assert refused.returncode == 1
    assert "1 deliveries would be sent a second time" in refused.stderr
    assert own.request("GET", f"/emails/{sent}/events") == before
    done = own.ask("replay", *NOW, "--resend", "--message", sent, "--state", "delivered", "--yes")
    assert (done["deliveries"], done["messages"]) == (1, [sent])
    own.wait_state(sent, "delivered")
    assert own.ask("drain")["drained"]
    own.wait_projected()
    events = [(event["type"], event.get("attempt")) for event in own.events(sent)]
    assert events[1:] == [("delivered", 1), ("resent", 1), ("delivered", 2)]
    report = own.ask("audit")
    assert (report["unaccounted"], report["twice"]) == ([], [])
    assert report["states"] == {"delivered": 1, "bounced": 1}
    own.kill()
    own.start()
    assert own.ask("audit", "--full")["states"] == {"delivered": 1, "bounced": 1}
