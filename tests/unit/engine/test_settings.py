"""What the engine is told, worked out from what the operator wrote."""

from pathlib import Path

import msgspec
import pytest

from postalynk.engine import EngineSettings
from postalynk.errors import SettingsError
from postalynk.settings import Chunking, Delivery, Dns, Settings, Smtp, Tls


def _of(settings: Settings, *, is_sink_only: bool = False) -> EngineSettings:
    return EngineSettings.of(settings, journal="attempts.journal", is_sink_only=is_sink_only)


def test_defaults_are_the_engines() -> None:
    engine = _of(Settings(delivery=Delivery(ehlo="mta.example.com")))
    assert msgspec.to_builtins(engine) == {
        "shards": 0,
        "signing_threads": 0,
        "max_in_flight": 10_000,
        "journal": "attempts.journal",
        "dns_servers": [],
        "dnssec": "auto",
        "trust_anchor": "",
        "smart_host": "",
        "smart_host_user": "",
        "smart_host_password": "",
        "smart_host_tls": "",
        "smtp_port": 25,
        "ehlo": "mta.example.com",
        "tls": "opportunistic",
        "tls_domains": {},
        "tls_ca_file": "",
        "dane": True,
        "sts": True,
        "sts_directory": "mta-sts",
        "sts_port": 443,
        "tls_report": "tls-report.json",
        "chunking": True,
        "chunking_domains": {},
        "sites": {},
        "connections": 0,
        "per_connection": 0,
        "rate": "",
        "idle_s": 30,
        "max_age_s": 300,
        "transcript_sample": 1_000,
    }


def test_without_a_name_it_is_the_hosts() -> None:
    assert _of(Settings()).ehlo


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("9.9.9.9", "9.9.9.9:53"),
        ("2620:fe::fe", "[2620:fe::fe]:53"),
        ("[2620:fe::fe]:5353", "[2620:fe::fe]:5353"),
    ],
)
def test_a_resolver_has_a_port(written: str, told: str) -> None:
    assert _of(Settings(dns=Dns(servers=(written,)))).dns_servers == [told]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (Settings(delivery=Delivery(smtp=Smtp(port=0))), "delivery.smtp.port"),
        (Settings(delivery=Delivery(shards=-1)), "delivery.shards"),
        (Settings(delivery=Delivery(ehlo="my host")), "delivery.ehlo"),
        (Settings(dns=Dns(servers=("dns.example",))), "dns.servers"),
        (Settings(dns=Dns(servers=("9.9.9.9:0",))), "dns.servers"),
        (Settings(dns=Dns(dnssec="yes")), "dns.dnssec"),
        (Settings(delivery=Delivery(tls=Tls(default="never"))), "delivery.tls.default"),
        (Settings(delivery=Delivery(tls=Tls(sites={"google": "no"}))), "delivery.tls.sites.google"),
    ],
)
def test_what_is_wrong_is_named(settings: Settings, key: str) -> None:
    with pytest.raises(SettingsError, match=key):
        _of(settings)


def test_dev_needs_its_sink() -> None:
    with pytest.raises(SettingsError, match=r"delivery\.smart_host"):
        _of(Settings(), is_sink_only=True)
    sink = Settings(delivery=Delivery(smart_host="127.0.0.1:2500"))
    assert _of(sink, is_sink_only=True).smart_host == "127.0.0.1:2500"


def test_sites_say_what_they_say() -> None:
    chunking = Chunking(default=False, sites={"google": True}, domains={"a.example": False})
    engine = _of(
        Settings(delivery=Delivery(tls=Tls(sites={"google": "verify"}), chunking=chunking))
    )
    assert engine.sites == {"google": {"tls": "verify", "chunking": True}}
    assert (engine.chunking, engine.chunking_domains) == (False, {"a.example": False})


def test_a_smart_host_password_comes_from_its_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hush hush\nnotes\n")
    login = Delivery(
        smart_host="relay.example:587",
        smart_host_user="us",
        smart_host_password_file="password",
    )
    engine = _of(Settings(delivery=login, directory=str(tmp_path)))
    assert (engine.smart_host_user, engine.smart_host_password) == ("us", "hush hush")
    assert "hush" not in f"{engine!r}{engine}"


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(smart_host="relay.example:587", smart_host_user="us"),
        Delivery(smart_host="relay.example:587", smart_host_password_file="password"),
        Delivery(smart_host_user="us", smart_host_password_file="password"),
        Delivery(smart_host="a:1", smart_host_user="us", smart_host_password_file="no such file"),
        Delivery(smart_host="a:1", smart_host_user="us", smart_host_password_file="empty"),
    ],
)
def test_half_a_login_is_refused(delivery: Delivery, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hush\n")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError, match="smart_host_password_file"):
        _of(Settings(delivery=delivery, directory=str(tmp_path)))
