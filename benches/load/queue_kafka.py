"""What the queue costs on Kafka beside the bare client: consuming for the engine, and producing.

Consume: processor time of the thread that polls, a record of 1 KB, until the batch can be handed to
the engine; theirs is ``consume(500)`` and nothing done with what comes. Produce: processor time of
the process, a record, of appends of 100 that return when they are stored; theirs is ``produce``
without callbacks and a ``flush`` per 100. One broker on the same machine. Checked: every record is
read, every offset given once. Not shown: how fast it is, which the broker decides.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from confluent_kafka import Producer

from benches.report import Report, Round
from postalynk.queue.kafka import KafkaQueue
from postalynk.queue.kafka.cluster import Cluster
from tests.support.kafka import topics

SIZE = 1_024
BATCH, POLL = 100, 500
PARTITIONS = 16
TOPIC = "email.send.normal"
TOPICS = (TOPIC, "email.send.high")
OTHER = TOPICS[1]


def appended(queue: KafkaQueue, records: int) -> float:
    """Microseconds of processor a record."""
    value = os.urandom(SIZE)
    offsets: dict[int, list[int]] = {}
    began = time.process_time()
    for number in range(records // BATCH):
        partition = number % PARTITIONS
        given = queue.append([(TOPIC, partition, None, value)] * BATCH)
        offsets.setdefault(partition, []).extend(given)
    spent = time.process_time() - began
    assert all(given == list(range(given[0], given[0] + len(given))) for given in offsets.values())
    return spent / records * 1e6


def produced(cluster: Cluster, records: int) -> float:
    """The same of the bare client with the same settings."""
    producer = Producer(
        cluster.config(enable_idempotence=True, acks="all", compression_type="zstd", linger_ms=2)
    )
    value, wire = os.urandom(SIZE), cluster.wire(OTHER)
    began = time.process_time()
    for number in range(records // BATCH):
        for _ in range(BATCH):
            producer.produce(wire, value, partition=number % PARTITIONS)
        producer.flush()
    return (time.process_time() - began) / records * 1e6


def polled(queue: KafkaQueue, records: int) -> float:
    """Microseconds of the polling thread's processor a record, up to the hand-over."""
    reader = queue.consumer("", [TOPIC])
    read, spent = 0, 0.0
    while read < records:
        began = time.thread_time()
        batch = reader.poll(POLL, 8_388_608, 100)
        batch.next_offsets()
        spent += time.thread_time() - began
        read += len(batch)
    reader.close()
    return spent / read * 1e6


def consumed(cluster: Cluster, records: int) -> float:
    """The same of the bare client."""
    consumer = cluster.consumer("", group_protocol="classic")
    consumer.assign([cluster.place((TOPIC, partition), 0) for partition in range(PARTITIONS)])
    read, spent = 0, 0.0
    while read < records:
        began = time.thread_time()
        messages = consumer.consume(POLL, 0.1)
        spent += time.thread_time() - began
        read += sum(message.error() is None for message in messages)
    consumer.close()
    return spent / read * 1e6


def main(arguments: list[str]) -> int:
    """Measure; ``--rounds`` and ``--scale``."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--scale", type=float, default=1.0)
    chosen = options.parse_args(arguments)
    records = max(BATCH * PARTITIONS, int(100_000 * chosen.scale) // BATCH * BATCH)
    consume, produce = [], []
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        for _ in range(chosen.rounds):
            with topics(PARTITIONS, TOPICS) as cluster:
                queue = KafkaQueue(cluster, Path(directory), topics=TOPICS, timeout_s=60)
                produce.append((appended(queue, records), produced(cluster, records)))
                consume.append((polled(queue, records), consumed(cluster, records)))
                queue.close()
    ours = median(a for a, _ in consume)
    more = {
        "consume_ratio": median(a / b for a, b in consume),
        "consume_us": ours,
        "consume_us_bare": median(b for _, b in consume),
        "produce_ratio": median(a / b for a, b in produce),
        "produce_us": median(a for a, _ in produce),
        "produce_us_bare": median(b for _, b in produce),
    }
    # Rounds are of rates, more being better: records a second of one busy thread.
    rounds = [Round(1e6 / a, 1e6 / b) for a, b in consume]
    Report("queue-kafka", "records/s of a thread's processor", rounds, ours, more).write()
    for name in ("consume", "produce"):
        us, bare, ratio = (more[f"{name}_{what}"] for what in ("us", "us_bare", "ratio"))
        print(f"{name}: {us:.2f} us CPU a record, bare {bare:.2f}: {ratio:.2f} x")
    return 0
