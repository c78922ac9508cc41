"""What an operator may ask, in one table: answered by the running process or, where the queue alone
knows the answer, by the command itself while nothing runs.

`ask` tries the control socket first. `Operations` needs only the queue; `LiveOperations` adds what
only a running worker and PostgreSQL can say. Every operation takes and gives plain JSON values, so
the socket needs no schema of its own.
"""

import time
from typing import Any

import msgspec

from postalynk.control.directory import Directory
from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.errors import ControlError, NotRunning
from postalynk.queue import open_queue
from postalynk.queue.protocol import Queue
from postalynk.service import accounting
from postalynk.service.client import Client, control_directory
from postalynk.settings import Settings

NAMES = frozenset(
    {
        "add_domain",
        "audit",
        "create_key",
        "create_organization",
        "dead_letters",
        "list_domains",
        "list_organizations",
        "list_pools",
        "queue_state",
        "set_pool",
        "set_source",
    }
)
"""Operations that need no running process."""

LIVE_NAMES = NAMES | {"drain", "process_state", "why"}


class Operations:
    """Operations over the queue and the control state in it."""

    def __init__(self, queue: Queue, control: Control) -> None:
        self._queue = queue
        self._control = control

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

    names = NAMES

    def create_organization(self, name: str, plan: str, in_doubt: str) -> dict[str, Any]:
        """A new organization and its first key."""
        org, api_key = self._control.create_organization(name, plan=plan, in_doubt=in_doubt)
        return {"org": org, "api_key": api_key}

    def create_key(self, org: str) -> dict[str, Any]:
        """Another key."""
        return {"org": org, "api_key": self._control.create_key(org)}

    def list_organizations(self) -> Any:
        """All organizations."""
        return self._control.list_organizations()

    def add_domain(self, domain: str, org: str, rsa_key_pem: str | None) -> Any:
        """A sender domain with keys and records."""
        return self._control.add_domain(domain, org, rsa_key_pem=rsa_key_pem)

    def list_domains(self, org: str | None) -> Any:
        """Domains of one organization or all."""
        return self._control.list_domains(org)

    def list_pools(self) -> Any:
        """Pools and their sources."""
        return self._control.list_pools()

    def set_pool(self, name: str, sources: dict[str, int]) -> Any:
        """Make or replace a pool."""
        return self._control.set_pool(name, sources)

    def set_source(self, name: str, ip: str, ehlo: str) -> Any:
        """Make or replace a source."""
        return self._control.set_source(name, ip=ip, ehlo=ehlo)

    def audit(self) -> accounting.AuditReport:
        """G1, checked."""
        return accounting.audit(self._queue)

    def dead_letters(self) -> list[dict[str, object]]:
        """What could not be processed."""
        return accounting.dead_letters(self._queue)

    def queue_state(self) -> dict[str, Any]:
        """Depth per lane; organizations and sites are known only while a worker runs."""
        deferred = 0
        for partition in range(self._queue.partitions):
            after: bytes | None = None
            while page := self._queue.compacted("email.deferred", partition, after):
                deferred += len(page)
                after = page[-1][0]
        return {
            "lanes": accounting.depth(self._queue),
            "deferred": deferred,
            "in_flight": 0,
            "organizations": {},
            "sites": {},
        }


def ask(settings: Settings, name: str, timeout_s: float = 30.0, **arguments: Any) -> Any:
    """Answer an operation: by the running process, else from the queue where that is enough."""
    try:
        return Client(settings).call(name, arguments, timeout_s=timeout_s)
    except NotRunning:
        if name not in NAMES:
            raise
    queue = open_queue(settings)
    try:
        secrets = Secrets.open(master_key_path(settings))
        control = Control(queue, secrets, Directory.load(queue))
        return Operations(queue, control).call(name, arguments)
    finally:
        queue.close()


def master_key_path(settings: Settings) -> Any:
    """Where the key that seals DKIM keys lies."""
    if settings.control.master_key_file:
        return settings.path(settings.control.master_key_file)
    return control_directory(settings) / "master.key"


def wait_until(deadline_s: float, is_done: Any, pause_s: float = 0.05) -> bool:
    """Poll ``is_done`` until it holds or the monotonic deadline passes."""
    while not is_done():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(pause_s)
    return True
