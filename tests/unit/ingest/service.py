"""An API over a queue in memory, with two organizations, for tests to talk to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx

from postalynk.control.operations import Control
from postalynk.control.schedule import Schedule
from postalynk.control.secrets import Secrets
from postalynk.control.values import Domain
from postalynk.errors import StorageError
from postalynk.ingest.app import IngestContext, Readiness, build_app
from postalynk.ingest.compose import Composer
from postalynk.ingest.idempotency import Prepared
from postalynk.ingest.requests import Reading
from postalynk.observability import Metrics
from postalynk.policy import Policies
from postalynk.settings import Api
from tests.fakes.queue import MemoryQueue

START_US = 1_900_000_000_000_000
MESSAGE: dict[str, Any] = {
    "from": "Shop <shop@example.com>",
    "to": ["ann@rcpt.example"],
    "subject": "Hello",
    "text": "Hi",
}


def message(**changes: Any) -> dict[str, Any]:
    """A good message with some fields changed; a key of `...` goes."""
    tree = MESSAGE | {name.rstrip("_"): value for name, value in changes.items()}
    return {name: value for name, value in tree.items() if value is not ...}


class FakeReader:
    """A projection as a dict; `is_down` makes it PostgreSQL out of reach."""

    def __init__(self) -> None:
        self.is_down = False
        self.messages: dict[tuple[str, bytes], dict[str, Any]] = {}
        self.rows: dict[tuple[str, bytes], list[dict[str, Any]]] = {}

    async def message(self, org: str, id_: bytes) -> dict[str, Any] | None:
        self._check()
        return self.messages.get((org, id_))

    async def events(
        self, org: str, id_: bytes, after: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]] | None:
        self._check()
        rows = self.rows.get((org, id_))
        if rows is None:
            return None
        return rows[0 if after is None else int(after) :][:limit]

    def _check(self) -> None:
        if self.is_down:
            raise StorageError("PostgreSQL is out of reach")


class Clock:
    """Microseconds since the Unix epoch, moved by hand."""

    def __init__(self, now_us: int = START_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


class Service:
    """The application and all that a test wants to see of it."""

    def __init__(self, queue: MemoryQueue | None = None, settings: Api | None = None) -> None:
        self.clock = Clock()
        self.queue = queue or MemoryQueue(clock=self.clock)
        self.control = Control(self.queue, Secrets(bytes(32)), clock=self.clock)
        self.own = self.control.create_organization("Own")
        self.foreign = self.control.create_organization("Foreign")
        # Without keys, which accept has no use for and which take a while to make.
        self.control._write(Domain(name="example.com", org=self.own.org, keys=[]))
        self.control._write(Domain(name="foreign.example", org=self.foreign.org, keys=[]))
        self.schedule = Schedule(self.queue, self.clock)
        self.reader = FakeReader()
        self.metrics = Metrics()
        self.readiness = Readiness(is_ready=True, checks={"queue": "ok"})
        self.settings = settings or Api()
        self.policies: Policies | None = None
        self.faults: Counter[str] = Counter()
        self.app = self.build()

    def context(self) -> IngestContext:
        """What the application and SMTP submission are made from."""
        return IngestContext(
            queue=self.queue,
            directory=self.control.directory,
            reader=self.reader,
            readiness=lambda: self.readiness,
            metrics=self.metrics,
            policies=self._policies if self.policies else None,
            policy_faults=self.faults,
            templates=self.control,
            scheduling=self.schedule,
            settings=self.settings,
            clock=self.clock,
        )

    def _policies(self) -> Policies:
        assert self.policies is not None
        return self.policies

    def build(self) -> Any:
        """Another application over the same queue, as after a restart."""
        return build_app(self.context())

    def client(self, api_key: str | None = None, app: Any = None) -> httpx.AsyncClient:
        """A client with a bearer key, the own organization's by default."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app or self.app),
            base_url="http://api",
            verify=False,  # no TLS here, and building its context takes longer than a test
            headers={"authorization": f"Bearer {api_key or self.own.api_key}"},
        )

    async def post(self, tree: Any, path: str = "/emails", **headers: str) -> httpx.Response:
        """One request; underscores in header names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        # In ASCII, so that a lone surrogate can be sent as JSON's escape for it.
        named = {"content-type": "application/json"} | named
        async with self.client() as client:
            return await client.post(path, content=json.dumps(tree), headers=named)

    def accepted(self) -> int:
        """How many messages are in the log."""
        return len(self.queue.messages())

    def count(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def read(service: Service, tree: dict[str, Any]) -> Prepared:
    """What the fast pass makes of a good message of the own organization."""
    organization = service.control.directory.organization(service.own.org)
    assert organization is not None
    composer = Composer(service.control.directory, organization, service.clock())
    prepared = Reading(composer, is_batch=False, is_strict=False).prepare(json.dumps(tree).encode())
    assert isinstance(prepared, Prepared)
    return prepared


async def settle() -> None:
    """Let every task run until it waits for something outside."""
    for _ in range(20):
        await asyncio.sleep(0)
