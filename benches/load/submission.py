"""`make bench NAME=submission`: messages made durable a second, ours beside Postfix's intake.

The same clients for both, 20 connections and 10 kB, each message acknowledged: first our engine's
own connections, which use what the server offers (PIPELINING and CHUNKING, as both do), as a mail
server in front would; then ``smtp-source``, which waits for every reply, as a simple program does:
there most of the time is the client's and the kernel's. Neither side delivers meanwhile: Postfix
puts all on hold, which is the leanest it has, and ours is started with ``--hold``.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benches.baselines.postfix import Intake
from benches.load._smtp import ENVELOPE, MESSAGE_BYTES, Bars, Run, program
from benches.measure import cpu_us
from benches.report import Report, Round
from tests.support.processes import Postalynk, free_port

CLIENTS = 20
OURS, THEIRS = 40_000, 4_000


@dataclass(frozen=True, slots=True)
class Client:
    """Who submits ``messages`` to a port and fails when one of them was not accepted."""

    name: str
    command: Callable[[int, int], list[str]]
    """Of port and messages."""

    def submit(self, port: int, messages: int, pid: int) -> Run:
        """The CPU is that of the receiver ``pid`` and its descendants."""
        cpu, began = cpu_us([pid]), time.monotonic()
        subprocess.run(self.command(port, messages), check=True, stdout=subprocess.DEVNULL)
        took = time.monotonic() - began
        return Run(messages / took, (cpu_us([pid]) - cpu) / messages)


def _pipelining(port: int, messages: int) -> list[str]:
    given = f"--to 127.0.0.1:{port} --connections {CLIENTS} --bytes {MESSAGE_BYTES}"
    return [program(), "send", *given.split(), "--messages", str(messages)]


def _lockstep(port: int, messages: int) -> list[str]:
    given = f"-d -s {CLIENTS} -l {MESSAGE_BYTES} -m {messages}"
    return ["smtp-source", *given.split(), *ENVELOPE, f"127.0.0.1:{port}"]


PIPELINING, LOCKSTEP = Client("pipelining", _pipelining), Client("lockstep", _lockstep)


@contextmanager
def ours(base: Path) -> Iterator[Postalynk]:
    """A whole `up` that trusts this machine and gets nothing delivered."""
    held = Postalynk(base, delivery="sign = false\n")
    try:
        held.start().prepare(ENVELOPE[1].rpartition("@")[2])
        held.stop()
        held.submission = f'trusted_networks = {{"127.0.0.1/32" = "{held.org}"}}\n'
        held.__post_init__()
        yield held.start("--hold")
    finally:
        held.remove()


def run_ours(base: Path, messages: int, client: Client) -> Run:
    """One run of ours, on an empty queue."""
    with ours(base) as held:
        assert held.process is not None
        client.submit(held.smtp_port, messages, held.process.pid)  # until its memory has grown
        before = held.metric("postalynk_submission_messages_accepted_total")
        run = client.submit(held.smtp_port, messages, held.process.pid)
        taken = held.metric("postalynk_submission_messages_accepted_total") - before
        if taken != messages:
            raise RuntimeError(f"{taken} of {messages} were accepted")
        return run


def run_theirs(base: Path, messages: int, client: Client) -> Run:
    """One run of Postfix, on an empty queue."""
    theirs = Intake(base, free_port())
    try:
        client.submit(theirs.port, messages, theirs.pid)
        before = theirs.held()
        run = client.submit(theirs.port, messages, theirs.pid)
        if (taken := theirs.held() - before) != messages:
            raise RuntimeError(f"Postfix holds {taken} of {messages}")
        return run
    finally:
        theirs.stop()


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="submission")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual messages")
    options = parser.parse_args(arguments)
    pairs: dict[str, list[tuple[Run, Run]]] = {PIPELINING.name: [], LOCKSTEP.name: []}
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        base = Path(directory)
        for number in range(options.rounds):
            for client in (PIPELINING, LOCKSTEP):
                mine = run_ours(base / "ours", int(OURS * options.scale), client)
                theirs = run_theirs(base / "postfix", int(THEIRS * options.scale), client)
                pairs[client.name].append((mine, theirs))
                shown = f"ours {mine.per_second:,.0f}/s {mine.cpu_us_per_message:.0f} µs"
                shown += f", Postfix {theirs.per_second:,.0f}/s {theirs.cpu_us_per_message:.0f} µs"
                print(f"round {number + 1}, {client.name}: {shown}", file=sys.stderr)
    rounds = pairs[PIPELINING.name]

    def rate(client: Client) -> float:
        return median(a.per_second / b.per_second for a, b in pairs[client.name])

    def cpu(client: Client) -> float:
        return median(b.cpu_us_per_message / a.cpu_us_per_message for a, b in pairs[client.name])

    bars = Bars()
    bars.least("ratio", rate(PIPELINING), 10, 20)
    bars.least("ratio_lockstep", rate(LOCKSTEP), 10, 20)
    bars.print()
    report = Report(
        name="submission",
        unit="messages/s",
        rounds=[Round(a.per_second, b.per_second) for a, b in rounds],
        cpu_us_per_message=median(a.cpu_us_per_message for a, _ in rounds),
        more={
            "cpu_us_per_message_theirs": median(b.cpu_us_per_message for _, b in rounds),
            "cpu_ratio": cpu(PIPELINING),
            "cpu_ratio_lockstep": cpu(LOCKSTEP),
            "ours_lockstep": median(a.per_second for a, _ in pairs[LOCKSTEP.name]),
            "bars": bars.rows,
        },
    )
    print(report.write())
    return 0
