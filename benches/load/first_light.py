"""`make bench NAME=first-light`: the whole path against Postfix with OpenDKIM, same sink, same minute.

Ours: 10 kB text+HTML messages through ``POST /emails/batch`` to a whole `postalynk up` (embedded
queue and PostgreSQL) that relays to the sink. Theirs: ``smtp-source`` with 10 kB messages into
Postfix. The clock of both runs from the first byte sent until the sink has counted the last
message. Each round runs the four variants (signed and unsigned, both sides) in turn.
"""

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benches.baselines.postfix import Postfix
from benches.measure import cpu_us, rsa_per_second
from benches.report import Report, Round

SINK_PORT, POSTFIX_PORT, API_PORT, METRICS_PORT = 26035, 26034, 26080, 26090
BATCH = 500
CLIENTS = 2


@dataclass(frozen=True)
class Run:
    """One variant in one round."""

    per_second: float
    cpu_us_per_message: float


class Sink:
    """The testkit's fast sink, counting only, in a process of its own."""

    def __init__(self) -> None:
        subprocess.run(
            ["cargo", "build", "--quiet", "--release", "--locked", "-p", "postalynk-testkit"],
            check=True,
        )
        target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
        self.process = subprocess.Popen(
            [
                target / "release/postalynk-sink",
                *("--listen", f"127.0.0.1:{SINK_PORT}"),
                *("--stats-listen", "127.0.0.1:0"),
                "--fast",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.stats = json.loads(self.process.stdout.readline())["stats"]

    def count(self) -> int:
        """Messages taken so far."""
        with urllib.request.urlopen(f"http://{self.stats}/", timeout=10) as answer:
            return int(json.load(answer)["messages"])

    def wait_for(self, count: int, limit_s: float) -> None:
        """Until the count is reached; RuntimeError says how many are missing."""
        deadline = time.monotonic() + limit_s
        while (now := self.count()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the sink has {count - now} messages too few")
            time.sleep(0.01)


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


class Postalynk:
    """A `postalynk up` of its own, with one organization and one domain."""

    def __init__(self, base: Path, *, signed: bool) -> None:
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        self.config = base / "postalynk.toml"
        self.config.write_text(
            f'[api]\nlisten = "127.0.0.1:{API_PORT}"\n'
            f'[metrics]\nlisten = "127.0.0.1:{METRICS_PORT}"\n'
            '[queue]\nurl = "embedded:data/queue"\n[hot]\nurl = "embedded:data/hot"\n'
            f'[delivery]\nsmart_host = "127.0.0.1:{SINK_PORT}"\nsign = {str(signed).lower()}\n'
        )
        self.log = (base / "log").open("w")
        self.process = subprocess.Popen(
            [".venv/bin/postalynk", "up", "--config", self.config],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == "ready":
                break
        made = self._ask("org", "create", "bench")
        self.key = made["api_key"]
        self._ask("domain", "add", "example.com", "--org", made["org"])

    def _ask(self, *command: str) -> Any:
        done = subprocess.run(
            [".venv/bin/postalynk", *command, "--config", str(self.config), "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def submit(self, payloads: list[bytes]) -> None:
        """Post all batches over a few connections; raises when one is not accepted."""
        work: Iterator[bytes] = iter(payloads)
        failures: list[str] = []
        lock = threading.Lock()

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", API_PORT, timeout=120)
            headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
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

    def wait_recorded(self) -> None:
        """Until every event is in PostgreSQL: recording is part of the work that is measured."""
        for _ in range(1200):
            if self._lag() == 0:
                return
            time.sleep(0.05)
        raise RuntimeError("the projection did not catch up")

    def _lag(self) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics") as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("postalynk_projection_lag_records "):
                    return float(line.split()[1])
        raise RuntimeError("no metric postalynk_projection_lag_records")

    def stop(self) -> None:
        """SIGTERM and wait."""
        self.process.terminate()
        self.process.wait(60)


def run_ours(ours: Postalynk, sink: Sink, messages: int) -> Run:
    """Submit, wait for the sink, wait for the record."""
    payloads = [
        json.dumps([body(i) for i in range(start, min(start + BATCH, messages))]).encode()
        for start in range(0, messages, BATCH)
    ]
    before, cpu = sink.count(), cpu_us([ours.process.pid])
    began = time.monotonic()
    ours.submit(payloads)
    sink.wait_for(before + messages, 300)
    took = time.monotonic() - began
    ours.wait_recorded()
    return Run(messages / took, (cpu_us([ours.process.pid]) - cpu) / messages)


def run_postfix(theirs: Postfix, sink: Sink, messages: int) -> Run:
    """Feed with smtp-source, wait for the sink."""
    before, cpu = sink.count(), cpu_us(theirs.pids())
    began = time.monotonic()
    subprocess.run(
        f"smtp-source -d -s 10 -l 10000 -m {messages} -f a@example.com -t b@rcpt.example "
        f"127.0.0.1:{POSTFIX_PORT}".split(),
        check=True,
    )
    sink.wait_for(before + messages, 300)
    took = time.monotonic() - began
    return Run(messages / took, (cpu_us(theirs.pids()) - cpu) / messages)


@contextmanager
def variant(side: str, base: Path, *, signed: bool, key_pem: str) -> Iterator[Any]:
    """One side, started and stopped around its run, so the other has the machine to itself."""
    if side == "ours":
        ours = Postalynk(base / f"ours-{signed}", signed=signed)
        try:
            yield lambda sink, messages: run_ours(ours, sink, messages)
        finally:
            ours.stop()
    else:
        theirs = Postfix(base / f"postfix-{signed}", POSTFIX_PORT, SINK_PORT, signed=signed)
        theirs.start(key_pem)
        try:
            yield lambda sink, messages: run_postfix(theirs, sink, messages)
        finally:
            theirs.stop()


COUNTS = {("ours", True): 6_000, ("ours", False): 20_000}
COUNTS |= {("theirs", True): 1_500, ("theirs", False): 3_000}


def measure(rounds: int, base: Path, scale: float) -> list[dict[tuple[str, bool], Run]]:
    """All rounds, each variant in turn."""
    key = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True, check=True)
    sink = Sink()
    results = []
    try:
        for number in range(rounds):
            result: dict[tuple[str, bool], Run] = {}
            for (side, signed), count in COUNTS.items():
                with variant(side, base, signed=signed, key_pem=key.stdout) as run:
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
        sink.process.terminate()
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
        rounds=[
            Round(r["ours", True].per_second, r["theirs", True].per_second) for r in results
        ],
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
