"""`first-light` through Kafka: accept, broker, sign, sink, record, against Postfix with OpenDKIM.

Ours: as `first-light`, on topics of one broker that runs on the same cores and whose processor time
is told apart. Theirs: the same Postfix with OpenDKIM over the same sink. The clock of both runs
from the first byte sent until the sink has counted the last message. Not shown: replication.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benches.load.first_light import BATCH, COUNTS, Run, run_ours, variant
from benches.measure import cpu_us, rsa_per_second
from benches.report import Report, Round
from tests.support.kafka import one_broker
from tests.support.processes import Postalynk, Sink

PARTITIONS = 16


@dataclass(frozen=True)
class Pair:
    """One round of both sides."""

    ours: Run
    theirs: Run
    broker_us_per_message: float


@contextmanager
def on_kafka(base: Path, sink_address: str, number: int) -> Iterator[Postalynk]:
    """One `postalynk up` on topics of its own, signing."""
    place = base / f"ours-{number}"
    place.mkdir()
    key = place / "master.key"
    key.write_text("A" * 43 + "=")
    key.chmod(0o600)
    table = (
        '[control]\nmaster_key_file = "master.key"\n'
        f'[queue]\nurl = "{one_broker().url}"\ntopic_prefix = "bench{number}."\n'
        f"partitions = {PARTITIONS}\nreplicas = 1\nmin_in_sync = 1\nsession_timeout_s = 6\n"
    )
    ours = Postalynk(place, sink_address, delivery="sign = true", queue=table)
    ours.ask("topics", "apply")
    try:
        yield ours.start().prepare()
    finally:
        ours.stop()
        ours.remove()


def measure(rounds: int, base: Path, scale: float) -> list[Pair]:
    """All rounds, both sides in turn; the other one does not run meanwhile, the broker does."""
    key = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True)
    sink, broker = Sink(base, "--fast"), one_broker().pid(1)
    counts = {side: int(COUNTS[side, True] * scale) for side in ("ours", "theirs")}
    pairs = []
    try:
        for number in range(rounds):
            with on_kafka(base, sink.address, number) as ours:
                run_ours(ours, sink, max(BATCH, counts["ours"] // 10))
                before = cpu_us([broker])
                mine = run_ours(ours, sink, counts["ours"])
                spent = (cpu_us([broker]) - before) / counts["ours"]
            with variant("theirs", base, sink.address, signed=True, key_pem=key.stdout) as run:
                run(sink, max(BATCH, counts["theirs"] // 10))
                other = run(sink, counts["theirs"])
            pairs.append(Pair(mine, other, spent))
            print(
                f"round {number + 1}: ours {mine.per_second:,.0f}/s, "
                f"{mine.cpu_us_per_message:,.0f} µs CPU and {spent:,.0f} the broker's; "
                f"theirs {other.per_second:,.0f}/s, {other.cpu_us_per_message:,.0f} µs",
                file=sys.stderr,
            )
    finally:
        sink.stop()
    return pairs


def main(arguments: list[str]) -> int:
    """Run it; options are for trying it out, the figures quoted use the defaults."""
    parser = argparse.ArgumentParser(prog="end-to-end")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual messages")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        pairs = measure(options.rounds, Path(directory), options.scale)
    rsa = rsa_per_second()
    rate = median(pair.ours.per_second for pair in pairs)
    report = Report(
        name="end-to-end",
        unit="messages/s",
        rounds=[Round(pair.ours.per_second, pair.theirs.per_second) for pair in pairs],
        cpu_us_per_message=median(pair.ours.cpu_us_per_message for pair in pairs),
        more={
            "broker_cpu_us_per_message": median(pair.broker_us_per_message for pair in pairs),
            "cpu_us_theirs": median(pair.theirs.cpu_us_per_message for pair in pairs),
            "rsa_per_second": rsa,
            "rsa_share": rate / rsa,
        },
    )
    print(report.write().read_text())
    return 0
