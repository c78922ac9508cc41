"""An operator follows live sessions with `postalynk trace`, and is told when there are none.

What runs: `postalynk up`, a slow receiver behind the MX records of three sites. What breaks: the
receiver takes its time; the site that is asked for is not there; the operator interrupts. What
holds: each line is of the site that was asked for, as it is said; `--json` is one object a line;
standard error says at once how many sessions are open, and where, if not there.
"""

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.processes import COMMAND, Dns, Postalynk, Sink

ZONE = [
    "slow.example MX 10 mx.slow.example",
    "other.example MX 10 mx.other.example",
    "late.example MX 10 mx.late.example",
    "mx.late.example A 127.0.0.1",
    "mx.slow.example A 127.0.0.1",
    "mx.other.example A 127.0.0.1",
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postalynk]:
    """One whose receiver waits a second before each reply to `slow…@`."""
    base = tmp_path_factory.mktemp("trace")
    sink = Sink(base, "--chunking", "--slow-ms", "1000")
    dns = Dns(base, ZONE, "127.0.0.1:0")
    settings = f'[delivery.smtp]\nport = {sink.port}\n[dns]\nservers = ["{dns.address}"]\n'
    postalynk = Postalynk(base / "p", settings=settings)
    try:
        yield postalynk.start().prepare()
    finally:
        postalynk.remove()
        dns.stop()
        sink.stop()


class Trace:
    """A running `postalynk trace`."""

    def __init__(self, target: Postalynk, *options: str) -> None:
        self.process = subprocess.Popen(
            [COMMAND, "trace", *options, "--config", target.config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.standing = self.process.stderr.readline()
        """Its first words; from then on nothing that is said is missed."""

    def until(self, words: str) -> list[str]:
        """Its lines up to one with these words."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                return lines
        raise AssertionError(f"no {words!r} in {lines}")

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C: its status, and what else it said on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def test_a_site_is_followed_until_it_is_interrupted(target: Postalynk) -> None:
    trace = Trace(target, "--site", "slow.example")
    assert "slow.example: sessions open: 0, deliveries waiting: 0" in trace.standing
    other, slow = (target.send(to=f"{to}.example") for to in ("ada@other", "slow.ada@slow"))
    lines = trace.until("S: 250 2.0.0 OK")
    for said in ("S: 220 ", "C: EHLO ", "C: RCPT TO:<slow.ada@slow.example>", "C: [content of "):
        assert any(said in line for line in lines), said
    assert all("→mx.slow.example " in line for line in lines)
    assert "Hi" not in "".join(lines)
    assert trace.interrupt() == (130, "")
    for message in (other, slow):
        target.wait_state(message, "delivered")


def test_a_host_is_followed_as_json_for_so_many_lines(target: Postalynk) -> None:
    trace = Trace(target, "--site", "MX.Other.Example.", "--json", "--lines", "3")
    sent = target.send(to="ada@other.example")
    said, rest = trace.process.communicate(timeout=60)
    lines = [json.loads(line) for line in said.splitlines()]
    assert (trace.process.returncode, rest) == (0, "")
    assert [(line["site"], line["mx"]) for line in lines] == [
        ("other.example", "mx.other.example")
    ] * 3
    assert all(set(line) == {"at_us", "session", "site", "source", "mx", "text"} for line in lines)
    target.wait_state(sent, "delivered")


def test_a_silent_session_is_told_of(target: Postalynk) -> None:
    sent = target.send(to="slow.bob@late.example")
    # The receiver has the message and says nothing yet: the session is there to be seen.
    first = Trace(target, "--site", "late.example", "--lines", "1")
    first.process.communicate(timeout=60)
    again = Trace(target, "--site", "late.example")
    assert "late.example: sessions open: 1, deliveries waiting: " in again.standing
    again.interrupt()
    target.wait_state(sent, "delivered")


def test_an_unknown_site_is_said_to_be_one(target: Postalynk) -> None:
    sent = target.send(to="slow.eve@late.example")
    Trace(target, "--site", "late.example", "--lines", "1").process.communicate(timeout=60)
    trace = Trace(target, "--site", "no-such.example")
    assert "no-such.example: sessions open: 0" in trace.standing
    assert "no mail is on its way there. Sites with open sessions: " in trace.standing
    assert "late.example" in trace.standing
    assert trace.interrupt() == (130, "")
    target.wait_state(sent, "delivered")
