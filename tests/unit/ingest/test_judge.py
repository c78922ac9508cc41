"""The policy's `accept` refuses what it says, at both doors, and nothing when it fails (G4, G6)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postalynk.policy import Canary, load, load_bundle, made_of
from tests.unit.ingest.service import Service, message
from tests.unit.ingest.test_submission import Smtp, mail

POLICY = """
from postalynk.policy import *

@policy.accept
def accept(msg, now):
    match msg.tags.get("do"):
        case "refuse": return Reject(550, "not from here", enhanced="5.7.0")
        case "later": return Reject(451, "over the quota")
        case "raise": raise ValueError("seven")
        case "junk": return True
        case "loop":
            while True: pass
        case "lean":
            seen = (msg.org.plan, msg.priority, msg.sender, msg.sender_domain, msg.subject,
                    msg.recipients, msg.domains, msg.attachments, msg.size_bytes, msg.channel)
            return Reject(550, repr(seen))
    return Accept()

@policy.accept(org="ORG")
def never(msg, now):
    return Reject(550, "closed")
"""


def tagged(do: str) -> dict[str, object]:
    return message(tags=[{"name": "do", "value": do}])


@pytest.fixture
def judged(service: Service, tmp_path: Path) -> Service:
    (tmp_path / "policy.py").write_text(POLICY.replace("ORG", service.foreign.org))
    service.policies = load(tmp_path)
    service.app = service.build()
    return service


@pytest.fixture
async def smtp(judged: Service) -> AsyncIterator[Smtp]:
    started = Smtp(judged)
    yield started
    await started.server.close()
    await started.parts.acceptor.close()
    assert started.parts.judge is not None
    started.parts.judge.close()


async def test_http_says_what_the_policy_says(judged: Service) -> None:
    refused = await judged.post(tagged("refuse"))
    assert (refused.status_code, refused.json()["message"]) == (403, "not from here")
    assert refused.json()["name"] == "rejected_by_policy"
    assert (await judged.post(tagged("later"))).status_code == 429
    assert judged.accepted() == 0
    assert (await judged.post(tagged("fine"))).status_code == 202
    assert judged.accepted() == 1
    assert judged.count("postalynk_rejected_total", reason="rejected_by_policy") == 2


async def test_a_refusal_is_not_kept_under_its_idempotency_key(judged: Service) -> None:
    again = [await judged.post(tagged("refuse"), idempotency_key="k1") for _ in range(2)]
    assert [answer.status_code for answer in again] == [403, 403]
    assert (await judged.post(tagged("fine"), idempotency_key="k1")).status_code == 202


async def test_a_batch_keeps_what_is_not_refused(judged: Service) -> None:
    batch = [tagged("fine"), tagged("refuse"), tagged("fine")]
    kept = (await judged.post(batch, "/emails/batch")).json()
    assert [error["index"] for error in kept["errors"]] == [1]
    assert ["id" in entry for entry in kept["data"]] == [True, False, True]
    assert judged.accepted() == 2
    strict = await judged.post(batch, "/emails/batch", x_batch_validation="strict")
    assert strict.status_code == 403
    assert judged.accepted() == 2


async def test_the_most_specific_hook_wins(judged: Service) -> None:
    async with judged.client(judged.foreign.api_key) as client:
        sent = message(from_="a@foreign.example") | {"from": "a@foreign.example"}
        sent.pop("from_", None)
        answer = await client.post("/emails", json=sent)
    assert (answer.status_code, answer.json()["message"]) == (403, "closed")


@pytest.mark.parametrize("do", ["raise", "junk"])
async def test_a_hook_that_fails_accepts_and_is_counted(judged: Service, do: str) -> None:
    assert (await judged.post(tagged(do))).status_code == 202
    text = judged.metrics.exposition().decode()
    assert 'postalynk_policy_errors_total{function="accept",hook="accept"' in text


async def test_a_hook_that_loops_accepts_and_holds_nobody_back(judged: Service) -> None:
    looping = asyncio.create_task(judged.post(tagged("loop")))
    assert (await judged.post(tagged("fine"))).status_code == 202
    assert (await asyncio.wait_for(looping, 60)).status_code == 202
    assert judged.accepted() == 2
    # Paused: the next loop costs nothing.
    assert (await judged.post(tagged("loop"))).status_code == 202


async def test_a_canary_judges_its_own_organizations(judged: Service, tmp_path: Path) -> None:
    text = (
        "from postalynk.policy import *\n@policy.accept\ndef closed(msg, now):\n"
        "    if msg.template == '' and msg.tags.get('do') == 'raise': raise ValueError\n"
        "    return Reject(550, 'the canary says no')\n"
    )
    tried = load_bundle(made_of({"policy.py": text.encode()}, tmp_path))
    assert judged.policies is not None
    kept = judged.policies
    judged.policies = kept.beside(Canary(tried, 1.0))
    assert (await judged.post(tagged("fine"))).json()["message"] == "the canary says no"
    assert (await judged.post(tagged("raise"))).status_code == 202
    assert judged.faults == {tried.version: 1}, "counted against the canary"
    judged.policies = kept.beside(Canary(tried, 0.0))
    assert (await judged.post(tagged("fine"))).status_code == 202


async def test_smtp_says_what_the_policy_says(smtp: Smtp) -> None:
    assert await smtp.send(mail(X_Postalynk_Tag="do=refuse")) == (550, "5.7.0 not from here")
    assert await smtp.send(mail(X_Postalynk_Tag="do=later")) == (451, "4.7.1 over the quota")
    code, text = await smtp.send(mail(X_Postalynk_Tag="do=fine"))
    assert (code, smtp.service.accepted()) == (250, 1), text
    code, text = await smtp.send(mail(X_Postalynk_Tag="do=lean"))
    assert "'shop@example.com', 'example.com'" in text
    assert "('ann@rcpt.example',), ('rcpt.example',), 0" in text
    assert text.endswith("'smtp')")
