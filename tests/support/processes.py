"""Real processes for acceptance tests, chaos tests and benchmarks: `postalynk up` and the sink."""

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

    def __init__(self, base: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.ledger = base / "ledger.tsv"
        self.process = subprocess.Popen(
            [
                sink_binary(),
                *("--listen", f"127.0.0.1:{self.port}", "--stats-listen", "127.0.0.1:0"),
                *(options or ("--ledger", str(self.ledger))),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.stats = json.loads(self.process.stdout.readline())["stats_address"]

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

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


def sink_binary() -> Path:
    """Built by cargo, in release: a slow sink would be what a benchmark measures."""
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--locked", "-p", "postalynk-testkit"],
        cwd=ROOT,
        check=True,
    )
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return ROOT / target / "release/postalynk-sink"


@dataclass
class Postalynk:
    """One `postalynk up` in its own directory; it may be killed and started again."""

    base: Path
    smart_host: str = ""
    settings: str = ""
    """More lines of postalynk.toml, whole tables only."""
    delivery: str = ""
    """More lines of [delivery]."""
    environ: dict[str, str] = field(default_factory=dict)
    api_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    api_key: str = ""
    org: str = ""

    def __post_init__(self) -> None:
        self.base.mkdir(parents=True, exist_ok=True)
        self.config = self.base / "postalynk.toml"
        relay = f'smart_host = "{self.smart_host}"\n' if self.smart_host else ""
        self.config.write_text(
            f'[api]\nlisten = "127.0.0.1:{self.api_port}"\n'
            f'[metrics]\nlisten = "127.0.0.1:{self.metrics_port}"\n'
            '[queue]\nurl = "embedded:data/queue"\n[hot]\nurl = "embedded:data/hot"\n'
            f"[delivery]\n{relay}{self.delivery}\n{self.settings}"
        )

    def start(self) -> "Postalynk":
        """Start and wait for the line `ready`."""
        log = (self.base / "log").open("a")
        self.process = subprocess.Popen(
            [COMMAND, "up", "--config", self.config],
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
        return (self.base / "log").read_text()[-4_000:]

    def ask(self, *command: str, check: bool = True) -> Any:
        """A command's JSON answer."""
        done = subprocess.run(
            [COMMAND, *command, "--config", str(self.config), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} failed: {done.stderr}\n{self.log()}")
        return json.loads(done.stdout)

    def prepare(self, domain: str = "example.com", *options: str) -> "Postalynk":
        """An organization with a key and a domain."""
        made = self.ask("org", "create", "acceptance", *options)
        self.api_key, self.org = made["api_key"], made["org"]
        self.ask("domain", "add", domain, "--org", self.org)
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

    def metric(self, name: str) -> float:
        """The sum over a metric's series."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        assert found, f"no metric {name}"
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

    def remove(self) -> None:
        """Stop whatever still runs and delete the directory."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.base, ignore_errors=True)
