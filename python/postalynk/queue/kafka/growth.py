"""More partitions: 64 → 128 → … → 1,024, everything drained, nothing lost.

**Why drained.** An organization's slot stays, its partition does not: of two organizations that
shared partition ``p`` of ``P`` one may find itself in ``p + P``. Records that are still to be sent
would be sent from the old partition beside new ones from the other, out of order, and a done-set
looks at its own partition only.
**Model.** Refuse unless no worker runs and all lanes are read to their end; copy what is looked up
by organization (idempotency claims) from ``p`` to every partition that splits off it; then add
partitions to every topic. Each step may be repeated, so an interrupted growth is run again.
**Left where it is.** Deferrals: they are worked off from the partition they stand in. Scheduled
messages are looked up by organization, so while there are some it refuses.
**Law `clean_split`** (`rust/record/src/partition.rs`): what stood in ``p`` of ``P`` belongs to
``p`` or ``p + P`` of ``2P``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from postalynk.queue.kafka.cluster import ANSWER_S, LOGS, TABLES, patiently
from postalynk.queue.kafka.queue import KafkaQueue
from postalynk.queue.kafka.topics import refuse_unless, states, wait_all, wait_known
from postalynk.queue.topics import IDEMPOTENCY, SCHEDULED, SEND_TOPICS, WORKER_GROUP

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka.admin import AdminClient

    from postalynk.queue.kafka.cluster import Cluster

MOST = 1_024
PAGE = 1_000


class Growth(msgspec.Struct, frozen=True):
    """What was done, or would be."""

    is_dry_run: bool
    before: int
    after: int
    claims: int
    """Idempotency claims copied."""


def grow(cluster: Cluster, directory: Path, to: int, *, is_dry_run: bool) -> Growth:
    """Raises QueueError, with what is in the way, before anything is changed."""
    admin = cluster.admin()
    counts = {
        topic: state.partitions for topic, state in states(admin, cluster, LOGS | TABLES).items()
    }
    refuse_unless(len(counts) == len(LOGS | TABLES), "a topic is missing", "postalynk topics apply")
    before = min(counts.values())
    refuse_unless(
        to & (to - 1) == 0 and max(counts.values()) <= to <= MOST,
        f"{to} partitions: there are {max(counts.values())}",
        f"name a power of two above it, {MOST} at most",
    )
    _refuse_running(admin, cluster)
    # Of an interrupted growth the tables may have grown already: they are read as they were.
    queue = KafkaQueue(cluster, directory, topics=_of_size(counts, before))
    try:
        if before < to:
            _refuse_undrained(queue, counts)
    finally:
        queue.close()
    if before == to:
        return Growth(is_dry_run, before, to, 0)
    if not is_dry_run and counts[IDEMPOTENCY] < to:
        _add(admin, cluster, [IDEMPOTENCY], to)
    # Also when an earlier run has given that topic its partitions: it may not have come further.
    queue = KafkaQueue(cluster, directory, topics=[IDEMPOTENCY])
    try:
        claims = _copy_claims(queue, before, to, is_dry_run=is_dry_run)
    finally:
        queue.close()
    if is_dry_run:
        return Growth(is_dry_run, before, to, claims)
    _add(admin, cluster, [t for t, n in counts.items() if n < to and t != IDEMPOTENCY], to)
    return Growth(is_dry_run, before, to, claims)


def _of_size(counts: dict[str, int], partitions: int) -> list[str]:
    return [topic for topic, count in counts.items() if count == partitions]


def _refuse_running(admin: AdminClient, cluster: Cluster) -> None:
    group = cluster.prefix + WORKER_GROUP

    def ask() -> ConsumerGroupState:
        asked = admin.describe_consumer_groups([group], request_timeout=ANSWER_S)
        try:
            found: ConsumerGroupState = asked[group].result(ANSWER_S).state
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return ConsumerGroupState.DEAD  # no worker has ever run
            raise
        return found

    state = patiently("whether workers run cannot be said", ask)
    refuse_unless(
        state in {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD, ConsumerGroupState.UNKNOWN},
        "workers are running",
        "stop accept, wait for postalynk drain, stop the workers (their names stay for a session "
        "timeout), then grow",
    )


def _refuse_undrained(queue: KafkaQueue, counts: dict[str, int]) -> None:
    lanes = [lane for lane in SEND_TOPICS if counts[lane] == queue.partitions]
    if lanes:
        reader = queue.consumer(WORKER_GROUP, lanes)
        try:
            waiting = sum(reader.lag().values())
        finally:
            reader.close()
        refuse_unless(waiting == 0, f"{waiting} records wait to be sent", "postalynk drain")
    if counts[SCHEDULED] == queue.partitions:
        scheduled = sum(
            bool(queue.compacted(SCHEDULED, partition, None, 1))
            for partition in range(queue.partitions)
        )
        refuse_unless(
            scheduled == 0,
            f"scheduled messages wait in {scheduled} partitions",
            "grow when they are sent, or cancel them",
        )


def _copy_claims(queue: KafkaQueue, before: int, to: int, *, is_dry_run: bool) -> int:
    """Every claim to wherever its organization may be now: a key does not say whose it is."""
    copied = 0
    for partition in range(before):
        after: bytes | None = None
        while page := queue.compacted(IDEMPOTENCY, partition, after, PAGE):
            targets = range(partition + before, to, before)
            copied += len(page) * len(targets)
            if not is_dry_run:
                queue.append([(IDEMPOTENCY, t, key, value) for t in targets for key, value in page])
            after = page[-1][0]
    return copied


def _add(admin: AdminClient, cluster: Cluster, topics: list[str], to: int) -> None:
    new = [NewPartitions(cluster.wire(topic), to) for topic in topics]
    if new:
        wait_all(admin.create_partitions(new, operation_timeout=ANSWER_S), "grown")
        wait_known(admin, {cluster.wire(topic): to for topic in topics})
