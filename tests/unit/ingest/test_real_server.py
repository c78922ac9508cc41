"""The application behind uvicorn: Resend's own SDK, and a body too large to be buffered."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator

import psutil
import pytest
import resend
import uvicorn

from tests.unit.ingest.service import Service, message


@pytest.fixture
def port(service: Service) -> Iterator[int]:
    """The service on a port of loopback."""
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(service.app, log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
    thread.start()
    yield int(bound.getsockname()[1])
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def sdk(service: Service, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "api_url", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(resend, "api_key", service.own.api_key)


@pytest.mark.usefixtures("sdk")
def test_resends_sdk_sends_reads_and_is_refused(service: Service) -> None:
    params: resend.Emails.SendParams = {
        "from": "Shop <shop@example.com>",
        "to": ["ann@rcpt.example"],
        "subject": "Hello",
        "html": "<p>Hi</p>",
        "reply_to": "help@example.com",
        "attachments": [{"filename": "a.txt", "content": list(b"hi")}],
        "tags": [{"name": "kind", "value": "welcome"}],
    }
    sent = resend.Emails.send(params, {"idempotency_key": "k"})
    again = resend.Emails.send(params, {"idempotency_key": "k"})
    assert sent["id"] == again["id"]
    assert resend.Emails.get(sent["id"])["last_event"] == "queued"
    with pytest.raises(resend.exceptions.ValidationError, match="no recipient"):
        resend.Emails.send({**params, "to": []})
    assert service.accepted() == 1


@pytest.mark.usefixtures("sdk")
def test_resends_sdk_sends_batches(service: Service) -> None:
    good: resend.Emails.SendParams = {
        "from": "shop@example.com",
        "to": "ann@rcpt.example",
        "subject": "Hello",
        "text": "Hi",
    }
    answer = resend.Batch.send([good, {**good, "to": "x"}], {"batch_validation": "permissive"})
    assert "id" in answer["data"][0]
    assert answer["errors"][0]["index"] == 1
    with pytest.raises(resend.exceptions.ValidationError):
        resend.Batch.send([good, {**good, "to": "x"}], {"batch_validation": "strict"})
    assert service.accepted() == 1


def test_40_mb_are_answered_413_and_never_held(service: Service, port: int) -> None:
    before = psutil.Process().memory_info().rss
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {
        "authorization": f"Bearer {service.own.api_key}",
        "content-type": "application/json",
    }
    most = 0

    def chunks() -> Iterator[bytes]:
        nonlocal most
        for _ in range(40):
            yield b"x" * 1_000_000
            most = max(most, psutil.Process().memory_info().rss)

    connection.request("POST", "/emails", chunks(), headers | {"content-length": "40000000"})
    response = connection.getresponse()
    assert response.status == 413
    assert json.load(response)["name"] == "payload_too_large"
    assert most - before < 15_000_000
    # The connection is still good.
    connection.request("POST", "/emails", json.dumps(message()), headers)
    assert connection.getresponse().status == 202
    connection.close()
