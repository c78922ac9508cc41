"""The topics as they should be, and what to do about those that are not.

**Model.** A pure comparison (`compare`) of a plan with what the cluster says yields findings, each
of them with what is, what should be, and whether we mend it. Creating a topic and setting one of
its values is ours to do. Never done: fewer partitions, which would lose records (Kafka cannot, and
we do not delete); more, which `growth` does once everything is drained; another replication factor,
which moves data and is the brokers' operator's business.
**Only our values.** What a plan does not name stays as the operator has set it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from postalynk.errors import QueueError
from postalynk.queue.kafka.cluster import ANSWER_S, LOGS, MAX_RECORD_BYTES, TABLES, failed
from postalynk.queue.topics import DEAD_LETTERS, IDEMPOTENCY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from confluent_kafka.admin import AdminClient

    from postalynk.queue.kafka.cluster import Cluster
    from postalynk.settings import Queue as QueueSettings

DLQ_RETENTION_S = 30 * 86_400
"""Design section 4: long enough for a mistake to be found, mended and redriven."""
IDEMPOTENCY_RETENTION_S = 2 * 86_400
"""A claim holds for a day; whole segments go, so it takes up to another one."""

LOOK_EVERY_S = 0.02

Action = Literal["create", "set", "refuse"]


class Plan(msgspec.Struct, frozen=True):
    """A topic as it should be."""

    topic: str
    partitions: int
    replicas: int
    config: dict[str, str]


class State(msgspec.Struct, frozen=True):
    """A topic as it is."""

    partitions: int
    replicas: int
    config: dict[str, str]


class Finding(msgspec.Struct, frozen=True):
    """One difference."""

    topic: str
    key: str
    """What differs: ``topic``, ``partitions``, ``replicas`` or the name of a value."""
    is_: str = msgspec.field(name="is")
    should: str
    action: Action
    reason: str = ""
    """Why it is refused, and what to do."""


class Report(msgspec.Struct, frozen=True):
    """What `apply` found and did, or would do."""

    is_dry_run: bool
    topics: int
    findings: list[Finding]

    @property
    def is_refused(self) -> bool:
        """Whether something is left that is not ours to mend."""
        return any(finding.action == "refuse" for finding in self.findings)


def plans(queue: QueueSettings) -> list[Plan]:
    """All topics as settings and design would have them."""
    return [
        Plan(topic, queue.partitions, queue.replicas, _config(topic, queue))
        for topic in sorted(LOGS | TABLES)
    ]


def _config(topic: str, queue: QueueSettings) -> dict[str, str]:
    config = {
        "min.insync.replicas": str(queue.min_in_sync),
        "max.message.bytes": str(MAX_RECORD_BYTES),
        # The brokers' time, which no client's wrong clock turns back.
        "message.timestamp.type": "LogAppendTime",
        "unclean.leader.election.enable": "false",
    }
    if topic in LOGS:
        kept_s = DLQ_RETENTION_S if topic == DEAD_LETTERS else queue.retention_s
        return config | {"cleanup.policy": "delete", "retention.ms": str(kept_s * 1_000)}
    # Compaction passes over the segment in use, and a worker reads what is left of a partition
    # when it gets it: small segments, closed within the hour.
    config |= {
        "cleanup.policy": "compact",
        "segment.ms": "3600000",
        "segment.bytes": str(2 * MAX_RECORD_BYTES),
        "min.cleanable.dirty.ratio": "0.2",
    }
    if topic == IDEMPOTENCY:
        config["cleanup.policy"] = "compact,delete"
        config["retention.ms"] = str(IDEMPOTENCY_RETENTION_S * 1_000)
    return config


def compare(wanted: Iterable[Plan], found: Mapping[str, State]) -> list[Finding]:
    """What differs, topic by topic."""
    findings = []
    for plan in wanted:
        state = found.get(plan.topic)
        if state is None:
            should = f"{plan.partitions} partitions on {plan.replicas} brokers"
            findings.append(Finding(plan.topic, "topic", "absent", should, "create"))
        else:
            findings += _differences(plan, state)
    return findings


def _differences(plan: Plan, state: State) -> list[Finding]:
    findings = []
    if state.partitions != plan.partitions:
        is_more = state.partitions > plan.partitions
        shrink = "partitions are never taken away: set queue.partitions to what is there"
        grow = f"postalynk topics grow {plan.partitions}, once everything is drained"
        findings.append(
            _refused(plan, "partitions", str(state.partitions), str(plan.partitions),
                     shrink if is_more else grow)
        )  # fmt: skip
    if state.replicas != plan.replicas:
        reason = "copies are moved with Kafka's own tools; or set queue.replicas to what is there"
        findings.append(_refused(plan, "replicas", str(state.replicas), str(plan.replicas), reason))
    for key, should in plan.config.items():
        value = state.config.get(key, "")
        if _normal(value) != _normal(should):
            findings.append(Finding(plan.topic, key, value, should, "set"))
    return findings


def _refused(plan: Plan, key: str, is_: str, should: str, reason: str) -> Finding:
    return Finding(plan.topic, key, is_, should, "refuse", reason)


def _normal(value: str) -> str:
    """A list of policies has no order."""
    return ",".join(sorted(value.split(",")))


def states(admin: AdminClient, cluster: Cluster, topics: Iterable[str]) -> dict[str, State]:
    """Those of the topics that exist; raises QueueError."""
    try:
        known = admin.list_topics(timeout=ANSWER_S).topics
        there = [topic for topic in topics if cluster.wire(topic) in known]
        resources = [ConfigResource(ResourceType.TOPIC, cluster.wire(topic)) for topic in there]
        asked = admin.describe_configs(resources, request_timeout=ANSWER_S) if resources else {}
        found = {}
        for topic, resource in zip(there, resources, strict=True):
            metadata = known[cluster.wire(topic)]
            values = asked[resource].result(ANSWER_S)
            found[topic] = State(
                len(metadata.partitions),
                min(len(partition.replicas) for partition in metadata.partitions.values()),
                {name: str(entry.value) for name, entry in values.items()},
            )
    except (KafkaException, TimeoutError) as error:
        raise failed("the topics cannot be read", error) from error
    return found


def create(admin: AdminClient, cluster: Cluster, wanted: Sequence[Plan]) -> None:
    """Make topics and wait until every broker knows them; raises QueueError."""
    new = [
        NewTopic(cluster.wire(p.topic), p.partitions, p.replicas, config=p.config) for p in wanted
    ]
    wait_all(admin.create_topics(new, operation_timeout=ANSWER_S) if new else {}, "made")
    wait_known(admin, {cluster.wire(plan.topic): plan.partitions for plan in wanted})


def apply(cluster: Cluster, queue: QueueSettings, *, is_dry_run: bool) -> Report:
    """Compare, then create and set what is ours to mend; a second run finds nothing."""
    admin = cluster.admin()
    wanted = plans(queue)
    findings = compare(wanted, states(admin, cluster, [plan.topic for plan in wanted]))
    report = Report(is_dry_run, len(wanted), findings)
    if is_dry_run:
        return report
    absent = {finding.topic for finding in findings if finding.action == "create"}
    create(admin, cluster, [plan for plan in wanted if plan.topic in absent])
    changes: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.action == "set":
            changes.setdefault(finding.topic, []).append(finding)
    _set(admin, cluster, changes)
    return report


def _set(admin: AdminClient, cluster: Cluster, changes: Mapping[str, list[Finding]]) -> None:
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            cluster.wire(topic),
            incremental_configs=[
                ConfigEntry(f.key, f.should, incremental_operation=AlterConfigOpType.SET)
                for f in findings
            ],
        )
        for topic, findings in changes.items()
    ]
    if resources:
        wait_all(admin.incremental_alter_configs(resources, request_timeout=ANSWER_S), "set")


def wait_all(asked: Mapping[Any, Future[Any]], what: str) -> None:
    """Wait for an administrative request; raises QueueError for the first refusal."""
    for name, future in asked.items():
        try:
            future.result(ANSWER_S)
        except (KafkaException, TimeoutError) as error:
            raise failed(f"{name} cannot be {what}", error) from error


def wait_known(admin: AdminClient, partitions: Mapping[str, int]) -> None:
    """Until the broker that is asked knows the topics with so many led partitions.

    The controller answers before the others have heard of a change.
    """
    for _ in range(round(ANSWER_S / LOOK_EVERY_S)):
        known = admin.list_topics(timeout=ANSWER_S).topics
        if all(
            wire in known and sum(p.leader >= 0 for p in known[wire].partitions.values()) >= count
            for wire, count in partitions.items()
        ):
            return
        time.sleep(LOOK_EVERY_S)
    raise QueueError("Kafka: the topics have no leaders", fix="look at the brokers")


def refuse_unless(is_fine: bool, what: str, fix: str) -> None:
    """QueueError unless it holds."""
    if not is_fine:
        raise QueueError(what, fix=fix)
