"""G1, G2: `kill -9` of the whole process, ten times, while six clients submit 5,000 messages."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from postalynk.policy import DEV
from tests.chaos.submitters import Submitters
from tests.support.processes import Postalynk, Sink, wait_for

CONNECTIONS = 20


@pytest.mark.parametrize(
    ("kills", "messages"), [(10, 5_000), pytest.param(100, 60_000, marks=pytest.mark.soak)]
)
def test_kills_lose_nothing_and_label_every_duplicate(
    tmp_path: Path, kills: int, messages: int
) -> None:
    """What runs: `postalynk up`, six clients, the sink. What breaks: SIGKILL at random moments,
    every second time with PostgreSQL and all. What holds: every acknowledged message reaches the
    sink, the audit finds none unaccounted for, copies are bounded by connections × kills and each
    is labelled in_doubt; a key answers with one id for ever.
    """
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    sink = Sink(tmp_path, "--ledger", str(tmp_path / "ledger.tsv"), "--slow-ms", "60")
    target = Postalynk(
        tmp_path / "pl",
        sink.address,
        delivery=f"connections = {CONNECTIONS}",
        # Retries within seconds, so that what was in doubt is sent again before the count.
        settings=f'[policy]\npath = "{DEV}"\n',
    )
    target.start().prepare()
    try:
        clients = Submitters(target, clients=6, messages=messages, pause_s=0.015)
        clients.start()
        for number in range(kills):
            time.sleep(chance.uniform(0.3, 2.5))
            if number % 2:
                assert target.process is not None
                os.killpg(target.process.pid, signal.SIGKILL)
                target.process.wait()
            else:
                target.kill()
            target.start()
        clients.join(60 + messages / 20)
        assert not clients.contradictions
        wait_for(lambda: _is_drained(target), "all retries are over", 120)
        _check(target, sink, clients, most_copies=CONNECTIONS * kills)
    finally:
        target.remove()
        sink.stop()


def _is_drained(target: Postalynk) -> bool:
    state = target.ask("drain", "--timeout", "120s")
    return bool(state["drained"]) and state["deferred"] == 0


def _check(target: Postalynk, sink: Sink, clients: Submitters, most_copies: int) -> None:
    report = target.ask("audit")
    assert report["unaccounted"] == []
    assert report["twice"] == []
    assert report["accepted"] == len(clients.acknowledged)
    copies = Counter(message_id.partition("@")[0] for message_id, _ in sink.received())
    missing = [known for known in clients.acknowledged.values() if known not in copies]
    assert missing == []
    doubled = {message_id: n for message_id, n in copies.items() if n > 1}
    print(f"{len(doubled)} messages came more than once; states {report['states']}")
    assert sum(n - 1 for n in doubled.values()) <= most_copies
    for message_id in doubled:
        status, events = target.request("GET", f"/emails/{message_id}/events")
        assert status == 200
        kinds = [event["type"] for event in events["data"]]
        assert any("in_doubt" in kind for kind in kinds), (message_id, kinds)
