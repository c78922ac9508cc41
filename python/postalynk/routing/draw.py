"""Drawing by keyed hash: chance that is the same at a retry, in a replay and in every worker.

**Model.** The key (a message's id, an organization's, an address) is hashed to a number in [0,
1). For a split the shares lie one after the other on [0, 1) in the order they were written; the
number falls into one of them.
**Law `shares`.** Over many keys each pool's count lies within binomial bounds of its share.
**Law `stable`.** The same split and key always give the same pool.
**Law `grow`.** When the last share grows at the cost of the one before it, no key leaves it.
**Not here.** Which key: that is what ``split(by=…)`` says.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postalynk.policy import Split

# Two to the 64th: what 8 bytes of digest can say.
_SPAN = 1 << 64


@lru_cache(maxsize=1024)
def _salt(purpose: str) -> bytes:
    return blake2b(purpose.encode(), digest_size=32).digest()


def number(key: str, purpose: str) -> int:
    """A number from 0 to 2**64 - 1, uniform over keys; ``purpose`` keeps draws apart.

    BLAKE2b is keyed (RFC 7693 section 2.9) by the purpose's own hash: independent draws of one key.
    """
    return int.from_bytes(blake2b(key.encode(), digest_size=8, key=_salt(purpose)).digest(), "big")


def draw(split: Split, key: str) -> str:
    """The pool of ``split`` that ``key`` falls into; a share of 0 is never drawn."""
    purpose, edges = _edges(split)
    at = number(key, purpose)
    return next(pool for pool, edge in edges if at < edge)


@lru_cache(maxsize=1024)
def _edges(split: Split) -> tuple[str, tuple[tuple[str, int], ...]]:
    """The purpose of the draw, and each pool with the number below which it is drawn."""
    total = sum(share for _, share in split.shares)
    edges, below = [], 0
    for pool, share in split.shares:
        below += share
        # Rounded up, so that the last edge is the whole span and a share of 0 adds nothing.
        edges.append((pool, -(-below * _SPAN // total)))
    # The names, not the shares: growing a canary must not draw everybody anew.
    return "split " + " ".join(pool for pool, _ in split.shares), tuple(edges)
