"""`postalynk domain check` asks a real DNS server.

What runs: commands without a process, and the testkit's DNS server with the records that
`domain add` told to publish. What breaks: one record is of another key. What holds: the command
says which, exits with 1, and with 0 once all is in order. An MTA-STS policy is fetched from a host
whose certificate is checked.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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


POLICY_HOST = "mta-sts.example.com"


def certificate(directory: Path) -> Path:
    """A PEM file with a certificate of the policy host that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, POLICY_HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(POLICY_HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "host.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


@contextmanager
def policy_host(pem: Path, answer: list[str]) -> Iterator[int]:
    """An HTTPS server whose every answer is the text in the list; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_here = answer[0] and self.path == "/.well-known/mta-sts.txt"
            self.send_response(200 if is_here else 404)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(answer[0].encode())))
            self.end_headers()
            self.wfile.write(answer[0].encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_sts_policy_is_held_against_the_mx_hosts(tmp_path: Path) -> None:
    pem, port = certificate(tmp_path), free_port()
    answer = ["version: STSv1\nmode: enforce\nmx: *.example.com\nmax_age: 604800\n"]
    with policy_host(pem, answer) as policy_port:
        settings = (
            f'[dns]\nservers = ["127.0.0.1:{port}"]\n[delivery.tls]\nca_file = "{pem}"\n'
            f"mta_sts_port = {policy_port}\n"
        )
        postalynk = Postalynk(tmp_path / "p", settings=settings).prepare()
        zone = [f"{r['name']} {r['type']} {r['value']}" for r in postalynk.records]
        zone += ["example.com MX 10 mx.example.com", "example.com MX 20 mx.other.example"]
        zone += ["_mta-sts.example.com TXT v=STSv1; id=1", f"{POLICY_HOST} A 127.0.0.1"]
        dns = Dns(tmp_path, zone, f"127.0.0.1:{port}")
        try:
            status, wrong = check(postalynk)
            assert (status, wrong["mta-sts"]["verdict"]) == (1, "wrong")
            assert "does not name mx.other.example" in wrong["mta-sts"]["detail"]
            answer[0] = answer[0].replace("mx: ", "mx: mx.other.example\nmx: ")
            status, right = check(postalynk)
            assert (status, right["mta-sts"]["verdict"]) == (0, "ok")
            assert right["mta-sts"]["detail"].startswith("policy enforce, kept for 7 days")
            answer[0] = ""
            status, gone = check(postalynk)
            assert (status, gone["mta-sts"]["verdict"]) == (0, "note")
            assert "status 404" in gone["mta-sts"]["detail"]
        finally:
            dns.stop()
