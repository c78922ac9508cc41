"""`make bench NAME=smtp-wan`: one connection to a receiver 50 ms away, ours and Postfix's.

The testkit's delay proxy stands between both clients and the sink. What counts is how many messages
a round trip carries; Postfix keeps its connection open (connection cache) with a concurrency of 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benches.baselines.postfix import Relay
from benches.load._smtp import MESSAGE_BYTES, Bars, client, program, sink
from benches.report import Report, Round
from tests.support.processes import Sink, free_port, wait_for

ROUND_TRIP_MS = 50
MESSAGES = {"data": 150, "bdat": 600, "postfix": 40}


@contextmanager
def far(near: Sink) -> Iterator[str]:
    """The sink's address, a round trip away."""
    command = [program(), "proxy", "--to", near.address, "--round-trip-ms", str(ROUND_TRIP_MS)]
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert proxy.stdout is not None
        yield json.loads(proxy.stdout.readline())["address"]
    finally:
        proxy.terminate()
        proxy.wait(10)


def ours(address: str, messages: int, journal: Path) -> float:
    """Messages a second over one connection, its greeting included."""
    command = [program(), "send", "--to", address, "--connections", "1", "--journal", journal]
    figures = json.loads(client([*command, "--messages", str(messages)])[0])
    return float(messages / figures["took_s"])


def postfix(theirs: Relay, near: Sink, messages: int) -> float:
    """Messages a second from the first at the sink to the last, so intake is not counted."""
    before = near.count()
    subprocess.run(
        f"smtp-source -s 4 -l {MESSAGE_BYTES} -m {messages} -f a@example.com -t b@rcpt.example "
        f"127.0.0.1:{theirs.port}".split(),
        check=True,
    )
    wait_for(lambda: near.count() > before, "Postfix's first message", 60)
    first, began = near.count(), time.monotonic()
    wait_for(lambda: near.count() >= before + messages, "Postfix's last message", 120)
    return (before + messages - first) / (time.monotonic() - began)


def main(arguments: list[str]) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="smtp-wan")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        base = Path(directory)
        with (
            sink(base) as near,
            sink(base, "--chunking") as chunking,
            far(near) as data,
            far(chunking) as bdat,
        ):
            proxy_port = int(bdat.rpartition(":")[2])
            theirs = Relay(base / "postfix", free_port(), proxy_port, None, concurrency=1)
            try:
                for number in range(options.rounds):
                    result = {
                        "data": ours(data, MESSAGES["data"], base / "journal"),
                        "postfix": postfix(theirs, chunking, MESSAGES["postfix"]),
                        "bdat": ours(bdat, MESSAGES["bdat"], base / "journal"),
                    }
                    rounds.append(result)
                    shown = (f"{name} {rate:.1f}/s" for name, rate in result.items())
                    print(f"round {number + 1}:", ", ".join(shown), file=sys.stderr)
            finally:
                theirs.stop()
    round_trips = 1_000 / ROUND_TRIP_MS

    def per_round_trip(side: str) -> float:
        return median(r[side] for r in rounds) / round_trips

    ratio = median(r["bdat"] / r["postfix"] for r in rounds)
    bars = Bars()
    bars.least("data_per_round_trip", per_round_trip("data"), 0.9)
    bars.least("bdat_per_round_trip", per_round_trip("bdat"), 4, 8)
    bars.least("ratio", ratio, 5, 20)
    bars.print()
    report = Report(
        name="smtp-wan",
        unit="messages/s",
        rounds=[Round(r["bdat"], r["postfix"]) for r in rounds],
        more={
            "round_trip_ms": ROUND_TRIP_MS,
            "data_per_round_trip": per_round_trip("data"),
            "bdat_per_round_trip": per_round_trip("bdat"),
            "postfix_per_round_trip": per_round_trip("postfix"),
            "ratio_data": median(r["data"] / r["postfix"] for r in rounds),
            "bars": bars.rows,
        },
    )
    print(report.write())
    return 0
