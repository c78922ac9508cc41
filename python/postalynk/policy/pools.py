"""`Pools`: which pools there are, as one batch sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Pools:
    """The pools by name; the same for a whole batch: ``"canary" in pools``."""

    __slots__ = ("names",)

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        """Every pool's name."""

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        # Sorted: a policy that iterates must answer the same in every process.
        return iter(sorted(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Pools({sorted(self.names)!r})"
