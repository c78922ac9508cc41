"""``/templates``: an organization's stored templates.

| route | answer |
|---|---|
| ``POST /templates`` | 201, the id |
| ``GET /templates`` | the newest first; ``?limit=N&after=ID`` |
| ``GET /templates/{id}`` | all of it, with its version |
| ``PATCH /templates/{id}`` | changes what is given; the version counts up |
| ``DELETE /templates/{id}`` | gone; accepted messages keep what they were accepted with |

**Invariants.** Every route looks for the caller's templates only; another organization's id and an
unknown one have the same answer. What is stored compiles. A change is durable before its answer.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from postalynk.control.templates import TemplateFields
from postalynk.errors import ControlError, QueueError, TemplateError
from postalynk.ingest import checks
from postalynk.ingest.answers import Answer, Problem, busy, invalid, refusal, shown
from postalynk.ingest.body import Body, Budget, ClientGone, check_head, read_head
from postalynk.ingest.checks import Flaw
from postalynk.ingest.compose import Composer, ForeignDomain
from postalynk.ingest.filling import compiled
from postalynk.ingest.intake import authenticate

if TYPE_CHECKING:
    from starlette.requests import Request

    from postalynk.control.directory import Directory
    from postalynk.control.values import Organization, Template

MAX_BODY = 2_000_000
MAX_PAGE = 100
MAX_NAME = 200
FIELDS = ("name", "subject", "html", "text", "from", "reply_to")
SOURCES = ("subject", "html", "text")
UNAVAILABLE = {
    "alias": "templates are named by their id",
    "variables": "variables need no declaration: write {{ name|default('…') }} for a fallback",
}

NO_TEMPLATE = refusal(404, "not_found", "there is no template with this id")


class TemplateWriter(Protocol):
    """Where changes are made durable; calls block."""

    def create_template(self, org: str, id_: str, fields: TemplateFields) -> Template:
        """Store a new one."""

    def change_template(self, org: str, id_: str, fields: TemplateFields) -> Template | None:
        """Change one; None: there is no such one."""

    def remove_template(self, org: str, id_: str) -> bool:
        """Take one away; False: there is no such one."""


class TemplateRoutes:
    """The routes, for one event loop."""

    def __init__(
        self,
        directory: Directory,
        writer: TemplateWriter,
        budget: Budget,
        clock: Callable[[], int],
    ) -> None:
        """``clock``: microseconds since the Unix epoch."""
        self._directory = directory
        self._writer = writer
        self._budget = budget
        self._clock = clock

    def routes(self) -> list[Route]:
        """For the application's table."""
        return [
            Route("/templates", self.create, methods=["POST"]),
            Route("/templates", self.list, methods=["GET"]),
            Route("/templates/{id}", self.show, methods=["GET"]),
            Route("/templates/{id}", self.change, methods=["PATCH"]),
            Route("/templates/{id}", self.remove, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """Store a new one."""
        organization = self._organization(request)
        if isinstance(organization, Answer):
            return response(organization)
        fields = await self._fields(request, organization, None)
        if isinstance(fields, Answer):
            return response(fields)
        id_ = str(uuid.uuid4())
        done = await self._write(self._writer.create_template, organization.id, id_, fields)
        if isinstance(done, Answer):
            return response(done)
        return response(_named(201, id_))

    async def list(self, request: Request) -> Response:
        """A page of them, without their sources."""
        organization = self._organization(request)
        if isinstance(organization, Answer):
            return response(organization)
        text = request.query_params.get("limit", "20")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PAGE):
            problem = Problem("limit", shown(text), "is no page size", f"use 1 to {MAX_PAGE}")
            return response(invalid([problem]))
        owned = self._directory.templates(organization.id)
        after = request.query_params.get("after")
        if after is not None:
            places = [at for at, template in enumerate(owned) if template.id == after]
            if not places:
                return response(NO_TEMPLATE)
            owned = owned[places[0] + 1 :]
        page = owned[: int(text)]
        tree = {
            "object": "list",
            "has_more": len(owned) > len(page),
            "data": [_shown(template, whole=False) for template in page],
        }
        return response(Answer(200, msgspec.json.encode(tree)))

    async def show(self, request: Request) -> Response:
        """One, with its sources."""
        template = self._template(request)
        if isinstance(template, Answer):
            return response(template)
        return response(Answer(200, msgspec.json.encode(_shown(template, whole=True))))

    async def change(self, request: Request) -> Response:
        """Change what is given."""
        organization = self._organization(request)
        template = self._template(request)
        if isinstance(organization, Answer) or isinstance(template, Answer):
            return response(template if isinstance(template, Answer) else NO_TEMPLATE)
        fields = await self._fields(request, organization, template)
        if isinstance(fields, Answer):
            return response(fields)
        done = await self._write(self._writer.change_template, organization.id, template.id, fields)
        if isinstance(done, Answer):
            return response(done)
        return response(NO_TEMPLATE if done is None else _named(200, template.id))

    async def remove(self, request: Request) -> Response:
        """Take one away."""
        organization = self._organization(request)
        if isinstance(organization, Answer):
            return response(organization)
        id_ = request.path_params["id"]
        done = await self._write(self._writer.remove_template, organization.id, id_)
        if isinstance(done, Answer):
            return response(done)
        if not done:
            return response(NO_TEMPLATE)
        tree = {"object": "template", "id": id_, "deleted": True}
        return response(Answer(200, msgspec.json.encode(tree)))

    # --- building blocks ------------------------------------------------------------------------

    def _organization(self, request: Request) -> Organization | Answer:
        header = request.headers.get("authorization")
        token = None if header is None else header.encode("latin-1", "replace")
        grant = authenticate(self._directory, token)
        return grant if isinstance(grant, Answer) else grant.organization

    def _template(self, request: Request) -> Template | Answer:
        organization = self._organization(request)
        if isinstance(organization, Answer):
            return organization
        found = self._directory.template(request.path_params["id"])
        if found is None or found.org != organization.id:
            return NO_TEMPLATE
        return found

    async def _fields(
        self, request: Request, organization: Organization, present: Template | None
    ) -> TemplateFields | Answer:
        head = read_head(request.scope["headers"])
        wrong = check_head(head, MAX_BODY)
        if wrong is not None:
            return wrong
        holder = Body(self._budget, organization.id)
        try:
            octets = await holder.read(request.receive, MAX_BODY)
            if isinstance(octets, Answer):
                return octets
            composer = Composer(self._directory, organization, self._clock())
            return read_fields(octets, composer, present)
        except ClientGone:
            return refusal(400, "validation_error", "the request ended before its body")
        finally:
            holder.release()

    async def _write(self, change: Callable[..., Any], *arguments: Any) -> Any:
        try:
            # Shielded: a caller that hangs up leaves no half of a change behind.
            return await asyncio.shield(asyncio.to_thread(change, *arguments))
        except ControlError as error:
            return invalid([Problem("", None, error.message, error.fix)])
        except QueueError:
            return busy("the template may not have been stored: look, and try again")


def read_fields(
    octets: bytes, composer: Composer, present: Template | None
) -> TemplateFields | Answer:
    """A body's fields, or every problem of them; ``present`` is what they change."""
    try:
        tree = json.loads(octets)
    except (ValueError, RecursionError) as error:
        return refusal(400, "invalid_json", f"the body is not JSON: {error}"[:300])
    if not isinstance(tree, dict):
        return invalid([Problem("", shown(tree), "is no object", "send an object of fields")])
    reading = _Reading(tree, composer)
    fields = reading.fields(present)
    return invalid(reading.problems) if reading.problems else fields


class _Reading:
    """Collects the problems of one body."""

    def __init__(self, tree: dict[str, Any], composer: Composer) -> None:
        self._tree = tree
        self._composer = composer
        self.problems: list[Problem] = []

    def fields(self, present: Template | None) -> TemplateFields:
        for name, value in self._tree.items():
            if name not in FIELDS and not (name in UNAVAILABLE and value is None):
                why = UNAVAILABLE.get(name, "is not a field of this API")
                self._add(str(shown(name)), value, why, f"known are {', '.join(FIELDS)}")
        if present is None and self._tree.get("name") is None:
            self._add("name", None, "is missing", "name the template")
        sources = {name: self._run(name, checks.plain) for name in SOURCES}
        kept = {name: getattr(present, name) if present else "" for name in SOURCES}
        whole = kept | {name: text for name, text in sources.items() if text is not None}
        if not self.problems and not whole["html"] and not whole["text"]:
            self._add("html", shown(self._tree.get("html")), "is missing", "give html or text")
        for name in SOURCES:
            self._compile(name, sources[name])
        return TemplateFields(
            name=self._run("name", _name),
            sender=self._run("from", lambda text: text and self._sender(text)),
            reply_to=self._reply_to(),
            **sources,
        )

    def _sender(self, text: str) -> str:
        self._composer.sender(text)
        return text

    def _reply_to(self) -> list[str] | None:
        value = self._tree.get("reply_to")
        if value is None:
            return None
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or len(listed) > checks.MAX_MAILBOXES:
            fix = f"send an address or a list of at most {checks.MAX_MAILBOXES}"
            self._add("reply_to", value, "is no list of addresses", fix)
            return None
        for at, entry in enumerate(listed):
            field = "reply_to" if isinstance(value, str) else f"reply_to[{at}]"
            self._check(field, entry, lambda text: checks.mailbox(checks.plain(text)))
        return listed

    def _compile(self, name: str, source: str | None) -> None:
        if not source:
            return
        try:
            compiled(**{part: source if part == name else "" for part in SOURCES})
        except TemplateError as error:
            self._add(name, source, error.message, error.fix)

    def _run(self, name: str, check: Callable[[str], str]) -> str | None:
        value = self._tree.get(name)
        if value is None:
            return None
        found: str | None = self._check(name, value, lambda text: check(checks.plain(text)))
        return found

    def _check(self, field: str, value: object, check: Callable[[str], Any]) -> Any:
        if not isinstance(value, str):
            self._add(field, value, "is no string", "send a string")
            return None
        try:
            return check(value)
        except ValueError as flaw:
            fix = flaw.fix if isinstance(flaw, Flaw) else "correct it"
            is_foreign = isinstance(flaw, ForeignDomain)
            self.problems.append(Problem(field, shown(value), str(flaw), fix, is_foreign))
            return None

    def _add(self, field: str, value: object, message: str, fix: str) -> None:
        self.problems.append(Problem(field, shown(value), message, fix))


def _name(text: str) -> str:
    if not text.strip() or len(text) > MAX_NAME or not text.isprintable():
        raise Flaw("is no name", f"use 1 to {MAX_NAME} printable characters")
    return text


def _named(status: int, id_: str) -> Answer:
    return Answer(status, msgspec.json.encode({"object": "template", "id": id_}))


def _shown(template: Template, *, whole: bool) -> dict[str, object]:
    tree: dict[str, object] = {
        "object": "template",
        "id": template.id,
        "name": template.name,
        "status": "published",
        "version": template.revision,
        "created_at": _instant(template.created_at_us),
        "updated_at": _instant(template.updated_at_us),
    }
    if whole:
        tree |= {
            "from": template.sender or None,
            "reply_to": template.reply_to,
            "subject": template.subject or None,
            "html": template.html or None,
            "text": template.text or None,
        }
    return tree


def _instant(at_us: int) -> str:
    at = datetime.fromtimestamp(at_us / 1_000_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def response(answer: Answer) -> Response:
    """An answer as Starlette sends it."""
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, media_type="application/json")
