"""Every command draws its table and its JSON from the one result it was given.

What people see is pinned by ``tests/vectors/cli``: run with ``POSTALYNK_REWRITE_VECTORS=1`` to
write them anew, then read the difference. The operator's door (`Client.call`) is the only fake.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest

from postalynk.cli import (
    dead_letter,  # noqa: F401 - each registers its commands
    doctor,
    domain,  # noqa: F401
    message,  # noqa: F401
    organization,  # noqa: F401
    policy,  # noqa: F401
    pool,  # noqa: F401
    queue,  # noqa: F401
    suppression,  # noqa: F401
    tls_report,  # noqa: F401
    trace,  # noqa: F401
    waiting,  # noqa: F401
)
from postalynk.cli.app import run
from postalynk.control.operations import Control
from postalynk.control.secrets import Secrets
from postalynk.engine import encode_dead_letter
from postalynk.errors import ControlError
from postalynk.policy import DEFAULT, read_bundle
from postalynk.queue.native import EmbeddedQueue
from postalynk.service import policies
from postalynk.service.client import Client
from postalynk.service.operations import NAMES, Operations
from postalynk.settings import Settings
from tests.fakes.queue import MemoryQueue
from tests.unit.cli import answers

VECTORS = Path(__file__).parents[2] / "vectors" / "cli"


class Case(NamedTuple):
    command: str
    operation: str
    arguments: dict[str, Any]
    answer: Any
    status: int = 0


ORG = answers.ORG
WHICH: dict[str, Any] = dict.fromkeys(("reason", "org", "since_us", "until_us", "version", "id"))
CHOICE: dict[str, Any] = {
    **dict.fromkeys(("org", "domain", "site", "tag")),
    "is_all": False,
}
CASES = {
    "org-create": Case(
        "org create Acme --plan pro --in-doubt hold",
        "create_organization",
        {"name": "Acme", "plan": "pro", "in_doubt": "hold"},
        answers.ORGANIZATION,
    ),
    "policy-list": Case(
        "policy list",
        "list_policies",
        {},
        answers.POLICIES | {"running": "9221174c5e36", "running_canary": ""},
    ),
    "policy-list-canary": Case(
        "policy list",
        "list_policies",
        {},
        answers.CANARY | {"running": "1f0c0ffee000", "running_canary": "9221174c5e36"},
    ),
    "policy-promote": Case("policy promote", "promote_policy", {}, answers.POLICIES),
    "policy-list-empty": Case("policy list", "list_policies", {}, answers.NO_POLICIES),
    "policy-rollback": Case(
        "policy rollback 9221174c5e36",
        "roll_back_policy",
        {"version": "9221174c5e36"},
        answers.POLICIES,
    ),
    "org-list": Case("org list", "list_organizations", {}, answers.ORGANIZATIONS),
    "org-list-empty": Case("org list", "list_organizations", {}, []),
    "org-update": Case(
        f"org update {ORG} --salt 8",
        "update_organization",
        {"org": ORG, "salt": 8},
        answers.UPDATED,
    ),
    "org-key": Case(f"org key {ORG}", "create_key", {"org": ORG}, answers.ORGANIZATION),
    "domain-add": Case(
        f"domain add acme.example --org {ORG}",
        "add_domain",
        {"domain": "acme.example", "org": ORG, "rsa_key_pem": None},
        answers.DOMAIN,
    ),
    "domain-rotate": Case(
        f"domain rotate acme.example --org {ORG}",
        "rotate_domain",
        {"domain": "acme.example", "org": ORG, "rsa_key_pem": None},
        answers.DOMAIN,
    ),
    "domain-show": Case(
        "domain show acme.example",
        "show_domain",
        {"domain": "acme.example"},
        answers.DOMAIN,
    ),
    "domain-list": Case("domain list", "list_domains", {"org": None}, answers.DOMAINS),
    "domain-list-empty": Case(f"domain list --org {ORG}", "list_domains", {"org": ORG}, []),
    "pool-list": Case("pool list", "list_pools", {}, answers.POOLS),
    "pool-set": Case(
        "pool set default mta1=3 mta2",
        "set_pool",
        {"name": "default", "sources": {"mta1": 3, "mta2": 1}},
        answers.POOL,
    ),
    "pool-source": Case(
        "pool source mta1 --ip 192.0.2.1 --ehlo mta1.acme.example",
        "set_source",
        {"name": "mta1", "ip": "192.0.2.1", "ehlo": "mta1.acme.example", "relay": ""},
        answers.SOURCE,
    ),
    "pool-sources": Case("pool sources", "list_sources", {}, answers.SOURCES),
    "suppression-list": Case(
        f"suppression list {ORG} --limit 2",
        "list_suppressed",
        {"org": ORG, "limit": 2},
        answers.SUPPRESSED,
    ),
    "suppression-list-empty": Case(
        f"suppression list {ORG}", "list_suppressed", {"org": ORG, "limit": 1_000}, []
    ),
    "suppression-add": Case(
        f"suppression add {ORG} ada@example.org --reason complained --days 30",
        "suppress",
        {"org": ORG, "addresses": ["ada@example.org"], "reason": "complained", "for_s": 2_592_000},
        answers.SUPPRESSED[:1],
    ),
    "suppression-lift": Case(
        f"suppression lift {ORG} bob@example.org",
        "lift_suppressed",
        {"org": ORG, "addresses": ["bob@example.org"]},
        answers.SUPPRESSED[1:],
    ),
    "suppression-forget": Case(
        f"suppression forget {ORG} ada@example.org bob@example.org",
        "forget_suppressed",
        {"org": ORG, "addresses": ["ada@example.org", "bob@example.org"]},
        answers.SUPPRESSED,
    ),
    "audit": Case("audit", "audit", {"is_full": False}, answers.AUDIT),
    "audit-bad": Case("audit --full", "audit", {"is_full": True}, answers.AUDIT_BAD, status=1),
    "queue-flush": Case(
        "queue flush --domain rcpt.example",
        "flush_waiting",
        CHOICE | {"domain": "rcpt.example", "is_dry_run": True},
        answers.FLUSH,
    ),
    "queue-cancel": Case(
        f"queue cancel --org {ORG} --tag campaign=spring --yes",
        "cancel_waiting",
        CHOICE | {"org": ORG, "tag": "campaign=spring", "is_dry_run": False},
        answers.CANCEL,
    ),
    "queue": Case("queue", "queue_state", {}, answers.QUEUE),
    "drain": Case("drain --timeout 2m", "drain", {"limit_s": 120.0}, answers.DRAINED),
    "drain-timeout": Case("drain", "drain", {"limit_s": 60.0}, answers.NOT_DRAINED, status=1),
    "dlq-ls": Case(
        "dlq ls",
        "dead_letters",
        WHICH,
        [answers.LETTER, answers.KNOWN_LETTER],
    ),
    "dlq-ls-empty": Case(
        f"dlq ls --reason crash --org {ORG}",
        "dead_letters",
        WHICH | {"reason": "crash", "org": ORG},
        [],
    ),
    "dlq-redrive-dry": Case(
        "dlq redrive",
        "redrive",
        WHICH | {"is_dry_run": True, "rate_per_s": None},
        answers.DRY_RUN,
    ),
    "dlq-redrive": Case(
        "dlq redrive --yes --reason unprojectable --rate 5",
        "redrive",
        WHICH | {"reason": "unprojectable", "is_dry_run": False, "rate_per_s": 5.0},
        answers.REDRIVE,
    ),
    "dlq-show": Case("dlq show 3:0", "show_letter", {"letter_id": "3:0"}, answers.SHOWN_LETTER),
    "dlq-top": Case(
        "dlq top policy_version --since 2026-11-24T00:00:00Z --release 0.1.0",
        "dead_letters_top",
        WHICH | {"by": "policy_version", "since_us": 1_795_478_400_000_000, "version": "0.1.0"},
        answers.TOP,
    ),
    "dlq-drop": Case(
        "dlq drop --id 3:0",
        "drop_letters",
        WHICH | {"id": "3:0", "is_dry_run": True},
        answers.DROPPED,
    ),
    "dlq-resume": Case("dlq resume --partition 17", "resume_partitions", {"partition": 17}, [17]),
    "tls-report": Case(
        "tls-report --days-ago 1", "tls_reports", {"days_ago": 1}, answers.TLS_REPORTS
    ),
    "tls-report-empty": Case("tls-report", "tls_reports", {"days_ago": 0}, []),
    "why": Case(f"why {answers.MESSAGE}", "why", {"message_id": answers.MESSAGE}, answers.STORY),
}


class Door:
    """Stands where the running process would; knows one answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def call(self, name: str, arguments: dict[str, Any], *, timeout_s: float = 0) -> Any:
        self.asked.append((name, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answered(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Door:
    door = Door(answer)
    monkeypatch.setattr(Client, "call", lambda _, *args, **options: door.call(*args, **options))
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return door


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_the_one_on_file(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    door = answered(monkeypatch, case.answer)
    assert run(case.command.split()) == case.status
    assert door.asked == [(case.operation, case.arguments)]
    drawn = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n"
    vector = VECTORS / f"{name}.txt"
    if os.environ.get("POSTALYNK_REWRITE_VECTORS"):
        vector.write_text(drawn)
    assert drawn == vector.read_text()
    assert not any(ord(char) < 32 and char != "\n" for char in drawn)


@pytest.mark.parametrize("name", CASES)
def test_json_is_the_result_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    door = answered(monkeypatch, case.answer)
    assert run([*case.command.split(), "--json"]) == case.status
    assert door.asked == [(case.operation, case.arguments)]
    assert json.loads(capsys.readouterr().out) == case.answer


def _facts(value: Any) -> set[str]:
    """The texts and numbers in a result."""
    if isinstance(value, dict):
        return set().union(*(_facts(item) for item in value.values()), map(str, value))
    if isinstance(value, list):
        return set().union(*map(_facts, value))
    return {str(value)} if isinstance(value, str | int) and str(value) else set()


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("org-create", set()),
        ("org-list", set()),
        ("domain-add", {"pl1", "pl2"} | _facts(answers.DOMAIN["keys"])),
        ("domain-list", set()),
        ("pool-list", set()),
        ("pool-sources", set()),
        ("queue", set()),
        ("audit-bad", set()),
    ],
)
def test_the_table_hides_nothing(name: str, hidden: set[str]) -> None:
    """Every fact of the JSON is in the table as well, field names aside."""
    drawn = (VECTORS / f"{name}.txt").read_text()
    keys = {"org", "api_key", "records", "notes", "selectors", "type", "value", "sources", "lanes"}
    keys |= {"organizations", "sites", "states", "unaccounted", "twice", "in_flight", "in_doubt"}
    keys |= {"oldest_age_s", "domain", "domains", "name", "plan", "keys", "lane", "waiting"}
    keys |= {"accepted", "deferred", "queued", "delivered", "scheduled", "halted", "why"}
    keys |= {"partition", "held"}
    for fact in _facts(CASES[name].answer) - keys - hidden:
        assert fact in drawn


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_refusal_is_told_with_its_fix(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(monkeypatch, ControlError("no organization [x]", fix="see [bold]org list[/]"))
    assert run(["org", "key", "org_x", *options]) == 1
    shown = capsys.readouterr()
    assert shown.err == "error: no organization [x]\n  fix: see [bold]org list[/]\n"
    if options:
        assert json.loads(shown.out) == {
            "error": "ControlError",
            "message": "no organization [x]",
            "fix": "see [bold]org list[/]",
        }
    else:
        assert shown.out == ""


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(("verdict", "status"), [("note", 0), ("wrong", 1)])
def test_doctor_draws_its_findings_and_the_settings(
    options: list[str],
    verdict: Any,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answered(monkeypatch, None)
    findings = [
        doctor.Finding("disk", "ok", "9.0 GB free for the queue"),
        doctor.Finding("postgresql", verdict, "out of [reach]", "start it"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda _settings: iter(findings))
    assert run(["doctor", *options]) == status
    shown = capsys.readouterr().out
    if options:
        told = json.loads(shown)
        assert told["findings"] == msgspec.to_builtins(findings)
        assert {"setting": "queue.partitions", "value": "64", "from": "default"} in told["settings"]
    else:
        rows = [line.split() for line in shown.splitlines()]
        assert [verdict, "postgresql", "out", "of", "[reach]", "start", "it"] in rows
        assert ["queue.partitions", "64", "default"] in rows


def test_doctor_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(monkeypatch, None)
    monkeypatch.setattr(doctor, "examine", lambda _settings: iter(()))
    config = tmp_path / "postalynk.toml"
    config.write_text(
        '[queue]\nurl = "kafka://kafka:9092"\nclient = {"sasl.password" = "hidden-one"}\n'
        '[hot]\nurl = "postgresql://u:hidden-two@db/postalynk"\n'
        '[control]\nmaster_key_file = "key"\n'
    )
    assert run(["doctor", "--json", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert "hidden" not in shown
    assert "sasl.password" in shown


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


def test_the_answers_have_the_shape_of_real_ones(tmp_path: Path) -> None:
    """The fake door may not drift from what `Operations` says."""
    log = MemoryQueue()
    settings = Settings(directory=str(tmp_path))
    real = Operations(cast(EmbeddedQueue, log), Control(log, Secrets(bytes(32))), settings)

    def ask(operation: str, **arguments: Any) -> Any:
        asked.add(operation)
        return json.loads(json.dumps(real.call(operation, arguments)))

    asked: set[str] = set()
    made = ask("create_organization", name="Acme", plan="pro", in_doubt="hold")
    org = made["org"]
    added = ask("add_domain", domain="acme.example", org=org, rsa_key_pem=None)
    log.put("email.dlq", 3, _letter())
    ada: Any = {"org": org, "addresses": ["ada@example.org"]}
    pairs = [
        (made, answers.ORGANIZATION),
        (ask("create_key", org=org), answers.ORGANIZATION),
        (ask("update_organization", org=org, salt=8), answers.UPDATED),
        (ask("list_organizations"), answers.ORGANIZATIONS),
        (added | {"notes": []}, answers.DOMAIN | {"notes": []}),
        (
            ask("domain_setup", domain="acme.example"),
            {"setup": added, "senders": [{"ip": "", "ehlo": ""}]},
        ),
        (ask("show_domain", domain="acme.example"), added),
        (
            ask("rotate_domain", domain="acme.example", org=org, rsa_key_pem=None) | {"notes": []},
            answers.DOMAIN | {"notes": []},
        ),
        (
            ask("advance_keys", domain="acme.example", shown={}) | {"setup": None},
            {"setup": None, "senders": [{"ip": "", "ehlo": ""}]},
        ),
        (ask("list_domains", org=None), answers.DOMAINS),
        (
            ask("set_source", name="mta1", ip="192.0.2.1", ehlo="mta1.acme.example", relay=""),
            answers.SOURCE,
        ),
        (
            ask(
                "set_source",
                name="mta2",
                ip="192.0.2.2",
                ehlo="mta2.acme.example",
                relay="socks5://me:secret@192.0.2.9",
            ),
            answers.SOURCE,
        ),
        (ask("list_sources")[1:], answers.SOURCES),
        (ask("set_pool", name="default", sources={"mta1": 3, "mta2": 1}), answers.POOL),
        ([ask("list_pools")[0]], [answers.POOLS[0]]),
        (ask("suppress", reason="complained", for_s=0, **ada), answers.SUPPRESSED[:1]),
        (ask("list_suppressed", org=org, limit=0), answers.SUPPRESSED[:1]),
        (ask("lift_suppressed", **ada), answers.SUPPRESSED[1:]),
        (ask("forget_suppressed", **ada), answers.SUPPRESSED[1:]),
        (ask("audit") | {"states": {}}, answers.AUDIT | {"states": {}}),
        (ask("dead_letters", **WHICH), [answers.LETTER]),
        (ask("dead_letters_top", by="reason", **WHICH), answers.TOP[:1]),
        (ask("show_letter", letter_id="3:0"), answers.SHOWN_LETTER),
        (ask("redrive", is_dry_run=True, **WHICH), answers.DRY_RUN | {"refused": []}),
        (ask("drop_letters", is_dry_run=True, **WHICH), answers.DROPPED),
        (
            ask("queue_state"),
            answers.QUEUE | {"organizations": {}, "sites": {}, "halted": []},
        ),
    ]
    files = policies.sent(read_bundle(DEFAULT))
    pairs += [
        (ask("list_policies"), answers.NO_POLICIES),
        (ask("deploy_policy", files=files), answers.POLICIES),
        (ask("roll_back_policy", version=None), answers.POLICIES),
        (
            ask("deploy_policy", files=files, canary_share=0.05),
            answers.CANARY | {"canary": answers.TRIAL},
        ),
        (ask("promote_policy"), answers.POLICIES),
        (ask("policy_files", version=read_bundle(DEFAULT).version), {"policy.py": ""}),
    ]
    replayed = ask("replay_policy", baseline=files, candidate=files, since_us=0)
    assert (replayed["deliveries"], replayed["changes"]) == (0, [])
    with pytest.raises(ControlError, match="retains no record"):
        ask("explain_policy", files=files, message_id=answers.MESSAGE, to=None, at_us=None)
    for said, told in pairs:
        assert _shape(said) == _shape(told)
    assert asked == NAMES, "an operation without a case here"


def _letter() -> bytes:
    return encode_dead_letter(
        "undecodable", "not a record", "email.send.normal", 3, 1_234, answers.NOW_US, b"\x00"
    )
