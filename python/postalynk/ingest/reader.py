"""What the API asks of the projection; `postalynk.storage.hot` answers."""

from __future__ import annotations

from typing import Any, Protocol


class HotReader(Protocol):
    """Reads messages and their events as the API shows them. Raises StorageError when it cannot."""

    async def message(self, org: str, id_: bytes) -> dict[str, Any] | None:
        """The object of ``GET /emails/{id}``; None when the organization has no such message."""
        ...

    async def events(
        self, org: str, id_: bytes, after: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]] | None:
        """Up to ``limit`` events in order, those after the one whose ``cursor`` is ``after``.

        None when the organization has no such message; ValueError when ``after`` is no cursor.
        """
        ...
