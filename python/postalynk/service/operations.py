"""What an operator may ask, in one table: answered by the running process or, where the queue alone
knows the answer, by the command itself while nothing runs.

`ask` tries the control socket first. `Operations` needs only the queue; `LiveOperations` adds what
only a running worker and PostgreSQL can say. Every operation takes and gives plain JSON values, so
the socket needs no schema of its own.
"""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from postalynk.control.operations import Control
from postalynk.control.secrets import load as load_master_key
from postalynk.control.values import Domain
from postalynk.engine import Engine
from postalynk.errors import ControlError, NotRunning, QueueError
from postalynk.policy import Pools
from postalynk.queue import AnyQueue, open_queue
from postalynk.recorder.projection import Recorder
from postalynk.service import (
    accounting,
    policies,
    projecting,
    queue_operations,
    replaying,
    suppression_lists,
    tls_report,
)
from postalynk.service.canary import CanaryWatch
from postalynk.service.client import Client, control_directory
from postalynk.service.following import sites_of
from postalynk.service.queue_operations import LiveQueueOperations, QueueOperations
from postalynk.service.rotation import key_waits
from postalynk.service.suppression_lists import SuppressionOperations
from postalynk.settings import Settings, TlsReports
from postalynk.storage.hot.reader import HotReader
from postalynk.worker.parts import Parts
from postalynk.worker.pipeline import Worker

NAMES = (
    frozenset(
        {
            "add_domain",
            "advance_keys",
            "create_key",
            "create_organization",
            "deploy_policy",
            "explain_policy",
            "domain_setup",
            "list_domains",
            "list_organizations",
            "list_policies",
            "list_pools",
            "list_sources",
            "policy_files",
            "promote_policy",
            "replay_policy",
            "roll_back_policy",
            "rotate_domain",
            "set_pool",
            "set_source",
            "show_domain",
            "update_organization",
        }
    )
    | queue_operations.NAMES
    | suppression_lists.NAMES
)
"""Operations that need no running process."""

LIVE_NAMES = NAMES | {"drain", "process_state", "why"}
"""Those of any running process."""

WORKER_NAMES = queue_operations.LIVE_NAMES | {
    "tls_reports",
    "trace_close",
    "trace_open",
    "trace_read",
    "trace_sites",
}
"""Those of a process that sends."""

RECORDER_NAMES = frozenset({"replay_projections"})
"""Those of a process that records."""


class Operations(QueueOperations, SuppressionOperations):
    """Operations over the queue and the control state in it."""

    def __init__(self, queue: AnyQueue, control: Control, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        super().__init__(queue, settings, control_directory(settings))
        self._queue = queue
        self._control = control
        self._engine_settings = _limits_json(settings)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Carry out one operation by name; raises ControlError for an unknown one."""
        if name not in self.names:
            raise ControlError(f"no such operation: {name}", fix="use the matching release's CLI")
        try:
            return msgspec.to_builtins(getattr(self, name)(**arguments))
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise ControlError(f"{name}: {error}", fix="use the matching release's CLI") from error

    names: frozenset[str] = NAMES

    def create_organization(self, name: str, plan: str, in_doubt: Any) -> dict[str, Any]:
        """A new organization and its first key."""
        made = self._control.create_organization(name, plan=plan, in_doubt=in_doubt)
        return {"org": made.org, "api_key": made.api_key}

    def update_organization(self, org: str, salt: int) -> dict[str, Any]:
        """Spread it, or not any more."""
        made = self._control.update_organization(org, salt=salt)
        return {"org": made.id, "salt": made.salt}

    def create_key(self, org: str) -> dict[str, Any]:
        """Another key."""
        return {"org": org, "api_key": self._control.create_key(org).api_key}

    def list_organizations(self) -> list[dict[str, Any]]:
        """All organizations."""
        directory = self._control.directory
        return [
            {
                "org": found.id,
                "name": found.name,
                "plan": found.plan,
                "in_doubt": found.in_doubt,
                "salt": found.salt,
                "keys": len([key for key in directory.keys(found.id) if not key.revoked_at_us]),
                "domains": [domain.name for domain in directory.domains(found.id)],
            }
            for found in directory.organizations()
        ]

    def add_domain(self, domain: str, org: str, rsa_key_pem: str | None) -> Any:
        """A sender domain with keys and records."""
        pem = None if rsa_key_pem is None else rsa_key_pem.encode()
        return self._control.add_domain(domain, org, rsa_key_pem=pem)

    def rotate_domain(self, domain: str, org: str, rsa_key_pem: str | None) -> Any:
        """New signing keys of a domain, to be published."""
        pem = None if rsa_key_pem is None else rsa_key_pem.encode()
        return self._control.rotate_domain(domain, org, rsa_key_pem=pem)

    def advance_keys(self, domain: str, shown: dict[str, bool]) -> dict[str, Any]:
        """Take what DNS shows of a domain's keys; answers as `domain_setup`."""
        return self._setup(self._control.advance_keys(domain, shown))

    def show_domain(self, domain: str) -> Any:
        """The keys of a domain, their states and the records to publish."""
        return self._control.domain_setup(self._domain(domain))

    def domain_setup(self, domain: str) -> dict[str, Any]:
        """What a domain signs with and the sources its mail may leave from."""
        return self._setup(self._domain(domain))

    def _domain(self, domain: str) -> Domain:
        found = self._control.directory.domain(domain.lower().rstrip("."))
        if found is None:
            raise ControlError(f"there is no domain {domain}", fix="list the domains first")
        return found

    def _setup(self, found: Domain) -> dict[str, Any]:
        return {
            "setup": msgspec.to_builtins(self._control.domain_setup(found)),
            "senders": [
                {"ip": source.ip, "ehlo": source.ehlo}
                for source in self._control.directory.sources()
            ],
        }

    def list_domains(self, org: str | None) -> list[dict[str, Any]]:
        """Domains of one organization or all."""
        return [
            {
                "domain": found.name,
                "org": found.org,
                "selectors": [key.selector for key in found.keys if key.state == "signing"],
                "changing": [
                    f"{key.selector} {key.state}" for key in found.keys if key.state != "signing"
                ],
            }
            for found in self._control.directory.domains(org)
        ]

    def list_pools(self) -> list[dict[str, Any]]:
        """Pools and their sources."""
        return [
            {"name": pool.name, "sources": pool.sources} for pool in self._control.directory.pools()
        ]

    def set_pool(self, name: str, sources: dict[str, int]) -> Any:
        """Make or replace a pool."""
        return self._control.set_pool(name, sources)

    def list_sources(self) -> list[dict[str, Any]]:
        """Egress sources, their relays without logins."""
        return [
            {"name": source.name, "ip": source.ip, "ehlo": source.ehlo, "relay": source.relay}
            for source in self._control.directory.sources()
        ]

    def set_source(self, name: str, ip: str, ehlo: str, relay: str) -> dict[str, Any]:
        """Make or replace a source."""
        made = self._control.set_source(name, ip=ip, ehlo=ehlo, relay=relay)
        shown: dict[str, Any] = msgspec.to_builtins(made)
        del shown["sealed_relay"]
        return shown

    def list_policies(self) -> dict[str, Any]:
        """Deployed versions, the oldest first, and the one in force."""
        return policies.listed(self._control.directory)

    def deploy_policy(
        self, files: dict[str, str], canary_share: float | None = None
    ) -> dict[str, Any]:
        """Put a bundle in force, for everybody or on trial; ``files``: name → content in base64."""
        self._control.deploy_policy(policies.received(files), canary_share)
        return self.list_policies()

    def promote_policy(self) -> dict[str, Any]:
        """Let the canary decide for everybody."""
        self._control.promote_policy()
        return self.list_policies()

    def roll_back_policy(self, version: str | None) -> dict[str, Any]:
        """Put the one before, or the one named, in force again."""
        self._control.roll_back_policy(version)
        return self.list_policies()

    def explain_policy(
        self, files: dict[str, str], message_id: str, to: str | None, at_us: int | None
    ) -> Any:
        """Why a policy sends a recorded message where it does, and what became of it."""
        bundle = policies.received(files)
        told = replaying.explained(self._queue, bundle, self._pools(), message_id, to, at_us)
        message = replaying.recorded(self._queue, message_id, to)
        attempts = replaying.attempts(self._queue, message)
        return {**msgspec.to_builtins(told), "attempts": msgspec.to_builtins(attempts)}

    def replay_policy(
        self, baseline: dict[str, str], candidate: dict[str, str], since_us: int
    ) -> Any:
        """What a candidate would change of the decisions about retained records."""
        before, after = (policies.received(files) for files in (baseline, candidate))
        limits = replaying.limits_of(self._control.directory.pools(), self._engine_settings)
        known = (self._pools(), limits)
        table, took = replaying.replayed(self._queue, before, after, known, since_us)
        spent = dict(zip(("baseline", "candidate"), took, strict=True))
        return {**msgspec.to_builtins(table), "decision_us": spent}

    def _pools(self) -> Pools:
        return Pools(self._control.directory.members())

    def policy_files(self, version: str | None) -> dict[str, str]:
        """Code and tables of a deployed version, of the one in force when none is named."""
        return policies.sent(policies.deployed(self._control.directory, version))


@dataclass
class LiveParts:
    """What only a running process has; what its roles do not need is None."""

    reader: HotReader
    loop: asyncio.AbstractEventLoop
    reports: TlsReports
    dsn: Callable[[], str]
    """Where PostgreSQL is."""
    parts: Parts | None = None
    worker: Worker | None = None
    canary: CanaryWatch | None = None
    recorder: Recorder | None = None
    started_s: float = field(default_factory=time.monotonic)


class LiveOperations(LiveQueueOperations, Operations):
    """`Operations`, and what needs worker or PostgreSQL; from any thread but the loop's."""

    def __init__(
        self, queue: AnyQueue, control: Control, live: LiveParts, settings: Settings
    ) -> None:
        Operations.__init__(self, queue, control, settings)
        LiveQueueOperations.__init__(self, live.parts)
        self._live = live
        self.names = LIVE_NAMES
        if live.parts is not None:
            self.names |= WORKER_NAMES
        if live.recorder is not None:
            self.names |= RECORDER_NAMES

    @property
    def _engine(self) -> Engine:
        assert self._live.parts is not None, "offered only where there is a worker"
        return self._live.parts.engine

    def queue_state(self) -> dict[str, Any]:
        """Depth per lane, organization and site; of this worker where there are several."""
        if self._live.parts is None:
            return super().queue_state()
        snapshot = json.loads(self._engine.snapshot())
        return {
            "lanes": accounting.depth(self._queue),
            "deferred": self._engine.deferred(),
            "scheduled": len(self._live.parts.schedule),
            "in_flight": self._engine.in_flight(),
            "organizations": snapshot["organizations"],
            "sites": snapshot["sites"],
            "halted": [halted._asdict() for halted in self._live.parts.halts.halted()],
        }

    def list_policies(self) -> dict[str, Any]:
        """As without a worker, what the worker runs, and how the canary does."""
        listed, live = super().list_policies(), self._live
        if live.parts is None or live.canary is None:
            return listed
        running = live.parts.policies
        if listed["canary"] is not None:
            candidate, elsewhere = live.canary.tallies()
            listed["canary"] |= {"candidate": candidate, "elsewhere": elsewhere}
        canary = running.canary.policies.version if running.canary is not None else ""
        return {**listed, "running": running.version, "running_canary": canary}

    def policy_files(self, version: str | None) -> dict[str, str]:
        """As without a worker, except that it knows the policy of ``policy.path`` too."""
        if version is None and self._live.parts is not None:
            return policies.sent(self._live.parts.policies.bundle)
        return super().policy_files(version)

    def drain(self, limit_s: float) -> dict[str, Any]:
        """Wait until nothing is queued, deferred mail aside; for brokers too."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                queued = self._queued()
            except QueueError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(1.0)
                continue
            if not queued or time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        return {"drained": queued == 0, "queued": queued, "deferred": self._deferred()}

    def _queued(self) -> int:
        """Deliveries in the engine, and records above the low-water marks."""
        in_engine = self._engine.in_flight() if self._live.parts is not None else 0
        return max(accounting.waiting(self._queue), in_engine)

    def _deferred(self) -> int:
        if self._live.parts is not None and self._live.recorder is not None:
            return self._engine.deferred()
        deferred: int = super().queue_state()["deferred"]
        return deferred

    def replay_projections(self, **which: Any) -> projecting.Replayed:
        """Write into PostgreSQL what it lacks of a stretch of the log."""
        stretch = msgspec.convert(which, projecting.Stretch)
        work = projecting.replayed(self._queue, self._live.dsn, stretch)
        return asyncio.run_coroutine_threadsafe(work, self._live.loop).result()

    def tls_reports(self, days_ago: int) -> list[dict[str, Any]]:
        """The reports of a UTC day, as their domains get them."""
        day = tls_report.day_of(time.time_ns() // 1000) - days_ago
        policies = json.loads(self._engine.tls_report(max(day, 0)))
        return [r.body for r in tls_report.built(policies, day, self._live.reports)]

    def trace_open(self, site: str) -> int:
        """Begin to follow the conversations with a site; empty: with all."""
        return self._engine.trace_open(site)

    def trace_read(self, trace: int, limit_s: float) -> dict[str, Any]:
        """What was said since the last reading; waits for the first line."""
        read = self._engine.trace_read(trace, int(min(limit_s, 20.0) * 1000))
        if read is None:
            raise ControlError(f"there is no trace {trace}", fix="begin a new one")
        lines, lost = read
        names = ("at_us", "session", "site", "source", "mx", "text")
        return {
            "lines": [dict(zip(names, line, strict=True)) for line in lines],
            "lost": lost,
        }

    def trace_sites(self) -> dict[str, dict[str, Any]]:
        """By site: its hosts, open and opening connections, deliveries waiting."""
        return sites_of(json.loads(self._engine.snapshot()))

    def trace_close(self, trace: int) -> None:
        """End a trace."""
        self._engine.trace_close(trace)

    def why(self, message_id: str) -> dict[str, Any]:
        """The story of a message."""
        try:
            key = uuid.UUID(message_id)
        except ValueError as error:
            raise ControlError(
                f"{message_id!r} is no message id", fix="give the id POST /emails answered with"
            ) from error
        story = asyncio.run_coroutine_threadsafe(
            self._live.reader.story(key.bytes), self._live.loop
        ).result(30)
        if story is None:
            raise ControlError(
                f"no message {message_id} is recorded",
                fix=f"check the id; {self._lag()} events wait to be recorded",
            )
        return story

    def _lag(self) -> int | str:
        return self._live.recorder.lag() if self._live.recorder is not None else "some"

    def process_state(self) -> dict[str, Any]:
        """For `postalynk doctor`; what this process is not made for is None."""
        live = self._live
        parts, worker, recorder = live.parts, live.worker, live.recorder
        return {
            "pid": os.getpid(),
            "up_s": round(time.monotonic() - live.started_s, 1),
            "worker": worker.alive() if worker is not None else None,
            "policy_version": parts.policies.version if parts is not None else None,
            "postgresql": recorder.progress.is_connected if recorder is not None else None,
            "projection_lag": recorder.lag() if recorder is not None else None,
            "recovery": list(self._queue.recovery),
        }


def ask(settings: Settings, operation: str, timeout_s: float = 30.0, **arguments: Any) -> Any:
    """Answer an operation: by the running process, else from the queue where that is enough."""
    try:
        return Client(settings).call(operation, arguments, timeout_s=timeout_s)
    except NotRunning:
        if operation not in NAMES:
            raise
    queue = open_queue(settings)
    try:
        control = open_control(settings, queue)
        return Operations(queue, control, settings).call(operation, arguments)
    finally:
        queue.close()


def open_control(settings: Settings, queue: AnyQueue) -> Control:
    """The operator's side of a queue."""
    key = load_master_key(master_key_path(settings))
    return Control(queue, key, waits=key_waits(settings))


def _limits_json(settings: Settings) -> str:
    """What the engine is told about limits, as it is told it."""
    said = settings.delivery
    names = ("smart_host", "connections", "per_connection", "rate")
    return json.dumps({name: getattr(said, name) for name in names})


def master_key_path(settings: Settings) -> Path:
    """Where the key that seals DKIM keys lies."""
    if settings.control.master_key_file:
        return settings.path(settings.control.master_key_file)
    return control_directory(settings) / "master.key"
