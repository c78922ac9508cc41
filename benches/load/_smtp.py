"""What the SMTP benchmarks share: the sink on a core of its own, and clients on the other.

The bar of each figure is its contract (issue "The best SMTP client and server core in the field"):
`Bars` puts a figure beside its bar and says whether it holds, and the caller prints it.
"""

import functools
import json
import os
import resource
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT, Sink

CLIENT_CORE, SINK_CORE = 0, 1
MESSAGE_BYTES = 10_000
CONNECTIONS = 50
ENVELOPE = ("-f", "bounce@sender.example", "-t", "someone@receiver.example")


@dataclass(frozen=True, slots=True)
class Run:
    """One side in one round."""

    per_second: float
    cpu_us_per_message: float


@dataclass
class Bars:
    """Figures with the bars they must pass."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def least(self, name: str, value: float, bar: float, stretch: float | None = None) -> None:
        """A figure that must be at least its bar."""
        self.rows[name] = {"value": value, "at_least": bar, "stretch": stretch, "met": value >= bar}

    def most(self, name: str, value: float, bar: float, stretch: float | None = None) -> None:
        """A figure that must be at most its bar."""
        self.rows[name] = {"value": value, "at_most": bar, "stretch": stretch, "met": value <= bar}

    def print(self) -> None:
        """A line a figure."""
        for name, row in self.rows.items():
            kind = "at_least" if "at_least" in row else "at_most"
            sign = ">=" if kind == "at_least" else "<="
            said = "met" if row["met"] else "MISSED"
            stretch = "" if row["stretch"] is None else f" (stretch {row['stretch']})"
            print(f"{name}: {row['value']:.3g} {sign} {row[kind]}{stretch} {said}")


@functools.cache
def program() -> str:
    """Rust's side of these benchmarks, in release."""
    command = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "postalynk-benches"]
    subprocess.run(command, cwd=ROOT, check=True)
    return str(ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "smtp")


def core(number: int) -> int:
    """The core of this number, or the last one there is."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[min(number, len(cores) - 1)]


def pin(pid: int, number: int) -> None:
    """Keep all threads of a process on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core(number)})


@contextmanager
def sink(base: Path, *options: str) -> Iterator[Sink]:
    """A sink that only counts, on its own core."""
    running = Sink(base, "--fast", *options)
    try:
        pin(running.process.pid, SINK_CORE)
        yield running
    finally:
        running.stop()


def threads_cpu_us(pid: int) -> float:
    """Microseconds of processor time of a process's live threads, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e3


def client(command: Iterable[object]) -> tuple[str, float, float]:
    """Run a client on its core; its output, seconds, and microseconds of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    pinned = ["taskset", "-c", str(core(CLIENT_CORE)), *map(str, command)]
    done = subprocess.run(pinned, stdout=subprocess.PIPE, text=True, check=True)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return done.stdout, took, cpu * 1e6


def ours(to: Sink, messages: int, **options: object) -> Run:
    """Send over the engine's own connections; options of `smtp send`."""
    before = to.count()
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    command: list[object] = [program(), "send", "--to", to.address, "--messages", messages, *given]
    figures = json.loads(client(command)[0])
    taken = to.count() - before
    if taken != messages:
        raise RuntimeError(f"the sink took {taken} of {messages}")
    return Run(messages / figures["took_s"], figures["cpu_us_per_message"])


def smtp_source(to: Sink, messages: int, connections: int = CONNECTIONS) -> Run:
    """Send with Postfix's smtp-source, connections kept open (-d)."""
    before = to.count()
    command = [
        *("smtp-source", "-d", "-s", str(connections), "-l", str(MESSAGE_BYTES)),
        *("-m", str(messages), *ENVELOPE, to.address),
    ]
    _, took, cpu = client(command)
    taken = to.count() - before
    if taken != messages:
        raise RuntimeError(f"the sink took {taken} of {messages}")
    return Run(messages / took, cpu / messages)


def syscalls_per_message(base: Path, to: Sink, messages: int, **options: object) -> float:
    """System calls of `smtp send` by ``strace -c -f``, start and end of the process included."""
    counts = base / "strace"
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    command: list[object] = [
        "strace",
        "-f",
        "-c",
        "-o",
        counts,
        program(),
        "send",
        "--to",
        to.address,
    ]
    client([*command, "--messages", messages, *given])
    total = counts.read_text().splitlines()[-1].split()
    return int(total[3]) / messages
