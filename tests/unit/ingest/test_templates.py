"""Stored templates: the routes, whose they are, and what an accepted message keeps of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from postalynk.control.templates import TemplateFields
from postalynk.ingest.filling import MAX_WORK
from postalynk.ingest.judge import incoming
from postalynk.model import AcceptedMessage
from tests.unit.ingest.service import Service, message, read

GOOD: dict[str, Any] = {
    "name": "order",
    "subject": "Order {{ order.id }}",
    "html": "<p>{{ name }}</p>{% for i in order.items %}<li>{{ i }}</li>{% endfor %}",
    "text": "{{ name }}",
    "from": "Shop <shop@example.com>",
    "reply_to": "help@example.com",
}
VARIABLES = {"name": "Zoë <b>", "order": {"id": 7, "items": ["tea", "cup"]}}


async def make(service: Service, **changes: Any) -> str:
    answer = await service.post(GOOD | changes, "/templates")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["object"] == "template"
    return str(answer.json()["id"])


def send(id_: str, variables: Any = VARIABLES, **changes: Any) -> dict[str, Any]:
    tree = message(from_=..., subject=..., text=...)
    return tree | {"template": {"id": id_, "variables": variables}} | changes


async def test_a_template_is_made_read_listed_changed_and_removed() -> None:
    service = Service()
    id_ = await make(service)
    second = await make(service, name="other")
    async with service.client() as client:
        whole = (await client.get(f"/templates/{id_}")).json()
        assert {name: whole[name] for name in ("name", "subject", "html", "text", "from")} == {
            name: GOOD[name] for name in ("name", "subject", "html", "text", "from")
        }
        assert (whole["version"], whole["reply_to"]) == (1, ["help@example.com"])
        assert whole["created_at"] == whole["updated_at"]
        page = (await client.get("/templates?limit=1")).json()
        rest = (await client.get(f"/templates?after={page['data'][0]['id']}")).json()
        assert {t["id"] for t in (*page["data"], *rest["data"])} == {id_, second}
        assert (page["has_more"], rest["has_more"]) == (True, False)
        changed = await client.patch(f"/templates/{id_}", json={"text": "Hi {{ name }}"})
        assert (changed.status_code, changed.json()["id"]) == (200, id_)
        after = (await client.get(f"/templates/{id_}")).json()
        assert (after["version"], after["text"], after["html"]) == (
            2,
            "Hi {{ name }}",
            GOOD["html"],
        )
        gone = await client.delete(f"/templates/{id_}")
        assert gone.json() == {"object": "template", "id": id_, "deleted": True}
        for answer in (
            await client.get(f"/templates/{id_}"),
            await client.patch(f"/templates/{id_}", json={"text": "x"}),
            await client.delete(f"/templates/{id_}"),
        ):
            assert (answer.status_code, answer.json()["name"]) == (404, "not_found")


async def test_another_organization_sees_and_uses_none_of_it() -> None:
    service = Service()
    id_ = await make(service)
    async with service.client(service.foreign.api_key) as client:
        for answer in (
            await client.get(f"/templates/{id_}"),
            await client.patch(f"/templates/{id_}", json={"text": "x"}),
            await client.delete(f"/templates/{id_}"),
        ):
            assert answer.status_code == 404
            unknown = await client.get("/templates/none")
            assert answer.json() == unknown.json()
        assert (await client.get("/templates")).json()["data"] == []
        tree = send(id_, from_="a@foreign.example")
        tree["from"] = tree.pop("from_")
        answer = await client.post("/emails", json=tree)
        assert answer.json()["errors"][0]["field"] == "template.id"
    async with service.client("pl_wrong") as client:
        for method, path in (
            ("GET", "/templates"),
            ("POST", "/templates"),
            ("GET", f"/templates/{id_}"),
            ("PATCH", f"/templates/{id_}"),
            ("DELETE", f"/templates/{id_}"),
        ):
            assert (await client.request(method, path)).status_code in {401, 404}
    async with service.client() as client:
        assert (await client.get(f"/templates/{id_}")).json()["version"] == 1


BAD: list[tuple[str, dict[str, Any]]] = [
    ("name", {"name": None}),
    ("name", {"name": ""}),
    ("name", {"name": "x" * 201}),
    ("name", {"name": "a\nb"}),
    ("name", {"name": 1}),
    ("html", {"html": None, "text": None}),
    ("html", {"html": "", "text": ""}),
    ("html", {"html": "{{ name"}),
    ("html", {"html": "{{{ NAME }}}"}),
    ("html", {"html": "{% include 'x' %}"}),
    ("html", {"html": "{{ x" + "[0]" * 10_000 + " }}"}),
    ("html", {"html": "x" * 300_000}),
    ("html", {"html": "a\0b"}),
    ("html", {"html": "a\ud800b"}),
    ("html", {"html": ["x"]}),
    ("text", {"text": "{% if x %}"}),
    ("text", {"text": 1}),
    ("subject", {"subject": "{{"}),
    ("subject", {"subject": {}}),
    ("from", {"from": "shop@foreign.example"}),
    ("from", {"from": "nobody"}),
    ("from", {"from": 1}),
    ("reply_to", {"reply_to": "nobody"}),
    ("reply_to", {"reply_to": 1}),
    ("reply_to[1]", {"reply_to": ["a@y.example", "b"]}),
    ("reply_to[0]", {"reply_to": [1]}),
    ("alias", {"alias": "x"}),
    ("variables", {"variables": []}),
    ("unknown", {"unknown": 1}),
]


@pytest.mark.parametrize(("field", "changes"), BAD)
async def test_a_bad_template_is_refused_by_field(field: str, changes: dict[str, Any]) -> None:
    service = Service()
    answer = await service.post(GOOD | changes, "/templates")
    assert answer.status_code in {403, 422}, answer.json()
    errors = answer.json()["errors"]
    assert field in [e["field"] for e in errors], errors
    assert all(e["message"] and e["fix"] for e in errors)
    assert service.control.directory.templates(service.own.org) == []


async def test_a_body_that_is_no_object_is_refused() -> None:
    service = Service()
    async with service.client() as client:
        client.headers["content-type"] = "application/json"
        for body, status in (("{", 400), ("[]", 422), ("[" * 100_000, 400), ("", 400)):
            assert (await client.post("/templates", content=body)).status_code == status
        answer = await client.post("/templates", content=b'{"name":"' + b"x" * 2_000_000)
        assert answer.status_code == 413


def test_a_message_keeps_the_sources_it_was_accepted_with() -> None:
    service = Service()
    fields = {"name": "t", "subject": "Hi {{ n }}", "html": "<p>{{ n }}</p>"}
    service.control.create_template(service.own.org, "t1", _fields(fields))
    (accepted,) = _messages(service, send("t1", {"n": "Zoë"}, **{"from": "a@example.com"}))
    service.control.change_template(service.own.org, "t1", _fields({"html": "changed"}))
    service.control.remove_template(service.own.org, "t1")
    assert accepted.template is not None
    assert (accepted.template.html, accepted.template.version) == ("<p>{{ n }}</p>", 1)
    assert json.loads(accepted.template.variables) == {"n": "Zoë"}
    assert accepted.subject == "Hi Zoë"  # shown; the record has the source
    assert accepted.template.size_bytes == len("<p>Zoë</p>".encode())
    assert (accepted.html, accepted.text) == ("", "")
    assert incoming(accepted, "api").size_bytes == accepted.template.size_bytes


def test_the_message_may_bring_sender_subject_and_reply_to() -> None:
    service = Service()
    fields: dict[str, Any] = {"name": "t", "subject": "{{ missing }}", "text": "x"}
    fields |= {"sender": "t@example.com"}
    fields |= {"reply_to": ["t@example.com"]}
    service.control.create_template(service.own.org, "t1", _fields(fields))
    own = {"from": "m@example.com", "subject": "{{ mine }}", "reply_to": "m@example.com"}
    (accepted,) = _messages(service, send("t1", None, **own))
    assert accepted.template is not None
    assert (accepted.subject, accepted.template.subject) == ("{{ mine }}", "")
    assert accepted.from_.address == accepted.reply_to[0].address == "m@example.com"
    (accepted,) = _messages(service, send("t1", None, subject="s"))
    assert accepted.from_.address == accepted.reply_to[0].address == "t@example.com"


UNFIT: list[tuple[str, dict[str, Any], str, str]] = [
    ("{{ name }}", {}, "template.variables", "name is not given (html, line 1)"),
    ("\n{{ a.b }}", {"a": {}}, "template.variables", "a.b is not given (html, line 2)"),
    ("{{ a|upper + 1 }}", {"a": "x"}, "template.variables", "html, line 1"),
    (
        "{% for i in range(99999) %}{% for j in range(9) %}{{ j }}{% endfor %}{% endfor %}",
        {},
        "template.variables",
        "takes too long",
    ),
    ("{{ a }}", {"a": "\0"}, "template.variables", "NUL"),
    ("{{ a }}", {"a": "\ud800"}, "template.variables", "passed on"),
    ("{{ a }}", {"a": "x" * 70_000}, "template.variables", "limit"),
]


@pytest.mark.parametrize(("html", "variables", "field", "words"), UNFIT)
async def test_what_cannot_be_filled_is_a_422_at_accept(
    html: str, variables: dict[str, Any], field: str, words: str
) -> None:
    service = Service()
    id_ = await make(service, html=html, text=None, subject="s")
    for path, at, wrap in (("/emails", "", dict), ("/emails/batch", "[0].", lambda tree: [tree])):
        answer = await service.post(wrap(send(id_, variables)), path)
        assert answer.status_code == 422, answer.json()
        (error,) = answer.json()["errors"]
        assert error["field"] == at + field
        assert words in error["message"]
        assert error["fix"]
    assert service.accepted() == 0


async def test_a_subject_that_would_break_the_header_is_refused() -> None:
    service = Service()
    id_ = await make(service, subject="Hi {{ n }}", html="x", text=None)
    for wrong in ("a\r\nBcc: x@evil.example", "a\nb", "=?utf-8?q?=0A?=", "x" * 1_000):
        answer = await service.post(send(id_, {"n": wrong}))
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "template.variables"


async def test_each_entry_of_a_batch_has_its_own_variables() -> None:
    service = Service()
    id_ = await make(service)
    trees = [send(id_, VARIABLES | {"name": name}) for name in ("Ann", "Bob")]
    answer = await service.post([*trees, send(id_, {"name": "Eve"})], "/emails/batch")
    assert answer.status_code == 202
    assert service.accepted() == 2
    assert [e["index"] for e in answer.json()["errors"]] == [2]


async def test_html_and_template_are_one_too_many() -> None:
    service = Service()
    id_ = await make(service)
    for name in ("html", "text"):
        answer = await service.post(send(id_) | {name: "x"})
        assert [e["field"] for e in answer.json()["errors"]] == [name]


async def test_a_request_may_not_ask_for_endless_work() -> None:
    """Costly templates use up what one request may take; others go on (G6)."""
    service = Service()
    costly = "{% for i in range(9000) %}{{ i }}{% endfor %}"
    id_ = await make(service, html=costly, text=costly, subject="s")
    answer = await service.post([send(id_, {})] * 1_000, "/emails/batch")
    assert answer.status_code in {202, 422}
    assert service.accepted() < 1_000
    assert "too much work" in answer.text
    assert MAX_WORK < 1_000 * 50_000
    assert (await service.post(send(id_, {}))).status_code == 202


def _fields(given: dict[str, Any]) -> TemplateFields:
    return TemplateFields(**given)


def _messages(service: Service, tree: dict[str, Any]) -> list[AcceptedMessage]:
    return list(read(service, tree).messages)
