"""How fast every message of a log is accounted for, and in how much memory.

Ours: `postalynk audit` over a generated log of two events a message, read from the beginning.
Theirs: the specification's 10 million messages in five minutes. Then once more: incremental, with
nothing new. The log is written by a process of its own. Checked: the counts, and both lists empty.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benches.load.queue_restore import memory_mb, message
from benches.measure import part
from benches.report import Report, Round
from postalynk.engine import encode_event
from postalynk.ingest.border import encode_messages
from postalynk.queue.native import EmbeddedQueue
from postalynk.service.auditing import audit

MESSAGES, PAGE, PARTITIONS = 1_000_000, 1_000, 64
BAR_PER_S = 10_000_000 / 300


def fill(base: Path, count: int) -> None:
    """Accepted messages that all ended, without their records: the worker is done with them."""
    queue = EmbeddedQueue(str(base / "queue"), partitions=PARTITIONS)
    for first in range(0, count, PAGE):
        some = [message(f"org_{n % 200}") for n in range(first, first + PAGE)]
        pairs = encode_messages(some, PARTITIONS)
        events = []
        for (_, p, _, record), accepted in zip(pairs[::2], pairs[1::2], strict=True):
            ended = encode_event(record or b"", "cancelled", 1, 0, 1, 0, "")
            events += [accepted, ("email.events", p, None, ended)]
        queue.append(events)
    queue.close()


def account(base: Path, count: int) -> dict[str, float]:
    """Seconds and megabytes of one audit."""
    queue = EmbeddedQueue(str(base / "queue"), partitions=PARTITIONS)
    before_mb = memory_mb("VmRSS")
    began, spent = time.perf_counter(), time.process_time()
    report = audit(queue, base / "audit")
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - spent
    assert report.is_clean
    assert (report.accepted, report.states) == (count, {"cancelled": count})
    queue.close()
    return {
        "seconds": took_s,
        "cpu_us_per_message": cpu_s / count * 1e6,
        "before_mb": before_mb,
        "peak_mb": memory_mb("VmHWM"),
    }


def main(arguments: list[str]) -> int:
    """Measure; ``--scale 10`` takes the number of the specification, 0.2 is the default."""
    options = argparse.ArgumentParser()
    options.add_argument("--scale", type=float, default=0.2)
    options.add_argument("--directory", default="build")
    options.add_argument("--part", choices=("fill", "account"))
    options.add_argument("--base", type=Path)
    options.add_argument("--count", type=int)
    chosen = options.parse_args(arguments)
    if chosen.part == "fill":
        fill(chosen.base, chosen.count)
        return 0
    if chosen.part == "account":
        print(json.dumps(account(chosen.base, chosen.count)))
        return 0
    count = int(MESSAGES * chosen.scale) // PAGE * PAGE
    Path(chosen.directory).mkdir(parents=True, exist_ok=True)
    base = Path(tempfile.mkdtemp(dir=chosen.directory))
    try:
        part("audit", "fill", base, count)
        first = part("audit", "account", base, count)
        again = part("audit", "account", base, count)
    finally:
        shutil.rmtree(base)
    more = {"messages": count, "first": first, "incremental": again}
    rounds = [Round(count / first["seconds"], BAR_PER_S)]
    Report("audit", "messages/s", rounds, first["cpu_us_per_message"], more).write()
    print(json.dumps(more, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
