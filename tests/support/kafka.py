"""A real broker for tests: started once a run, when the first of them wants it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from postalynk.queue.kafka.cluster import LOGS, TABLES, Cluster
from postalynk.queue.kafka.topics import create, plans
from postalynk.settings import Queue
from tests.support.processes import ROOT

SCRIPT = ROOT / "scripts" / "kafka"
_numbers = itertools.count()


class Brokers:
    """A cluster of our own in a directory of its own."""

    def __init__(self, nodes: int = 1) -> None:
        self.nodes = nodes
        self.state = Path(tempfile.mkdtemp(prefix="postalynk-kafka-"))
        self.port = _ports(nodes)
        atexit.register(self.stop)
        self.url = self.up()

    def up(self) -> str:
        """Start what does not run; what to write as ``queue.url``."""
        done = self._run("up", "--nodes", str(self.nodes))
        return done.stdout.splitlines()[-1]

    def pid(self, node: int) -> int:
        """The process of a node."""
        return int((self.state / str(node) / "pid").read_text())

    def stop(self) -> None:
        """End them all and remove what they wrote."""
        if self.state.exists():
            self._run("down")
            shutil.rmtree(self.state, ignore_errors=True)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        place = ["--port", str(self.port), "--state", str(self.state)]
        done = subprocess.run(
            [SCRIPT, *command, *place], check=False, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"scripts/kafka {command}: {done.stdout}{done.stderr}"
        return done


def _ports(nodes: int) -> int:
    """A port so that all that the nodes listen on are free, or were a moment ago.

    Below the range of `free_port`, which would give a controller's port to somebody else.
    """
    for first in range(12_000 + 10 * (os.getpid() % 500), 19_000, 10):
        if all(_is_free(first + 100 * node + n) for node in range(nodes) for n in (0, 1)):
            return first
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@functools.cache
def one_broker() -> Brokers:
    """The broker of this run."""
    return Brokers()


@contextlib.contextmanager
def topics(partitions: int, names: Collection[str] = LOGS | TABLES) -> Iterator[Cluster]:
    """Topics of a name nobody else has, removed at the end."""
    url = one_broker().url
    cluster = Cluster(url.removeprefix("kafka://"), f"t{os.getpid()}-{next(_numbers)}.")
    settings = Queue(url=url, partitions=partitions, replicas=1, min_in_sync=1)
    admin = cluster.admin()
    create(admin, cluster, [plan for plan in plans(settings) if plan.topic in names])
    try:
        yield cluster
    finally:
        for future in admin.delete_topics([cluster.wire(name) for name in names]).values():
            future.result(30)
