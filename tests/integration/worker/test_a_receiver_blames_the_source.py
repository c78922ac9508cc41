"""A receiver refuses one source for its reputation; the policy sees it and takes another pool.

What runs: a worker on the embedded queue, the engine, the sink. What breaks: the receiver answers
the first forty recipients that the source's reputation is poor. What holds: the policy reads what
the attempts came to, once a batch, and what is sent later leaves by the other source; what the
template marks keeps to the first.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from postalynk.model import Filling
from postalynk.policy import load_bundle, made_of
from postalynk.testing import Sink, reply
from tests.support.processes import wait_for
from tests.support.workers import mail, running

POLICY = b"""
from postalynk.policy import *

@policy.route
def route(msg, pools, now):
    stands = pools["first"].reputation(msg.rcpt.site)
    if msg.template == "tmpl_receipt":
        return Route("first", reason="receipts keep to it")
    return Route("spare" if stands == "poor" else "first", reason=f"it stands {stands}")
"""
REFUSED = 40


@pytest.fixture
def sink() -> Iterator[Sink]:
    refusal = reply("rcpt", "550 5.7.1 refused: poor reputation", times=REFUSED)
    started = Sink(rules=[refusal])
    yield started
    started.stop()


def test_the_policy_sees_what_receivers_say(sink: Sink, tmp_path: Path) -> None:
    policies = load_bundle(made_of({"policy.py": POLICY}, Path("policy")))
    pools = {"first": ["s1"], "spare": ["s2"], "default": ["s1"]}
    receipt = Filling("tmpl_receipt", 1, "", "", "Thanks", b"{}", 6)
    with running(tmp_path, sink, policies, pools) as run:
        run.worker.start()
        run.accept([mail(number, "org_1") for number in range(REFUSED)])

        def ended() -> int:
            return sum(1 for _ in run.events("kind"))

        wait_for(lambda: ended() == REFUSED or run.failures, "all are refused")
        later = [mail(REFUSED + number, "org_1") for number in range(9)]
        later.append(msgspec.structs.replace(mail(99, "org_1"), text="", template=receipt))
        run.accept(later)
        wait_for(lambda: ended() == REFUSED + 10 or run.failures, "the others are delivered")
        assert run.worker.drain(30)
        told = list(run.events("kind", "source", "route_reason"))
        standings = {row[0]: row for row in run.parts.engine.standings()}
    assert not run.failures
    assert told.count(("bounced", "s1", "it stands unknown")) == REFUSED
    assert told.count(("delivered", "s2", "it stands poor")) == 9
    assert told.count(("delivered", "s1", "receipts keep to it")) == 1
    assert standings["s1"][5] == pytest.approx(REFUSED / (REFUSED + 1), abs=0.01)
