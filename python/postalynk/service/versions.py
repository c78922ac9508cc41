"""Ranges of releases, as redrive rules name them: ``>=1.4``, ``>=1.4,<2``, ``==1.4.1``."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING

from postalynk.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

Numbers = tuple[int, ...]

_TERM = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d{1,9}(?:\.\d{1,9}){0,3})")
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,3}")
_COMPARE: dict[str, Callable[[Numbers, Numbers], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_PARTS = 4


class Range:
    """Some comparisons that must all hold."""

    def __init__(self, text: str) -> None:
        """Raises SettingsError for what is no range."""
        self._terms = []
        for term in text.split(","):
            match = _TERM.fullmatch(term.strip())
            if match is None:
                raise SettingsError(
                    f"{text!r} is no range of releases", fix="write >=1.4 or >=1.4,<2"
                )
            self._terms.append((_COMPARE[match[1]], numbers(match[2])))

    def holds(self, version: str) -> bool:
        """Whether a release is in it; one without a number is older than all."""
        found = numbers(version)
        return all(compare(found, wanted) for compare, wanted in self._terms)


def numbers(version: str) -> Numbers:
    """``1.4`` → (1, 4, 0, 0); what follows the numbers (``1.4.0rc1``) does not count."""
    match = _NUMBER.match(version)
    parts = [int(part) for part in match[0].split(".")] if match else []
    return tuple(parts + [0] * (_PARTS - len(parts)))
