"""G1, G2, G3 on three brokers: workers stop and die, brokers die, everything is rolled."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from postalynk.policy import DEV
from tests.support.fleet import Fleet, Senders, wait_drained
from tests.support.kafka import Brokers
from tests.support.processes import Postalynk, Sink, wait_for

CONNECTIONS = 20


@pytest.mark.soak
@pytest.mark.parametrize(("messages", "orgs"), [(50_000, 200)])
def test_brokers_and_workers_fail(tmp_path: Path, messages: int, orgs: int) -> None:
    """What runs: three brokers, `postalynk api`, three workers, the sink. What breaks, one after
    the other while mail flows: a worker (SIGKILL), one that stops for 20 s and for 60 s (SIGSTOP),
    one broker, two brokers, all of them; a fourth worker joins and all are rolled. What holds:
    every acknowledged message arrives, the audit is clean, copies are bounded by open transactions.
    """
    brokers = Brokers(nodes=3)
    sink = Sink(tmp_path, "--ledger", str(tmp_path / "ledger.tsv"), "--slow-ms", "100")
    fleet = Fleet(tmp_path / "fleet", brokers, sink.address, partitions=64, policy=str(DEV))
    limits = f"connections = {CONNECTIONS}"
    api = fleet.add("api", "api")
    workers = [fleet.add(f"w{n}", "worker", limits) for n in range(4)]
    try:
        assert fleet.apply().returncode == 0
        for process in (api, *workers[:3]):
            process.start()
        senders = Senders(api, fleet.organizations(api, orgs), messages, pause_s=0.5)

        def flows(what: str) -> None:
            before = sink.count()
            wait_for(
                lambda: senders.is_done() or sink.count() >= before + messages // 50, what, 180
            )

        flows("mail flows")
        workers[0].kill()
        flows("without a killed worker")
        workers[0].start()
        for stopped_s in (20, 60):
            _stop_for(workers[1], stopped_s)
            flows(f"after a stop of {stopped_s} s")
        for dead in ((2,), (2, 3), (1, 2, 3)):
            for node in dead:
                os.kill(brokers.pid(node), signal.SIGKILL)
            time.sleep(10)
            brokers.up()
            flows(f"after brokers {dead} died")
        workers[3].start()
        for worker in workers:
            assert worker.stop() == 0
            worker.start()
        senders.join(900)
        wait_drained(api, 600)
        report = api.ask("audit")
        print(report, senders.refusals)
        assert (report["unaccounted"], report["twice"]) == ([], [])
        assert report["accepted"] == len(senders.acknowledged) == messages
        came = Counter(message_id.partition("@")[0] for message_id, _ in sink.received())
        assert [known for known in senders.acknowledged if known not in came] == []
        copies = sum(count - 1 for count in came.values())
        print(f"{copies} copies")
        # One kill and two stops, a message on the wire and one behind it in the same write each.
        assert copies <= 3 * 2 * CONNECTIONS
    finally:
        fleet.remove()
        sink.stop()
        brokers.stop()


def _stop_for(worker: Postalynk, seconds: int) -> None:
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(worker.process.pid, signal.SIGCONT)
