"""What a start costs: deferrals loaded until the first fetch, and a log opened after `kill -9`.

Ours is the time of the start; theirs is the bar of the specification, so ``ratio`` above 1 is
within it. Every part is a process of its own: one fills the queue and kills itself, one starts on
what it left. Checked: the engine knows every deferral, and every record is there.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benches.measure import part
from benches.report import Report, Round
from postalynk.engine import encode_deferral, open_engine
from postalynk.ingest.border import encode_messages
from postalynk.model import AcceptedMessage
from postalynk.policy import DEFAULT, Pools, load
from postalynk.queue.native import EmbeddedQueue
from postalynk.settings import Settings
from postalynk.worker.parts import Parts
from postalynk.worker.restore import restore
from tests.support.workers import mail

DEFERRALS, WAITING, RECORDS = 100_000, 1_000_000, 1_000_000
RESTORE_S, START_S = 5.0, 3.0
PARTITIONS, PAGE = 64, 1_000
TOPIC = "email.send.normal"


def message(org: str) -> AcceptedMessage:
    """One of about 2 kB."""
    return msgspec.structs.replace(mail(1, org), text="A line of text.\n" * 110)


def fill_deferrals(base: Path, count: int) -> None:
    """Deferrals that are due in a year, over all partitions."""
    queue = EmbeddedQueue(str(base), partitions=PARTITIONS)
    due_at_us = time.time_ns() // 1_000 + 31_536_000_000_000
    for first in range(0, count, PAGE):
        some = [message(f"org_{n % 200}") for n in range(first, min(first + PAGE, count))]
        appends = encode_messages(some, PARTITIONS)[::2]
        queue.append(
            [
                (
                    "email.deferred",
                    p,
                    m.id + bytes(4),
                    encode_deferral(record or b"", 0, 1, due_at_us),
                )
                for m, (_, p, _, record) in zip(some, appends, strict=True)
            ]
        )
    os.kill(os.getpid(), signal.SIGKILL)


def fill_records(base: Path, count: int) -> None:
    """Records of 1 kB, over all partitions; then the process is killed."""
    queue = EmbeddedQueue(str(base), partitions=PARTITIONS)
    value = os.urandom(1_024)
    for first in range(0, count, PAGE):
        queue.append([(TOPIC, (first + n) % PARTITIONS, None, value) for n in range(PAGE)])
    os.kill(os.getpid(), signal.SIGKILL)


def memory_mb(name: str) -> float:
    """``VmRSS`` or ``VmHWM`` of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(name))
    return int(line.split()[1]) / 1_024


def start_deferrals(base: Path, count: int) -> dict[str, float]:
    """Seconds from an open queue to where the worker would fetch, and megabytes."""
    queue = EmbeddedQueue(str(base), partitions=PARTITIONS)
    engine = open_engine(Settings(), base / "engine")
    parts = Parts(queue=queue, engine=engine, policies=load(DEFAULT), pools=Pools(()))
    before_mb = memory_mb("VmRSS")
    began = time.perf_counter()
    restore(parts, range(PARTITIONS))
    took_s = time.perf_counter() - began
    assert engine.deferred() == count, f"{engine.deferred()} of {count} deferrals"
    told = {
        "seconds": took_s,
        "before_mb": before_mb,
        "rss_mb": memory_mb("VmRSS"),
        "peak_mb": memory_mb("VmHWM"),
    }
    engine.stop()
    queue.close()
    return told


def start_records(base: Path, count: int) -> dict[str, float]:
    """Seconds to open the log."""
    began = time.perf_counter()
    queue = EmbeddedQueue(str(base), partitions=PARTITIONS)
    took_s = time.perf_counter() - began
    assert sum(end - oldest for oldest, end in queue.offsets(TOPIC)) == count
    queue.close()
    return {"seconds": took_s, "rss_mb": memory_mb("VmRSS")}


PARTS = {
    "fill-deferrals": fill_deferrals,
    "fill-records": fill_records,
    "start-deferrals": start_deferrals,
    "start-records": start_records,
}


def both(kind: str, directory: str, count: int) -> dict[str, float]:
    """Fill, be killed, start."""
    base = Path(tempfile.mkdtemp(dir=directory))
    try:
        killed = -signal.SIGKILL
        part("queue_restore", f"fill-{kind}", base / "queue", count, exit_status=killed)
        return part("queue_restore", f"start-{kind}", base / "queue", count)
    finally:
        shutil.rmtree(base)


def main(arguments: list[str]) -> int:
    """Measure; ``--scale 1`` takes the numbers of the specification, 0.1 is the default."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--scale", type=float, default=0.1)
    options.add_argument("--directory", default="build")
    options.add_argument("--part", choices=sorted(PARTS))
    options.add_argument("--base", type=Path)
    options.add_argument("--count", type=int)
    chosen = options.parse_args(arguments)
    if chosen.part is not None:
        print(json.dumps(PARTS[chosen.part](chosen.base, chosen.count)))
        return 0
    Path(chosen.directory).mkdir(parents=True, exist_ok=True)
    restored = [both("deferrals", chosen.directory, DEFERRALS) for _ in range(chosen.rounds)]
    waiting = both("deferrals", chosen.directory, int(WAITING * chosen.scale))
    opened = both("records", chosen.directory, int(RECORDS * chosen.scale) // PAGE * PAGE)
    rounds = [Round(1 / told["seconds"], 1 / RESTORE_S) for told in restored]
    more = {
        "restore_100k": restored,
        "waiting": {"deferrals": int(WAITING * chosen.scale), **waiting},
        "start_after_kill": {
            "records": int(RECORDS * chosen.scale),
            "bar_s": START_S,
            **opened,
        },
    }
    Report("queue-restore", "starts/s", rounds, None, more).write()
    print(json.dumps(more, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
