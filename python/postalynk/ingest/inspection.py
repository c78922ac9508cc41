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

from postalynk.ingest import checks
from postalynk.ingest.answers import Problem, shown
from postalynk.ingest.checks import Flaw
from postalynk.ingest.compose import NO_CONTENT, ForeignDomain
from postalynk.ingest.schema import UNAVAILABLE
from postalynk.model import Lane

if TYPE_CHECKING:
    from postalynk.ingest.compose import Composer

MAX_PROBLEMS = 1000
"""Of one request: a body of nothing but mistakes must not make an answer larger than itself."""

FIELDS = (
    *("from", "to", "cc", "bcc", "reply_to", "subject", "html", "text", "headers", "attachments"),
    *("tags", "priority", "expires_at"),
)
ATTACHMENT_FIELDS = ("content", "filename", "content_type", "content_id", "inline_content_id")
TAG_FIELDS = ("name", "value")

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
        self._sender(item.get("from"), f"{prefix}from")
        for name in ("to", "cc", "bcc", "reply_to"):
            self._mailboxes(item.get(name), f"{prefix}{name}", is_required=name == "to")
        self._subject(item.get("subject"), f"{prefix}subject")
        for name in ("html", "text"):
            self._text(item.get(name), f"{prefix}{name}", checks.plain)
        if not any(item.get(name) for name in ("html", "text", "attachments")):
            self._add(f"{prefix}html", item.get("html"), *NO_CONTENT)
        self._headers(item.get("headers"), f"{prefix}headers")
        self._attachments(item.get("attachments"), f"{prefix}attachments")
        self._tags(item.get("tags"), f"{prefix}tags")
        self._priority(item.get("priority"), f"{prefix}priority")
        self._text(item.get("expires_at"), f"{prefix}expires_at", self._expiry)
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

    def _sender(self, value: object, field: str) -> None:
        if value is None:
            self._add(field, None, "is missing", "name the sender, like Acme <hello@example.com>")
        else:
            self._text(value, field, self._composer.sender)

    def _subject(self, value: object, field: str) -> None:
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

    def _headers(self, value: object, field: str) -> None:
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

    def _expiry(self, text: str) -> int:
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
