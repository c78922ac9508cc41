"""What the projection knows about a message: for its owner, and for `postalynk why`.

**Model.** A delivery's state is the kind of its last event, `queued` while it has none. Before its
time it is `scheduled`, afterwards `queued`: nothing is written when the time comes. Recipients
come from the message, so a delivery that nothing happened to is listed too.
**Invariants.** `message` and `events` answer for the organization asked for and no other (G6).
Every query names the message and the days it can be in, returns a bounded number of rows and ends
after `COMMAND_S`.
**Not here.** Content, which the projection does not hold; what was accepted so recently that the
recorder has not seen it.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from postalynk.errors import StorageError
from postalynk.storage.hot.connection import CONNECT_S, prepare, storage_errors
from postalynk.storage.hot.partitions import DAY_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from postalynk.storage.hot.connection import Connection

COMMAND_S = 5.0
MAX_EVENTS = 10_000
"""Most events of one message in one answer: its attempts at 1,000 recipients for days."""

LAST_EVENT = {
    "scheduled": "scheduled",
    "queued": "queued",
    "deferred": "delivery_delayed",
    "in_doubt": "delivery_delayed",
    "delivered": "delivered",
    "bounced": "bounced",
    "expired": "failed",
    "dead_lettered": "failed",
    "suppressed": "suppressed",
    "cancelled": "canceled",
}
"""Our states in the words of Resend's ``last_event``."""

# Nothing that the types of the columns could not hold.
_CURSOR = re.compile(r"(\d{1,17})\.(-?\d{1,9})\.(-?\d{1,9})\.([a-z_]{1,32})", re.ASCII)

_ATTEMPT = (
    "kind, attempt, at, recorded_at, due_at, reason, pool, source, site, mx, peer, reply_code,"
    " enhanced, reply, class, phase, tls, tls_refused, connect_us, mail_us, dot_us, total_us,"
    " policy_version, route_reason, fallback, size_bytes, relay, transcript, explanation,"
    " tls_policy"
)
_MESSAGE = "SELECT * FROM postalynk.messages WHERE id = $1"
_STATES = """
SELECT DISTINCT ON (recipient) recipient, kind, attempt, at, recorded_at, due_at, address,
       reply_code, enhanced, reply, class, reason, mx
FROM postalynk.events WHERE message_id = $1 AND org_id = $2 AND recorded_at >= $3
ORDER BY recipient, recorded_at DESC, attempt DESC, kind DESC LIMIT $4
"""
_EVENTS = f"""
SELECT recipient, address, {_ATTEMPT}
FROM postalynk.events WHERE message_id = $1 AND org_id = $2 AND recorded_at >= $3
  AND (recorded_at, recipient, attempt, kind) > ($3, $4, $5, $6)
ORDER BY recorded_at, recipient, attempt, kind LIMIT $7
"""  # noqa: S608 - our own column names; recorded_at alone, too: it is what excludes partitions


class HotReader:
    """Queries over a pool of connections; raises StorageError when PostgreSQL is out of reach."""

    def __init__(
        self,
        dsn: Callable[[], str],
        *,
        connections: int = 4,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._dsn = dsn
        self._now_us = now_us
        self._connections = connections
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def message(self, org: str, id_: bytes) -> dict[str, Any] | None:
        """Resend's shape of one message, with its deliveries; None unless it is ``org``'s."""
        async with self._connection() as connection:
            row = await connection.fetchrow(_MESSAGE + " AND org_id = $2", id_, org)
            if row is None:
                return None
            states = await connection.fetch(_STATES, id_, org, _earliest(id_), MAX_EVENTS)
        last = max(states, key=lambda state: state["recorded_at"], default=None)
        now_us = self._now_us()
        word = _word(last, now_us) if last else _before(row["scheduled_at"], now_us)
        return {
            **_shown(row, _scheduled_at(row, states)),
            "last_event": LAST_EVENT.get(word, word),
            "deliveries": _deliveries(row, states, now_us),
        }

    async def events(
        self, org: str, id_: bytes, after: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]] | None:
        """Events in the order they were recorded, the acceptance first; None unless ``org``'s.

        ``after`` is the ``cursor`` of the last event seen; ValueError when it is none.
        """
        place = (_earliest(id_), -1, -1, "") if after is None else _place(after)
        limit = max(1, min(limit, MAX_EVENTS))
        async with self._connection() as connection:
            message = await connection.fetchrow(_MESSAGE + " AND org_id = $2", id_, org)
            if message is None:
                return None
            rows = await connection.fetch(_EVENTS, id_, org, *place, limit)
        events = [_event(row) for row in rows]
        return events if after is not None else [_acceptance(message), *events][:limit]

    async def story(self, id_: bytes) -> dict[str, Any] | None:
        """All that is known of a message of any organization, for its operator; None if unknown."""
        async with self._connection() as connection:
            row = await connection.fetchrow(_MESSAGE, id_)
            if row is None:
                return None
            org, earliest = row["org_id"], _earliest(id_)
            states = await connection.fetch(_STATES, id_, org, earliest, MAX_EVENTS)
            rows = await connection.fetch(_EVENTS, id_, org, earliest, -1, -1, "", MAX_EVENTS + 1)
        deliveries = _deliveries(row, states, self._now_us())
        by_recipient: dict[int, list[dict[str, Any]]] = {}
        for event in rows[:MAX_EVENTS]:
            by_recipient.setdefault(event["recipient"], []).append(_attempt(event))
        for delivery in deliveries:
            delivery["events"] = by_recipient.get(delivery["recipient"], [])
        return {
            "message": {
                **_shown(row, _scheduled_at(row, states)),
                "org": row["org_id"],
                "expires_at": _time(row["expires_at"]),
            },
            "deliveries": deliveries,
            "is_truncated": len(rows) > MAX_EVENTS,
        }

    async def close(self) -> None:
        """Let the connections go."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        dsn = self._dsn()
        with storage_errors(dsn):
            if self._pool is None:
                # No connection yet: PostgreSQL may be down when we start.
                self._pool = await asyncpg.create_pool(
                    dsn,
                    min_size=0,
                    max_size=self._connections,
                    connect=self._connect,
                    # Nothing here changes a session, so nothing is reset: half a millisecond less.
                    reset=_keep,
                    timeout=CONNECT_S,
                    command_timeout=COMMAND_S,
                )
            async with self._pool.acquire(timeout=CONNECT_S) as connection:
                try:
                    yield connection  # type: ignore[misc]
                except asyncpg.UndefinedTableError as error:
                    raise StorageError(
                        "the projection has no tables yet", fix="start the recorder once"
                    ) from error

    async def _connect(self, *_dsn: Any, **options: Any) -> Connection:
        # The DSN of now, not of the pool's birth: an embedded server may have moved its port.
        connection: Connection = await asyncpg.connect(self._dsn(), **options)
        await prepare(connection)
        return connection


async def _keep(_connection: object) -> None:
    pass


def _earliest(id_: bytes) -> int:
    """Where the events of a message begin: a day before the time in its id, for clocks differ."""
    return int.from_bytes(id_[:6], "big") * 1000 - DAY_US


def _before(due_at_us: int | None, now_us: int) -> str:
    """What a delivery is that nothing happened to."""
    return "scheduled" if due_at_us is not None and due_at_us > now_us else "queued"


def _word(event: asyncpg.Record, now_us: int) -> str:
    """The state that an event leaves a delivery in."""
    if event["kind"] in {"scheduled", "resent"}:
        return _before(event["due_at"], now_us)
    return str(event["kind"])


def _scheduled_at(row: asyncpg.Record, states: Any) -> int | None:
    """When the message is, or was, to be sent: as accepted, or as last moved."""
    moved = [state["due_at"] for state in states if state["kind"] == "scheduled"]
    at_us: int | None = moved[0] if moved else row["scheduled_at"]
    return at_us


def _shown(row: asyncpg.Record, scheduled_at_us: int | None) -> dict[str, Any]:
    return {
        "object": "email",
        "id": _id(row["id"]),
        "from": row["sender"],
        "to": json.loads(row["mail_to"]),
        "cc": json.loads(row["mail_cc"]),
        "bcc": json.loads(row["mail_bcc"]),
        "reply_to": json.loads(row["reply_to"]),
        "subject": row["subject"],
        "created_at": _time(row["accepted_at"]),
        "scheduled_at": _time(scheduled_at_us),
        "tags": [{"name": n, "value": v} for n, v in json.loads(row["tags"]).items()],
        "priority": row["lane"],
        "size_bytes": row["size_bytes"],
        "message_id": row["message_id_header"],
    }


def _deliveries(row: asyncpg.Record, states: Any, now_us: int) -> list[dict[str, Any]]:
    last = {state["recipient"]: state for state in states}
    fresh = {"state": _before(row["scheduled_at"], now_us), "attempts": 0}
    return [
        {
            "recipient": index,
            "address": address,
            **(_state(last[index], now_us) if index in last else fresh),
        }
        for index, address in enumerate(json.loads(row["recipients"]))
    ]


def _state(event: asyncpg.Record, now_us: int) -> dict[str, Any]:
    return {
        "state": _word(event, now_us),
        "attempts": event["attempt"],
        "at": _time(event["at"]),
        "due_at": _time(event["due_at"]),
        "class": event["class"],
        "reason": event["reason"],
        "reply": _reply(event),
    }


def _attempt(event: asyncpg.Record) -> dict[str, Any]:
    """One event with everything that explains it."""
    return {
        "kind": event["kind"],
        "attempt": event["attempt"],
        "at": _time(event["at"]),
        "recorded_at": _time(event["recorded_at"]),
        "due_at": _time(event["due_at"]),
        "reason": event["reason"],
        "class": event["class"],
        "phase": event["phase"],
        "reply": _reply(event),
        "path": {name: event[name] for name in ("pool", "source", "relay", "site", "mx", "peer")},
        "tls": {
            "used": event["tls"],
            "refused": event["tls_refused"],
            "policy": event["tls_policy"],
        },
        "latency_us": {name: event[f"{name}_us"] for name in ("connect", "mail", "dot", "total")},
        "policy": {
            "version": event["policy_version"],
            "reason": event["route_reason"],
            "is_fallback": event["fallback"],
            "explanation": json.loads(event["explanation"]) if event["explanation"] else None,
        },
        "size_bytes": event["size_bytes"],
        "transcript": event["transcript"],
    }


def _event(row: asyncpg.Record) -> dict[str, Any]:
    """One event as its organization sees it: without our pools, sources and policy."""
    place = (row["recorded_at"], row["recipient"], row["attempt"], row["kind"])
    return {
        "object": "event",
        "cursor": ".".join(str(part) for part in place),
        "type": row["kind"],
        "created_at": _time(row["at"]),
        "recipient": row["address"],
        "attempt": row["attempt"],
        "due_at": _time(row["due_at"]),
        "class": row["class"],
        "reason": row["reason"],
        "mx": row["mx"],
        "reply": _reply(row),
    }


def _acceptance(message: asyncpg.Record) -> dict[str, Any]:
    return {
        "object": "event",
        "cursor": f"{_earliest(message['id'])}.-1.-1.accepted",
        "type": "accepted",
        "created_at": _time(message["accepted_at"]),
    }


def _reply(event: asyncpg.Record) -> dict[str, Any] | None:
    if not event["reply_code"]:
        return None
    return {"code": event["reply_code"], "enhanced": event["enhanced"], "text": event["reply"]}


def _place(cursor: str) -> tuple[int, int, int, str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ValueError(f"{cursor!r} is no cursor of an event")
    at_us, recipient, attempt, kind = match.groups()
    return int(at_us), int(recipient), int(attempt), kind


def _id(id_: bytes) -> str:
    return str(uuid.UUID(bytes=id_))


def _time(at_us: int | None) -> str | None:
    """ISO 8601, UTC, to the microsecond (no float in between)."""
    if at_us is None:
        return None
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).isoformat()
