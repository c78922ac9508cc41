"""What an operator does with mail that waits and with mail that died, beside a running process.

What runs: `postalynk up`, the sink, which defers its `defer…` recipients once, and a policy that
tries again after an hour. What breaks: records that nobody can read come into a lane, one first,
then a row of them; the link breaks after the final dot, for an organization that holds such. What
holds: flushed mail goes at once, cancelled mail never (G1), held mail when it is released (G2); the
row halts its partition and not the topic, and what died goes back as it was (G7).
"""

from collections.abc import Iterator

import pytest

from postalynk._engine import EmbeddedQueue, partition_of
from tests.support.processes import Postalynk, Sink, wait_for

LATER = """
from postalynk.policy import Attempt, Retry, policy

AGAIN = Retry("1h", max_age="3d", jitter=0)


@policy.retry
def retry(attempt: Attempt) -> Retry:
    return AGAIN
"""


@pytest.fixture
def own(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """One whose deferrals wait for long."""
    target = Postalynk(
        tmp_path_factory.mktemp("operations"),
        sink.address,
        policy=LATER,
        settings="[dead_letters]\nmax_run = 3\n",
    )
    try:
        yield target.start().prepare()
    finally:
        target.remove()


def states(own: Postalynk) -> dict[str, int]:
    """What the audit counts; it must be clean."""
    report = own.ask("audit")
    assert report["unaccounted"] == report["twice"] == []
    found: dict[str, int] = report["states"]
    return found


def test_what_waits_is_flushed_and_cancelled_by_choice(own: Postalynk) -> None:
    spring = [{"name": "campaign", "value": "spring"}]
    flushed = own.send(to="defer.flush@one.example")
    cancelled = own.send(to="defer.cancel@two.example", tags=spring)
    far = "2999-01-01T00:00:00Z"
    hastened = own.send(to="ada@one.example", scheduled_at=far)
    never = own.send(to="ada@two.example", scheduled_at=far, tags=spring)
    kept = own.send(to="defer.keep@three.example")
    for message_id in (flushed, cancelled, kept):
        own.wait_state(message_id, "delivery_delayed")
    nothing = own.command("queue", "flush")
    assert nothing.returncode == 1
    assert "--all" in nothing.stderr
    would = own.ask("queue", "flush", "--domain", "one.example")
    assert would == {"is_dry_run": True, "deferred": 1, "scheduled": 1, "left": 0}
    did = own.ask("queue", "flush", "--domain", "one.example", "--yes")
    assert did == {**would, "is_dry_run": False}
    gone = own.ask("queue", "cancel", "--org", own.org, "--tag", "campaign=spring", "--yes")
    assert gone == {"is_dry_run": False, "deferred": 1, "scheduled": 1, "left": 0}
    for message_id in (flushed, hastened):
        own.wait_state(message_id, "delivered")
    for message_id in (cancelled, never):
        own.wait_state(message_id, "canceled")
    assert own.state(kept) == "delivery_delayed"
    assert states(own) == {"delivered": 2, "cancelled": 2, "deferred": 1}
    own.kill()
    own.start()
    assert states(own) == {"delivered": 2, "cancelled": 2, "deferred": 1}
    assert own.ask("queue")["deferred"] == 1


def test_a_suppressed_address_gets_nothing_until_it_is_lifted(own: Postalynk) -> None:
    own.command("queue", "cancel", "--all", "--yes")
    before = states(own)
    waits = own.send(to="defer.ada@rcpt.example")
    own.wait_state(waits, "delivery_delayed")
    listed = own.base / "list.txt"
    listed.write_text("bob@rcpt.example\n\ncid@rcpt.example\n")
    added = own.ask("suppression", "add", own.org, "Defer.Ada@rcpt.example", "--file", str(listed))
    assert [row["state"] for row in added] == ["suppressed"] * 3
    stopped = own.send(to=["bob@rcpt.example", "dan@rcpt.example"])
    own.wait_states(stopped, "suppressed", "delivered")
    # Mail that was accepted before ends, too, once its next attempt is due.
    own.ask("queue", "flush", "--domain", "rcpt.example", "--yes")
    own.wait_state(waits, "suppressed")
    own.kill()
    own.start()
    assert own.ask("suppression", "lift", own.org, "bob@rcpt.example")[0]["state"] == "lifted"
    own.wait_state(own.send(to="bob@rcpt.example"), "delivered")
    own.wait_state(own.send(to="cid@rcpt.example"), "suppressed")
    own.ask("suppression", "forget", own.org, "cid@rcpt.example")
    assert [row["address"] for row in own.ask("suppression", "list", own.org)] == [
        "bob@rcpt.example",
        "defer.ada@rcpt.example",
    ]
    missing = own.command("suppression", "lift", own.org, "nobody@rcpt.example")
    assert (missing.returncode, "is not on the list" in missing.stderr) == (1, True)
    after = states(own)
    assert after["suppressed"] - before.get("suppressed", 0) == 3
    assert after["delivered"] - before.get("delivered", 0) == 2


def test_what_is_held_in_doubt_goes_when_it_is_released(
    sink: Sink, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = Postalynk(tmp_path_factory.mktemp("held"), sink.address)
    try:
        own.start().prepare("example.com", "--in-doubt", "hold")
        taken = own.send(to="ada@rcpt.example")
        held = [own.send(to=f"drop.held{n}@rcpt.example") for n in range(3)]
        own.wait_state(taken, "delivered")
        for message_id in held:
            own.wait_states(message_id, "in_doubt")
        own.kill()
        own.start()
        assert states(own) == {"delivered": 1, "in_doubt": 3}
        refused = own.command("queue", "release")
        assert (refused.returncode, "--all" in refused.stderr) == (1, True)
        # Only counted, and of the one that was delivered nothing is held.
        would = own.ask("queue", "release", held[0], taken)
        assert would == {"is_dry_run": True, "deliveries": 1, "messages": [held[0]], "gone": 0}
        assert own.ask("queue", "release", "--org", own.org)["deliveries"] == 3
        assert own.ask("queue", "release", "--org", "org_x", "--yes")["deliveries"] == 0
        assert states(own) == {"delivered": 1, "in_doubt": 3}
        assert own.ask("queue", "release", held[0], taken, "--yes") == {
            **would,
            "is_dry_run": False,
        }
        own.wait_state(held[0], "delivered")
        assert states(own) == {"delivered": 2, "in_doubt": 2}
        assert own.command("queue", "release", "--all", "--yes").stdout.startswith("2 held")
        for message_id in held:
            own.wait_state(message_id, "delivered")
        assert own.ask("queue", "release", "--all")["deliveries"] == 0
        own.wait_projected()
        told = [(event["type"], event.get("attempt")) for event in own.events(held[1])]
        assert told[1:] == [("in_doubt", 1), ("resent", 1), ("delivered", 2)]
        own.kill()
        own.start()
        assert own.ask("audit", "--full")["twice"] == []
        assert states(own) == {"delivered": 4}
    finally:
        own.remove()


def put(own: Postalynk, *values: bytes) -> None:
    """Records of a foreign writer, into the organization's own partition, while nothing runs."""
    own.stop()
    queue = EmbeddedQueue(str(own.base / "data/queue"))
    partition = partition_of(own.org, queue.partitions)
    queue.append([("email.send.normal", partition, None, value) for value in values])
    queue.close()
    own.start()


def test_a_row_of_bad_records_halts_its_partition_until_it_is_resumed(own: Postalynk) -> None:
    put(own, b"\x00odd")
    wait_for(lambda: len(own.ask("dlq", "ls")) == 1, "the record is a dead letter")
    sent = own.send(to="ada@rcpt.example")
    own.wait_state(sent, "delivered")
    put(own, *(b"\x00row %d" % number for number in range(6)))
    wait_for(lambda: own.ask("queue")["halted"], "the partition is halted")
    (halted,) = own.ask("queue")["halted"]
    assert (halted["held"], len(own.ask("dlq", "ls"))) == (3, 4)
    assert own.metric("postalynk_halted_partitions") == 1
    waits = own.send(to="ada@rcpt.example")
    assert own.command("drain", "--timeout", "1s").returncode == 1
    assert own.state(waits) == "queued"
    assert own.ask("dlq", "resume") == [halted["partition"]]
    own.wait_state(waits, "delivered")
    assert own.ask("queue")["halted"] == []
    assert len(own.ask("dlq", "ls")) == 7
    (top,) = own.ask("dlq", "top")
    assert (top["name"], top["letters"]) == ("undecodable", 7)
    assert "first byte" in own.command("dlq", "show", own.ask("dlq", "ls")[0]["id"]).stdout
    dropped = own.ask("dlq", "drop", "--id", own.ask("dlq", "ls")[0]["id"], "--yes")
    assert len(dropped["dropped"]) == 1
    back = own.ask("dlq", "redrive", "--since", "1h", "--rate", "1000", "--yes")
    assert len(back["redriven"]) == 6
    # Nothing mended them, so they come again, and say so.
    wait_for(lambda: len(own.ask("queue")["halted"]) == 1, "they halt the partition again")
    assert max(letter["count"] for letter in own.ask("dlq", "ls")) == 2
