"""What goes back to the caller: a status, a JSON body and the reason for the metrics.

Refusals have Resend's shape plus the list of problems::

    {"statusCode": 422, "name": "validation_error", "message": "…",
     "errors": [{"field": "to[1]", "value": "…", "message": "…", "fix": "…"}]}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

MAX_VALUE = 100

Scalar = str | int | float | bool | None


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a request. An empty `field` is the request as a whole."""

    field: str
    value: Scalar
    message: str
    fix: str
    is_foreign: bool = False
    """The sender domain is not the organization's: 403 instead of 422; not shown."""


class Answer(NamedTuple):
    """An HTTP response; `reason` is empty for success, else the error's name."""

    status: int
    body: bytes
    reason: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    reply: str = ""
    """What SMTP says instead of what follows from the rest."""


def success(body: bytes) -> Answer:
    """202: durable and on its way. SDKs take any 2xx; 202 says that delivery is still to come."""
    return Answer(202, body)


def error_tree(
    status: int, name: str, message: str, problems: Sequence[Problem] = ()
) -> dict[str, object]:
    """The JSON object of a refusal."""
    errors = [
        {"field": p.field, "value": p.value, "message": p.message, "fix": p.fix} for p in problems
    ]
    return {"statusCode": status, "name": name, "message": message, "errors": errors}


def refusal(
    status: int,
    name: str,
    message: str,
    problems: Sequence[Problem] = (),
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Answer:
    """A response that says no."""
    tree = error_tree(status, name, message, problems)
    return Answer(status, msgspec.json.encode(tree), name, headers)


def invalid_tree(problems: Sequence[Problem]) -> dict[str, object]:
    """The refusal of a request or batch entry that has problems."""
    is_foreign = all(p.is_foreign for p in problems)
    first = problems[0]
    message = f"{first.field}: {first.message}" if first.field else first.message
    if len(problems) > 1:
        message += f" (and {len(problems) - 1} more)"
    return error_tree(403 if is_foreign else 422, "validation_error", message, problems)


def invalid(problems: Sequence[Problem]) -> Answer:
    """422 with every problem; 403 when nothing but the sender domain is wrong."""
    tree = invalid_tree(problems)
    status = 403 if all(p.is_foreign for p in problems) else 422
    return Answer(status, msgspec.json.encode(tree), "validation_error")


def busy(message: str) -> Answer:
    """503: nothing is known to be kept; the same request with its key may be sent again."""
    return refusal(503, "service_unavailable", message, headers=((b"retry-after", b"1"),))


def shown(value: object) -> Scalar:
    """A value fit for an error: short, encodable, and without the insides of lists and objects."""
    if isinstance(value, str):
        text = value[:MAX_VALUE].encode("utf-8", "backslashreplace").decode()
        return text + "…" if len(value) > MAX_VALUE else text
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else f"(a number of {value.bit_length()} bits)"
    if isinstance(value, float):
        return value
    kind = "list" if isinstance(value, list) else "object"
    size = len(value) if isinstance(value, (list, dict)) else 0
    return f"({kind} of {size})"
