"""A worker on the embedded queue, with the engine and a sink, inside the test's own process."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from postalynk._engine import (
    EmbeddedQueue,
    Engine,
    EventColumns,
    Sink,
    encode_messages,
    new_message_id,
)
from postalynk.model import AcceptedMessage, Mailbox
from postalynk.observability import Metrics
from postalynk.policy import Policies, Pools
from postalynk.worker.parts import Parts, WorkerOptions, wall_us
from postalynk.worker.pipeline import Worker

PARTITIONS = 4


def mail(number: int, org: str) -> AcceptedMessage:
    return AcceptedMessage(
        id=new_message_id(wall_us() // 1_000),
        org=org,
        accepted_at_us=wall_us(),
        expires_at_us=0,
        lane="normal",
        reverse_path="bounce@example.com",
        recipients=[f"r{number}@example.org"],
        from_=Mailbox("", "shop@example.com"),
        to=[Mailbox("", f"r{number}@example.org")],
        cc=[], bcc=[], reply_to=[], subject="Hello", text="Hi", html="", headers=[],
        attachments=[], tags=[], message_id=f"{org}-{number}@example.com", dkim_domain="",
        plan="standard", in_doubt="retry",
    )  # fmt: skip


class Watched:
    """An engine that notes by which versions each batch was routed, and how long it was away."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left_s = 0.0
        self.longest_s = 0.0
        self.batches: list[set[str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def routable(self, most: int, timeout_ms: int) -> Any:
        batch = self._engine.routable(most, timeout_ms)
        self._left_s = time.monotonic()
        return batch

    def dispatch(
        self, batch: Any, routes: Sequence[tuple[Any, ...]], choice: Sequence[int]
    ) -> None:
        self.longest_s = max(self.longest_s, time.monotonic() - self._left_s)
        self.batches.append({routes[number][6] for number in choice})
        self._engine.dispatch(batch, cast("Any", routes), choice)


@dataclass
class Running:
    """A worker that runs, and what a test wants of it."""

    queue: EmbeddedQueue
    parts: Parts
    worker: Worker
    failures: list[BaseException] = field(default_factory=list)

    def accept(self, messages: Sequence[AcceptedMessage]) -> None:
        self.queue.append(encode_messages(messages, PARTITIONS))

    def watch(self) -> Watched:
        """Before `worker.start`: note what is dispatched."""
        watched = Watched(self.parts.engine)
        self.parts.engine = cast("Engine", watched)
        return watched

    def events(self, *names: str) -> Iterator[tuple[object, ...]]:
        """These columns of every event but ACCEPTED."""
        consumer = self.queue.consumer("", ["email.events"])
        while len(batch := consumer.poll(1_000, 1 << 20, 0)):
            columns = EventColumns(batch).events()
            yield from zip(*(columns[name] for name in names), strict=True)
        consumer.close()


@contextmanager
def running(
    directory: Path,
    sink: Sink,
    policies: Policies,
    pools: Mapping[str, Sequence[str]],
    options: WorkerOptions | None = None,
) -> Iterator[Running]:
    """A worker, not started yet, whose sources all lead to the sink; stopped in any case."""
    queue = EmbeddedQueue(str(directory / "queue"), partitions=PARTITIONS)
    settings = {"smart_host": sink.address, "journal": str(directory / "attempts.journal")}
    engine = Engine(json.dumps(settings))
    sources = sorted({source for members in pools.values() for source in members})
    engine.configure(
        json.dumps(
            {
                "sources": [{"name": name, "ip": "127.0.0.1"} for name in sources],
                "pools": [
                    {"name": name, "sources": dict.fromkeys(members, 1)}
                    for name, members in pools.items()
                ],
            }
        )
    )
    failures: list[BaseException] = []
    parts = Parts(
        queue=queue,
        engine=engine,
        policies=policies,
        pools=Pools(pools),
        options=options or WorkerOptions(),
        metrics=Metrics(),
        on_failure=failures.append,
    )
    worker = Worker(parts)
    try:
        yield Running(queue, parts, worker, failures)
    finally:
        worker.stop()
        queue.close()
