"""What a message costs when much waits behind it: processor time at a long and at a short backlog.

Ours: a worker on a log with a long backlog, from its start until a number of messages were taken by
the sink. Theirs: the same with 10,000 waiting. Both run in processes of their own, sink included;
the start itself is not counted. Checked: the sink has them.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benches.load.queue_restore import message
from benches.measure import part
from benches.report import Report, Round
from postalynk._engine import Sink
from postalynk.engine import open_engine
from postalynk.ingest.border import encode_messages
from postalynk.policy import DEFAULT, Pools, load
from postalynk.queue.native import EmbeddedQueue
from postalynk.settings import Delivery, Settings
from postalynk.worker import Parts, Worker

LONG, SHORT, PAGE, PARTITIONS = 1_000_000, 10_000, 1_000, 64
MEASURED = 8_000


def fill(base: Path, count: int) -> None:
    """Accepted messages of about 2 kB."""
    queue = EmbeddedQueue(str(base / "queue"), partitions=PARTITIONS)
    for first in range(0, count, PAGE):
        some = [message(f"org_{n % 200}") for n in range(first, first + PAGE)]
        queue.append(encode_messages(some, PARTITIONS))
    queue.close()


def send(base: Path) -> None:
    """Print the microseconds of processor a message, of the first that go; then be gone."""
    sink = Sink()
    queue = EmbeddedQueue(str(base / "queue"), partitions=PARTITIONS)
    settings = Settings(delivery=Delivery(smart_host=sink.address, sign=False))
    engine = open_engine(settings, base / "engine")
    policies, pools = load(DEFAULT), Pools(["default", "high", "majors"])
    worker = Worker(Parts(queue=queue, engine=engine, policies=policies, pools=pools))
    worker.start()
    while sink.received() < MEASURED // 8:  # connections are made, caches are warm
        time.sleep(0.001)
    before, spent = sink.received(), time.process_time()
    while sink.received() < MEASURED:
        time.sleep(0.001)
    done, spent = sink.received() - before, time.process_time() - spent
    print(json.dumps({"cpu_us": spent / done * 1e6}), flush=True)
    # What else is on its way is nobody's, and waiting for it would take longer than all of this.
    os._exit(0)


def main(arguments: list[str]) -> int:
    """Measure; ``--scale 1`` takes the number of the specification, 0.1 is the default."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--scale", type=float, default=0.1)
    options.add_argument("--directory", default="build")
    options.add_argument("--part", choices=("fill", "send"))
    options.add_argument("--base", type=Path)
    options.add_argument("--count", type=int)
    chosen = options.parse_args(arguments)
    if chosen.part == "fill":
        fill(chosen.base, chosen.count)
        return 0
    if chosen.part == "send":
        send(chosen.base)
    Path(chosen.directory).mkdir(parents=True, exist_ok=True)
    count = max(SHORT, int(LONG * chosen.scale) // PAGE * PAGE)
    long = Path(tempfile.mkdtemp(dir=chosen.directory))
    rounds = []
    try:
        part("queue_backlog", "fill", long, count)
        for _ in range(chosen.rounds):
            short = Path(tempfile.mkdtemp(dir=chosen.directory))
            try:
                part("queue_backlog", "fill", short, SHORT)
                # More is better in a report: messages a second of processor time.
                ours = part("queue_backlog", "send", long, count)["cpu_us"]
                theirs = part("queue_backlog", "send", short, SHORT)["cpu_us"]
            finally:
                shutil.rmtree(short)
            rounds.append(Round(1e6 / ours, 1e6 / theirs))
    finally:
        shutil.rmtree(long)
    cpu = sorted(1e6 / r.ours for r in rounds)[len(rounds) // 2]
    ratios = sorted(r.theirs / r.ours for r in rounds)
    more = {"backlog": count, "cpu_ratio": ratios[len(ratios) // 2], "cpu_ratios": ratios}
    Report("queue-backlog", "messages/CPU s", rounds, cpu, more).write()
    print(f"{cpu:.0f} us CPU a message at {count:,} queued, {more['cpu_ratio']:.2f} x at {SHORT:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
