"""Real processes for acceptance tests, chaos tests and benchmarks: `postalynk up` and the sink."""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "postalynk"


def free_port() -> int:
    """A loopback port nobody listens on, below the range the system hands out by itself."""
    for port in range(20_000 + os.getpid() % 8_000, 32_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError("no free port")


_given: set[int] = set()


def wait_for(is_true: Callable[[], object], what: str, limit_s: float = 60.0) -> None:
    """Poll until it holds; the limit is only there so that a broken test ends."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.02)


class Sink:
    """The testkit's receiver as a process of its own, so that it outlives every kill."""

    def __init__(
        self, base: Path, *options: str, port: int | None = None, ip: str = "127.0.0.1"
    ) -> None:
        self.port = port or free_port()
        self.address = f"{ip}:{self.port}"
        self.ledger = base / "ledger.tsv"
        self.process = subprocess.Popen(
            [
                testkit("postalynk-sink"),
                *("--listen", self.address, "--stats-listen", "127.0.0.1:0"),
                *(options or ("--ledger", str(self.ledger))),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.stats = json.loads(self.process.stdout.readline())["stats_address"]

    def count(self) -> int:
        """Messages taken so far."""
        with urllib.request.urlopen(f"http://{self.stats}/", timeout=10) as answer:
            return int(json.load(answer)["messages"])

    def received(self) -> list[tuple[str, list[str]]]:
        """(Message-ID, recipients) of each message taken, in order, from the ledger."""
        lines = self.ledger.read_text().splitlines()
        rows = [line.split("\t") for line in lines]
        return [(row[0].strip("<>"), row[1:]) for row in rows]

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)


class Dns:
    """The testkit's DNS server on an address of loopback, with the lines of a zone file."""

    def __init__(self, base: Path, zone: list[str], listen: str, *options: str) -> None:
        file = base / "zone"
        file.write_text("\n".join(zone) + "\n")
        self.process = subprocess.Popen(
            [testkit("postalynk-testdns"), file, listen, *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = str(json.loads(self.process.stdout.readline())["address"])

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(10)


@functools.cache
def testkit(name: str) -> Path:
    """A program of the testkit, in release: a slow sink would be what a benchmark measures."""
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--locked", "-p", "postalynk-testkit"],
        cwd=ROOT,
        check=True,
    )
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / target / "release" / name


@dataclass
class Postalynk:
    """One `postalynk up` in its own directory; it may be killed and started again."""

    base: Path
    smart_host: str = ""
    settings: str = ""
    """More lines of postalynk.toml, whole tables only."""
    delivery: str = ""
    """More lines of [delivery]."""
    policy: str = ""
    """Text of its policy.py; empty: the shipped policy."""
    environ: dict[str, str] = field(default_factory=dict)
    api_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    smtp_port: int = field(default_factory=free_port)
    submission: str = ""
    """More lines of [submission]."""
    queue: str = '[queue]\nurl = "embedded:data/queue"\n'
    """The table [queue], and others that go with it."""
    program: str = "up"
    """What is run: `up`, or one role of it."""
    hot: str = "embedded:data/hot"
    """Where its PostgreSQL is."""
    process: subprocess.Popen[str] | None = None
    api_key: str = ""
    org: str = ""
    records: list[dict[str, str]] = field(default_factory=list)
    """DNS records of the domain that `prepare` added."""

    def __post_init__(self) -> None:
        self.base.mkdir(parents=True, exist_ok=True)
        self.config = self.base / "postalynk.toml"
        policy = ""
        if self.policy:
            (self.base / "policy").mkdir(exist_ok=True)
            (self.base / "policy/policy.py").write_text(self.policy)
            policy = '[policy]\npath = "policy"\n'
        relay = f'smart_host = "{self.smart_host}"\n' if self.smart_host else ""
        self.config.write_text(
            f'[api]\nlisten = "127.0.0.1:{self.api_port}"\n'
            f'[metrics]\nlisten = "127.0.0.1:{self.metrics_port}"\n'
            f'[submission]\nlisten = "127.0.0.1:{self.smtp_port}"\n{self.submission}'
            f'{self.queue}[hot]\nurl = "{self.hot}"\n'
            f"[delivery]\n{relay}{self.delivery}\n{policy}{self.settings}"
        )

    def start(self, *options: str) -> "Postalynk":
        """Start and wait for the line `ready`."""
        log = (self.base / "log").open("a")
        self.process = subprocess.Popen(
            [COMMAND, self.program, *options, "--config", self.config],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **self.environ},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == "ready":
                return self
        raise AssertionError(f"up ended before it was ready:\n{self.log()}")

    def log(self) -> str:
        """What it logged, the last of it."""
        log = self.base / "log"
        return log.read_text()[-4_000:] if log.exists() else ""

    def command(self, *command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run a command against it as a person would; whatever its status."""
        return subprocess.run(
            [COMMAND, *command, "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **environ},
        )

    def ask(self, *command: str, check: bool = True) -> Any:
        """A command's JSON answer."""
        done = self.command(*command, "--json")
        if check and done.returncode:
            raise AssertionError(f"{command} failed: {done.stderr}\n{self.log()}")
        return json.loads(done.stdout)

    def prepare(self, domain: str = "example.com", *options: str) -> "Postalynk":
        """An organization with a key and a domain."""
        made = self.ask("org", "create", "acceptance", *options)
        self.api_key, self.org = made["api_key"], made["org"]
        self.records = self.ask("domain", "add", domain, "--org", self.org)["records"]
        return self

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        *,
        key: str | None = None,
    ) -> tuple[int, Any]:
        """Status and decoded answer of an API call."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}{path}",
            data,
            {
                "Authorization": f"Bearer {key or self.api_key}",
                "Content-Type": "application/json",
                **(headers or {}),
            },
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def send(self, **email: Any) -> str:
        """Submit one message; its id."""
        message = {"from": "Shop <shop@example.com>", "subject": "Hello", "text": "Hi", **email}
        status, answer = self.request("POST", "/emails", message)
        assert status in {200, 202}, answer
        return str(answer["id"])

    def state(self, message_id: str) -> str:
        """Its last event."""
        status, answer = self.request("GET", f"/emails/{message_id}")
        return str(answer["last_event"]) if status == 200 else f"{status}"

    def wait_state(self, message_id: str, state: str, limit_s: float = 60.0) -> None:
        """Until the message is in that state."""
        wait_for(
            lambda: self.state(message_id) == state,
            f"{message_id} {state}, it is {self.state(message_id)}",
            limit_s,
        )

    def events(self, message_id: str) -> list[dict[str, Any]]:
        """Its events as the API shows them, the acceptance first."""
        status, answer = self.request("GET", f"/emails/{message_id}/events")
        assert status == 200, answer
        events: list[dict[str, Any]] = answer["data"]
        return events

    def wait_projected(self, limit_s: float = 60.0) -> None:
        """Until PostgreSQL holds every event there is."""
        lag = "postalynk_projection_lag_records"
        wait_for(lambda: self.metric(lag) == 0, f"{lag} 0, it is {self.metric(lag)}", limit_s)

    def postmaster(self) -> int | None:
        """The process of its embedded PostgreSQL, if there is one."""
        try:
            hot = self.base / self.hot.partition(":")[2]
            lines = (hot / "data/postmaster.pid").read_text().splitlines()
            os.kill(int(lines[0]), 0)
        except (OSError, ValueError, IndexError):
            return None
        return int(lines[0])

    def wait_states(self, message_id: str, *states: str, key: str | None = None) -> None:
        """Until its deliveries are in these states, in the order of its recipients."""

        def found() -> list[str]:
            answer = self.request("GET", f"/emails/{message_id}", key=key)[1]
            return [delivery["state"] for delivery in answer.get("deliveries", [])]

        wait_for(lambda: found() == list(states), f"{message_id} {states}, it is {found()}")

    def metric(self, name: str) -> float:
        """The sum over a metric's series; 0 while it has none."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        is_known = any(line.startswith(f"# TYPE {name.removesuffix('_total')}") for line in lines)
        assert found or is_known, f"no metric {name}"
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def kill(self) -> None:
        """SIGKILL the process, as a crash would; what it started is left as it is."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)

    def has_ended(self) -> bool:
        """Whether it was started and runs no more."""
        return self.process is not None and self.process.poll() is not None

    def remove(self) -> None:
        """Stop whatever still runs and delete the directory."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        # After a kill its server goes on, waiting to be adopted; here nobody will.
        if (server := self.postmaster()) is not None:
            os.kill(server, signal.SIGQUIT)
            wait_for(lambda: self.postmaster() is None, "PostgreSQL ends", 30)
        shutil.rmtree(self.base, ignore_errors=True)
