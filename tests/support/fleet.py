"""A fleet on Kafka: accept, workers and recorder as processes of their own, with one queue."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from postalynk.service.client import Client
from postalynk.settings import load
from tests.support.kafka import Brokers
from tests.support.processes import COMMAND, Postalynk, wait_for

SESSION_S = 6
"""What `scripts/kafka` tells its brokers."""


class Fleet:
    """Processes that share the brokers' topics; each has a directory of its own."""

    def __init__(
        self, base: Path, brokers: Brokers, smart_host: str, *, partitions: int = 16, policy: str
    ) -> None:
        self.base = base
        self.processes: dict[str, Postalynk] = {}
        base.mkdir(parents=True, exist_ok=True)
        key = base / "master.key"
        key.write_text(base64.b64encode(bytes(range(32))).decode())
        key.chmod(0o600)
        copies, quorum = (1, 1) if brokers.nodes == 1 else (3, 2)
        self._queue = (
            f'[control]\nmaster_key_file = "{base}/master.key"\n'
            f'[queue]\nurl = "{brokers.url}"\ntopic_prefix = "{base.name}."\n'
            f"partitions = {partitions}\nreplicas = {copies}\nmin_in_sync = {quorum}\n"
            f"session_timeout_s = {SESSION_S}\n"
        )
        self._smart_host = smart_host
        self._policy = policy
        self._pem = (
            rsa.generate_private_key(65_537, 2_048)
            .private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            .decode()
        )

    def add(self, name: str, program: str, delivery: str = "") -> Postalynk:
        """A process, not started; its name is its member's name."""
        made = Postalynk(
            self.base / name,
            self._smart_host,
            delivery=delivery,
            settings=f'[policy]\npath = "{self._policy}"\n',
            queue=f'{self._queue}member = "{name}"\n',
            program=program,
            hot=f"embedded:{self.base}/hot",
        )
        self.processes[name] = made
        return made

    def apply(self, *options: str) -> subprocess.CompletedProcess[str]:
        """``postalynk topics apply``."""
        config = next(iter(self.processes.values())).config
        return subprocess.run(
            [COMMAND, "topics", "apply", "--json", "--config", config, *options],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def organizations(self, through: Postalynk, count: int) -> dict[str, str]:
        """API key → domain of fresh organizations, each with a domain."""
        client = Client(load(str(through.config), environ={}))
        made = {}
        for number in range(count):
            asked = {"name": f"org {number}", "plan": "standard", "in_doubt": "retry"}
            org = client.call("create_organization", asked)
            domain = f"d{number}.example.com"
            key = {"domain": domain, "org": org["org"], "rsa_key_pem": self._pem}
            client.call("add_domain", key)
            made[org["api_key"]] = domain
        return made

    def remove(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            process.remove()


def in_hand(worker: Postalynk) -> int:
    """Deliveries that a killed or stopped worker has on the wire, or has not recorded: by its
    journal, which holds a slot of 64 octets for each.
    """
    journal = (worker.base / "data/queue/attempts.journal").read_bytes()
    return sum(journal.startswith(b"PLJ1", at) for at in range(0, len(journal), 64))


class Senders:
    """Submits ``count`` messages round robin over organizations, in batches, some at a time."""

    def __init__(
        self,
        api: Postalynk,
        orgs: dict[str, str],
        count: int,
        *,
        threads: int = 3,
        pause_s: float,
        first: int = 0,
    ) -> None:
        """``first``: the number of the first message, so that no other Senders sent it."""
        self._api = api
        self._orgs = list(orgs.items())
        self._pause_s = pause_s
        self.acknowledged: dict[str, str] = {}
        """Message id → recipient."""
        self.refusals = 0
        """503s and broken connections: asked again, under the same key."""
        self._pool = ThreadPoolExecutor(threads)
        batches = range(first, first + count, 50)
        self._sent = [self._pool.submit(self._send, first) for first in batches]

    def is_done(self) -> bool:
        """Whether every message has been submitted."""
        return all(future.done() for future in self._sent)

    def join(self, limit_s: float) -> None:
        """Wait until every message is acknowledged."""
        for future in self._sent:
            future.result(limit_s)
        self._pool.shutdown()

    def _send(self, first: int) -> None:
        key, domain = self._orgs[(first // 50) % len(self._orgs)]
        recipients = [f"{'slow' if n % 4 == 0 else 'to'}{n}@rcpt.example"
                      for n in range(first, first + 50)]  # fmt: skip
        emails = [
            {"from": f"a@{domain}", "to": [to], "subject": to, "text": f"{to}\n" * 20}
            for to in recipients
        ]
        headers = {"Idempotency-Key": f"batch-{first}"}
        while True:
            try:
                status, answer = self._api.request(
                    "POST", "/emails/batch", emails, headers, key=key
                )
            except (OSError, json.JSONDecodeError):
                status, answer = 0, None
            if status in {200, 202}:
                break
            self.refusals += 1
            assert status in {0, 409, 503}, answer
            time.sleep(0.2)
        for entry, to in zip(answer["data"], recipients, strict=True):
            self.acknowledged[entry["id"]] = to
        time.sleep(self._pause_s)


def wait_drained(process: Postalynk, limit_s: float) -> None:
    """Until nothing is queued and nothing deferred."""

    def is_drained() -> bool:
        state: dict[str, Any] = process.ask("drain", "--timeout", "30s", check=False)
        if "drained" not in state:
            print(f"drain: {state}")  # a cluster that recovers may be slower than a question is
        return bool(state.get("drained")) and state["deferred"] == 0

    wait_for(is_drained, "everything is sent", limit_s)
