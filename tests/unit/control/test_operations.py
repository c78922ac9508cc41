"""An operator's changes: durable, visible, announced, and nobody else's business."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from postalynk.control.directory import Directory
from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.control.values import PARTITION, TOPIC
from postalynk.errors import ControlError, QueueError
from postalynk.observability import configure_logs
from tests.fakes.queue import MemoryQueue

VECTORS = Path(__file__).parents[3] / "rust/dkim/tests/vectors"
MASTER = bytes(range(32))


@cache
def pem(kind: str, encryption: KeySerializationEncryption | None = None) -> bytes:
    key: Any
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    elif kind == "dsa":
        key = dsa.generate_private_key(1024)
    else:
        key = rsa.generate_private_key(65537, int(kind))
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def control(queue: MemoryQueue) -> Control:
    return Control(queue, Secrets(MASTER), clock=lambda: 1_900_000_000_000_000)


def reloaded(queue: MemoryQueue) -> Directory:
    directory = Directory(Secrets(MASTER))
    directory.load(queue)
    return directory


def test_an_organization_and_its_key_survive_a_restart(
    control: Control, queue: MemoryQueue
) -> None:
    made = control.create_organization("Acme", plan="pro", in_doubt="hold")
    assert re.fullmatch(r"org_[a-z2-7]{20}", made.org)
    assert re.fullmatch(r"pl_[a-z2-7]{8}_[a-z2-7]{32}", made.api_key)
    for directory in (control.directory, reloaded(queue)):
        grant = directory.grant(made.api_key)
        assert grant is not None
        assert (grant.organization.id, grant.organization.plan) == (made.org, "pro")
        assert grant.organization.in_doubt == "hold"


def test_the_secret_of_a_key_is_nowhere(control: Control, queue: MemoryQueue) -> None:
    made = control.create_organization("Acme")
    secret = made.api_key.rpartition("_")[2]
    stored = b"".join(v or b"" for appends in queue.appends for _, _, _, v in appends)
    assert secret.encode() not in stored
    assert secret not in repr(made)
    assert secret not in repr(control.directory.snapshot)


def test_keys_come_and_go(control: Control, queue: MemoryQueue) -> None:
    first = control.create_organization("Acme")
    second = control.create_key(first.org)
    control.revoke_key(first.prefix)
    control.revoke_key(first.prefix)
    for directory in (control.directory, reloaded(queue)):
        assert directory.grant(first.api_key) is None
        assert directory.grant(second.api_key) is not None
        assert [bool(k.revoked_at_us) for k in directory.keys(first.org)].count(True) == 1
    control.revoke_key(second.api_key[:11])
    assert control.directory.grant(second.api_key) is None
    with pytest.raises(ControlError, match="no API key"):
        control.revoke_key("nonsense")
    with pytest.raises(ControlError, match="no organization"):
        control.create_key("org_nobody")


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 201},
        {"name": "a\nb"},
        {"name": "a", "plan": "A b"},
        {"name": "a", "plan": ""},
        {"name": "a", "in_doubt": "maybe"},
    ],
    ids=str,
)
def test_a_wrong_organization_is_refused_with_a_fix(
    control: Control, queue: MemoryQueue, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ControlError) as refused:
        control.create_organization(**arguments)
    assert refused.value.fix
    assert queue.appends == []


def test_a_domain_has_two_keys_and_their_records(control: Control, queue: MemoryQueue) -> None:
    org = control.create_organization("Acme").org
    setup = control.add_domain("Example.COM.", org)
    assert (setup.domain, setup.org, setup.selectors) == ("example.com", org, ["pl1", "pl2"])
    records = {record.name: record.value for record in setup.records}
    assert records["pl1._domainkey.example.com"].startswith("v=DKIM1; k=rsa; p=MII")
    assert records["pl2._domainkey.example.com"].startswith("v=DKIM1; k=ed25519; p=")
    assert records["example.com"] == "v=spf1 a mx ~all"
    assert records["_dmarc.example.com"] == "v=DMARC1; p=none"
    assert {record.type for record in setup.records} == {"TXT"}
    signers = reloaded(queue).signers()
    assert [signer[:3] for signer in signers] == [
        ("example.com", "pl1", "rsa"),
        ("example.com", "pl2", "ed25519"),
    ]
    for _, _, _, der in signers:
        load_der_private_key(der, None)
    # Adding it again changes nothing.
    assert control.add_domain("example.com", org) == setup
    assert control.directory.signers() == signers


def test_a_private_key_is_on_disk_only_sealed(control: Control, queue: MemoryQueue) -> None:
    control.add_domain("example.com", control.create_organization("Acme").org, pem("2048"))
    stored = b"".join(v or b"" for appends in queue.appends for _, _, _, v in appends)
    for _, _, _, der in control.directory.signers():
        assert der not in stored
        assert der.hex().encode() not in stored
    stranger = Directory(Secrets(bytes(32)))
    stranger.load(queue)
    with pytest.raises(ControlError, match="does not open"):
        stranger.signers()


def test_a_key_of_ones_own_takes_the_place_of_its_kind(control: Control) -> None:
    org = control.create_organization("Acme").org
    control.add_domain("rsa.example", org, pem("2048"))
    control.add_domain("ed.example", org, pem("ed25519"))
    keys = {signer[:2]: signer[3] for signer in control.directory.signers()}
    for place, text in (
        (("rsa.example", "pl1"), pem("2048")),
        (("ed.example", "pl2"), pem("ed25519")),
    ):
        key: Any = load_der_private_key(keys[place], None)
        assert key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) == text
    with pytest.raises(ControlError, match="has its keys already"):
        control.add_domain("rsa.example", org, pem("2048"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"nonsense",
        lambda: b"",
        (VECTORS / "rsa1016.pem").read_bytes,
        (VECTORS / "rsa4104.pem").read_bytes,
        lambda: pem("dsa"),
        lambda: pem("2048", BestAvailableEncryption(b"secret")),
    ],
)
def test_a_key_that_cannot_sign_is_refused_without_quoting_it(control: Control, make: Any) -> None:
    org = control.create_organization("Acme").org
    with pytest.raises(ControlError) as refused:
        control.add_domain("example.com", org, make())
    assert "PEM" in refused.value.fix
    assert refused.value.__cause__ is None
    assert control.directory.domain("example.com") is None


def test_a_domain_belongs_to_one_organization(control: Control) -> None:
    one = control.create_organization("One")
    two = control.create_organization("Two")
    control.add_domain("example.com", one.org, pem("ed25519"))
    with pytest.raises(ControlError) as refused:
        control.add_domain("EXAMPLE.com", two.org)
    assert one.org not in str(refused.value)
    with pytest.raises(ControlError, match="no domain"):
        control.remove_domain("example.com", two.org)
    control.remove_domain("example.com", one.org)
    assert control.directory.domain("example.com") is None
    assert control.add_domain("example.com", two.org, pem("ed25519")).org == two.org
    with pytest.raises(ControlError, match="no domain"):
        control.remove_domain("never.example")


@pytest.mark.parametrize(
    "name",
    ["", "a", "a@example.com", "exa mple.com", "-a.example", "a..example", "x" * 250 + ".example"],
)
def test_what_is_no_domain_is_refused(control: Control, name: str) -> None:
    org = control.create_organization("Acme").org
    with pytest.raises(ControlError) as refused:
        control.add_domain(name, org)
    assert refused.value.fix


def test_a_domain_too_long_for_a_message_id_is_refused(control: Control) -> None:
    long = ".".join(["x" * 60] * 4)
    with pytest.raises(ControlError):
        control.add_domain(long, control.create_organization("Acme").org)


def test_the_shipped_policy_finds_its_pools(control: Control) -> None:
    assert [pool.name for pool in control.directory.pools()] == ["default", "high", "majors"]
    tree = msgspec.json.decode(control.directory.egress_json())
    assert tree["sources"] == [{"name": "default", "ip": "", "ehlo": "", "relay": ""}]
    assert {pool["name"]: pool["sources"] for pool in tree["pools"]} == {
        name: {"default": 1} for name in ("default", "high", "majors")
    }


def test_pools_and_sources(control: Control, queue: MemoryQueue) -> None:
    control.set_source("a1", ip="192.0.2.1", ehlo="mail.example.com")
    control.set_source("b1", ip="2001:DB8::1")
    control.set_pool("high", {"a1": 3, "b1": 1})
    for directory in (control.directory, reloaded(queue)):
        pools = {pool.name: pool.sources for pool in directory.pools()}
        assert pools["high"] == {"a1": 3, "b1": 1}
        assert pools["default"] == {"default": 1}
        assert [s.ip for s in directory.sources()] == ["192.0.2.1", "2001:db8::1", ""]
    org = control.create_organization("Acme").org
    records = control.add_domain("example.com", org, pem("ed25519")).records
    assert "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all" in [record.value for record in records]


def test_a_relays_login_is_sealed(control: Control, queue: MemoryQueue) -> None:
    url = "socks5://me:s3cret%40@192.0.2.9:1080"
    made = control.set_source("a1", relay=url)
    assert made.relay == "socks5://192.0.2.9:1080"
    assert "s3cret" not in msgspec.json.encode(made).decode()
    for directory in (control.directory, reloaded(queue)):
        relays = {
            s["name"]: s["relay"] for s in msgspec.json.decode(directory.egress_json())["sources"]
        }
        assert relays == {"a1": url, "default": ""}


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.set_source("A b"),
        lambda c: c.set_source("a", ip="300.0.0.1"),
        lambda c: c.set_source("a", ehlo="mail"),
        lambda c: c.set_source("a", ehlo="mail.example.com\r\nMAIL FROM"),
        lambda c: c.set_source("a", relay="http://192.0.2.9:3128"),
        lambda c: c.set_source("a", relay="socks5://me@192.0.2.9"),
        lambda c: c.set_source("a", relay="socks5://192.0.2.9:99999"),
        lambda c: c.set_source("a", relay="proxy2://192.0.2.9:5000"),
        lambda c: c.set_source("a", ip="192.0.2.1", relay="proxy2://192.0.2.9"),
        lambda c: c.set_pool("p", {}),
        lambda c: c.set_pool("p", {"unknown": 1}),
        lambda c: c.set_pool("p", {"default": 0}),
        lambda c: c.set_pool("", {"default": 1}),
    ],
)
def test_a_wrong_pool_or_source_is_refused(
    control: Control, queue: MemoryQueue, change: Any
) -> None:
    with pytest.raises(ControlError) as refused:
        change(control)
    assert refused.value.fix
    assert queue.appends == []


def test_nothing_is_visible_before_it_is_durable(control: Control, queue: MemoryQueue) -> None:
    seen: list[int] = []
    queue.after = lambda _: seen.append(len(control.directory.organizations()))
    control.subscribe(lambda: seen.append(len(control.directory.organizations())))
    control.create_organization("Acme")
    assert seen == [0, 1]

    def fail(_: Sequence[Any]) -> None:
        raise QueueError("the disk is full")

    queue.before = fail
    with pytest.raises(QueueError):
        control.create_organization("Other")
    assert len(control.directory.organizations()) == 1
    assert seen == [0, 1]


def test_a_deaf_listener_undoes_nothing(control: Control) -> None:
    told: list[str] = []

    def deaf() -> None:
        raise RuntimeError("no")

    control.subscribe(deaf)
    control.subscribe(lambda: told.append("heard"))
    made = control.create_organization("Acme")
    assert control.directory.grant(made.api_key) is not None
    assert told == ["heard"]


def test_no_log_line_holds_a_secret(control: Control) -> None:
    stream = io.StringIO()
    configure_logs("debug", stream)

    def deaf() -> None:
        raise RuntimeError("no")

    control.subscribe(deaf)
    made = control.create_organization("Acme")
    control.add_domain("example.com", made.org, pem("2048"))
    text = stream.getvalue()
    assert "listener" in text
    assert made.api_key.rpartition("_")[2] not in text
    assert "PRIVATE" not in text


def test_a_snapshot_does_not_change_under_its_reader(control: Control) -> None:
    before = control.directory.snapshot
    made = control.create_organization("Acme")
    assert before.organizations == {}
    assert made.org in control.directory.snapshot.organizations
    with pytest.raises(TypeError):
        before.organizations["x"] = None  # type: ignore[index]


def test_unknown_fields_of_a_newer_release_survive(control: Control, queue: MemoryQueue) -> None:
    made = control.create_organization("Acme")
    key = f"key/{made.prefix}".encode()
    table = queue.tables[TOPIC, PARTITION]
    tree = msgspec.json.decode(table[key]) | {"scopes": ["send"], "version": 2}
    table[key] = msgspec.json.encode(tree)
    table[b"route/x"] = b"{}"
    other = Control(queue, Secrets(MASTER))
    assert other.directory.grant(made.api_key) is not None
    other.revoke_key(made.prefix)
    assert msgspec.json.decode(table[key])["scopes"] == ["send"]
    table[key] = b"broken"
    with pytest.raises(ControlError, match="unreadable value under key/"):
        Control(queue, Secrets(MASTER))
