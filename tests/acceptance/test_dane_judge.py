"""Postfix's `posttls-finger` and we decide alike about DANE (RFC 7672), on the same zone.

What runs: the testkit's signed zone behind Unbound, which validates it with the zone's key as its
only trust anchor; receivers with certificates of several kinds; `posttls-finger -l dane` in a mount
namespace whose resolv.conf names that Unbound; `postalynk up` that asks it too. What breaks: each
record, name, signature and certificate in turn. What holds: where `posttls-finger` would send, our
mail is delivered, and where it would not, ours waits; both as the RFC says.
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import Dns, Postalynk, Sink, free_port, wait_for

UNBOUND = "127.0.0.79"
"""An address of loopback where nobody else serves port 53, the only one libresolv asks."""
ZEROS = "0" * 64
UNBOUND_SETTINGS = """\
server:
  interface: {listen}
  do-daemonize: no
  use-syslog: no
  username: ""
  chroot: ""
  directory: "{base}"
  pidfile: ""
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "{base}/anchor"
  local-zone: "test." nodefault
  aggressive-nsec: no
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {upstream}
"""


@dataclass(frozen=True)
class Case:
    """One domain: its receiver, the lines of its zone, and what the RFC says of it."""

    sink: str
    zone: tuple[str, ...]
    sends: bool
    policy: str = "dane"


EE, TA = "{tlsa} TLSA 3 0 1 {own}", "{tlsa} TLSA 2 0 1 {ca}"
ALIAS = (
    "{mx} CNAME host.{name}-out.test",
    "host.{name}-out.test A {ip}",
    "{name}-out.test UNSIGNED",
)
CASES = {
    "match": Case("other", (EE,), True),
    "key": Case("other", ("{tlsa} TLSA 3 1 1 {key}",), True),
    "whole": Case("other", ("{tlsa} TLSA 3 0 2 {own512}",), True),
    "mismatch": Case("other", ("{tlsa} TLSA 3 0 1 " + ZEROS,), False),
    "one-of-two": Case("other", ("{tlsa} TLSA 3 0 1 " + ZEROS, EE), True),
    "expired-ee": Case("expired", (EE,), True),
    "expired-ta": Case("expired", (TA,), False),
    "ta-host": Case("host", (TA,), True),
    "ta-domain": Case("domain", (TA,), True),
    "ta-other": Case("other", (TA,), False),
    "unusable": Case("other", ("{tlsa} TLSA 1 0 1 " + ZEROS,), True, "dane-unusable"),
    "unusable-plain": Case("plain", ("{tlsa} TLSA 1 0 1 " + ZEROS,), False, "dane-unusable"),
    "plain": Case("plain", (EE.replace("{own}", ZEROS),), False),
    "no-records": Case("plain", (), True, "opportunistic"),
    "unsigned": Case(
        "other", ("{tlsa} TLSA 3 0 1 " + ZEROS, "{name}.test UNSIGNED"), True, "opportunistic"
    ),
    "bogus": Case("other", (EE, "{tlsa} BOGUS"), False),
    "alias-match": Case("other", (*ALIAS, EE), True),
    "alias-mismatch": Case("other", (*ALIAS, "{tlsa} TLSA 3 0 1 " + ZEROS), False),
}


class Certificates:
    """An authority and what it signed, by kind of receiver."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._run(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca "
            "-keyout ca.key -out ca.crt"
        )
        for kind, name in (
            ("other", "other.test"),
            ("host", "mx.ta-host.test"),
            ("domain", "ta-domain.test"),
            ("expired", "mx.expired-ta.test"),
        ):
            (base / "names").write_text(f"subjectAltName=DNS:{name}\n")
            self._run(
                f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x "
                f"-keyout {kind}.key -out {kind}.csr"
            )
            days = "-days -1" if kind == "expired" else "-days 2"
            self._run(
                f"x509 -req -in {kind}.csr -CA ca.crt -CAkey ca.key -CAcreateserial {days} "
                f"-extfile names -out {kind}.crt"
            )
            parts = [(base / part).read_text() for part in (f"{kind}.crt", "ca.crt", f"{kind}.key")]
            (base / f"{kind}.pem").write_text("".join(parts))

    def _run(self, arguments: str) -> bytes:
        command = ["openssl", *arguments.split()]
        return subprocess.run(command, cwd=self.base, check=True, capture_output=True).stdout

    def digest(self, name: str, kind: str = "sha256", *, of_key: bool = False) -> str:
        """Hex digest of a certificate, or of its key."""
        der = self.base / "der"
        if of_key:
            der.write_bytes(self._run(f"x509 -in {name}.crt -pubkey -noout"))
            self._run("pkey -pubin -in der -outform DER -out der2")
            der = self.base / "der2"
        else:
            self._run(f"x509 -in {name}.crt -outform DER -out der")
        said = self._run(f"dgst -{kind} {der.name}")
        return said.decode().split()[-1]


class World:
    """The receivers, the zone, the resolver."""

    def __init__(self, base: Path) -> None:
        self.base, self.port = base, free_port()
        made = Certificates(base)
        ips = {
            kind: f"127.0.0.{21 + n}"
            for n, kind in enumerate(("other", "host", "domain", "expired", "plain"))
        }
        self.sinks = []
        for kind, ip in ips.items():
            options = [] if kind == "plain" else ["--certificate", str(base / f"{kind}.pem")]
            directory = base / f"sink-{kind}"
            directory.mkdir()
            self.sinks.append(Sink(directory, *(options or ["--plain"]), port=self.port, ip=ip))
        zone = []
        for name, case in CASES.items():
            mx, certificate = f"mx.{name}.test", case.sink if case.sink != "plain" else "other"
            values = {
                "name": name,
                "mx": mx,
                "ip": ips[case.sink],
                "tlsa": f"_{self.port}._tcp.{mx}",
                "ca": made.digest("ca"),
                "own": made.digest(certificate),
                "own512": made.digest(certificate, "sha512"),
                "key": made.digest(certificate, of_key=True),
            }
            zone.append(f"{name}.test MX 10 {mx}")
            if ALIAS[0] not in case.zone:
                zone.append(f"{mx} A {ips[case.sink]}")
            zone.extend(line.format(**values) for line in case.zone)
        self.dns = Dns(base, zone, "127.0.0.78:0", "--anchor", str(base / "anchor"))
        address, _, port = self.dns.address.rpartition(":")
        settings = UNBOUND_SETTINGS.format(base=base, listen=UNBOUND, upstream=f"{address}@{port}")
        (base / "unbound.conf").write_text(settings)
        log = (base / "unbound.log").open("wb")
        command = ["unbound", "-d", "-c", str(base / "unbound.conf")]
        self.unbound = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(lambda: "start of service" in (base / "unbound.log").read_text(), "Unbound starts")

    def finger(self, name: str) -> str:
        """What `posttls-finger` says of a domain."""
        etc = self.base / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "main.cf").write_text("compatibility_level = 3.6\n")
        (self.base / "resolv.conf").write_text(f"nameserver {UNBOUND}\n")
        inside = (
            f"mount --make-rprivate / && mount --bind {self.base}/resolv.conf /etc/resolv.conf && "
            f"exec posttls-finger -c -l dane -L summary,verbose {name}.test:{self.port}"
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", inside],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "MAIL_CONFIG": str(etc)},
        )
        return done.stdout + done.stderr

    def stop(self) -> None:
        """End them all."""
        self.unbound.terminate()
        self.unbound.wait(10)
        self.dns.stop()
        for sink in self.sinks:
            sink.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    assert os.geteuid() == 0, "another resolv.conf is mounted: run the acceptance tests as root"
    made = World(tmp_path_factory.mktemp("dane"))
    yield made
    made.stop()


def sends(said: str) -> bool:
    """Whether Postfix would, at level `dane`, by what its tool saw."""
    has_tls = "TLS connection established" in said
    if "DNSSEC-signed TLSA record" in said:
        return "Verified TLS connection established" in said
    if "unsupported TLSA" in said:
        return has_tls
    # Neither records nor trouble in looking for them: opportunistic.
    return "lookup error" not in said


def test_posttls_finger_decides_as_we_do(world: World, tmp_path: Path) -> None:
    judged = {name: world.finger(name) for name in CASES}
    for name, said in judged.items():
        assert sends(said) == CASES[name].sends, (name, said)
    target = Postalynk(
        tmp_path / "pl",
        settings=(
            f"[delivery.smtp]\nport = {world.port}\n[delivery.tls]\nmta_sts = false\n"
            f'[dns]\nservers = ["{UNBOUND}"]\ntrust_anchor = "{world.base}/anchor"\n'
        ),
    )
    try:
        target.start().prepare()
        sent = target.send(to=[f"ann@{name}.test" for name in CASES])
        states = ["delivered" if case.sends else "deferred" for case in CASES.values()]
        target.wait_states(sent, *states)
        target.wait_projected()
        told = target.ask("why", sent)["deliveries"]
        # The first event is the acceptance's; a delivery that waits may have been tried again.
        tried = [[e for e in delivery["events"] if e["attempt"] == 1] for delivery in told]
        policies = {
            name: events[0]["tls"]["policy"] for name, events in zip(CASES, tried, strict=True)
        }
        assert policies == {name: case.policy for name, case in CASES.items()}
    finally:
        target.remove()
