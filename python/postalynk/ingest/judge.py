"""The policy's `accept`: asked about every valid message before it becomes durable.

**Problem.** A hook is the operator's code and may loop; what takes requests must not.
**Model.** Without the hook nothing happens here. With it each request is judged in one of a few
threads, within its time budget. A hook that raises, answers nonsense or is over its budget accepts,
and is counted (G4): a policy bug refuses nobody's mail. Whoever's hook was over the budget is not
asked again for `PAUSE_S`, so that one organization's loop leaves the threads to the others (G6).
While a canary is on trial its `accept` is asked about its organizations, and its failures count
against it.
**Invariants.** Every message is judged at most once, and never after it is durable.
**Not here.** What a refusal looks like on the wire: `intake` and `submission`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from postalynk.ingest.answers import Answer, refusal
from postalynk.ingest.idempotency import Prepared
from postalynk.ingest.receipt import Receipt
from postalynk.observability import get_logger
from postalynk.policy import Accept, Now, Reject
from postalynk.policy.views import IncomingView, OrganizationView
from postalynk.routing import Interrupted, policies_for
from postalynk.routing.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postalynk.model import AcceptedMessage
    from postalynk.observability import Metrics
    from postalynk.policy import Hook, Policies, Verdict

log = get_logger(__name__)

REASON = "rejected_by_policy"
THREADS = 4
# A slow page fault or another thread's turn at the GIL is no loop.
BUDGET_S = 0.25
PAUSE_S = 10.0
WATCH_EVERY_S = 0.05
# Organizations remembered; beyond it each is asked once more.
MOST_PAUSED = 10_000


class Asked(NamedTuple):
    """The hook that judges a request, and the version it belongs to."""

    policies: Policies
    hook: Hook


class Refusal(NamedTuple):
    """The message at this place of a request is refused."""

    at: int
    verdict: Reject


def answer_of(verdict: Reject) -> Answer:
    """A refusal over HTTP (403, or 429 when it may be tried again), and its SMTP reply."""
    status = 403 if verdict.is_final else 429
    reply = f"{verdict.code} {verdict.enhanced} {verdict.why}"
    return refusal(status, REASON, verdict.why)._replace(reply=reply)


def incoming(message: AcceptedMessage, channel: str) -> IncomingView:
    """A message as `accept` sees it."""
    composed = len(message.text.encode()) + len(message.html.encode())
    composed += sum(len(attachment.content) for attachment in message.attachments)
    composed += message.template.size_bytes if message.template else 0
    composed += len(message.calendar.object.encode()) if message.calendar else 0
    sender = message.from_.address or message.reverse_path
    return IncomingView(
        org=OrganizationView(message.org, message.plan),
        priority=message.lane,
        tags=dict(message.tags),
        template=message.template.id if message.template else "",
        sender=sender,
        sender_domain=sender.rpartition("@")[2],
        recipients=tuple(message.recipients),
        domains=tuple(sorted({address.rpartition("@")[2] for address in message.recipients})),
        subject=message.subject,
        attachments=len(message.attachments),
        size_bytes=len(message.raw) or composed,
        channel=channel,
    )


class Judge:
    """Asks `accept`; belongs to one event loop."""

    def __init__(
        self,
        policies: Callable[[], Policies],
        metrics: Metrics,
        clock: Callable[[], int],
        faults: Counter[str] | None = None,
    ) -> None:
        """``policies`` gives those in force; ``clock`` microseconds since the Unix epoch.

        ``faults``: where failures are counted by version, for the trial of a canary.
        """
        self._policies = policies
        self._metrics = metrics
        self._faults: Counter[str] = Counter() if faults is None else faults
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="accept")
        self._own = threading.local()
        self._budgets: list[Budget] = []
        self._paused: dict[tuple[str, str], float] = {}
        self._closing = threading.Event()
        self._watch: threading.Thread | None = None

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        self._threads.shutdown(wait=False)
        if self._watch is not None:
            self._watch.join()

    def is_asked(self, org: str) -> bool:
        """Whether there is a hook for this organization; from any thread."""
        return policies_for(self._policies(), org).hook("accept", org) is not None

    def asked(self, org: str) -> Asked | None:
        """What to ask about a message of this organization, if there is a hook to ask now."""
        policies = policies_for(self._policies(), org)
        hook = policies.hook("accept", org)
        if hook is None:
            return None
        asked = Asked(policies, hook)
        until_s = self._paused.get((policies.version, org), 0.0)
        if time.monotonic() < until_s:
            reason = "the accept hook is paused: it was over its time budget"
            self._count(asked, hook.place, reason)
            return None
        return asked

    async def judged(
        self, prepared: Prepared, channel: str, *, is_strict: bool = True
    ) -> Prepared | Answer:
        """What is left of a request, or the refusal of all of it.

        ``is_strict``: one refused message refuses the whole request.
        """
        receipt, messages = prepared
        found = await self.refusals(messages, channel)
        if not found:
            return prepared
        if is_strict or len(found) == len(messages):
            self._metrics.rejected.labels(REASON).inc(len(found) - 1)
            return answer_of(found[0].verdict)
        refused = {messages[place.at].id: place.verdict for place in found}
        errors = dict(receipt.errors)
        for at, message_id in enumerate(receipt.message_ids()):
            if (verdict := refused.get(message_id)) is not None:
                errors[at] = answer_of(verdict).body
        left = [message for message in messages if message.id not in refused]
        return Prepared(Receipt(receipt.ids, errors, receipt.is_batch), left)

    async def refusals(self, messages: Sequence[AcceptedMessage], channel: str) -> list[Refusal]:
        """Which messages of one request, all of one organization, the policy refuses."""
        asked = self.asked(messages[0].org) if messages else None
        if asked is None:
            return []
        if self._watch is None:
            self._watch = threading.Thread(target=self._watching, name="accept-watch", daemon=True)
            self._watch.start()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._judge, asked, messages, channel)

    def _judge(
        self, asked: Asked, messages: Sequence[AcceptedMessage], channel: str
    ) -> list[Refusal]:
        now = Now(self._clock())
        views = [incoming(message, channel) for message in messages]
        verdicts: list[Verdict] = []

        def ask() -> None:
            # One by one: those that were judged before an interruption stay judged.
            verdicts.extend(self._ask(asked, view, now) for view in views)

        interrupted = self._budget().run(len(views), ask)
        if isinstance(interrupted, Interrupted):
            policies = asked.policies
            if len(self._paused) >= MOST_PAUSED:
                self._paused.clear()
            self._paused[policies.version, messages[0].org] = time.monotonic() + PAUSE_S
            place = policies.place_of(interrupted, asked.hook.place)
            self._count(asked, place, f"policy over its time budget at {place}")
        judged = enumerate(verdicts)
        return [Refusal(index, found) for index, found in judged if isinstance(found, Reject)]

    def _ask(self, asked: Asked, view: IncomingView, now: Now) -> Verdict:
        hook = asked.hook
        try:
            answer = hook.function(view, now)
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001  a policy may raise anything (G4)
            place = asked.policies.place_of(error, hook.place)
            self._count(asked, place, f"policy raised {type(error).__name__} at {place}")
            return Accept()
        if not isinstance(answer, Accept | Reject):
            what = f"policy answered {type(answer).__name__}, not an Accept or a Reject"
            self._count(asked, hook.place, f"{what}, at {hook.place}")
            return Accept()
        return answer

    def _budget(self) -> Budget:
        budget: Budget | None = getattr(self._own, "budget", None)
        if budget is None:
            budget = self._own.budget = Budget(BUDGET_S / 10, floor_s=BUDGET_S)
            self._budgets.append(budget)
        return budget

    def _watching(self) -> None:
        while not self._closing.wait(WATCH_EVERY_S):
            now_s = time.monotonic()
            for budget in self._budgets:
                # One that cannot be interrupted costs its thread; the others go on.
                budget.check(now_s)

    def _count(self, asked: Asked, place: str, reason: str) -> None:
        labels = {"hook": "accept", "function": asked.hook.name, "line": place}
        self._metrics.policy_errors.labels(**labels).inc()
        self._faults[asked.policies.version] += 1
        log.error(reason, function=asked.hook.name, version=asked.policies.version)
