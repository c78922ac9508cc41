"""`make bench NAME=smtp-tls`: our SMTP client over TLS 1.3 beside itself in plaintext.

Both sides send 10 kB with DATA over 50 connections, a new one every 1,000 messages, to sinks that
differ in STARTTLS only. The bar is on the rate; the sink decrypts on its own core.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from benches.load._smtp import CONNECTIONS, Bars, Run, ours, sink
from benches.report import Report, Round

MESSAGES, PER_CONNECTION = 100_000, 1_000


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="smtp-tls")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual messages")
    options = parser.parse_args(arguments)
    messages = int(MESSAGES * options.scale)
    rounds: list[dict[str, Run]] = []
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        base = Path(directory)
        ready = {
            "connections": CONNECTIONS,
            "per-connection": PER_CONNECTION,
            "journal": base / "journal",
        }
        with sink(base) as plain, sink(base, "--starttls") as encrypted:
            ours(plain, 2_000, **ready)
            for number in range(options.rounds):
                result = {
                    "tls": ours(encrypted, messages, starttls=1, **ready),
                    "plain": ours(plain, messages, **ready),
                }
                rounds.append(result)
                shown = (
                    f"{name} {run.per_second:,.0f}/s {run.cpu_us_per_message:.1f} µs"
                    for name, run in result.items()
                )
                print(f"round {number + 1}:", ", ".join(shown), file=sys.stderr)
    ratio = median(r["tls"].per_second / r["plain"].per_second for r in rounds)
    bars = Bars()
    bars.least("ratio", ratio, 0.4, 0.5)
    bars.print()
    report = Report(
        name="smtp-tls",
        unit="messages/s",
        rounds=[Round(r["tls"].per_second, r["plain"].per_second) for r in rounds],
        cpu_us_per_message=median(r["tls"].cpu_us_per_message for r in rounds),
        more={
            "cpu_us_per_message_plain": median(r["plain"].cpu_us_per_message for r in rounds),
            "bars": bars.rows,
        },
    )
    print(report.write())
    return 0
