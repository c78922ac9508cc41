"""`Pools`: which pools there are, how they fare and how they stand, as one batch sees them.

**Model.** Names and members are the operator's; how paths fare is the engine's, read once, when a
policy first asks in a batch, and then the same for all of it. A policy that does not ask costs
nothing.
**Health.** A path is open unless its breaker is shut; a source is healthy unless it has paths and
every one of them is shut; a pool is healthy while one of its sources is.
**Reputation.** What receivers say of a source, worked out from its recent attempts at a site: the
share whose replies blamed the sender's reputation or rate, an attempt weighing half after an hour.
In bands, because a policy that compares a share to 0.0312 flips with every message.
**Not here.** What receivers publish elsewhere (Postmaster Tools, SNDS): nothing reads that yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


Band: TypeAlias = Literal["good", "fair", "poor", "unknown"]
"""How a source stands with a site: blamed for less than 1 attempt in 100, in 20, for more; or there
were fewer than 20 attempts. ``pools["shared"].reputation("google") == "poor"``"""

# Ours: one refusal in a hundred is the noise of any list, one in twenty is trouble.
GOOD_BELOW = 0.01
FAIR_BELOW = 0.05


class Standing(NamedTuple):
    """What became of one source's recent attempts at one site; shares are 0.0 to 1.0.

    ``[row.site for row in pools.standings if row.blamed > 0.2]``
    """

    source: str
    site: str
    attempts: float
    """Recent ones; each weighs half after an hour."""
    deferred: float
    """The share of them that was deferred."""
    bounced: float
    """The share that bounced."""
    blamed: float
    """The share whose replies blamed the sender's reputation or rate."""


class PathState(NamedTuple):
    """One path at the moment the batch began: ``pools["majors"].paths("google")[0].waiting``."""

    source: str
    site: str
    is_open: bool
    """Whether its breaker lets mail through."""
    connections: int
    waiting: int
    """Messages ready to leave on it."""
    limit_per_s: float
    """The most it may send a second; infinite: no limit."""
    rate_per_s: float
    """What it last sent a second when it was busy; 0.0: not known."""


class Pool:
    """One pool: ``pools["dedicated"].healthy``."""

    __slots__ = ("_pools", "name", "sources")

    def __init__(self, pools: Pools, name: str, sources: Sequence[str]) -> None:
        self._pools = pools
        self.name = name
        self.sources = tuple(sorted(sources))
        """Its sources by name: ``"mta-1" in pools["dedicated"].sources``."""

    @property
    def healthy(self) -> bool:
        """Whether one of its sources is healthy; False for a pool without any."""
        return any(self._pools.is_healthy(source) for source in self.sources)

    def paths(self, site: str) -> tuple[PathState, ...]:
        """Its paths to a site that are in use: ``pools["majors"].paths(msg.rcpt.site)``."""
        return tuple(
            path for path in self._pools.paths if path.site == site and path.source in self.sources
        )

    def is_open(self, site: str) -> bool:
        """Whether mail to the site can leave by it, as far as is known."""
        known = {path.source: path.is_open for path in self.paths(site)}
        return any(known.get(source, True) for source in self.sources)

    def waiting(self, site: str) -> int:
        """Messages ready to leave by it to the site."""
        return sum(path.waiting for path in self.paths(site))

    def rate(self, site: str) -> float:
        """What it last sent to the site when busy, in messages a second; 0.0: not known."""
        return sum(path.rate_per_s for path in self.paths(site))

    def reputation(self, site: str) -> Band:
        """How its sources stand with the site: ``pools["shared"].reputation("google")``."""
        return self._pools.reputation(site, self.sources)

    def __repr__(self) -> str:
        return f"Pool({self.name!r}, {list(self.sources)!r})"


def _no_paths() -> Iterable[PathState]:
    return ()


def _no_standings() -> Iterable[Standing]:
    return ()


class Pools:
    """The pools by name; the same for a whole batch: ``"canary" in pools``."""

    __slots__ = ("_members", "_paths", "_read", "_stand", "_standings", "names")

    def __init__(
        self,
        pools: Iterable[str] | Mapping[str, Iterable[str]],
        paths: Callable[[], Iterable[PathState]] = _no_paths,
        standings: Callable[[], Iterable[Standing]] = _no_standings,
    ) -> None:
        """``pools``: names, or names with their sources.

        ``paths`` and ``standings`` are called once, if at all.
        """
        members = pools if isinstance(pools, Mapping) else dict.fromkeys(pools, ())
        self._members: Mapping[str, tuple[str, ...]] = {
            name: tuple(sources) for name, sources in members.items()
        }
        self._read, self._stand = paths, standings
        self._paths: tuple[PathState, ...] | None = None
        self._standings: tuple[Standing, ...] | None = None
        self.names = frozenset(self._members)
        """Every pool's name."""

    def at(
        self,
        paths: Callable[[], Iterable[PathState]],
        standings: Callable[[], Iterable[Standing]] = _no_standings,
    ) -> Pools:
        """The same pools for another batch."""
        return Pools(self._members, paths, standings)

    @property
    def paths(self) -> tuple[PathState, ...]:
        """Every path in use, by source and site."""
        if self._paths is None:
            self._paths = tuple(sorted(self._read()))
        return self._paths

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Every source at every site it recently made 20 attempts at, by source and site."""
        if self._standings is None:
            self._standings = tuple(sorted(self._stand()))
        return self._standings

    def reputation(self, site: str, sources: Sequence[str]) -> Band:
        """How these sources together stand with the site."""
        rows = [row for row in self.standings if row.site == site and row.source in sources]
        attempts = sum(row.attempts for row in rows)
        if not attempts:
            return "unknown"
        blamed = sum(row.blamed * row.attempts for row in rows) / attempts
        if blamed < GOOD_BELOW:
            return "good"
        return "fair" if blamed < FAIR_BELOW else "poor"

    def is_healthy(self, source: str) -> bool:
        """Whether the source is: it has no path, or one that is open."""
        states = [path.is_open for path in self.paths if path.source == source]
        return not states or any(states)

    def __getitem__(self, name: str) -> Pool:
        """The pool of that name; raises KeyError when there is none."""
        return Pool(self, name, self._members[name])

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        # Sorted: a policy that iterates must answer the same in every process.
        return iter(sorted(self.names))

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Pools({sorted(self.names)!r})"
