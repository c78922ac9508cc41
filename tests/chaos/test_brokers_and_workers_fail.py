"""G1, G2, G3 on three brokers: workers stop and die, brokers die, everything is rolled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postalynk.policy import DEV
from postalynk.settings import load
from tests.support.evidence import Evidence
from tests.support.fleet import SESSION_S, Fleet, Senders, wait_drained
from tests.support.kafka import Brokers
from tests.support.processes import Postalynk, Sink, wait_for

CONNECTIONS = 20
# A message on the wire and one behind it in the same write; and outcomes whose append was not
# answered: 200 a second and worker, and at RF 3, all brokers on one machine, up to a second.
IN_HAND = 2 * CONNECTIONS + 200


class Story:
    """A fleet on three brokers that mail flows through while a story is told."""

    def __init__(self, base: Path, orgs: int) -> None:
        self.brokers = Brokers(nodes=3)
        self.sink = Sink(base, "--ledger", str(base / "ledger.tsv"), "--slow-ms", "100")
        self.fleet = Fleet(
            base / "fleet", self.brokers, self.sink.address, partitions=64, policy=str(DEV)
        )
        limits = f"connections = {CONNECTIONS}"
        self.api = self.fleet.add("api", "api")
        self.recorder = self.fleet.add("recorder", "recorder")
        self.workers = [self.fleet.add(f"w{n}", "worker", limits) for n in range(4)]
        assert self.fleet.apply().returncode == 0
        for process in (self.recorder, self.api, *self.workers[:3]):
            process.start()
        self.orgs = self.fleet.organizations(self.api, orgs)
        self.evidence = Evidence(load(str(self.api.config), environ={}), self.sink)
        self.acknowledged: dict[str, str] = {}
        self._single: dict[str, str] = {}
        self._sent = 0
        self._copies = 0
        self._wrong = 0

    def tell(self, name: str, messages: int, happens: Callable[[], object], hands: int) -> None:
        """Send ``messages`` while it ``happens``, then look; ``hands``: workers that lost what they
        had in hand.
        """
        began_s = time.monotonic()
        before = self.sink.count()
        first, self._sent = self._sent, self._sent + messages
        senders = Senders(self.api, self.orgs, messages, pause_s=0.5, first=first)
        wait_for(lambda: self.sink.count() >= before + messages // 10, "mail flows", 180)
        happens()
        senders.join(900)
        self.acknowledged |= senders.acknowledged | self._single
        wait_drained(self.api, 600)
        # A worker that came back tells what it had begun once it has seen what became of it.
        until_s = time.monotonic() + 60
        while (unlabelled := self.evidence.look().unlabelled()) and time.monotonic() < until_s:
            time.sleep(1)
        assert unlabelled == {}, f"{name}: copies are not labelled: {unlabelled}"
        self._judge(name, hands)
        print(f"{name}: refused {senders.refusals}, {time.monotonic() - began_s:.0f} s", flush=True)

    def _judge(self, name: str, hands: int) -> None:
        evidence = self.evidence
        report = self.api.ask("audit")
        assert (report["unaccounted"], report["twice"]) == ([], []), name
        assert report["accepted"] == len(self.acknowledged)
        assert [known for known in self.acknowledged if known not in evidence.came] == []
        copies, wrong = sum(evidence.copies().values()), len(evidence.out_of_order())
        print(
            f"{name}: {len(self.acknowledged)} accepted, {copies - self._copies} copies,"
            f" {len(evidence.doubtful())} ever in doubt, {wrong - self._wrong} out of order",
            flush=True,
        )
        assert copies - self._copies <= hands * IN_HAND, name
        # Whom a worker had begun and lost begins again behind whom it had begun and finished.
        assert wrong - self._wrong <= hands * IN_HAND, name
        self._copies, self._wrong = copies, wrong

    def submit(self, key: str) -> int:
        """Submit one message under this key, again and again the same one; the status.

        A refusal means that nobody knows whether it is stored, so it must be asked again.
        """
        api_key, domain = next(iter(self.orgs.items()))
        key = f"{key}-{len(self.acknowledged)}"
        email = {"from": f"a@{domain}", "to": "b@rcpt.example", "subject": key, "text": "Hi"}
        status, answer = self.api.request(
            "POST", "/emails", email, {"Idempotency-Key": key}, key=api_key
        )
        if status in {200, 202}:
            self._single[answer["id"]] = "b@rcpt.example"
        return status

    def close(self) -> None:
        """End everything."""
        self.fleet.remove()
        self.sink.stop()
        self.brokers.stop()


@contextmanager
def story(base: Path, orgs: int) -> Iterator[Story]:
    """A story that ends in any case."""
    told = Story(base, orgs)
    try:
        yield told
    except BaseException:
        for name, process in told.fleet.processes.items():
            print(f"--- {name}\n{process.log()}")
        raise
    finally:
        told.close()


@pytest.mark.soak
@pytest.mark.parametrize(("messages", "orgs"), [(5_000, 40), (50_000, 200)])
def test_brokers_and_workers_fail(tmp_path: Path, messages: int, orgs: int) -> None:
    """What runs: three brokers, `postalynk api`, `postalynk recorder`, three workers, the sink.
    What breaks, one after the other while mail flows: a worker is killed (SIGKILL) and comes back,
    one stops for 20 s and for 60 s (SIGSTOP), one broker is killed, two brokers, all of them; a
    fourth worker joins and all are rolled. What holds after each: every acknowledged message came,
    the audit is clean, copies are bounded by open transactions and labelled, first attempts are in
    order per organization and lane.
    """
    with story(tmp_path, orgs) as told:
        each = -(-messages // 400) * 50  # eight stories of whole batches
        one, two, _, four = told.workers

        def kill_a_worker() -> None:
            one.kill()
            time.sleep(2 * SESSION_S)
            one.start()

        def kill_brokers(*nodes: int) -> Callable[[], None]:
            def happens() -> None:
                for node in nodes:
                    os.kill(told.brokers.pid(node), signal.SIGKILL)
                time.sleep(10)
                if len(nodes) > 1:
                    assert told.submit("k") == 503, "nothing is promised that two do not hold"
                told.brokers.up()
                wait_for(lambda: told.submit("k") != 503, "accept recovers", 120)

            return happens

        def roll() -> None:
            for worker in told.workers:
                assert worker.stop() == 0
                worker.start()

        told.tell("a worker is killed", each, kill_a_worker, hands=1)
        told.tell("a worker stops for 20 s", each, lambda: _stop_for(two, 20), hands=1)
        told.tell("a worker stops for 60 s", each, lambda: _stop_for(two, 60), hands=1)
        told.tell("a broker is killed", each, kill_brokers(2), hands=0)
        told.tell("two brokers are killed", each, kill_brokers(2, 3), hands=3)
        told.tell("all brokers are killed", each, kill_brokers(1, 2, 3), hands=3)
        told.tell("a worker joins", each, four.start, hands=0)
        told.tell("all workers are rolled", each, roll, hands=0)
        told.recorder.wait_projected(300)


def _stop_for(worker: Postalynk, seconds: int) -> None:
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(worker.process.pid, signal.SIGCONT)
