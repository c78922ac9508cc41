"""`make bench NAME=sink`: the testkit's fast sink under a client that costs next to nothing.

Ours is the sink with BDAT, theirs the same sink with DATA: what counts are its messages per second
of its own processor time, so a client that is slower than the sink does not hide what it can do.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from benches.load._smtp import Bars, client, program, sink, threads_cpu_us
from benches.report import Report, Round

MESSAGES = 200_000


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="sink")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    rounds: list[dict[str, dict[str, float]]] = []
    with (
        tempfile.TemporaryDirectory(prefix="pl-bench-") as directory,
        sink(Path(directory), "--chunking") as running,
    ):
        for number in range(options.rounds):
            result = {}
            for mode in ("bdat", "data"):
                before, cpu = running.count(), threads_cpu_us(running.process.pid)
                command = [program(), "flood", "--to", running.address, "--mode", mode]
                figures = json.loads(client([*command, "--messages", str(MESSAGES)])[0])
                cpu = threads_cpu_us(running.process.pid) - cpu
                if (taken := running.count() - before) != figures["messages"]:
                    raise RuntimeError(f"the sink took {taken} of {figures['messages']}")
                result[mode] = {
                    "per_core": taken / cpu * 1e6,
                    "per_second": taken / figures["took_s"],
                }
                shown = f"{result[mode]['per_core']:,.0f} a core, {result[mode]['per_second']:,.0f}"
                print(f"round {number + 1}: {mode} {shown}/s", file=sys.stderr)
            rounds.append(result)

    def middle(mode: str, key: str) -> float:
        return median(r[mode][key] for r in rounds)

    bars = Bars()
    bars.least("bdat_per_core", middle("bdat", "per_core"), 100_000)
    bars.least("data_per_core", middle("data", "per_core"), 50_000)
    bars.print()
    report = Report(
        name="sink",
        unit="messages per second of one core",
        rounds=[Round(r["bdat"]["per_core"], r["data"]["per_core"]) for r in rounds],
        cpu_us_per_message=1e6 / middle("bdat", "per_core"),
        more={
            "bdat_per_second": middle("bdat", "per_second"),
            "data_per_second": middle("data", "per_second"),
            "bars": bars.rows,
        },
    )
    print(report.write())
    return 0
