"""Days as partitions: made before they are needed, detached when they are old.

**Model.** A day is its number since the Unix epoch, UTC. ``messages`` of a day are the UUIDv7 whose
48-bit time lies in it, so the bound is that time followed by zeros (RFC 9562, section 5.7);
``events`` of a day were appended in it. A partition is made on the side and attached, which keeps
readers and writers going (SHARE UPDATE EXCLUSIVE instead of ACCESS EXCLUSIVE).
**Invariants.** No default partition: with one, PostgreSQL cannot detach concurrently, and a row of
a wrong clock would hide in it. Instead a day outside `HISTORY_DAYS` and `AHEAD_DAYS` is refused,
so no record can make us create partitions without end.
**Retention.** `drop_expired` is called by nobody here: what is dropped must be verified in the
lower tiers first (G5), and only the mover can know that.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from postalynk.storage.hot.connection import RowsRefused
from postalynk.storage.hot.schema import ADVISORY_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postalynk.storage.hot.connection import Connection

DAY_US = 86_400_000_000
DAY_MS = 86_400_000
AHEAD_DAYS = 3
"""Made ahead: midnight then finds its partition even after a long week-end without us."""
HISTORY_DAYS = 400
"""The oldest day a replay may bring back."""
TABLES = ("messages", "events")


class Day(NamedTuple):
    """One day of one table."""

    table: str
    number: int


def message_day(message_id: bytes) -> int:
    """The day inside a UUIDv7."""
    return int.from_bytes(message_id[:6], "big") // DAY_MS


def event_day(recorded_at_us: int) -> int:
    """The day a record was appended in."""
    return recorded_at_us // DAY_US


class Partitions:
    """The partitions known to exist, so that a batch of known days costs no query."""

    def __init__(self) -> None:
        self._known: set[Day] = set()

    def forget(self) -> None:
        """Ask the database again: somebody else may have dropped some."""
        self._known.clear()

    async def ensure(self, connection: Connection, days: Iterable[Day], now_us: int) -> None:
        """Have partitions for ``days``, today and the next `AHEAD_DAYS`.

        Raises RowsRefused for a day that no honest record has.
        """
        today = event_day(now_us)
        wanted = set(days)
        for day in wanted:
            if not today - HISTORY_DAYS <= day.number <= today + AHEAD_DAYS:
                raise RowsRefused(
                    f"a record of {day.table} is of day {day.number}, which is not between "
                    f"{HISTORY_DAYS} days ago and {AHEAD_DAYS} days ahead of {today}"
                )
        ahead = range(today, today + AHEAD_DAYS + 1)
        wanted |= {Day(table, number) for table in TABLES for number in ahead}
        if wanted <= self._known:
            return
        self._known = await _attached(connection)
        for day in sorted(wanted - self._known):
            await _create(connection, day)
            self._known.add(day)


async def drop_expired(connection: Connection, now_us: int, keep_days: int) -> list[str]:
    """Detach and drop the days that ended more than ``keep_days`` days ago; their names.

    Not to be called before the rows are verified elsewhere (G5). Restartable: a detachment that
    was cut short is finished first.
    """
    oldest = event_day(now_us) - keep_days
    dropped = []
    for row in await connection.fetch(_PARTITIONS):
        name, table, is_pending = row["name"], row["parent"], row["is_pending"]
        if _number(name) >= oldest:
            continue
        how = "FINALIZE" if is_pending else "CONCURRENTLY"
        if row["is_attached"]:
            await connection.execute(
                f"ALTER TABLE postalynk.{table} DETACH PARTITION postalynk.{name} {how}"
            )
        await connection.execute(f"DROP TABLE postalynk.{name}")
        dropped.append(name)
    return dropped


# Detached days that were not dropped yet are found by their names.
_PARTITIONS = """
SELECT c.relname AS name, split_part(c.relname, '_', 1) AS parent,
       i.inhrelid IS NOT NULL AS is_attached, coalesce(i.inhdetachpending, false) AS is_pending
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE n.nspname = 'postalynk' AND c.relkind = 'r' AND c.relname ~ '^(messages|events)_[0-9]{8}$'
ORDER BY c.relname
"""


async def _attached(connection: Connection) -> set[Day]:
    rows = await connection.fetch(_PARTITIONS)
    return {
        Day(row["parent"], _number(row["name"]))
        for row in rows
        if row["is_attached"] and not row["is_pending"]
    }


async def _create(connection: Connection, day: Day) -> None:
    name = f"{day.table}_{_text(day.number)}"
    low, high = _bound(day), _bound(Day(day.table, day.number + 1))
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
        if day in await _attached(connection):
            return  # somebody made it while we waited for the lock
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS postalynk.{name} "
            f"(LIKE postalynk.{day.table} INCLUDING ALL)"
        )
        await connection.execute(
            f"ALTER TABLE postalynk.{day.table} ATTACH PARTITION postalynk.{name} "
            f"FOR VALUES FROM ('{low}') TO ('{high}')"
        )


def _bound(day: Day) -> str:
    if day.table == "messages":
        return (day.number * DAY_MS).to_bytes(6, "big").hex() + "0" * 20
    text = _text(day.number)
    return f"{text[:4]}-{text[4:6]}-{text[6:]} 00:00:00+00"


def _text(number: int) -> str:
    """YYYYMMDD of a day number."""
    from_epoch = _EPOCH + timedelta(days=number)
    return f"{from_epoch:%Y%m%d}"


def _number(name: str) -> int:
    """The day number at the end of a partition's name."""
    text = name[-8:]
    return (date(int(text[:4]), int(text[4:6]), int(text[6:])) - _EPOCH).days


_EPOCH = date(1970, 1, 1)
