"""`make bench NAME=smtp-client`: our SMTP client beside Postfix's smtp-source, on the same sink.

Ours are the engine's own connections with messages that are composed already, as smtp-source's
are; each attempt is noted in the journal before its content leaves, which smtp-source does not do.
Ratio and CPU are for DATA on both sides; with BDAT, which smtp-source does not speak, ours again.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from benches.load._smtp import CONNECTIONS, Bars, Run, ours, sink, smtp_source, syscalls_per_message
from benches.report import Report, Round

OURS, THEIRS, TRACED = 100_000, 30_000, 20_000


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="smtp-client")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual messages")
    options = parser.parse_args(arguments)
    rounds: list[dict[str, Run]] = []
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        base = Path(directory)
        ready = {"connections": CONNECTIONS, "journal": base / "journal"}
        with sink(base) as data, sink(base, "--chunking") as bdat:
            ours(data, 2_000, **ready)  # nothing is faulted in for the first time when it counts
            for number in range(options.rounds):
                result = {
                    "data": ours(data, int(OURS * options.scale), **ready),
                    "theirs": smtp_source(data, int(THEIRS * options.scale)),
                    "bdat": ours(bdat, 2 * int(OURS * options.scale), **ready),
                }
                rounds.append(result)
                shown = (
                    f"{name} {run.per_second:,.0f}/s {run.cpu_us_per_message:.1f} µs"
                    for name, run in result.items()
                )
                print(f"round {number + 1}:", ", ".join(shown), file=sys.stderr)
            calls = {
                "syscalls_per_message": syscalls_per_message(base, data, TRACED, **ready),
                "syscalls_per_message_bdat": syscalls_per_message(base, bdat, TRACED, **ready),
            }

    def rate(side: str) -> float:
        return median(r[side].per_second / r["theirs"].per_second for r in rounds)

    def cpu(side: str) -> float:
        return median(r[side].cpu_us_per_message / r["theirs"].cpu_us_per_message for r in rounds)

    bars = Bars()
    bars.least("ratio", rate("data"), 3, 4.5)
    bars.most("cpu_ratio", cpu("data"), 1 / 3, 1 / 5)
    bars.most("syscalls_per_message", calls["syscalls_per_message"], 2.5)
    bars.most("syscalls_per_message_bdat", calls["syscalls_per_message_bdat"], 2.5, 1)
    bars.print()
    report = Report(
        name="smtp-client",
        unit="messages/s",
        rounds=[Round(r["data"].per_second, r["theirs"].per_second) for r in rounds],
        cpu_us_per_message=median(r["data"].cpu_us_per_message for r in rounds),
        more={
            "cpu_us_per_message_theirs": median(r["theirs"].cpu_us_per_message for r in rounds),
            "cpu_ratio": cpu("data"),
            "ours_bdat": median(r["bdat"].per_second for r in rounds),
            "ratio_bdat": rate("bdat"),
            "cpu_us_per_message_bdat": median(r["bdat"].cpu_us_per_message for r in rounds),
            "cpu_ratio_bdat": cpu("bdat"),
            **calls,
            "bars": bars.rows,
        },
    )
    print(report.write())
    return 0
