"""Signing keys change while mail flows and the process is killed.

What runs: `postalynk up`, a sink that stores what it takes, the testkit's DNS server as the only
one that is asked. What breaks: the process, by SIGKILL, while the new keys wait for their records
and again after they have begun to sign; the DNS server, which is away while its zone changes. What
holds: every message carries an RSA and an Ed25519 signature that verify, at no moment with a
selector that DNS did not show; the state survives; the old keys are destroyed when their time is
over, and not before.
"""

import re
from pathlib import Path
from typing import Any

import dkim

from tests.support.processes import Dns, Postalynk, Sink, free_port, wait_for

OLD, NEW = {"pl1", "pl2"}, {"pl3", "pl4"}


class Story:
    """The three of them, and what was signed."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port = free_port()
        self.store = base / "taken"
        self.sink = Sink(base, "--store", str(self.store))
        self.postalynk = Postalynk(
            base / "p",
            smart_host=self.sink.address,
            settings=f'[dns]\nservers = ["127.0.0.1:{self.port}"]\n'
            "[control]\nkey_check_s = 0.1\nkey_settle_s = 0.2\n",
        )
        self.published: dict[str, str] = {}
        self.dns: Dns | None = None
        self.sent = 0

    def publish(self, records: list[dict[str, str]], selectors: set[str]) -> None:
        """Serve the records of these selectors, and no others."""
        if self.dns is not None:
            self.dns.stop()
        self.published = {
            r["name"]: r["value"] for r in records if r["name"].split(".")[0] in selectors
        }
        zone = [f"{name} TXT {value}" for name, value in self.published.items()]
        self.dns = Dns(self.base, zone or ["other.example A 192.0.2.1"], f"127.0.0.1:{self.port}")

    def send(self, selectors: set[str]) -> set[str]:
        """One more message arrives, signed twice with some of these; with which."""
        sent = self.postalynk.send(to=f"ada{self.sent}@rcpt.example")
        self.sent += 1
        self.postalynk.wait_state(sent, "delivered")
        taken = [file.read_bytes().decode() for file in self.store.iterdir()]
        (raw,) = [message for message in taken if sent in message]
        fields = re.findall(r"^DKIM-Signature:(?:.*\r\n(?:[ \t].*\r\n)*)", raw, re.MULTILINE)
        used = {re.search(r"[;\s]s=([a-z0-9]+);", field)[1] for field in fields}  # type: ignore[index]
        algorithms = [re.search(r"a=([a-z0-9-]+);", field)[1] for field in fields]  # type: ignore[index]
        assert sorted(algorithms) == ["ed25519-sha256", "rsa-sha256"]
        assert used <= selectors
        judge = dkim.DKIM(raw.encode())
        assert all(judge.verify(n, dnsfunc=self._txt) for n in range(2))
        return used

    def _txt(self, name: bytes, timeout: int = 5) -> bytes | None:
        found = self.published.get(name.decode().rstrip("."))
        return found and found.encode()  # type: ignore[return-value]

    def states(self) -> dict[str, str]:
        keys = self.postalynk.ask("domain", "show", "example.com")["keys"]
        return {key["selector"]: key["state"] for key in keys}

    def wait_states(self, states: dict[str, str], selectors: set[str]) -> None:
        """Until the keys are in these, while mail goes on, signed with these at any moment."""

        def is_so() -> bool:
            self.send(selectors)
            return self.states() == states

        wait_for(is_so, f"{states}, it is {self.states()}", 120)

    def remove(self) -> None:
        self.postalynk.remove()
        self.sink.stop()
        if self.dns is not None:
            self.dns.stop()


def both(**states: set[str]) -> dict[str, str]:
    return {selector: state for state, selectors in states.items() for selector in selectors}


def rotate(postalynk: Postalynk) -> Any:
    return postalynk.ask("domain", "rotate", "example.com", "--org", postalynk.org)


def test_no_message_is_signed_with_what_dns_does_not_show(tmp_path: Path) -> None:
    story = Story(tmp_path)
    try:
        _rotation(story)
    finally:
        story.remove()


def _rotation(story: Story) -> None:
    postalynk = story.postalynk.prepare()
    story.publish(postalynk.records, OLD)
    postalynk.start()
    story.send(OLD)

    made = rotate(postalynk)
    assert rotate(postalynk) == made, "asking again makes no more keys"
    assert {key["selector"] for key in made["keys"]} == OLD | NEW
    for _ in range(3):
        story.send(OLD)
    # One of two is not enough, a crash forgets nothing.
    story.publish(made["records"], OLD | {"pl3"})
    story.send(OLD)
    postalynk.kill()
    postalynk.start()
    story.send(OLD)
    assert story.states() == both(signing=OLD, waiting=NEW)

    story.publish(made["records"], OLD | NEW)
    story.wait_states(both(retiring=OLD, signing=NEW), OLD | NEW)
    assert story.send(NEW) == NEW
    postalynk.kill()
    postalynk.start()
    assert story.send(NEW) == NEW
    # Seven days are not over.
    assert story.states() == both(retiring=OLD, signing=NEW)
    assert postalynk.ask("domain", "ls")[0]["selectors"] == sorted(NEW)

    assert postalynk.stop() == 0
    postalynk.environ["POSTALYNK_CONTROL__KEY_RETIRE_S"] = "0"
    postalynk.start()
    story.wait_states(both(retired=OLD, signing=NEW), NEW)
    story.publish(made["records"], NEW)
    story.wait_states(both(signing=NEW), NEW)
