"""`postalynk domain check` asks a real DNS server.

What runs: commands without a process, and the testkit's DNS server with the records that
`domain add` told to publish. What breaks: one record is of another key. What holds: the command
says which, exits with 1, and with 0 once all is in order.
"""

import json
from pathlib import Path
from typing import Any

from tests.support.processes import Dns, Postalynk, free_port


def check(postalynk: Postalynk) -> tuple[int, dict[str, dict[str, Any]]]:
    done = postalynk.command("domain", "check", "example.com", "--json")
    findings = json.loads(done.stdout)["findings"]
    return done.returncode, {finding["check"]: finding for finding in findings}


def test_dns_is_compared_with_what_is_signed(tmp_path: Path) -> None:
    port = free_port()
    postalynk = Postalynk(tmp_path / "p", settings=f'[dns]\nservers = ["127.0.0.1:{port}"]\n')
    postalynk.prepare()
    published = [f"{r['name']} {r['type']} {r['value']}" for r in postalynk.records]
    published += ["example.com MX 10 mx.example.com", "mx.example.com A 192.0.2.1"]

    dns = Dns(tmp_path, published, f"127.0.0.1:{port}")
    try:
        status, findings = check(postalynk)
    finally:
        dns.stop()
    assert status == 0, findings
    verdicts = {name: finding["verdict"] for name, finding in findings.items()}
    assert verdicts == {
        "dkim pl1": "ok",
        "dkim pl2": "ok",
        "spf": "note",
        "dmarc": "ok",
        "dmarc alignment": "ok",
        "dmarc reports": "note",
        "return path": "ok",
        "mta-sts": "note",
        "tls-rpt": "note",
        "rules of google": "ok",
        "rules of yahoo": "ok",
        "rules of microsoft": "ok",
    }
    assert findings["dkim pl1"]["required_by"] == ["google", "yahoo", "microsoft"]

    postalynk.ask("pool", "source", "out", "--ip", "127.0.0.1", "--ehlo", "out.example.com")
    wrong = [
        line.replace("p=", "p=AAAA", 1) if "pl1._domainkey" in line else line for line in published
    ]
    dns = Dns(tmp_path, wrong, f"127.0.0.1:{port}")
    try:
        status, findings = check(postalynk)
        shown = postalynk.command("domain", "check", "example.com").stdout
    finally:
        dns.stop()
    assert status == 1
    assert findings["dkim pl1"]["verdict"] == "wrong"
    assert findings["dkim pl1"]["fix"].startswith("publish at pl1._domainkey.example.com: v=DKIM1")
    assert findings["spf"]["verdict"] == "wrong", "the source's address is not in the record"
    assert "the published key is not the one that signs" in shown


def test_an_unknown_domain_is_said_to_be_one(tmp_path: Path) -> None:
    postalynk = Postalynk(tmp_path / "p")
    postalynk.prepare()
    done = postalynk.command("domain", "check", "other.example")
    assert done.returncode == 1
    assert "there is no domain other.example" in done.stderr


def test_without_a_process_the_check_moves_new_keys_on(tmp_path: Path) -> None:
    port = free_port()
    servers = f'[dns]\nservers = ["127.0.0.1:{port}"]\n[control]\nkey_settle_s = 0\n'
    postalynk = Postalynk(tmp_path / "p", settings=servers)
    postalynk.prepare()
    old = postalynk.records
    made = postalynk.ask("domain", "rotate", "example.com", "--org", postalynk.org)

    def seen(records: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
        zone = [f"{r['name']} {r['type']} {r['value']}" for r in records]
        zone += ["example.com MX 10 mx.example.com"]
        dns = Dns(tmp_path, zone, f"127.0.0.1:{port}")
        try:
            status, findings = check(postalynk)
        finally:
            dns.stop()
        assert status == 0, findings
        return findings

    findings = seen(old)
    assert findings["dkim pl1"]["detail"] == "is the key that signs"
    assert findings["dkim pl3"]["verdict"] == "note"
    (wanted,) = [r for r in made["records"] if r["name"] == "pl3._domainkey.example.com"]
    assert findings["dkim pl3"]["fix"] == f"publish at {wanted['name']}: {wanted['value']}"
    findings = seen(made["records"])
    assert findings["dkim pl3"]["detail"] == "is the key that signs"
    assert findings["dkim pl1"]["detail"] == "signs no more; its record serves mail under way"
    assert postalynk.ask("domain", "show", "example.com")["selectors"] == ["pl3", "pl4"]
