"""`make bench NAME=first-light`: the whole path against Postfix with OpenDKIM, over the same sink.

Ours: 10 kB text+HTML messages through ``POST /emails/batch`` to a whole `postalynk up` (embedded
queue and PostgreSQL) that relays to the sink. Theirs: ``smtp-source`` with 10 kB messages into
Postfix. The clock of both runs from the first byte sent until the sink has counted the last
message. Each round runs the four variants (signed and unsigned, both sides) in turn.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches.baselines.postfix import Relay
from benches.measure import cpu_us, rsa_per_second
from benches.report import Report, Round
from tests.support.processes import Postalynk, Sink, wait_for

POSTFIX_PORT = 26034
BATCH = 500
CLIENTS = 2


@dataclass(frozen=True)
class Run:
    """One variant in one round."""

    per_second: float
    cpu_us_per_message: float


def body(number: int) -> dict[str, Any]:
    """A message of about 10 kB once composed: a third text, two thirds HTML."""
    line = f"Order {number}: your parcel leaves our warehouse today and arrives in two days.\n"
    cell = f'<tr><td class="item">Article {number}</td><td>1 × 9.90 €</td></tr>\n'
    return {
        "from": "Shop <orders@example.com>",
        "to": ["b@rcpt.example"],
        "subject": f"Your order {number}",
        "text": line * 38,
        "html": "<html><body><table>\n" + cell * 82 + "</table></body></html>\n",
    }


class Submitter:
    """Posts batches to a running Postalynk over a few connections."""

    def __init__(self, ours: Postalynk) -> None:
        self.ours = ours

    def submit(self, payloads: list[bytes]) -> None:
        """Post all batches over a few connections; raises when one is not accepted."""
        work: Iterator[bytes] = iter(payloads)
        failures: list[str] = []
        lock = threading.Lock()

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.ours.api_port, timeout=120)
            headers = {
                "Authorization": f"Bearer {self.ours.api_key}",
                "Content-Type": "application/json",
            }
            while True:
                with lock:
                    payload = next(work, None)
                if payload is None:
                    return
                connection.request("POST", "/emails/batch", payload, headers)
                response = connection.getresponse()
                text = response.read()
                if response.status not in {200, 202}:
                    failures.append(text[:300].decode())

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise RuntimeError(f"a batch was refused: {failures[0]}")


def run_ours(ours: Postalynk, sink: Sink, messages: int) -> Run:
    """Submit, wait for the sink, wait for the record."""
    payloads = [
        json.dumps([body(i) for i in range(start, min(start + BATCH, messages))]).encode()
        for start in range(0, messages, BATCH)
    ]
    assert ours.process is not None
    before, cpu = sink.count(), cpu_us([ours.process.pid])
    began = time.monotonic()
    Submitter(ours).submit(payloads)
    wait_for(lambda: sink.count() >= before + messages, f"{messages} at the sink", 300)
    took = time.monotonic() - began
    # Recording is part of the work whose CPU is counted.
    wait_for(lambda: ours.metric("postalynk_projection_lag_records") == 0, "all recorded", 120)
    return Run(messages / took, (cpu_us([ours.process.pid]) - cpu) / messages)


def run_postfix(theirs: Relay, sink: Sink, messages: int) -> Run:
    """Feed with smtp-source, wait for the sink."""
    before, cpu = sink.count(), cpu_us(theirs.pids())
    began = time.monotonic()
    subprocess.run(
        f"smtp-source -d -s 10 -l 10000 -m {messages} -f a@example.com -t b@rcpt.example "
        f"127.0.0.1:{POSTFIX_PORT}".split(),
        check=True,
    )
    wait_for(lambda: sink.count() >= before + messages, f"{messages} at the sink", 300)
    took = time.monotonic() - began
    return Run(messages / took, (cpu_us(theirs.pids()) - cpu) / messages)


@contextmanager
def variant(
    side: str, base: Path, sink_address: str, *, signed: bool, key_pem: str
) -> Iterator[Any]:
    """One side, started and stopped around its run, so the other has the machine to itself."""
    if side == "ours":
        options = f"sign = {str(signed).lower()}"
        ours = Postalynk(base / f"ours-{signed}", sink_address, delivery=options).start().prepare()
        try:
            yield lambda sink, messages: run_ours(ours, sink, messages)
        finally:
            ours.stop()
            ours.remove()
    else:
        port = int(sink_address.rpartition(":")[2])
        directory = base / f"postfix-{signed}"
        theirs = Relay(directory, POSTFIX_PORT, port, key_pem if signed else None)
        try:
            yield lambda sink, messages: run_postfix(theirs, sink, messages)
        finally:
            theirs.stop()


COUNTS = {("ours", True): 6_000, ("ours", False): 20_000}
COUNTS |= {("theirs", True): 1_500, ("theirs", False): 3_000}


def measure(rounds: int, base: Path, scale: float) -> list[dict[tuple[str, bool], Run]]:
    """All rounds, each variant in turn."""
    key = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True)
    sink = Sink(base, "--fast")
    results = []
    try:
        for number in range(rounds):
            result: dict[tuple[str, bool], Run] = {}
            for (side, signed), count in COUNTS.items():
                with variant(side, base, sink.address, signed=signed, key_pem=key.stdout) as run:
                    run(sink, max(BATCH, int(count * scale / 10)))  # connections, caches, keys
                    result[side, signed] = run(sink, int(count * scale))
                shown = result[side, signed]
                print(
                    f"round {number + 1}: {side} {'signed' if signed else 'unsigned'}: "
                    f"{shown.per_second:,.0f}/s, {shown.cpu_us_per_message:,.0f} µs CPU",
                    file=sys.stderr,
                )
            results.append(result)
    finally:
        sink.stop()
    return results


def main(arguments: list[str]) -> int:
    """Run it; options are for trying it out, the figures quoted use the defaults."""
    parser = argparse.ArgumentParser(prog="first-light")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual messages")
    options = parser.parse_args(arguments)
    before = rsa_per_second()
    with tempfile.TemporaryDirectory(prefix="pl-bench-") as directory:
        results = measure(options.rounds, Path(directory), options.scale)
    rsa = median([before, rsa_per_second()])

    def ratio(signed: bool) -> float:
        return median(
            r["ours", signed].per_second / r["theirs", signed].per_second for r in results
        )

    def cpu(side: str, signed: bool) -> float:
        return median(r[side, signed].cpu_us_per_message for r in results)

    signed_rate = median(r["ours", True].per_second for r in results)
    report = Report(
        name="first-light",
        unit="messages/s",
        rounds=[Round(r["ours", True].per_second, r["theirs", True].per_second) for r in results],
        cpu_us_per_message=cpu("ours", True),
        more={
            "ratio_unsigned": ratio(False),
            "ours_unsigned": median(r["ours", False].per_second for r in results),
            "theirs_unsigned": median(r["theirs", False].per_second for r in results),
            "cpu_us_unsigned": cpu("ours", False),
            "cpu_us_unsigned_theirs": cpu("theirs", False),
            "cpu_ratio_unsigned": cpu("theirs", False) / cpu("ours", False),
            "rsa_per_second": rsa,
            "rsa_share": signed_rate / rsa,
        },
    )
    print(report.write().read_text())
    return 0
