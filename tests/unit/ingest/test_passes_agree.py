"""The fast and the slow pass, held together."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from postalynk.control.templates import TemplateFields
from postalynk.ingest.answers import Answer
from postalynk.ingest.compose import Composer
from postalynk.ingest.inspection import FIELDS, Inspection
from postalynk.ingest.requests import Reading
from postalynk.ingest.schema import UNAVAILABLE, EmailRequest
from tests.unit.ingest.service import Service, message
from tests.unit.ingest.test_fields import INVITATION

SERVICE = Service()
ORGANIZATION = SERVICE.control.directory.organization(SERVICE.own.org)
RICH = message(
    cc=["Bob <bob@y.example>"],
    bcc="eve@y.example",
    reply_to=None,
    html="<p>Hi",
    headers={"X-A": "1"},
    attachments=[{"content": "aGk=", "filename": "a.txt", "content_id": "x"}],
    tags=[{"name": "a", "value": "b"}],
    priority="high",
    expires_at="2031-01-01T00:00:00Z",
    auto_text=False,
    calendar={"object": INVITATION, "method": "REQUEST"},
    list_unsubscribe="https://y.example/u",
    feedback_id="a:b:c:sender",
    dkim_expires_s=86_400,
    require_tls=True,
)
TEMPLATE = SERVICE.control.create_template(
    SERVICE.own.org,
    "t1",
    TemplateFields(
        name="t",
        subject="Hi {{ name }}",
        html="<p>{{ name }} {{ items[0] }}</p>",
        sender="shop@example.com",
        reply_to=["help@example.com"],
    ),
)
FILLED = message(
    from_=...,
    subject=...,
    text=...,
    template={"id": "t1", "variables": {"name": "x", "items": [1]}},
)
INTERESTING = st.sampled_from(
    [
        "",
        "a\nb",
        "\0",
        "a@y.example",
        "A <a@y.example>",
        "=?utf-8?q?=0A?=",
        "%0a",
        "x" * 1000,
        "aGk=",
    ]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), INTERESTING
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "content", "filename", "x"]), inner)
    ),
    max_leaves=6,
)


@st.composite
def requests(draw: st.DrawFn) -> Any:
    """A good request with up to three things in it replaced, added or removed."""
    tree = copy.deepcopy(draw(st.sampled_from([RICH, FILLED])))
    for _ in range(draw(st.integers(0, 3))):
        node: Any = tree
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], (dict, list)) and draw(st.booleans()):
                node = node[key]
                continue
            if draw(st.integers(0, 9)) == 0 and isinstance(node, dict):
                del node[key]
            else:
                node[key] = draw(VALUES)
            break
        if draw(st.integers(0, 9)) == 0 and isinstance(node, dict):
            node[draw(st.text(max_size=5))] = draw(VALUES)
    return tree


def composer() -> Composer:
    assert ORGANIZATION is not None
    return Composer(SERVICE.control.directory, ORGANIZATION, SERVICE.clock())


@given(tree=requests())
@settings(max_examples=300, deadline=None)
def test_law_passes_agree(tree: Any) -> None:
    """Law `passes_agree`: what one pass takes has no problem in the other, and the reverse."""
    body = json.dumps(tree)
    if "NaN" in body or "Infinity" in body:
        return  # no JSON: refused before either pass
    reading = Reading(composer(), is_batch=False, is_strict=False)
    result = reading.prepare(body.encode())
    problems = Inspection(composer()).inspect(json.loads(body))
    if isinstance(result, Answer):
        assert result.status in {403, 422}
        assert problems, (tree, result.body)
    else:
        assert not problems, (tree, problems)


@given(tree=VALUES)
@settings(max_examples=200, deadline=None)
def test_nothing_crashes_the_reading(tree: Any) -> None:
    """Whatever JSON arrives, in a batch or alone: an answer, never an exception."""
    body = json.dumps(tree).encode()
    for is_batch in (False, True):
        result = Reading(composer(), is_batch=is_batch, is_strict=False).prepare(body)
        assert isinstance(result, Answer)
        assert json.loads(result.body)["message"]


def test_the_two_passes_know_the_same_fields() -> None:
    names = {field.rstrip("_") for field in EmailRequest.__struct_fields__}
    assert names - set(UNAVAILABLE) == set(FIELDS)


def test_the_requests_it_starts_from_are_good() -> None:
    for tree in (RICH, FILLED):
        reading = Reading(composer(), is_batch=False, is_strict=False)
        assert not isinstance(reading.prepare(json.dumps(tree).encode()), Answer), tree
