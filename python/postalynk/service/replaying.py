"""Asking a policy about what the queue retains: one message explained, or days of them replayed.

Everything is read from the log, through consumers of no group: nothing is committed, and a
running worker notices nothing but the disk.
"""

from __future__ import annotations

import time
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from postalynk.errors import ControlError
from postalynk.policy import Now, Pools, load_bundle, made_of
from postalynk.policy.testing import Message
from postalynk.queue.topics import EVENTS, SEND_TOPICS
from postalynk.recorder.codec import RecordCodec
from postalynk.routing import (
    Explanation,
    Limits,
    RecordedMessage,
    Replay,
    Replayed,
    deliveries,
    explain,
)
from postalynk.routing.native import path_limits, routing_records
from postalynk.service.accounting import read_since
from postalynk.service.candidate import limited

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postalynk.control.values import Pool
    from postalynk.policy import Bundle
    from postalynk.queue.protocol import Queue

# The time in an id is that of acceptance, that of the record is later by what the append took.
_SLACK_US = 60 * 1_000_000


def replayed(
    queue: Queue, baseline: Bundle, candidate: Bundle, known: tuple[Pools, Limits], since_us: int
) -> tuple[Replayed, tuple[float, float]]:
    """Replay what was accepted since then; the table, and microseconds a decision of each.

    Raises PolicyError when one cannot be loaded, ControlError when it takes too long.
    """
    with limited() as limit:
        before, after = (limit.load(one) for one in (baseline, candidate))
        replay = Replay(before, after, *known, clock_ns=time.perf_counter_ns)
        sites = _sites(queue, since_us)
        for page in _pages(queue, sites, since_us):
            recent = [message for message in page if message.accepted_at_us >= since_us]
            limit.run(2 * len(recent), partial(replay.add, recent))
        # A `shape` hook is asked, too.
        return limit.run(1, replay.result), replay.decision_us()


def explained(
    queue: Queue, bundle: Bundle, pools: Pools, message_id: str, to: str | None, at_us: int | None
) -> Explanation:
    """Explain the decision about a retained message, as for its first attempt."""
    message = recorded(queue, message_id, to)
    with limited() as limit:
        policies = limit.load(bundle)
        now = Now(at_us or message.accepted_at_us)
        return limit.run(1, lambda: explain(policies, message, pools, now))


def limits_of(pools: Sequence[Pool], engine_settings: str) -> Limits:
    """What the engine would let each path send; ``engine_settings``: its JSON."""

    def rate_of(site: str) -> float:
        return path_limits(engine_settings, site, "" if "." in site else site)[3]

    return Limits({pool.name: pool.sources for pool in pools}, rate_of)


class Made(msgspec.Struct, frozen=True):
    """What the engine did with a decision: one attempt, or one try that came to none."""

    attempt: int
    kind: str
    version: str
    """Of the policy that decided."""
    is_fallback: bool
    """The policy failed, and the fallback was taken (G4)."""
    pool: str
    """The one it left by: of those the route names, the first that could take it."""
    source: str
    site: str
    reason: str
    """The policy's words, or why the fallback was taken."""
    outcome: str
    """Limits, parking and failures in the engine's words; else the reply."""
    explanation: Any
    """What was stored of the decision, when it was sampled."""


def attempts(queue: Queue, message: RecordedMessage) -> list[Made]:
    """The stored attempts of one delivery, in order."""
    wanted, found = uuid.UUID(message.id), []
    since_us = _accepted_us(wanted)
    codec = RecordCodec()
    names = (
        "message_id", "address", "attempt", "kind", "policy_version", "fallback", "pool", "source",
        "site", "route_reason", "reason", "reply_code", "reply", "explanation",
    )  # fmt: skip
    for batch in read_since(queue, (EVENTS,), since_us):
        columns: Mapping[str, Sequence[Any]] = codec.decode(batch).events()
        for row in zip(*(columns[name] for name in names), strict=True):
            id_, address, attempt, kind, version, is_fallback, pool, source, site, why, *rest = row
            if id_ != wanted.bytes or address != message.rcpt.address:
                continue
            reason, code, reply, explanation = rest
            outcome = reason or (f"{code} {reply}" if code else "")
            told = msgspec.json.decode(explanation) if explanation else None
            found.append(
                Made(attempt, kind, version, is_fallback, pool, source, site, why, outcome, told)
            )
    return sorted(found, key=lambda made: made.attempt)


def _accepted_us(id_: uuid.UUID) -> int:
    # The first six bytes of a UUIDv7 are milliseconds (RFC 9562 section 5.7).
    return int.from_bytes(id_.bytes[:6], "big") * 1_000 - _SLACK_US


def recorded(queue: Queue, message_id: str, to: str | None) -> RecordedMessage:
    """A delivery the queue retains; raises ControlError when it does not."""
    try:
        wanted = uuid.UUID(message_id)
    except ValueError as error:
        raise ControlError(
            f"{message_id!r} is no message id", fix="give the id POST /emails answered with"
        ) from error
    since_us = _accepted_us(wanted)
    for page in _pages(queue, _sites(queue, since_us), since_us):
        for message in page:
            if message.id == str(wanted) and to in (None, message.rcpt.address):
                return message
    whose = f" to {to}" if to else ""
    raise ControlError(
        f"the queue retains no record of message {wanted}{whose}",
        fix="check the id; what retention dropped cannot be asked about",
    )


def explained_file(
    files: Mapping[str, bytes], path: Path, pools: Sequence[str], now: Now
) -> dict[str, Any]:
    """Explain the decision about a message that is described in a JSON file."""
    try:
        described = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        message = Message.fake(**described)
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}", fix="name a JSON file") from error
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ControlError(
            f"{path} describes no message: {error}",
            fix='write the arguments of Message.fake: {"provider": "google"}',
        ) from error
    policies = load_bundle(made_of(files, Path("policy")))
    told: dict[str, Any] = msgspec.to_builtins(explain(policies, message, Pools(pools), now))
    return told


def _pages(
    queue: Queue, sites: Mapping[str, str], since_us: int
) -> Iterator[list[RecordedMessage]]:
    for batch in read_since(queue, SEND_TOPICS, since_us):
        yield [
            delivery for record in routing_records(batch) for delivery in deliveries(record, sites)
        ]


def _sites(queue: Queue, since_us: int) -> dict[str, str]:
    """Domain → the site of its newest attempt, as far as there was one."""
    codec = RecordCodec()
    newest: dict[str, tuple[int, str]] = {}
    for batch in read_since(queue, (EVENTS,), since_us):
        columns = codec.decode(batch).events()
        for address, site, at_us in zip(
            columns["address"], columns["site"], columns["at_us"], strict=True
        ):
            domain = str(address).rpartition("@")[2]
            # The site itself breaks a tie: the order of partitions must not.
            candidate = (int(str(at_us)), str(site))
            if site and candidate > newest.get(domain, (0, "")):
                newest[domain] = candidate
    return {domain: site for domain, (_, site) in newest.items()}
