"""What the API counts. Labels are bounded: never an organization, an address or an id."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Metrics:
    """Counters of one process, in the registry given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.accepted = Counter(
            "postalynk_accepted_messages",
            "Messages whose append is durable.",
            registry=registry,
        )
        self.rejected = Counter(
            "postalynk_rejected_requests",
            "Requests refused, by the name in the answer; worry when service_unavailable moves.",
            ("reason",),
            registry=registry,
        )
        self.rejected_entries = Counter(
            "postalynk_rejected_batch_entries",
            "Entries refused in batches of which other entries were accepted.",
            registry=registry,
        )
        self.replayed = Counter(
            "postalynk_replayed_requests",
            "Requests answered from their idempotency key instead of being accepted again.",
            registry=registry,
        )
        self.batch_size = Histogram(
            "postalynk_accept_batch_messages",
            "Messages in one durable append; grows with load, since appends wait for each other.",
            buckets=SIZES,
            registry=registry,
        )
        self.append_seconds = Histogram(
            "postalynk_accept_append_seconds",
            "Encoding and making durable one batch; worry above 0.1: the disk is slow to sync.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
            registry=registry,
        )
