"""Operations about suppression lists; mixed into `Operations`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from postalynk.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postalynk.control.operations import Control
    from postalynk.control.suppressions import Suppression

NAMES = frozenset({"forget_suppressed", "lift_suppressed", "list_suppressed", "suppress"})


class SuppressionOperations:
    """What an organization's suppression list can be asked."""

    _control: Control

    def suppress(
        self, org: str, addresses: Sequence[str], reason: str, for_s: float
    ) -> list[dict[str, Any]]:
        """Put addresses on the list, for ``for_s`` seconds (0: for good)."""
        self._known(org)
        until_us = time.time_ns() // 1000 + int(for_s * 1e6) if for_s else 0
        lists = self._control.suppressions
        return self._shown(lists.add(org, addresses, reason=reason, until_us=until_us))

    def lift_suppressed(self, org: str, addresses: Sequence[str]) -> list[dict[str, Any]]:
        """End suppressions; policies still know of them."""
        self._known(org)
        return self._shown(self._control.suppressions.lift(org, addresses))

    def forget_suppressed(self, org: str, addresses: Sequence[str]) -> list[dict[str, Any]]:
        """Take entries away without a trace."""
        self._known(org)
        return self._shown(self._control.suppressions.forget(org, addresses))

    def list_suppressed(self, org: str, limit: int) -> list[dict[str, Any]]:
        """The list by address, the first ``limit`` of it (0: all)."""
        self._known(org)
        shown = self._shown(self._control.suppressions.of(org))
        return shown[:limit] if limit else shown

    def _known(self, org: str) -> None:
        if self._control.directory.organization(org) is None:
            raise ControlError(f"there is no organization {org[:40]!r}", fix="postalynk org list")

    def _shown(self, entries: Iterable[Suppression]) -> list[dict[str, Any]]:
        is_over = self._control.suppressions.is_over
        return [
            {
                "address": entry.address,
                "state": "lifted" if is_over(entry) else "suppressed",
                "reason": entry.reason,
                "since_us": entry.created_at_us,
                "until_us": entry.until_us,
            }
            for entry in entries
        ]
