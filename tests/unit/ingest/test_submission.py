"""SMTP in over real sockets, judged over a queue in memory."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from email.policy import SMTP
from typing import TypeVar

import pytest

from postalynk.errors import SettingsError
from postalynk.ingest.app import intake_parts
from postalynk.ingest.submission import SubmissionServer, bind_submission
from postalynk.settings import Delivery, Settings, Submission
from tests.unit.ingest.service import Service

T = TypeVar("T")


class Smtp:
    """Submission of a service, and a client of it that runs beside the loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        settings = Settings(
            submission=Submission(listen="127.0.0.1:0"), delivery=Delivery(ehlo="mx.example")
        )
        bound = bind_submission(settings)
        assert bound is not None
        self.address = bound.addresses[0]
        self.parts = intake_parts(service.context())
        self.server = SubmissionServer(bound, self.parts)
        self.server.open()

    async def run(self, dialogue: Callable[[smtplib.SMTP], T]) -> T:
        def talk() -> T:
            host, _, port = self.address.rpartition(":")
            with smtplib.SMTP(host, int(port), timeout=20) as client:
                return dialogue(client)

        return await asyncio.to_thread(talk)

    async def send(
        self, message: EmailMessage, sender: str = "shop@example.com"
    ) -> tuple[int, str]:
        """The reply to the content."""

        def dialogue(client: smtplib.SMTP) -> tuple[int, str]:
            client.login("postalynk", self.service.own.api_key)
            client.mail(sender)
            client.rcpt("ann@rcpt.example")
            code, text = client.data(message.as_bytes(policy=SMTP))
            return code, text.decode()

        return await self.run(dialogue)


@pytest.fixture
async def smtp(service: Service) -> AsyncIterator[Smtp]:
    started = Smtp(service)
    yield started
    await started.server.close()
    await started.parts.acceptor.close()


def mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Shop <shop@example.com>"
    message["To"] = "ann@rcpt.example"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("Hi\n.\n")
    return message


async def test_a_message_is_accepted_once_it_is_in_the_log(smtp: Smtp) -> None:
    code, text = await smtp.send(mail(X_Postalynk_Tag="kind=order"))
    assert code == 250
    assert text.startswith("2.0.0 Accepted as 01")
    assert smtp.service.accepted() == 1
    shown = smtp.parts.recent.message(
        smtp.service.own.org, bytes.fromhex(text.rpartition(" ")[2].replace("-", ""))
    )
    assert shown is not None
    assert shown["tags"] == [{"name": "kind", "value": "order"}]


async def test_logins_are_api_keys(smtp: Smtp) -> None:
    own = smtp.service.own

    def dialogue(client: smtplib.SMTP) -> list[int]:
        client.ehlo()
        codes = [client.mail("shop@example.com")[0]]
        with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
            client.login("postalynk", own.api_key[:-1] + "x")
        codes.append(wrong.value.smtp_code)
        codes.append(client.login("whoever", own.api_key)[0])
        return codes

    assert await smtp.run(dialogue) == [530, 535, 235]


async def test_a_revoked_key_ends_its_sessions(smtp: Smtp) -> None:
    key = smtp.service.control.directory.keys(smtp.service.own.org)[0]

    def dialogue(client: smtplib.SMTP) -> int:
        client.login("postalynk", smtp.service.own.api_key)
        smtp.service.control.revoke_key(key.prefix)
        client.mail("shop@example.com")
        client.rcpt("ann@rcpt.example")
        return client.data(mail().as_bytes(policy=SMTP))[0]

    assert await smtp.run(dialogue) == 550
    assert smtp.service.accepted() == 0


async def test_a_key_of_idempotency_gives_one_message(smtp: Smtp) -> None:
    same = mail(X_Postalynk_Idempotency_Key="order-1")
    answers = [await smtp.send(same) for _ in range(2)]
    assert answers[0] == answers[1]
    other = mail(X_Postalynk_Idempotency_Key="order-1", Subject="other")
    assert (await smtp.send(other))[0] == 550
    assert smtp.service.accepted() == 1


async def test_a_failed_append_is_451(smtp: Smtp, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(smtp.service.queue, "append", fail)
    code, text = await smtp.send(mail())
    assert code == 451
    assert "4.3.0" in text


async def test_a_foreign_sender_is_550(smtp: Smtp) -> None:
    code, text = await smtp.send(mail(), sender="a@foreign.example")
    assert code == 550
    assert "5.7.1" in text
    assert smtp.service.count("postalynk_rejected_total", reason="validation_error") == 1


def test_settings_that_cannot_work_are_told() -> None:
    given = Submission(listen="0.0.0.0:0")
    with pytest.raises(SettingsError, match="TLS certificate"):
        bind_submission(Settings(submission=given))
    off = Submission(listen="")
    assert bind_submission(Settings(submission=off)) is None
