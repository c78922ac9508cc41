"""What callers and disks get wrong, over real HTTP and in a real log (G6, G7).

What runs: `postalynk up` and the sink. What breaks: wrong keys, foreign ids, bodies too large,
fields that would inject lines, records that are none. What holds: each is refused with field, value
and fix before anything is queued; a record that cannot be read becomes a dead letter, and the
others are delivered.
"""

import http.client
import json
import socket
import uuid
from typing import Any

import pytest

from postalynk._engine import EmbeddedQueue
from tests.support.processes import Postalynk, wait_for

LINE = "\r\nBcc: mallory@evil.example"
ENCODED = "=?utf-8?q?Hi=0D=0ABcc:_mallory@evil.example?="

INJECTIONS = [
    ("from", f"Shop{LINE} <shop@example.com>"),
    ("from", "Shop <shop@example.com>\r\nDATA"),
    ("to", [f"ada@rcpt.example{LINE}"]),
    ("to", ["ada@rcpt.example> SIZE=1\r\nRCPT TO:<mallory@evil.example"]),
    ("to", ["ada\0@rcpt.example"]),
    ("cc", f"Cid{LINE} <cid@rcpt.example>"),
    ("bcc", ["ben@rcpt.example\n"]),
    ("reply_to", f"help@example.com{LINE}"),
    ("subject", f"Hi{LINE}"),
    ("subject", "Hi\nBcc: mallory@evil.example"),
    ("subject", "Hi\0there"),
    ("subject", ENCODED),
    ("subject", "Hi%0d%0aBcc: mallory@evil.example"),
    ("headers", {"X-Note": f"Hi{LINE}"}),
    ("headers", {f"X-Note: Hi{LINE}\r\nX": "Hi"}),
    ("headers", {"X-Note": ENCODED}),
    ("headers", {"DKIM-Signature": "v=1"}),
    ("attachments", [{"filename": f"a{LINE}.txt", "content": "aGk="}]),
    (
        "attachments",
        [{"filename": "a.txt", "content": "aGk=", "content_type": f"text/plain{LINE}"}],
    ),
    ("attachments", [{"filename": "a.txt", "content": "aGk=", "content_id": f"logo{LINE}"}]),
    ("attachments", [{"filename": "../../etc/passwd", "content": "aGk="}]),
    ("tags", [{"name": f"kind{LINE}", "value": "a"}]),
    ("text", "Hi\0there"),
    ("html", "<p>\0</p>"),
    ("expires_at", f"2030-01-01T00:00:00Z{LINE}"),
    ("priority", f"high{LINE}"),
]


@pytest.mark.parametrize("key", ["", "pl_aaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "not a key"])
def test_a_wrong_key_is_refused(live: Postalynk, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    for method, path, body in (
        ("POST", "/emails", {"from": "shop@example.com"}),
        ("POST", "/emails/batch", []),
        ("GET", f"/emails/{uuid.uuid4()}", None),
    ):
        status, answer = live.request(method, path, body, headers)
        assert (status, answer["statusCode"]) == (401, 401)
        assert answer["name"] in {"invalid_api_key", "missing_api_key"}


def test_one_organization_does_not_see_the_mail_of_another(live: Postalynk) -> None:
    sent = live.send(to="ada@rcpt.example")
    live.wait_state(sent, "delivered")
    other = live.ask("org", "create", "other")["api_key"]
    for path in (f"/emails/{sent}", f"/emails/{sent}/events"):
        foreign = live.request("GET", path, key=other)
        unknown = live.request("GET", path.replace(sent, str(uuid.uuid4())), key=other)
        assert foreign == unknown
        assert foreign[0] == 404


def test_a_foreign_sender_domain_is_refused(live: Postalynk) -> None:
    other = live.ask("org", "create", "other")["api_key"]
    message = {"from": "shop@example.com", "to": "ada@rcpt.example", "subject": "", "text": "Hi"}
    status, answer = live.request("POST", "/emails", message, key=other)
    assert status == 403
    assert answer["errors"][0]["field"] == "from"
    assert "postalynk domain add example.com" in answer["errors"][0]["fix"]


@pytest.mark.parametrize("framing", ["content-length", "chunked"])
def test_thirty_megabytes_are_refused_before_they_are_buffered(
    live: Postalynk, framing: str
) -> None:
    length = (
        "Content-Length: 31000000" if framing == "content-length" else "Transfer-Encoding: chunked"
    )
    head = (
        f"POST /emails HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {live.api_key}\r\n"
        f"Content-Type: application/json\r\n{length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", live.api_port), 30) as connection:
        connection.sendall(head.encode())
        if framing == "content-length":
            # A thousandth of what was announced: who waits for the rest waits for ever.
            connection.sendall(b'{"text": "' + b"x" * 30_000)
        else:
            megabyte = b"%x\r\n%b\r\n" % (1_000_000, b" " * 1_000_000)
            for _ in range(31):
                connection.sendall(megabyte)
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        assert response.status == 413
        assert json.loads(response.read())["name"] == "payload_too_large"


@pytest.mark.parametrize(("field", "value"), INJECTIONS)
def test_an_injection_is_refused_with_field_value_and_fix(
    live: Postalynk, field: str, value: object
) -> None:
    before = live.metric("postalynk_accepted_total")
    message = {
        "from": "shop@example.com",
        "to": ["ada@rcpt.example"],
        "subject": "Hello",
        "text": "Hi",
        field: value,
    }
    status, answer = live.request("POST", "/emails", message)
    assert status == 422, answer
    assert answer["name"] == "validation_error"
    assert answer["message"]
    assert answer["errors"]
    for problem in answer["errors"]:
        assert problem["field"].startswith(field)
        assert problem["message"]
        assert problem["fix"]
        assert "value" in problem
    assert live.metric("postalynk_accepted_total") == before


def test_every_problem_is_named_at_once_and_nothing_is_queued(live: Postalynk) -> None:
    assert live.ask("drain", "--timeout", "60s")["drained"]
    before = live.ask("queue")
    wrong = {
        "from": "shop",
        "to": [],
        "subject": 7,
        "txt": "Hi",
        "priority": "urgent",
        "tags": [{"name": "a b", "value": ""}],
        "scheduled_at": "tomorrow",
    }
    status, answer = live.request("POST", "/emails", wrong)
    assert status == 422
    fields = {problem["field"] for problem in answer["errors"]}
    assert fields >= {"from", "to", "subject", "txt", "priority", "tags[0].name", "scheduled_at"}
    assert "did you mean text" in next(p["fix"] for p in answer["errors"] if p["field"] == "txt")
    after = live.ask("queue")
    assert (after["lanes"], after["in_flight"]) == (before["lanes"], before["in_flight"])


def test_a_batch_takes_its_good_entries_and_says_what_is_wrong_with_the_others(
    live: Postalynk,
) -> None:
    good = {"from": "shop@example.com", "to": "ada@rcpt.example", "subject": "", "text": "Hi"}
    batch = [good, {**good, "to": f"ada@rcpt.example{LINE}"}, good]
    status, answer = live.request("POST", "/emails/batch", batch)
    assert status == 202
    first, second, third = answer["data"]
    assert second["error"]["errors"][0]["field"] == "[1].to"
    assert [entry["index"] for entry in answer["errors"]] == [1]
    for entry in (first, third):
        live.wait_state(entry["id"], "delivered")
    strict = {"x-batch-validation": "strict"}
    assert live.request("POST", "/emails/batch", batch, strict)[0] == 422


def test_a_key_stands_for_one_request(live: Postalynk) -> None:
    message = {"from": "shop@example.com", "to": "ada@rcpt.example", "subject": "", "text": "Hi"}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = live.request("POST", "/emails", message, key)
    assert first[0] == 202
    assert live.request("POST", "/emails", message, key) == first
    status, answer = live.request("POST", "/emails", {**message, "subject": "Other"}, key)
    assert (status, answer["name"]) == (409, "invalid_idempotent_request")


def test_records_that_are_none_become_dead_letters_and_the_others_are_delivered(
    live: Postalynk,
) -> None:
    assert live.stop() == 0
    letters_before = len(live.ask("dlq", "ls"))
    queue = EmbeddedQueue(str(live.base / "data/queue"))
    broken = [b"not a record", b"\x9b\x01\xff\xff\xff", b"\x9b\x63future", b""]
    partitions = [0, 0, queue.partitions - 1, 5]
    queue.append(
        [
            ("email.send.normal", partition, None, value)
            for partition, value in zip(partitions, broken, strict=True)
        ]
    )
    queue.close()
    live.start()
    sent = [live.send(to=f"ada{number}@rcpt.example") for number in range(5)]
    for message_id in sent:
        live.wait_state(message_id, "delivered")
    assert live.ask("drain", "--timeout", "60s")["drained"]
    letters: list[dict[str, Any]] = live.ask("dlq", "ls")[letters_before:]
    assert len(letters) == len(broken)
    for letter in letters:
        assert letter["topic"] == "email.send.normal"
        assert letter["reason"] == "undecodable"
        assert letter["detail"]
    assert live.metric("postalynk_dead_letters_total") == len(broken)
    report = live.ask("audit")
    assert (report["unaccounted"], report["twice"]) == ([], [])
    _redriven_letters_come_back_unchanged(live, letters)


def _redriven_letters_come_back_unchanged(live: Postalynk, letters: list[dict[str, Any]]) -> None:
    """They are still no records, so each ends as a new letter in the place of the old one."""
    planned = live.ask("dlq", "redrive", "--reason", "undecodable")
    assert planned["is_dry_run"]
    assert planned["redriven"] == letters
    assert live.ask("dlq", "ls") == letters
    assert live.ask("dlq", "redrive", "--reason", "undecodable", "--yes")["redriven"] == letters
    wait_for(lambda: len(live.ask("dlq", "ls")) == len(letters), "they are dead letters again")
    again = live.ask("dlq", "ls")
    assert [letter["id"] for letter in again] != [letter["id"] for letter in letters]
    same = ("reason", "detail", "size_bytes", "source_partition")
    assert sorted([letter[key] for key in same] for letter in again) == sorted(
        [letter[key] for key in same] for letter in letters
    )
