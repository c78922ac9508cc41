"""The catalogue of Python-side metrics: name, labels, and when to worry.

One `Metrics` object a process, handed to whoever counts; nothing is global, so a test has its
own. Labels are bounded: no organization, address or message id ever becomes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BATCH_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class QueueDepth(NamedTuple):
    """How much waits in one lane, and since when."""

    lane: str
    records: int
    oldest_age_s: float


class Metrics:
    """Every counter and histogram of the Python side, on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        r = self.registry
        # Flat while traffic is expected: clients cannot reach us or all are refused.
        self.accepted = Counter(
            "postalynk_accepted", "Messages accepted durably", ["lane"], registry=r
        )
        # A rise after a client's deploy is that client's bug; `reason` is the error's name.
        self.rejected = Counter(
            "postalynk_rejected", "Messages refused at accept", ["reason"], registry=r
        )
        self._policy(r)
        # Any: look at `postalynk dlq ls`.
        self.dead_letters = Counter(
            "postalynk_dead_letters", "Records put into email.dlq", ["reason"], registry=r
        )
        # Rises by an operator's hand, or by a rule after a release.
        self.dead_letters_redriven = Counter(
            "postalynk_dead_letters_redriven", "Dead letters put back", ["by"], registry=r
        )
        self.dead_letters_dropped = Counter(
            "postalynk_dead_letters_dropped", "Dead letters given up", registry=r
        )
        # Any: nothing of that partition is sent; `postalynk queue` says why.
        self.halted_partitions = Gauge(
            "postalynk_halted_partitions",
            "Partitions that stand still because their records cannot be processed",
            registry=r,
        )
        # Mostly 1 under load: batching does not work and the CPU cost per message rises.
        self.batch_size = Histogram(
            "postalynk_batch_size",
            "Records, deliveries or outcomes a batch",
            ["step"],
            buckets=BATCH_BUCKETS,
            registry=r,
        )
        # A run of them ends in the fence: nothing is started until a commit succeeds.
        self.commit_failures = Counter(
            "postalynk_commit_failures", "Commits of low-water offsets that failed", registry=r
        )
        # Any: a worker could not commit for a session timeout.
        self.fenced = Counter(
            "postalynk_fenced", "Times a worker stopped starting deliveries", registry=r
        )

    def _policy(self, r: CollectorRegistry) -> None:
        # Any: the fallback route or schedule was taken (G4). Lines are those of the policy's files,
        # so the label is bounded by the policy's length.
        self.policy_errors = Counter(
            "postalynk_policy_errors",
            "Decisions taken by the fallback because the policy failed",
            ["hook", "function", "line"],
            registry=r,
        )
        # While a canary is on trial: compare `deferred`, `bounced` and `failed` to `attempts`.
        self.policy_trial = Counter(
            "postalynk_policy_trial",
            "First attempts since the canary's trial began, by arm and by what became of them",
            ["arm", "what"],
            registry=r,
        )
        # 0 for weeks: nobody tries anything; above 0 for weeks: somebody forgot to promote.
        self.policy_canary_share = Gauge(
            "postalynk_policy_canary_share",
            "Share of the organizations for which a canary decides",
            registry=r,
        )
        # Any: the candidate is worse; `postalynk policy list` says how.
        self.policy_rollbacks = Counter(
            "postalynk_policy_rollbacks", "Canaries taken back automatically", registry=r
        )
        # Any: a hook reads what it is not given; the log names it (PL102).
        self.policy_impure = Counter(
            "postalynk_policy_impure",
            "Decisions that came out differently when asked again",
            ["function"],
            registry=r,
        )

    def watch_queue(self, depths: Callable[[], Iterable[QueueDepth]]) -> None:
        """Ask ``depths`` at every scrape; it must answer fast and from any thread."""
        self.registry.register(_QueueCollector(depths))

    def exposition(self, *others: str) -> bytes:
        """Prometheus text (format 0.0.4) of this registry, then ``others`` (the engine's)."""
        return generate_latest(self.registry) + "".join(others).encode()


class _QueueCollector(Collector):
    def __init__(self, depths: Callable[[], Iterable[QueueDepth]]) -> None:
        self._depths = depths

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield from self._families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        records, age = self._families()
        for depth in self._depths():
            records.add_metric([depth.lane], depth.records)
            age.add_metric([depth.lane], depth.oldest_age_s)
        yield records
        yield age

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
        return (
            # Grows for minutes: the engine cannot keep up, or destinations are down.
            GaugeMetricFamily(
                "postalynk_queue_records", "Records not yet done with", labels=["lane"]
            ),
            # Above the lane's promise: see `postalynk queue`.
            GaugeMetricFamily(
                "postalynk_queue_oldest_age_seconds",
                "Age of the oldest such record",
                labels=["lane"],
            ),
        )
