"""`make bench NAME=submission`: messages made durable a second, ours beside Postfix's intake.

The same client for both: ``smtp-source`` with 20 sessions and 10 kB, which reads a 250 for every
message. Neither side delivers meanwhile: Postfix puts all on hold, which is the leanest it has;
ours has a smart host that never greets, and room for a hundred messages on their way to it.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benches.baselines.postfix import Intake
from benches.load._smtp import MESSAGE_BYTES, Bars, Run
from benches.measure import cpu_us
from benches.report import Report, Round
from tests.support.processes import Postalynk, free_port

CLIENTS = 20
OURS, THEIRS = 40_000, 4_000


@contextmanager
def silent_host() -> Iterator[str]:
    """A host that takes connections and never greets."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def submit(port: int, messages: int, pid: int) -> Run:
    """Every message of smtp-source is answered, or it fails; the CPU is the receiver's."""
    cpu, began = cpu_us([pid]), time.monotonic()
    subprocess.run(
        f"smtp-source -d -s {CLIENTS} -l {MESSAGE_BYTES} -m {messages} -f shop@example.com "
        f"-t someone@rcpt.example 127.0.0.1:{port}".split(),
        check=True,
    )
    took = time.monotonic() - began
    return Run(messages / took, (cpu_us([pid]) - cpu) / messages)


@contextmanager
def ours(base: Path) -> Iterator[Postalynk]:
    """A whole `up` that trusts this machine and gets nothing delivered."""
    with silent_host() as host:
        held = Postalynk(base, host, delivery="sign = false\nmax_in_flight = 100\n")
        try:
            held.start().prepare()
            held.stop()
            held.submission = f'trusted_networks = {{"127.0.0.1/32" = "{held.org}"}}\n'
            held.__post_init__()
            yield held.start()
        finally:
            held.remove()


def run_ours(base: Path, messages: int) -> Run:
    """One round of ours, on an empty queue."""
    with ours(base) as held:
        assert held.process is not None
        submit(held.smtp_port, messages // 10, held.process.pid)
        before = held.metric("postalynk_submission_messages_accepted_total")
        run = submit(held.smtp_port, messages, held.process.pid)
        taken = held.metric("postalynk_submission_messages_accepted_total") - before
        if taken != messages:
            raise RuntimeError(f"{taken} of {messages} were accepted")
        return run


def run_theirs(base: Path, messages: int) -> Run:
    """One round of Postfix, on an empty queue."""
    theirs = Intake(base, free_port())
    try:
        submit(theirs.port, messages // 10, theirs.pid)
        before = theirs.held()
        run = submit(theirs.port, messages, theirs.pid)
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
    rounds: list[tuple[Run, Run]] = []
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        base = Path(directory)
        for number in range(options.rounds):
            mine = run_ours(base / "ours", int(OURS * options.scale))
            theirs = run_theirs(base / "postfix", int(THEIRS * options.scale))
            rounds.append((mine, theirs))
            shown = f"ours {mine.per_second:,.0f}/s {mine.cpu_us_per_message:.0f} µs"
            shown += f", Postfix {theirs.per_second:,.0f}/s {theirs.cpu_us_per_message:.0f} µs"
            print(f"round {number + 1}: {shown}", file=sys.stderr)
    bars = Bars()
    bars.least("ratio", median(a.per_second / b.per_second for a, b in rounds), 10, 20)
    bars.print()
    report = Report(
        name="submission",
        unit="messages/s",
        rounds=[Round(a.per_second, b.per_second) for a, b in rounds],
        cpu_us_per_message=median(a.cpu_us_per_message for a, _ in rounds),
        more={
            "cpu_us_per_message_theirs": median(b.cpu_us_per_message for _, b in rounds),
            "cpu_ratio": median(b.cpu_us_per_message / a.cpu_us_per_message for a, b in rounds),
            "bars": bars.rows,
        },
    )
    print(report.write())
    return 0
