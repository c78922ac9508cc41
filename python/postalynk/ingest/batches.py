"""The fast pass of SMTP in: a batch judged, appended and answered with a few calls of the engine.

**Problem.** Judged one by one in Python, a message costs as much as ten in the engine.
**Model.** The engine judges what is plainly in order (`SubmissionBatch.judge`) by rules taken from
the directory's snapshot; one append makes it durable, one call answers it. Whatever is not plain,
has an idempotency key, or is to be shown to a policy's `accept`, is handed back, for the pass that
knows every case and every refusal.
**Invariants.** 250 only after the append is durable (G1). Rules are never older than the batch: a
revoked key ends its sessions with their next message.
**Law.** What passes here would pass there, and gives the same records:
``tests/property/test_submission_passes_agree.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.ingest.border import SubmissionRules

if TYPE_CHECKING:
    from postalynk.control.directory import Snapshot
    from postalynk.ingest.border import JudgedSubmissions, SubmissionBatch
    from postalynk.ingest.intake import IntakeParts


class FastPass:
    """Judges batches by the newest snapshot; belongs to one thread."""

    def __init__(self, parts: IntakeParts, host: str) -> None:
        """``host``: this server's name in Received."""
        self._parts = parts
        self._host = host
        self._seen: tuple[Snapshot, int] | None = None
        self._rules: SubmissionRules | None = None

    def judge(self, batch: SubmissionBatch) -> JudgedSubmissions:
        """What is in order, and what is to be judged one by one."""
        judge = self._parts.judge
        apart: set[str] = set()
        if judge is not None:
            apart = {org for org in batch.orgs if judge.is_asked(org)}
        return batch.judge(self._newest(), self._parts.clock(), apart)

    def keep(self, judged: JudgedSubmissions) -> bool:
        """Make what is in order durable; False: that is unknown."""
        if not (lanes := judged.lanes):
            return True
        is_durable = self._parts.acceptor.append_encoded(judged.appends, lanes)
        if is_durable:
            self._parts.recent.add_encoded(judged.accepted)
        return is_durable

    def _newest(self) -> SubmissionRules:
        snapshot, partitions = self._parts.directory.snapshot, self._parts.acceptor.partitions
        seen = self._seen
        if self._rules is None or seen is None or seen[0] is not snapshot or seen[1] != partitions:
            self._rules = rules_of(
                snapshot,
                host=self._host,
                partitions=partitions,
                is_signing=self._parts.is_signing,
            )
            self._seen = (snapshot, partitions)
        return self._rules


def rules_of(
    snapshot: Snapshot, *, host: str, partitions: int, is_signing: bool
) -> SubmissionRules:
    """What the engine judges by; ``is_signing`` False: no domain signs."""
    return SubmissionRules(
        organizations=[(o.id, o.plan, o.in_doubt, o.salt) for o in snapshot.organizations.values()],
        keys={key.prefix for key in snapshot.api_keys.values() if not key.revoked_at_us},
        domains=[
            (domain.name, domain.org, is_signing and bool(domain.keys))
            for domain in snapshot.domains.values()
        ],
        host=host,
        partitions=partitions,
    )
