"""Filling a stored template at accept: what the worker will do again, done once to see that it can.

**Why both.** The record carries sources and variables, so that no later change or removal of the
template reaches an accepted message, and the worker renders them late. Rendering is a pure function
of the two, so what succeeds here succeeds there: whatever is wrong is a 422 now, never a bounce.
**Bounds.** A part may take so much work (`postalynk._engine.Template`), and all templates of one
request `MAX_WORK`: a batch of a thousand costly ones must not hold up everybody else (G6).
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from postalynk.errors import TemplateError
from postalynk.ingest import checks
from postalynk.ingest.border import Template as Compiled
from postalynk.ingest.checks import Flaw
from postalynk.model import Filling

if TYPE_CHECKING:
    from postalynk.control.values import Template

MAX_WORK = 10_000_000
"""Of one request; a message of 10 kB takes some hundreds, the dearest possible 300,000."""


class Filled(NamedTuple):
    """What a template gives a message; None where it gives nothing."""

    filling: Filling | None
    sender: str | None
    subject: str | None
    reply_to: list[str] | None
    work: int


@functools.lru_cache(maxsize=256)
def compiled(subject: str, html: str, text: str) -> Compiled:
    """A template of these sources, compiled once. Raises TemplateError."""
    return Compiled(subject=subject, html=html, text=text)


def fill(template: Template, variables: dict[str, Any] | None, *, has_subject: bool) -> Filled:
    """The template filled with the variables; raises Flaw.

    ``has_subject``: the message brings its own, so the template's is not looked at.
    """
    source = "" if has_subject else template.subject
    octets = encode(variables or {})
    try:
        ready = compiled(source, template.html, template.text)
        subject, html, text, work = ready.render(octets)
    except TemplateError as error:
        raise Flaw(error.message, error.fix) from error
    if "\0" in (html or "") or "\0" in (text or ""):
        raise Flaw("puts a NUL character into the message", "remove it")
    if subject is not None:
        try:
            checks.line(subject, checks.MAX_SUBJECT)
        except Flaw as flaw:
            raise Flaw(f"makes a subject that {flaw}", flaw.fix) from flaw
    size = len((html or "").encode()) + len((text or "").encode())
    filling = Filling(
        template.id, template.revision, source, template.html, template.text, octets, size
    )
    return Filled(filling, template.sender or None, subject, template.reply_to or None, work)


def encode(variables: dict[str, Any]) -> bytes:
    """The variables as JSON; raises Flaw on what JSON of ours cannot carry."""
    try:
        try:
            return msgspec.json.encode(variables)
        except OverflowError:
            # Numbers beyond 64 bits become floats, as where a request is decoded at once.
            return msgspec.json.encode(msgspec.json.decode(json.dumps(variables)))
    except (ValueError, OverflowError, TypeError, RecursionError, msgspec.MsgspecError) as error:
        raise Flaw(
            "holds a value that cannot be passed on", "use whole characters and numbers of 64 bits"
        ) from error
