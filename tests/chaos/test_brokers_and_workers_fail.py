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
from tests.support.fleet import SESSION_S, Fleet, Senders, in_hand, wait_drained
from tests.support.kafka import Brokers
from tests.support.processes import Postalynk, Sink, wait_for

CONNECTIONS = 20
# What a worker may have in hand (G2): one message on the wire a connection, and what ended within
# the second after which nothing more begins while outcomes are not recorded. All that the senders
# submit may fall to one worker: batches of 50, three at a time, half a second apart.
IN_HAND = CONNECTIONS + 3 * 50 * 2


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
        self._wrong: set[tuple[str, str]] = set()

    def tell(self, name: str, messages: int, happens: Callable[[], int | None]) -> None:
        """Send ``messages`` while it ``happens``, then look. What it gives is what workers had in
        hand when they lost it; None: they lost nothing.
        """
        began_s = time.monotonic()
        before = self.sink.count()
        first, self._sent = self._sent, self._sent + messages
        senders = Senders(self.api, self.orgs, messages, pause_s=0.5, first=first)
        wait_for(lambda: self.sink.count() >= before + messages // 10, "mail flows", 180)
        lost = happens()
        senders.join(900)
        self.acknowledged |= senders.acknowledged | self._single
        wait_drained(self.api, 600)
        # A worker that came back tells what it had begun once it has seen what became of it.
        until_s = time.monotonic() + 60
        while (unlabelled := self.evidence.look().unlabelled()) and time.monotonic() < until_s:
            time.sleep(1)
        assert unlabelled == {}, f"{name}: copies are not labelled: {unlabelled}"
        self._judge(name, lost)
        print(f"{name}: refused {senders.refusals}, {time.monotonic() - began_s:.0f} s", flush=True)

    def _judge(self, name: str, lost: int | None) -> None:
        evidence = self.evidence
        ended = [known for known, process in self.fleet.processes.items() if process.has_ended()]
        assert ended == [], f"{name}: processes ended by themselves"
        report = self.api.ask("audit")
        assert (report["unaccounted"], report["twice"]) == ([], []), name
        assert report["accepted"] == len(self.acknowledged)
        assert [known for known in self.acknowledged if known not in evidence.came] == []
        copies, wrong = sum(evidence.copies().values()), set(evidence.out_of_order())
        turned = wrong - self._wrong
        print(
            f"{name}: {len(self.acknowledged)} accepted, {copies - self._copies} copies of {lost},"
            f" {len(evidence.doubtful())} ever in doubt, {len(turned)} out of order",
            flush=True,
        )
        assert copies - self._copies <= (lost or 0), name
        # Whom a worker had begun and lost begins again behind whom it had begun and finished: what
        # it had in hand, and on each connection the one whose MAIL left along with that.
        most = 0 if lost is None else lost + CONNECTIONS
        began = [[evidence.told[known] for known in pair] for pair in turned]
        assert len(turned) <= most, f"{name}: {began}"
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
        breaks = breaks_of(told)
        each = -(-messages // (50 * len(breaks))) * 50  # whole batches
        for name, happens in breaks:
            told.tell(name, each, happens)
        told.recorder.wait_projected(300)


def breaks_of(told: Story) -> list[tuple[str, Callable[[], int | None]]]:
    """What breaks one after the other, and tells what workers had in hand if they lost it."""
    one, two, three, four = told.workers

    def kill_a_worker() -> int:
        one.kill()
        lost = _in_hand(one)
        time.sleep(2 * SESSION_S)
        one.start()
        return lost

    def kill_brokers(*nodes: int) -> int | None:
        for node in nodes:
            os.kill(told.brokers.pid(node), signal.SIGKILL)
        time.sleep(10)
        # Without a quorum for longer than their session, workers are taken for dead; by now they
        # have begun nothing for long.
        lost = _in_hand(one, two, three) if len(nodes) > 1 else None
        if len(nodes) > 1:
            assert told.submit("k") == 503, "nothing is promised that two do not hold"
        told.brokers.up()
        wait_for(lambda: told.submit("k") != 503, "accept recovers", 120)
        return lost

    def roll() -> None:
        for worker in told.workers:
            assert worker.stop() == 0
            worker.start()

    def join() -> None:
        four.start()

    return [
        ("a worker is killed", kill_a_worker),
        ("a worker stops for 20 s", lambda: _stop_for(two, 20)),
        ("a worker stops for 60 s", lambda: _stop_for(two, 60)),
        ("a broker is killed", lambda: kill_brokers(2)),
        ("two brokers are killed", lambda: kill_brokers(2, 3)),
        ("all brokers are killed", lambda: kill_brokers(1, 2, 3)),
        ("a worker joins", join),
        ("all workers are rolled", roll),
    ]


def _stop_for(worker: Postalynk, seconds: int) -> int:
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    lost = _in_hand(worker)
    time.sleep(seconds)
    os.kill(worker.process.pid, signal.SIGCONT)
    return lost


def _in_hand(*workers: Postalynk) -> int:
    """What each has in hand, by its own journal, is bounded itself."""
    each = [in_hand(worker) for worker in workers]
    assert max(each) <= IN_HAND, each
    return sum(each)
