"""A connection to PostgreSQL as this room uses it, and what its errors mean.

**Model.** Ids travel as 16 bytes and instants as microseconds since the Unix epoch, on the wire in
PostgreSQL's binary form: no object per value. Every call has a time limit, counted by the client,
so a pooler between us and the server needs no session settings.
**Invariants.** What PostgreSQL or the network does to us surfaces as `StorageError`; a row it will
not take as `RowsRefused`, which says that trying again is of no use.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
from asyncpg.exceptions import _base as client_errors

from postalynk.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = asyncpg.Connection[asyncpg.Record]

CONNECT_S = 5.0
POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 in Unix microseconds: where PostgreSQL's timestamps count from."""


LAST_US = 253_402_300_799_999_999
"""The end of the year 9999: a later instant is a broken clock's and is shown as this one."""


class RowsRefused(StorageError):
    """PostgreSQL cannot hold a row of this batch, now or ever."""


async def connect(dsn: str, *, command_s: float) -> Connection:
    """A connection whose commands end after ``command_s`` seconds; StorageError if it fails."""
    with storage_errors(dsn):
        connection: Connection = await asyncpg.connect(
            dsn, timeout=CONNECT_S, command_timeout=command_s
        )
        await prepare(connection)
        return connection


async def prepare(connection: Connection) -> None:
    """Give a fresh connection this room's codecs."""
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", format="binary", encoder=_same, decoder=bytes
    )
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=_to_wire, decoder=_from_wire
    )


@contextmanager
def storage_errors(dsn: str) -> Iterator[None]:
    """Raise what goes wrong inside as StorageError or RowsRefused."""
    try:
        yield
    except StorageError:
        raise
    except (
        asyncpg.DataError,
        asyncpg.IntegrityConstraintViolationError,
        client_errors.DataError,
    ) as error:
        raise RowsRefused(f"PostgreSQL refuses a row: {error}") from error
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        where = _without_password(dsn)
        text = str(error) or type(error).__name__
        raise StorageError(
            f"PostgreSQL at {where}: {text}", fix="see that it runs and that hot.url is right"
        ) from error


def _without_password(dsn: str) -> str:
    parts = urlsplit(dsn)
    return f"{parts.hostname or 'its socket'}:{parts.port or 5432}{parts.path}"


def _same(value: bytes) -> bytes:
    return value


def _to_wire(at_us: int) -> tuple[int]:
    return (min(at_us, LAST_US) - POSTGRES_EPOCH_US,)


def _from_wire(wire: tuple[int]) -> int:
    return wire[0] + POSTGRES_EPOCH_US
