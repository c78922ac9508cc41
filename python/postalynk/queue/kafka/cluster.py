"""How a cluster is reached, what topics are called there, and its errors in our words."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from postalynk.errors import QueueError
from postalynk.queue.native import topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from postalynk.queue.protocol import Position
    from postalynk.settings import Queue as QueueSettings

# The largest value of a message with all its attachments, and some more for a deferral's history.
# Brokers take it in one request (socket.request.max.bytes is 100 MB).
MAX_RECORD_BYTES = 67_108_864
# All tries of one question: brokers elect a new leader within seconds, so one is worth waiting for.
ANSWER_S = 30.0

AGAIN_S = 0.05
T = TypeVar("T")
PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._TRANSPORT,  # noqa: SLF001  the client's own errors are named so
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._WAIT_COORD,  # noqa: SLF001
    }
)
# One try of it: a request may wait for a broker that is away while another one leads by now.
TRY_S = 5.0

OLDEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
NEWEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]

LOGS = frozenset(name for name, is_compacted in topics() if not is_compacted)
TABLES = frozenset(name for name, is_compacted in topics() if is_compacted)


@dataclass(frozen=True)
class Cluster:
    """Where the brokers are and what is ours there."""

    servers: str
    prefix: str = ""
    """Before the name of each topic and group."""
    client: dict[str, str] = field(default_factory=dict)
    """Further settings of librdkafka."""

    @classmethod
    def of(cls, queue: QueueSettings) -> Cluster:
        """The cluster that settings name."""
        return cls(",".join(queue.servers), queue.topic_prefix, dict(queue.client))

    def config(self, **own: Any) -> dict[str, Any]:
        """Settings of a client; in ``own`` an underscore stands for a dot."""
        base = {
            "bootstrap.servers": self.servers,
            "client.id": "postalynk",
            # A broker that comes back is found again within a second, not ten.
            "reconnect.backoff.max.ms": 1_000,
            "message.max.bytes": MAX_RECORD_BYTES,
            "receive.message.max.bytes": 2 * MAX_RECORD_BYTES,
            **{key.replace("_", "."): value for key, value in own.items()},
        }
        return base | self.client

    def admin(self) -> AdminClient:
        """A client that asks and changes the cluster itself."""
        return AdminClient(self.config(), logger=logging.getLogger("postalynk.kafka.admin"))

    def consumer(self, group: str, **own: Any) -> Consumer:
        """A client that reads; an empty group: one that never commits."""
        config = self.config(
            group_id=self.prefix + (group or "reader"),
            enable_auto_commit=False,
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            # librdkafka would hold 100,000 records and 64 MB: what waits here is lost at a revoke.
            queued_min_messages=2_000,
            queued_max_messages_kbytes=32_768,
            **own,
        )
        return Consumer(config, logger=logging.getLogger("postalynk.kafka.consumer"))

    def wire(self, topic: str) -> str:
        """A topic's name at the brokers."""
        return self.prefix + topic

    def name(self, wire: str) -> str:
        """Undo `wire`."""
        return wire.removeprefix(self.prefix)

    def place(self, position: Position, offset: int = -1) -> TopicPartition:
        """A position as the client wants it."""
        return TopicPartition(self.wire(position[0]), position[1], offset)


def ends(
    admin: AdminClient,
    places: Iterable[TopicPartition],
    spec: OffsetSpec,
    patience_s: float = ANSWER_S,
) -> list[int]:
    """One offset a place, in order, by one request a broker; raises QueueError."""
    wanted = list(places)
    if not wanted:
        return []

    def ask() -> list[int]:
        asked = admin.list_offsets(dict.fromkeys(wanted, spec), request_timeout=TRY_S)
        try:
            found = [asked[place].result(2 * TRY_S).offset for place in wanted]
            if spec in {OLDEST, NEWEST} and min(found) < 0:
                # While its leader changes a partition may be answered for without an offset.
                raise KafkaException(KafkaError(KafkaError.OFFSET_NOT_AVAILABLE))
        except (KafkaException, TimeoutError):
            # librdkafka would ask the same of the same broker again, until its idea of the leaders
            # is renewed: every five minutes. Leader epochs are what it is refused for.
            with contextlib.suppress(KafkaException):
                admin.list_topics(timeout=TRY_S)
            raise
        return found

    return patiently("the offsets cannot be read", ask, patience_s)


def patiently(what: str, ask: Callable[[], T], patience_s: float = ANSWER_S) -> T:
    """An answer, asked for again while a partition or a group changes its broker, or has just been
    made; raises QueueError, ``what`` being wrong.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except (KafkaException, TimeoutError) as error:
            is_passing = isinstance(error, TimeoutError) or error.args[0].code() in PASSING
            if not is_passing or time.monotonic() > until:
                raise failed(what, error) from error
            time.sleep(AGAIN_S)


def failed(what: str, error: BaseException | KafkaError) -> QueueError:
    """An error of the client in our words."""
    cause = error.args[0] if isinstance(error, KafkaException) and error.args else error
    text = cause.str() if isinstance(cause, KafkaError) else str(cause) or type(cause).__name__
    return QueueError(f"Kafka: {what}: {text}", fix="look at the brokers; nothing stored is lost")
