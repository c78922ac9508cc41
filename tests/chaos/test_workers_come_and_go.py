"""G1, G2 on Kafka: workers are killed, added and rolled while mail of many organizations flows."""

from collections import Counter
from pathlib import Path

from postalynk.policy import DEV
from tests.support.fleet import Fleet, Senders, wait_drained
from tests.support.kafka import one_broker
from tests.support.processes import Sink, wait_for

CONNECTIONS = 10
MESSAGES = 3_000


def test_workers_come_and_go(tmp_path: Path) -> None:
    """What runs: one broker, `postalynk api`, two workers, the sink; 12 organizations send 3,000
    messages. What breaks: one worker is killed (SIGKILL) and comes back, a third one joins, the
    second is stopped and started again. What holds: every acknowledged message reaches the sink,
    the audit is clean, and copies are bounded by the killed worker's open transactions.
    """
    sink = Sink(tmp_path, "--ledger", str(tmp_path / "ledger.tsv"), "--slow-ms", "100")
    fleet = Fleet(tmp_path / "fleet", one_broker(), sink.address, policy=str(DEV))
    limits = f"connections = {CONNECTIONS}"
    api = fleet.add("api", "api")
    one, two, three = (fleet.add(name, "worker", limits) for name in ("one", "two", "three"))
    try:
        assert fleet.apply().returncode == 0
        assert fleet.apply("--dry-run").stdout.count("action") == 0, "a second run finds nothing"
        for process in (api, one, two):
            process.start()
        orgs = fleet.organizations(api, 12)
        senders = Senders(api, orgs, MESSAGES, pause_s=0.3)
        wait_for(lambda: sink.count() > MESSAGES // 10, "mail flows")
        one.kill()
        three.start()
        wait_for(lambda: sink.count() > MESSAGES // 3, "mail flows on without it")
        one.start()
        assert two.stop() == 0
        two.start()
        senders.join(120)
        wait_drained(api, 120)
        report = api.ask("audit")
        print(report)
        assert (report["unaccounted"], report["twice"]) == ([], [])
        assert report["accepted"] == len(senders.acknowledged) == MESSAGES
        came = Counter(message_id.partition("@")[0] for message_id, _ in sink.received())
        assert [known for known in senders.acknowledged if known not in came] == []
        copies = sum(count - 1 for count in came.values())
        print(f"{copies} copies")
        # Twice: a message follows the one on the wire in the same write.
        assert copies <= 2 * CONNECTIONS
    finally:
        fleet.remove()
        sink.stop()
