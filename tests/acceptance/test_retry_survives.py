"""Deferred mail outlives the process that deferred it (G1, G2).

What runs: `postalynk up` with a policy that tries again after seconds, and the sink, which puts off
the first attempt to each of its `defer…` recipients. What breaks: SIGTERM while all of it waits;
then SIGKILL while all of it waits. What holds: every delivery is made, once, at its second attempt.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.processes import Postalynk, Sink, wait_for

MESSAGES = 12
# Long enough for all first attempts to be recorded before the first is due again.
PATIENT = """
from postalynk.policy import Attempt, Retry, policy

AGAIN = Retry("8s, 2s*10", max_age="1d", jitter=0)


@policy.retry
def retry(attempt: Attempt) -> Retry:
    return AGAIN
"""


@pytest.fixture(scope="module")
def target(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """One of its own, to be killed."""
    started = Postalynk(tmp_path_factory.mktemp("own"), sink.address, policy=PATIENT)
    try:
        yield started.start().prepare()
    finally:
        started.remove()


def defer(target: Postalynk, name: str) -> list[str]:
    """Messages that all wait for their second attempt."""
    sent = [target.send(to=f"defer.{name}{number}@rcpt.example") for number in range(MESSAGES)]
    # Counted once its deferral is durable.
    wait_for(lambda: target.metric("postalynk_deferred") == MESSAGES, "all wait for their second")
    return sent


def delivered_once(target: Postalynk, sink: Sink, sent: list[str]) -> None:
    """Each is delivered at its second attempt, and the receiver has it once."""
    for message_id in sent:
        target.wait_state(message_id, "delivered")
    assert target.ask("drain", "--timeout", "60s")["deferred"] == 0
    copies = Counter(message_id.partition("@")[0] for message_id, _ in sink.received())
    assert [copies[message_id] for message_id in sent] == [1] * MESSAGES
    for message_id in sent:
        told = [(event["type"], event.get("attempt")) for event in target.events(message_id)]
        assert told == [("accepted", None), ("deferred", 1), ("delivered", 2)]
    report = target.ask("audit")
    assert (report["unaccounted"], report["twice"]) == ([], [])


def test_an_orderly_end(target: Postalynk, sink: Sink) -> None:
    sent = defer(target, "term")
    assert target.stop() == 0
    target.start()
    delivered_once(target, sink, sent)


def test_a_crash(target: Postalynk, sink: Sink) -> None:
    sent = defer(target, "kill")
    target.kill()
    target.start()
    delivered_once(target, sink, sent)
