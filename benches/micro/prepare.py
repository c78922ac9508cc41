"""``prepare``: compose, canonicalize and hash 10 kB, beside SHA-256 of the same octets.

The work is Rust's, so the binary of the same name does it and counts its allocations; this runs
it and writes the figures. ``ours ÷ theirs`` is below 1: nothing is faster than the hash alone.
``times_sha256`` turns it over.
"""

import json
import subprocess
from statistics import median

from benches.report import Report, Round

COMMAND = ["cargo", "run", "--release", "--quiet", "--locked", "-p", "postalynk-benches"]


def main(arguments: list[str]) -> int:
    """Run it."""
    command = [*COMMAND, "--bin", "prepare"]
    figures = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    rounds = figures.pop("rounds")
    times = [r["prepare_us"] / r["sha256_us"] for r in rounds]
    more = figures | {
        "times_sha256": median(times),
        "compose_us": median(r["compose_us"] for r in rounds),
        "sha256_us": median(r["sha256_us"] for r in rounds),
    }
    report = Report(
        "prepare",
        "messages per second of one core",
        [Round(ours=1e6 / r["prepare_us"], theirs=1e6 / r["sha256_us"]) for r in rounds],
        cpu_us_per_message=median(r["prepare_us"] for r in rounds),
        more=more,
    )
    path = report.write()
    spread = f"{min(times):.2f}-{max(times):.2f}"
    allocations = figures["allocations_per_message"]
    print(f"{median(times):.2f}x SHA-256 ({spread}), {allocations} allocations  {path}")
    return 0
