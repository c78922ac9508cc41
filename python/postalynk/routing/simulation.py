"""Simulation: a policy, its limits and its warm-up over hours of made-up traffic, in seconds.

**Problem.** A test asks about one message; whether a day's mail fits through the limits, and when a
warm-up lets it go, shows only when all of it comes.
**Model.** A virtual clock. Flows say what arrives; every minute the policy routes what came in it,
as a worker routes a batch. A delivery takes a source as the engine chooses one: the organization's
own draw, then others with room in their warm-up, the overflow, the fallbacks; else it waits for the
hour that has room. A path lets it go when the engine's own token bucket grants it, high lane first.
**Law `never_over`.** In a window of ``w`` seconds a path sends at most ``burst + rate * w``.
**Law `spread`.** By the end of hour ``h`` (0 to 23) a source in warm-up has sent a provider at most
``n * (h + 1) / 24`` of its day's ``n``.
**Law `none_lost`.** What arrived was sent, or waits.
**Law `same`.** Equal arguments, equal answers.
**Not here.** Receivers: nothing is refused or retried, connections and their pace do not count, and
no day of a warm-up is unhealthy.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from postalynk.policy.load import Policies, load
from postalynk.policy.moment import Now
from postalynk.policy.pools import Pools
from postalynk.policy.spans import parse_rate
from postalynk.policy.views import MessageView, OrganizationView, RecipientView
from postalynk.routing.draw import number
from postalynk.routing.limits import plans, shapes
from postalynk.routing.native import path_limits
from postalynk.routing.resolve import Resolver, RouteSpec
from postalynk.routing.virtual import HOUR_US, LANES, SECOND_US, VirtualPath, VirtualWarmth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_MINUTE_US = 60 * SECOND_US
# A Monday, midnight UTC: as `postalynk.policy.testing.at` has it.
START = Now(1_767_571_200 * SECOND_US)
SOURCES: Mapping[str, Mapping[str, int]] = {
    name: {name: 1} for name in ("default", "high", "majors")
}
"""The pools every installation has, each with one source of its name."""


class Flow(msgspec.Struct, frozen=True):
    """Messages alike that arrive at a steady rate.

        Flow(Message.fake(provider="google"), "3600/h", orgs=20)
        Flow(Message.fake(priority="bulk"), "50/s", between=("08:00", "18:00"))

    ``rate``: as `Shape` has it, ``3600/h``. ``orgs``: over so many organizations in turn, each with
    an id of its own; every message has an id and a recipient of its own. ``between``: only while
    the clock (UTC) is between. Raises ValueError for anything else.
    """

    message: MessageView
    rate: str
    orgs: int = 1
    between: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if math.isinf(parse_rate(self.rate)[0]):
            raise ValueError(f"Flow rate={self.rate!r}: as many as what?")
        if type(self.orgs) is not int or self.orgs < 1:
            raise ValueError(f"Flow orgs={self.orgs!r}: a whole number, 1 or more")
        if self.between is not None:
            START.between(*self.between)


class PathRates(msgspec.Struct, frozen=True):
    """What one path did: ``simulated.path("mta-1", "google").per_hour[9]``."""

    source: str
    site: str
    org: str
    """The organization whose own path it is; empty: everybody's."""
    limit: str
    """Its rate: ``50/s``, ``unlimited``."""
    per_hour: list[int]
    """Messages sent in each hour."""
    waiting: list[int]
    """Messages that waited on it at the end of each hour."""
    most_per_s: int
    """Most messages in one second of the clock."""
    longest_wait_s: float
    """The longest that one of the sent waited on it, in seconds."""


class Simulation(msgspec.Struct, frozen=True):
    """What came of it; equal for equal arguments: ``simulated.sent + simulated.waiting``."""

    version: str
    """Of the policy."""
    hours: int
    arrived: int
    sent: int
    waiting: int
    """Not sent when time was over: on a path, for a time of day, or for a warm-up's hour."""
    put_off: int
    """How often one was put off to a later hour, by ``not_before`` or by a warm-up."""
    failures: int
    """Decisions the policy failed to take: each worker would have taken the fallback (G4)."""
    pools: dict[str, list[int]]
    """Pool → messages that left by it, in each hour."""
    paths: list[PathRates]
    """By source and site."""

    def path(self, source: str, site: str, org: str = "") -> PathRates:
        """One path; raises KeyError when nothing took it."""
        for found in self.paths:
            if (found.source, found.site, found.org) == (source, site, org):
                return found
        raise KeyError((source, site, org))


def simulate(
    policy: Policies | Path | str,
    traffic: Sequence[Flow],
    hours: int = 24,
    *,
    start: Now = START,
    pools: Mapping[str, Mapping[str, int]] = SOURCES,
    engine_settings: str = "{}",
) -> Simulation:
    """Run a policy over ``hours`` of traffic on a virtual clock; the rates of every path.

        day = simulate("policy/", [Flow(Message.fake(provider="google"), "7200/h")], hours=24)
        assert max(day.path("majors", "google").per_hour) <= 3600

    ``policy``: a directory, or what `load` gave (a test's ``hooks.policies``). ``start``: when it
    begins, left out a Monday at midnight UTC. ``pools``: pool → its sources with their weights.
    ``engine_settings``: the engine's JSON, for limits the policy leaves to it; left out, the limits
    that are built in. Raises PolicyError when the policy cannot be loaded.
    """
    policies = policy if isinstance(policy, Policies) else load(policy)
    run = _Run(policies, start, hours, pools, engine_settings)
    arriving = heapq.merge(
        *(_arrivals(number, flow, start, hours) for number, flow in enumerate(traffic)),
        key=lambda arrival: arrival[0],
    )
    following = next(arriving, None)
    for minute in range(hours * 60):
        end_us = start.at_us + (minute + 1) * _MINUTE_US
        batch = run.due(end_us)
        while following is not None and following[0] < end_us:
            run.arrived += 1
            batch.append(following)
            following = next(arriving, None)
        batch.sort(key=lambda arrival: arrival[0])
        run.route(batch, Now(end_us - _MINUTE_US))
        if (minute + 1) % 60 == 0:
            run.close_hour(end_us)
    return run.result()


_Arrival = tuple[int, MessageView]
"""(when, in microseconds; the delivery)."""


def _arrivals(place: int, flow: Flow, start: Now, hours: int) -> Iterator[_Arrival]:
    every_us = SECOND_US / parse_rate(flow.rate)[0]
    message, domain = flow.message, flow.message.rcpt.domain
    plan, first = message.org.plan, message.org.id
    orgs = [first] if flow.orgs == 1 else [f"{first}_{number}" for number in range(flow.orgs)]
    for count in range(math.ceil(hours * HOUR_US / every_us)):
        at_us = start.at_us + int(count * every_us)
        if flow.between is not None and not Now(at_us).between(*flow.between):
            continue
        rcpt = message.rcpt
        yield (
            at_us,
            msgspec.structs.replace(
                message,
                id=f"{place}-{count}",
                org=OrganizationView(orgs[count % flow.orgs], plan),
                rcpt=RecipientView(f"r{count}@{domain}", domain, rcpt.site, rcpt.provider),
            ),
        )


class _Run:
    """One simulation under way."""

    def __init__(
        self,
        policies: Policies,
        start: Now,
        hours: int,
        pools: Mapping[str, Mapping[str, int]],
        engine_settings: str,
    ) -> None:
        self.resolver = Resolver(policies)
        self.start, self.hours, self.engine_settings = start, hours, engine_settings
        self.members = pools
        self.pools = Pools({name: tuple(sources) for name, sources in pools.items()})
        self.shapers = frozenset(policies.variants("shape"))
        self.warmers: list[str | None] = [None, *policies.variants("warmup")]
        self.warmth = VirtualWarmth()
        self.paths: dict[tuple[str, str, str], VirtualPath] = {}
        self.orders: dict[tuple[str, str], list[str]] = {}
        self.later: list[tuple[int, int, MessageView]] = []
        self.left: dict[str, Counter[int]] = {}
        self.arrived = self.sent = self.put_off = self.failures = 0

    def due(self, until_us: int) -> list[_Arrival]:
        """What was put off until then."""
        found = []
        while self.later and self.later[0][0] < until_us:
            at_us, _, message = heapq.heappop(self.later)
            found.append((at_us, message))
        return found

    def route(self, batch: Sequence[_Arrival], now: Now) -> None:
        """Route one minute's deliveries and let them take their paths."""
        if self.warmth.turn(now.at_us):
            said = plans(self.resolver, self.warmers, self.pools, now, {})
            self.failures += len(said.faults)
            self.warmth.plans = {row[:3]: (row[3], row[4]) for row in said.plans}
        if not batch:
            return
        resolved = self.resolver.resolve([message for _, message in batch], self.pools, now)
        self.failures += len(resolved.faults)
        for (at_us, message), choice in zip(batch, resolved.choice, strict=True):
            self._leave(at_us, message, resolved.routes[choice], now)

    def close_hour(self, end_us: int) -> None:
        """Note what waits at the end of an hour."""
        hour = (end_us - self.start.at_us) // HOUR_US
        for path in self.paths.values():
            self._let_go(path, end_us)
            path.waiting += [0] * (hour - 1 - len(path.waiting)) + [path.backlog]

    def result(self) -> Simulation:
        """All of it."""
        hours = range(self.hours)
        rates = [
            PathRates(
                *key,
                path.limit,
                [path.per_hour[hour] for hour in hours],
                path.waiting,
                path.most_per_s,
                path.longest_us / SECOND_US,
            )
            for key, path in sorted(self.paths.items())
        ]
        return Simulation(
            version=self.resolver.policies.version,
            hours=self.hours,
            arrived=self.arrived,
            sent=self.sent,
            waiting=len(self.later) + sum(path.backlog for path in self.paths.values()),
            put_off=self.put_off,
            failures=self.failures,
            pools={pool: [left[h] for h in hours] for pool, left in sorted(self.left.items())},
            paths=rates,
        )

    def _leave(self, at_us: int, message: MessageView, route: RouteSpec, now: Now) -> None:
        pool, fallback, not_before_us, _, _, _, _, lane, pin = route
        if not_before_us > now.at_us:
            self._put_off(not_before_us, message)
            return
        refused: list[tuple[str, str, str]] = []
        source = self._source(pool, pin, message, refused)
        overflow = self.warmth.plans[refused[0]][1] if refused else ""
        for other in (*([overflow] if overflow else []), *fallback):
            if source is not None:
                break
            pool, source = other, self._source(other, "", message, refused)
        if source is None:
            # No pool has a source: a worker defers it, and here it comes back in an hour.
            later_us = self.warmth.put_off(refused[0]) if refused else now.at_us + HOUR_US
            self._put_off(later_us, message)
            return
        path = self._path(source, message)
        self._let_go(path, at_us)
        path.lanes[LANES.index(lane or message.lane)].append((at_us, pool))

    def _put_off(self, until_us: int, message: MessageView) -> None:
        self.put_off += 1
        heapq.heappush(self.later, (until_us, self.put_off, message))

    def _source(
        self, pool: str, pin: str, message: MessageView, refused: list[tuple[str, str, str]]
    ) -> str | None:
        """The first source of the pool with room, in the order of the organization's draw."""
        order = self.orders.get((pool, message.org.id))
        if order is None:
            members = self.members.get(pool, {})
            weights = {name: weight for name, weight in members.items() if weight > 0}
            order = self.orders[pool, message.org.id] = sorted(
                weights, key=lambda name: _draw(message.org.id, name, weights[name])
            )
        for source in [pin] if pin in order else order:
            key = self.warmth.key(source, message)
            if self.warmth.reserve(key):
                return source
            refused.append(key)
        return None

    def _path(self, source: str, message: MessageView) -> VirtualPath:
        org = message.org.id if message.org.id in self.shapers else ""
        site, provider = message.rcpt.site, message.rcpt.provider
        path = self.paths.get((source, site, org))
        if path is None:
            said = shapes(self.resolver, [(source, site, provider, org)])
            self.failures += len(said.faults)
            limit = said.answers[0][1][0] or path_limits(self.engine_settings, site, provider)[2]
            path = self.paths[source, site, org] = VirtualPath(limit, self.start.at_us)
        return path

    def _let_go(self, path: VirtualPath, until_us: int) -> None:
        for at_us, pool in path.let_go(until_us):
            self.sent += 1
            hour = (at_us - self.start.at_us) // HOUR_US
            self.left.setdefault(pool, Counter())[hour] += 1


def _draw(org: str, source: str, weight: float) -> float:
    """The engine's weighted rendezvous, lowest first; by another hash, so other organizations."""
    uniform = (number(org, source) + 0.5) / 2**64
    return -math.log(uniform) / weight
