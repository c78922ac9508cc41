"""What durability costs in the embedded log: durable appends against an fdatasync each.

Ours: eight producers append batches of 16 records of 8 KB, each call durable when it returns.
Theirs: one writer, one record a write, an fdatasync after each, on the same disk. Beside it, for
processor time: a plain file with an fdatasync per 100 records. Checked: every offset is given once.
"""

import argparse
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from benches.report import Report, Round
from postalynk.queue.native import EmbeddedQueue

SIZE = 8 * 1_024
PRODUCERS, BATCH = 8, 16
TOPIC = "email.send.normal"


def appended(base: Path, records: int) -> tuple[float, float]:
    """Records a second through the queue, and microseconds of processor a record."""
    queue = EmbeddedQueue(str(base / "queue"), partitions=PRODUCERS)
    value = os.urandom(SIZE)
    calls = records // PRODUCERS // BATCH
    offsets: list[list[int]] = [[] for _ in range(PRODUCERS)]

    def produce(partition: int) -> None:
        for _ in range(calls):
            offsets[partition] += queue.append([(TOPIC, partition, None, value)] * BATCH)

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(PRODUCERS)]
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    done = calls * BATCH
    assert all(given == list(range(done)) for given in offsets)
    queue.close()
    return PRODUCERS * done / took, spent / (PRODUCERS * done) * 1e6


def written(base: Path, records: int, per_sync: int) -> tuple[float, float]:
    """The same of a plain file with an fdatasync per so many records."""
    value = os.urandom(SIZE)
    file = os.open(base / f"plain.{per_sync}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(1, records + 1):
        os.write(file, value)
        if number % per_sync == 0:
            os.fdatasync(file)
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    os.close(file)
    return records / took, spent / records * 1e6


def main(arguments: list[str]) -> int:
    """Measure; ``--rounds``, ``--scale`` and ``--directory`` (of the disk that is meant)."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--scale", type=float, default=1.0)
    options.add_argument("--directory", default="build")
    chosen = options.parse_args(arguments)
    records = max(PRODUCERS * BATCH, int(25_600 * chosen.scale))
    Path(chosen.directory).mkdir(parents=True, exist_ok=True)
    rounds, ours_cpu, plain_cpu = [], [], []
    for _ in range(chosen.rounds):
        base = Path(tempfile.mkdtemp(dir=chosen.directory))
        try:
            ours, cpu = appended(base, records)
            theirs, _ = written(base, max(200, records // 20), 1)
            _, plain = written(base, records, 100)
        finally:
            shutil.rmtree(base)
        rounds.append(Round(ours, theirs))
        ours_cpu.append(cpu)
        plain_cpu.append(plain)
    cpu_ratio = median(a / b for a, b in zip(ours_cpu, plain_cpu, strict=True))
    more = {"plain_cpu_us_per_record": median(plain_cpu), "cpu_ratio": cpu_ratio}
    report = Report("queue-embedded", "records/s", rounds, median(ours_cpu), more)
    report.write()
    told = report.as_json()
    print(f"{told['ours']:,.0f} records/s, {told['ratio']:.1f} x one fdatasync each")
    print(f"{median(ours_cpu):.1f} us CPU a record, {cpu_ratio:.2f} x a plain file")
    return 0
