"""The operator's contract: what each command answers, how it fails, how the process ends.

What runs: `postalynk up` and the sink; for some, nothing at all. What breaks: wrong arguments,
wrong settings, a second process on the same queue. What holds: the answers are those promised to
programs, key for key (docs/reference/cli.md), and an error names what to do.
"""

import json
import os
import re
import signal
import subprocess
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import COMMAND, ROOT, Postalynk, free_port


def test_org_create_answers_with_id_and_key(live: Postalynk) -> None:
    made = live.ask("org", "create", "Acme", "--plan", "dedicated", "--in-doubt", "hold")
    assert set(made) == {"org", "api_key"}
    assert made["org"].startswith("org_")
    assert len(made["org"]) == 24
    assert made["api_key"].startswith("pl_")
    (found,) = [row for row in live.ask("org", "list") if row["org"] == made["org"]]
    assert (found["name"], found["plan"], found["in_doubt"]) == ("Acme", "dedicated", "hold")
    another = live.ask("org", "key", made["org"])
    assert another["api_key"] not in {"", made["api_key"]}
    # Both keys are in force.
    for key in (made["api_key"], another["api_key"]):
        assert live.request("GET", f"/emails/{uuid.uuid4()}", key=key)[0] == 404


def test_domain_add_answers_with_the_records_to_publish(live: Postalynk) -> None:
    made = live.ask("domain", "add", "mail.acme.example", "--org", live.org)
    assert made["domain"] == "mail.acme.example"
    assert len(made["selectors"]) == 2
    for record in made["records"]:
        assert set(record) == {"name", "type", "value"}
    names = {record["name"] for record in made["records"]}
    assert {f"{selector}._domainkey.mail.acme.example" for selector in made["selectors"]} <= names
    # Again: the same keys, so the same records.
    assert live.ask("domain", "add", "mail.acme.example", "--org", live.org) == made
    sent = live.send(**{"from": "a@mail.acme.example"}, to="ada@rcpt.example")
    live.wait_state(sent, "delivered")


def test_domain_add_takes_a_key_of_ones_own(live: Postalynk, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    made = live.ask("domain", "add", "own.example", "--org", live.org, "--key", str(key))
    public = subprocess.run(
        ["openssl", "rsa", "-in", key, "-pubout"], check=True, capture_output=True, text=True
    ).stdout
    encoded = "".join(line for line in public.splitlines() if not line.startswith("-"))
    assert any(f"p={encoded}" in record["value"] for record in made["records"])


def test_pools_are_made_of_sources(live: Postalynk) -> None:
    live.ask("pool", "source", "mta1", "--ip", "127.0.0.1", "--ehlo", "mta1.example.com")
    live.ask("pool", "set", "bulk", "mta1=3")
    (pool,) = [row for row in live.ask("pool", "list") if row["name"] == "bulk"]
    assert pool == {"name": "bulk", "sources": {"mta1": 3}}


def test_queue_answers_by_lane_organization_and_site(live: Postalynk) -> None:
    state = live.ask("queue")
    assert set(state) == {
        *("lanes", "deferred", "in_flight", "organizations", "sites"),
        *("scheduled", "halted"),
    }
    assert [lane["lane"] for lane in state["lanes"]] == ["high", "normal", "bulk"]
    for lane in state["lanes"]:
        assert set(lane) == {"lane", "waiting", "oldest_age_s"}


def test_drain_waits_for_what_is_queued(live: Postalynk) -> None:
    # The sink takes two seconds for this one.
    live.send(to="slow@rcpt.example")
    at_once = live.command("drain", "--timeout", "0s", "--json")
    assert at_once.returncode == 1
    assert json.loads(at_once.stdout)["drained"] is False
    patient = live.command("drain", "--timeout", "1m", "--json")
    assert patient.returncode == 0
    assert json.loads(patient.stdout)["drained"] is True


def test_audit_answers_with_counts_and_two_empty_lists(live: Postalynk) -> None:
    live.wait_state(live.send(to="ada@rcpt.example"), "delivered")
    done = live.command("audit", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert set(report) == {"accepted", "states", "unaccounted", "twice"}
    assert report["unaccounted"] == report["twice"] == []
    assert report["states"]["delivered"] >= 1


def test_why_tells_decisions_attempts_replies_and_times(live: Postalynk) -> None:
    sent = live.send(to="defer.why@rcpt.example", priority="high")
    live.wait_state(sent, "delivered")
    story = live.ask("why", sent)
    assert story["message"]["id"] == sent
    (delivery,) = story["deliveries"]
    assert [event["kind"] for event in delivery["events"]] == ["deferred", "delivered"]
    first, second = delivery["events"]
    assert first["reply"]["code"] == 451
    assert first["due_at"]
    assert second["reply"]["code"] == 250
    for event in (first, second):
        assert event["path"]["pool"] == "high"
        assert event["policy"]["reason"] == "high priority"
        assert event["policy"]["version"]
        assert event["latency_us"]["total"] > 0
    told = live.command("why", sent).stdout
    for words in (sent, "high priority", "451", "250", "attempt 2"):
        assert words in told


def test_dlq_ls_answers_with_a_list(live: Postalynk) -> None:
    assert isinstance(live.ask("dlq", "ls"), list)


def test_doctor_says_what_is_so_and_why(live: Postalynk) -> None:
    done = live.command("doctor", "--json", POSTALYNK_DELIVERY__RATE="100/s")
    answer = json.loads(done.stdout)
    findings = {finding["check"]: finding for finding in answer["findings"]}
    assert {"version", "disk", "policy", "process", "worker", "postgresql"} <= set(findings)
    assert findings["worker"]["verdict"] == "ok"
    is_wrong = any(finding["verdict"] == "wrong" for finding in answer["findings"])
    assert done.returncode == int(is_wrong)
    assert all(f["fix"] for f in answer["findings"] if f["verdict"] == "wrong")
    origins = {row["setting"]: row["from"] for row in answer["settings"]}
    assert origins["delivery.rate"] == "POSTALYNK_DELIVERY__RATE"
    assert origins["api.listen"] == str(live.config)
    assert origins["api.max_body_bytes"] == "default"


def test_what_the_queue_knows_needs_no_process(tmp_path: Path) -> None:
    idle = Postalynk(tmp_path / "idle")
    org = idle.ask("org", "create", "Acme")["org"]
    assert idle.ask("domain", "add", "acme.example", "--org", org)["records"]
    assert idle.ask("audit")["accepted"] == 0
    assert [lane["waiting"] for lane in idle.ask("queue")["lanes"]] == [0, 0, 0]
    assert idle.ask("dlq", "ls") == []
    refused = idle.command("why", str(uuid.uuid4()))
    assert refused.returncode == 1
    assert "fix: start it with `postalynk up`" in refused.stderr


ERRORS = [
    (("why", "not-an-id"), "is no message id"),
    (("why", str(uuid.UUID(int=7))), "check the id"),
    (("domain", "add", "no domain", "--org", "org_x"), "fix:"),
    (("domain", "add", "other.example", "--org", "org_unknown"), "postalynk org create"),
    (("domain", "add", "x.example", "--org", "org_x", "--key", "missing.pem"), "name a PEM file"),
    (("org", "key", "org_unknown"), "postalynk org create"),
    (("org", "create", ""), "use 1 to 200 printable characters"),
    (("pool", "set", "p", "unknown=1"), "set the source first"),
    (("pool", "source", "s", "--ip", "300.1.1.1"), "write 192.0.2.1"),
    (("drain", "--timeout", "soon"), "write 60s, 5m or 1h"),
]


@pytest.mark.parametrize(("command", "words"), ERRORS)
def test_an_error_names_the_fix(live: Postalynk, command: tuple[str, ...], words: str) -> None:
    done = live.command(*command)
    assert done.returncode == 1
    assert words in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_is_json_for_programs(live: Postalynk) -> None:
    done = live.command("why", "not-an-id", "--json")
    assert done.returncode == 1
    assert set(json.loads(done.stdout)) == {"error", "message", "fix"}


@pytest.mark.parametrize("arguments", [("frobnicate",), ("org", "create"), ("queue", "--jsn")])
def test_a_wrong_command_line_is_status_2_and_no_traceback(arguments: tuple[str, ...]) -> None:
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


WRONG_SETTINGS = [
    ("POSTALYNK_QUEUE__PARTITIONS", "3", "use a power of two"),
    ("POSTALYNK_API__LISTEN", "8080", "write host:port"),
    ("POSTALYNK_API__LISTN", "1", "docs/reference/settings.md"),
    ("POSTALYNK_QUEUE__URL", "redis://x", "write embedded:DIRECTORY"),
]


@pytest.mark.parametrize(("variable", "value", "fix"), WRONG_SETTINGS)
def test_a_wrong_setting_is_refused_by_name(
    tmp_path: Path, variable: str, value: str, fix: str
) -> None:
    done = Postalynk(tmp_path / "wrong").command("doctor", **{variable: value})
    assert done.returncode == 1
    assert variable in done.stderr
    assert fix in done.stderr


@pytest.mark.parametrize("command", [(), ("up",), ("domain", "add")])
def test_help_explains(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [COMMAND, *command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: postalynk " + " ".join(command))


def test_a_completion_script_is_written(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    done = subprocess.run(
        [COMMAND, "--install-completion", "--shell", "bash", "--output", script],
        env={**os.environ, "HOME": str(tmp_path)},
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0
    assert "drain" in script.read_text()


def test_the_environment_may_name_the_settings(live: Postalynk) -> None:
    done = subprocess.run(
        [COMMAND, "queue", "--json"],
        env={**os.environ, "POSTALYNK_CONFIG": str(live.config)},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    assert "organizations" in answer


def test_every_metric_on_metrics_is_in_the_reference(live: Postalynk) -> None:
    live.wait_state(live.send(to="ada@rcpt.example"), "delivered")
    url = f"http://127.0.0.1:{live.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        exposed = set(re.findall(r"^# TYPE (\w+) ", answer.read().decode(), re.MULTILINE))
    page = (ROOT / "docs/reference/metrics.md").read_text()
    names = {name.removesuffix("_created").removesuffix("_total") for name in exposed}
    assert [name for name in names if not re.search(rf"`{name}(_total)?[`{{]", page)] == []


def second_up(live: Postalynk, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Another `up` beside the running one, of which settings are changed."""
    return live.command("up", **settings)


def test_a_second_process_on_the_queue_is_refused_with_the_holder(live: Postalynk) -> None:
    assert live.process is not None
    done = second_up(
        live,
        POSTALYNK_API__LISTEN=f"127.0.0.1:{free_port()}",
        POSTALYNK_METRICS__LISTEN=f"127.0.0.1:{free_port()}",
        POSTALYNK_SUBMISSION__LISTEN=f"127.0.0.1:{free_port()}",
    )
    assert done.returncode == 1
    assert f"process {live.process.pid}" in done.stderr
    assert "stop it, or let it do the work" in done.stderr
    assert "ready" not in done.stdout


def test_an_address_in_use_is_named_with_its_setting(live: Postalynk) -> None:
    done = second_up(live)
    assert done.returncode == 1
    assert "api.listen" in done.stderr
    assert "fix:" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_and_nothing_lost(
    live: Postalynk, number: signal.Signals
) -> None:
    assert live.process is not None
    sent = [live.send(to=f"ada{number}@rcpt.example") for number in range(20)]
    live.process.send_signal(number)
    assert live.process.wait(90) == 0
    assert live.ask("audit")["unaccounted"] == []
    live.start()
    for message_id in sent:
        live.wait_state(message_id, "delivered")
