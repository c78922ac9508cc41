"""`make bench NAME=isolation`: a fast receiver beside one that takes two seconds a reply.

Ours is the engine's rate to the fast receiver while mail for the slow one waits in it too, theirs
its rate to the fast one alone; the ratio is what a slow destination costs the others (G6).
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benches.load._smtp import Bars, Run, client, program, sink
from benches.report import Report, Round
from tests.support.processes import Dns, Sink

MESSAGES, SLOW = 60_000, 2_000
ZONE = [
    "fast.example MX 10 mx.fast.example",
    "mx.fast.example A 127.0.0.1",
    "slow.example MX 10 mx.slow.example",
    "mx.slow.example A 127.0.0.2",
]


def send(to: Sink, dns: Dns, messages: int, slow: int) -> Run:
    """The engine's rate to the fast receiver, beside so many messages for the slow one."""
    command = [program(), "isolation", "--dns", dns.address, "--port", str(to.port)]
    given = ["--messages", str(messages), "--slow", str(slow)]
    figures = json.loads(client([*command, *given])[0])
    if figures["slow_taken"] >= SLOW // 10:
        raise RuntimeError("the slow receiver was not slow")
    return Run(messages / figures["took_s"], figures["cpu_us_per_message"])


def mean(runs: Sequence[Run]) -> Run:
    """Of runs of as many messages each, as if they were one."""
    return Run(
        len(runs) / sum(1 / run.per_second for run in runs),
        sum(run.cpu_us_per_message for run in runs) / len(runs),
    )


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="isolation")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual messages")
    options = parser.parse_args(arguments)
    messages = int(MESSAGES * options.scale)
    rounds: list[tuple[Run, Run]] = []
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory, sink(Path(directory)) as to:
        dns = Dns(Path(directory), ZONE, "127.0.0.1:0")
        try:
            for number in range(options.rounds):
                runs: dict[int, list[Run]] = {0: [], SLOW: []}
                # Drift within a round falls on both alike.
                for slow in (0, SLOW, SLOW, 0):
                    runs[slow].append(send(to, dns, messages, slow))
                beside, alone = mean(runs[SLOW]), mean(runs[0])
                rounds.append((beside, alone))
                shown = f"beside {beside.per_second:,.0f}/s {beside.cpu_us_per_message:.1f} µs"
                shown += f", alone {alone.per_second:,.0f}/s {alone.cpu_us_per_message:.1f} µs"
                print(f"round {number + 1}: {shown}", file=sys.stderr)
        finally:
            dns.stop()
    bars = Bars()
    bars.least("ratio", median(a.per_second / b.per_second for a, b in rounds), 0.95)
    bars.print()
    report = Report(
        name="isolation",
        unit="messages/s",
        rounds=[Round(a.per_second, b.per_second) for a, b in rounds],
        cpu_us_per_message=median(a.cpu_us_per_message for a, _ in rounds),
        more={
            "cpu_ratio": median(b.cpu_us_per_message / a.cpu_us_per_message for a, b in rounds),
            "bars": bars.rows,
        },
    )
    print(report.write())
    return 0
