"""The slow pass: every problem of a request, by field, from its untyped JSON.

Runs only when the fast pass has refused something.
**Law `passes_agree`.** What `Composer.compose` takes has no problem here, and what it refuses has
at least one: both ask `checks`; a property test holds them together.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import msgspec

from postalynk.ingest import checks
from postalynk.ingest.answers import Problem, shown
from postalynk.ingest.checks import Flaw
from postalynk.ingest.compose import (
    NO_CONTENT,
    TWO_CONTENTS,
    TWO_HEADERS,
    ForeignDomain,
    header_names,
)
from postalynk.ingest.schema import UNAVAILABLE
from postalynk.model import Lane

if TYPE_CHECKING:
    from postalynk.control.values import Template
    from postalynk.ingest.compose import Composer

MAX_PROBLEMS = 1000
"""Of one request: a body of nothing but mistakes must not make an answer larger than itself."""

FIELDS = (
    *("from", "to", "cc", "bcc", "reply_to", "subject", "html", "text", "headers", "attachments"),
    *(
        "tags",
        "priority",
        "expires_at",
        "scheduled_at",
        "template",
        "auto_text",
        "calendar",
        "list_unsubscribe",
    ),
    *("feedback_id", "dkim_expires_s", "require_tls"),
)
ATTACHMENT_FIELDS = ("content", "filename", "content_type", "content_id", "inline_content_id")
TAG_FIELDS = ("name", "value")
TEMPLATE_FIELDS = ("id", "variables")
CALENDAR_FIELDS = ("object", "method")

T = TypeVar("T")

KINDS = {
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class Inspection:
    """Collects the problems of one request over all its entries."""

    def __init__(self, composer: Composer) -> None:
        """``composer`` knows the organization's domains and the time."""
        self._composer = composer
        self.problems: list[Problem] = []
        self._first = 0

    def inspect(self, item: object, at: str = "") -> list[Problem]:
        """The problems of one message; ``at`` (``[3]``, or nothing) goes before its fields."""
        first = self._first = len(self.problems)
        if not isinstance(item, dict):
            self._wrong_kind(at, item, "an object with from, to and subject")
            return self.problems[first:]
        prefix = f"{at}." if at else ""
        self._names(item, FIELDS, prefix)
        template = self._template(item, f"{prefix}template")
        self._sender(item.get("from"), f"{prefix}from", template)
        for name in ("to", "cc", "bcc", "reply_to"):
            self._mailboxes(item.get(name), f"{prefix}{name}", is_required=name == "to")
        self._subject(item.get("subject"), f"{prefix}subject", template)
        for name in ("html", "text"):
            self._text(item.get(name), f"{prefix}{name}", checks.plain)
        contents = ("html", "text", "attachments")
        others = ("template", "calendar")
        has_content = any(item.get(n) for n in contents) or any(
            item.get(n) is not None for n in others
        )
        if not has_content:
            self._add(f"{prefix}html", item.get("html"), *NO_CONTENT)
        taken = header_names(
            has_unsubscribe=item.get("list_unsubscribe") is not None,
            has_feedback_id=item.get("feedback_id") is not None,
        )
        self._headers(item.get("headers"), f"{prefix}headers", taken)
        self._extras(item, prefix)
        self._attachments(item.get("attachments"), f"{prefix}attachments")
        self._tags(item.get("tags"), f"{prefix}tags")
        self._priority(item.get("priority"), f"{prefix}priority")
        expires_at_us = self._text(item.get("expires_at"), f"{prefix}expires_at", self._instant)
        self._schedule(item.get("scheduled_at"), f"{prefix}scheduled_at", expires_at_us or 0)
        return self.problems[first:]

    def refuse(self, at: str, message: str, fix: str) -> None:
        """Note a problem of the request as a whole."""
        self._add(at, None, message, fix)

    # --- fields ---------------------------------------------------------------------------------

    def _names(self, item: dict[str, Any], known: tuple[str, ...], prefix: str) -> None:
        for name, value in item.items():
            if name in known:
                continue
            field = f"{prefix}{shown(name)}"
            if name in UNAVAILABLE:
                if value is not None or name == "path":
                    self._add(field, value, UNAVAILABLE[name], "leave it out")
                continue
            near = difflib.get_close_matches(name[:64], known, 1)
            fix = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            self._add(field, value, "is not a field of this API", fix)

    def _sender(self, value: object, field: str, template: Template | None) -> None:
        if value is None and template is not None and template.sender:
            value = template.sender
        if value is None:
            self._add(field, None, "is missing", "name the sender, like Acme <hello@example.com>")
        else:
            self._text(value, field, self._composer.sender)

    def _subject(self, value: object, field: str, template: Template | None) -> None:
        if value is None and template is not None and template.subject:
            return
        if value is None:
            self._add(field, None, "is missing", "give a subject; it may be empty")
        else:
            self._text(value, field, lambda text: checks.line(text, checks.MAX_SUBJECT))

    def _mailboxes(self, value: object, field: str, *, is_required: bool) -> None:
        if value is None or value == []:
            if is_required:
                self._add(field, shown(value), "names no recipient", "name at least one")
        elif isinstance(value, list):
            if len(value) > checks.MAX_MAILBOXES:
                self._flaw(field, value, checks.too_many(len(value), checks.MAX_MAILBOXES))
            for index, entry in enumerate(value):
                self._text(entry, f"{field}[{index}]", checks.mailbox, is_entry=True)
        elif isinstance(value, str):
            self._text(value, field, checks.mailbox)
        else:
            self._wrong_kind(field, value, "an address or a list of addresses")

    def _template(self, item: dict[str, Any], field: str) -> Template | None:
        """Its problems; the template, if there is such a one."""
        value = item.get("template")
        if value is None:
            return None
        if not isinstance(value, dict):
            self._wrong_kind(field, value, "an object of id and variables")
            return None
        self._names(value, TEMPLATE_FIELDS, f"{field}.")
        prefix = field.removesuffix("template")
        for name in ("html", "text"):
            if item.get(name) is not None:
                self._add(f"{prefix}{name}", item[name], *TWO_CONTENTS)
        if value.get("id") is None:
            self._add(f"{field}.id", None, "is missing", "name the template")
            return None
        template = self._text(value["id"], f"{field}.id", self._composer.template)
        variables = value.get("variables")
        if not isinstance(variables, (dict, type(None))):
            self._wrong_kind(f"{field}.variables", variables, "an object of names and values")
        elif template is not None:
            fill = functools.partial(
                self._composer.fill,
                template,
                variables,
                has_subject=item.get("subject") is not None,
            )
            self._run(fill, f"{field}.variables", variables)
        return template

    def _extras(self, item: dict[str, Any], prefix: str) -> None:
        for name in ("auto_text", "require_tls"):
            if not isinstance(item.get(name), (bool, type(None))):
                self._wrong_kind(f"{prefix}{name}", item[name], "true or false")
        self._calendar(item.get("calendar"), f"{prefix}calendar")
        self._text(item.get("list_unsubscribe"), f"{prefix}list_unsubscribe", checks.unsubscribe)
        self._text(item.get("feedback_id"), f"{prefix}feedback_id", checks.feedback_id)
        seconds = item.get("dkim_expires_s")
        if seconds is not None:
            field = f"{prefix}dkim_expires_s"
            try:
                whole = msgspec.convert(seconds, int)
            except msgspec.ValidationError:
                self._wrong_kind(field, seconds, "a whole number of seconds")
            else:
                self._run(functools.partial(checks.expiry_s, whole), field, seconds)

    def _calendar(self, value: object, field: str) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            self._wrong_kind(field, value, "an object of object and method")
            return
        self._names(value, CALENDAR_FIELDS, f"{field}.")
        method = self._text(value.get("method"), f"{field}.method", checks.calendar_method)
        if value.get("object") is None:
            self._add(f"{field}.object", None, "is missing", "give the iCalendar object")
        check = functools.partial(checks.calendar, method=method)
        self._text(value.get("object"), f"{field}.object", check)

    def _headers(self, value: object, field: str, taken: set[str]) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            self._wrong_kind(field, value, "an object of names and values")
            return
        if len(value) > checks.MAX_HEADERS:
            self._flaw(field, value, checks.too_many(len(value), checks.MAX_HEADERS))
        seen: set[str] = set()
        for name, text in value.items():
            entry = f'{field}["{shown(name)}"]'
            if name.lower() in seen:
                self._add(entry, shown(text), "names a header twice", "give each header once")
            if name.lower() in taken:
                self._add(entry, shown(text), *TWO_HEADERS)
            seen.add(name.lower())
            self._text(text, entry, functools.partial(checks.header, name), is_entry=True)

    def _tags(self, value: object, field: str) -> None:
        names: set[str] = set()
        for index, tag in enumerate(self._list(value, field, checks.MAX_TAGS)):
            at = f"{field}[{index}]"
            if not isinstance(tag, dict):
                self._wrong_kind(at, tag, "an object of name and value")
                continue
            self._names(tag, TAG_FIELDS, f"{at}.")
            for part in TAG_FIELDS:
                if tag.get(part) is None:
                    self._add(f"{at}.{part}", None, "is missing", f"give the tag a {part}")
                self._text(tag.get(part), f"{at}.{part}", checks.tag)
            name = tag.get("name")
            if isinstance(name, str) and name in names:
                self._add(f"{at}.name", name, "names a tag twice", "give each tag one value")
            names.add(str(name))

    def _attachments(self, value: object, field: str) -> None:
        ids: set[str] = set()
        for index, entry in enumerate(self._list(value, field, checks.MAX_ATTACHMENTS)):
            at = f"{field}[{index}]"
            if not isinstance(entry, dict):
                self._wrong_kind(at, entry, "an object of content and filename")
                continue
            self._names(entry, ATTACHMENT_FIELDS, f"{at}.")
            self._content(entry.get("content"), f"{at}.content")
            self._text(entry.get("filename"), f"{at}.filename", checks.filename)
            self._text(entry.get("content_type"), f"{at}.content_type", checks.content_type)
            for name in ("inline_content_id", "content_id"):
                # Only the newer name counts when both are given, as in the fast pass.
                is_used = name == "content_id" or entry.get("content_id") is None
                check = checks.content_id if is_used else checks.plain
                cid = self._text(entry.get(name), f"{at}.{name}", check)
                if cid is not None and is_used:
                    if cid in ids:
                        fix = "give each inline attachment its own"
                        self._add(f"{at}.{name}", cid, "uses a content id twice", fix)
                    ids.add(cid)
            if all(entry.get(n) is None for n in ("filename", "content_id", "inline_content_id")):
                self._add(f"{at}.filename", None, "is missing", "give it a filename")

    def _content(self, value: object, field: str) -> None:
        if isinstance(value, str):
            whole = f"({len(value)} characters)"
            self._run(lambda: checks.content(value), field, whole)
        elif isinstance(value, list) and all(type(octet) is int for octet in value):
            self._run(lambda: checks.content(value), field, shown(value))
        elif value is None:
            self._add(field, None, "is missing", "give the file's octets as base64")
        else:
            self._wrong_kind(field, value, "base64 text")

    def _priority(self, value: object, field: str) -> None:
        if value is not None and value not in get_args(Lane):
            fix = f"use {', '.join(get_args(Lane))}"
            self._add(field, shown(value), "is no priority", fix)

    def _schedule(self, value: object, field: str, expires_at_us: int) -> None:
        at_us = self._text(value, field, self._instant)
        if at_us is not None:
            self._run(lambda: checks.before_expiry(at_us, expires_at_us), field, value)

    def _instant(self, text: str) -> int:
        return checks.in_future(checks.instant_us(text), self._composer.now_us)

    # --- building blocks ------------------------------------------------------------------------

    def _text(
        self, value: object, field: str, check: Callable[[str], T], *, is_entry: bool = False
    ) -> T | None:
        """Run a check on a string; null counts as absent except where an entry must stand."""
        if value is None and not is_entry:
            return None
        if not isinstance(value, str):
            self._wrong_kind(field, value, "a string")
            return None
        return self._run(lambda: check(checks.plain(value)), field, value)

    def _run(self, check: Callable[[], T], field: str, value: object) -> T | None:
        try:
            return check()
        except ValueError as flaw:
            self._flaw(field, value, flaw)
            return None

    def _list(self, value: object, field: str, limit: int) -> list[object]:
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong_kind(field, value, "a list")
            return []
        if len(value) > limit:
            self._flaw(field, value, checks.too_many(len(value), limit))
        return value

    def _wrong_kind(self, field: str, value: object, wanted: str) -> None:
        kind = KINDS.get(type(value), "something else")
        self._add(field, value, f"is {kind}", f"send {wanted}")

    def _flaw(self, field: str, value: object, flaw: ValueError) -> None:
        fix = flaw.fix if isinstance(flaw, Flaw) else "correct it"
        self._add(field, value, str(flaw), fix, is_foreign=isinstance(flaw, ForeignDomain))

    def _add(
        self, field: str, value: object, message: str, fix: str, *, is_foreign: bool = False
    ) -> None:
        # An entry's first problem is always noted, or the entry would pass for a good one.
        if len(self.problems) < MAX_PROBLEMS or len(self.problems) == self._first:
            self.problems.append(Problem(field, shown(value), message, fix, is_foreign))
