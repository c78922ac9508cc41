"""Stored templates as values: made, changed, and how many there may be.

All control state is held in memory by every process, so an organization has bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from postalynk.control.values import Template
from postalynk.errors import ControlError

PREFIX = b"template/"
MAX_TEMPLATES = 1_000
MAX_CHARACTERS = 20_000_000
"""Of all sources of an organization."""


class TemplateFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a request gives; None: not given."""

    name: str | None = None
    subject: str | None = None
    html: str | None = None
    text: str | None = None
    sender: str | None = None
    reply_to: list[str] | None = None


def made(org: str, id_: str, fields: TemplateFields, now_us: int) -> Template:
    """A new template, revision 1."""
    template = Template(id=id_, org=org, name="", created_at_us=now_us, updated_at_us=now_us)
    return msgspec.structs.replace(template, **_given(fields))


def changed(present: Template, fields: TemplateFields, now_us: int) -> Template:
    """The next revision."""
    given = _given(fields)
    revision = present.revision + 1
    return msgspec.structs.replace(present, revision=revision, updated_at_us=now_us, **given)


def refuse_too_many(owned: Sequence[Template], fields: TemplateFields) -> None:
    """Raises ControlError when an organization has enough."""
    if len(owned) >= MAX_TEMPLATES:
        raise ControlError(
            f"there are {len(owned)} templates already", fix="delete those no longer used"
        )
    refuse_too_much(owned, made("", "", fields, 0))


def refuse_too_much(others: Sequence[Template], template: Template) -> None:
    """Raises ControlError when all sources together are too long."""
    size = sum(len(t.subject) + len(t.html) + len(t.text) for t in (*others, template))
    if size > MAX_CHARACTERS:
        raise ControlError(
            f"all templates together have {size} characters, the limit is {MAX_CHARACTERS}",
            fix="delete those no longer used, or shorten them",
        )


def _given(fields: TemplateFields) -> dict[str, object]:
    return {
        name: value for name, value in msgspec.structs.asdict(fields).items() if value is not None
    }
