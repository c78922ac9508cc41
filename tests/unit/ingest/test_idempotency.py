"""One key, one message, one answer: concurrently, with other bodies, and across crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from postalynk.errors import QueueError
from postalynk.ingest import claims
from postalynk.ingest.acceptor import Acceptor
from postalynk.ingest.border import partition_of, partitions_of
from postalynk.ingest.claims import Claim
from postalynk.ingest.idempotency import LIFETIME_US, Idempotency
from postalynk.ingest.receipt import Receipt
from tests.fakes.queue import MemoryQueue
from tests.unit.ingest.service import START_US, Service, message

KEY = {"idempotency_key": "order-42"}


def stored(service: Service, key: str = "order-42") -> Claim | None:
    """The claim on disk."""
    name = claims.key_of(service.own.org, key.encode())
    partition = partition_of(service.own.org, service.queue.partitions)
    value = service.queue.get(claims.TOPIC, partition, [name])[0]
    return None if value is None else claims.decode(value)


async def test_the_same_request_has_the_same_answer(service: Service) -> None:
    first = await service.post(message(), **KEY)
    again = await service.post(message(), **KEY)
    assert first.status_code == again.status_code == 202
    assert first.content == again.content
    assert service.accepted() == 1


async def test_the_key_is_claimed_durably_before_the_message(service: Service) -> None:
    already = len(service.queue.appends)
    await service.post(message(), **KEY)
    topics = [{append[0] for append in appends} for appends in service.queue.appends[already:]]
    assert topics[0] == {claims.TOPIC}
    assert {"email.send.normal", "email.events"} <= topics[1]


@pytest.mark.parametrize("path", ["/emails", "/emails/batch"])
async def test_law_same_answer(service: Service, path: str) -> None:
    """Law `same_answer`: while the first is under way, others wait for it."""
    tree: Any = [message(), message(to="x")] if path == "/emails/batch" else message()
    answers = await asyncio.gather(*(service.post(tree, path, **KEY) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert service.accepted() == 1
    # Also when only the disk remembers.
    service.app = service.build()
    assert (await service.post(tree, path, **KEY)).content == answers[0].content
    assert service.accepted() == 1


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_law_other_body_conflicts(service: Service, *, is_restarted: bool) -> None:
    """Law `other_body_conflicts`: 409, in memory and after a restart; so does another route."""
    await service.post(message(), **KEY)
    if is_restarted:
        service.app = service.build()
    for response in (
        await service.post(message(subject="Other"), **KEY),
        await service.post([message()], "/emails/batch", **KEY),
    ):
        assert response.status_code == 409
        assert response.json()["name"] == "invalid_idempotent_request"
    assert service.accepted() == 1


async def test_a_refused_request_claims_nothing(service: Service) -> None:
    assert (await service.post(message(to="x"), **KEY)).status_code == 422
    assert stored(service) is None
    assert (await service.post(message(), **KEY)).status_code == 202


async def test_a_request_that_would_be_refused_today_still_has_its_answer(
    service: Service,
) -> None:
    tree = message(expires_at="2030-03-18T00:00:00Z")
    first = await service.post(tree, **KEY)
    service.clock.now_us += 12 * 3600 * 1_000_000
    service.app = service.build()
    assert (await service.post(tree)).status_code == 422
    assert (await service.post(tree, **KEY)).content == first.content


async def test_a_key_is_free_again_after_a_day(service: Service) -> None:
    first = await service.post(message(), **KEY)
    service.clock.now_us += LIFETIME_US - 1
    assert (await service.post(message(), **KEY)).content == first.content
    service.clock.now_us += 1
    second = await service.post(message(subject="Other"), **KEY)
    assert second.status_code == 202
    assert second.content != first.content


@pytest.mark.parametrize("is_durable", [False, True])
async def test_what_was_unknown_is_settled_by_the_log(
    service: Service, *, is_durable: bool
) -> None:
    """The append of the message fails, stored or not: the retry finds out, under the same id."""

    def fail(appends: Sequence[Any]) -> None:
        if any(append[0].startswith("email.send") for append in appends):
            raise QueueError("the disk went away")

    if is_durable:
        service.queue.after = fail
    else:
        service.queue.before = fail
    assert (await service.post(message(), **KEY)).status_code == 503
    claim = stored(service)
    assert claim is not None
    assert not claim.is_done
    service.queue.before = service.queue.after = lambda _: None
    response = await service.post(message(), **KEY)
    assert response.content == claim.receipt.answer().body
    assert service.accepted() == 1


@pytest.mark.parametrize("stored_topics", ["email.send", "email.events"])
async def test_what_is_stored_in_part_is_completed(service: Service, stored_topics: str) -> None:
    """A cluster stored the record and not its event, or the event and not its record: each is in
    the log once after the retry. The first would be sent twice, the second never.
    """
    own = service.queue.append

    def stores_a_part(appends: Sequence[Any]) -> list[int]:
        own([append for append in appends if append[0].startswith(stored_topics)])
        raise QueueError("whether the records were stored is unknown")

    def fails_with_messages(appends: Sequence[Any]) -> list[int]:
        is_message = any(append[0].startswith("email.send") for append in appends)
        return stores_a_part(appends) if is_message else own(appends)

    service.queue.append = fails_with_messages  # type: ignore[method-assign]
    assert (await service.post(message(), **KEY)).status_code == 503
    service.queue.append = own  # type: ignore[method-assign]
    assert (await service.post(message(), **KEY)).status_code == 202
    for topic in ("email.send.normal", "email.events"):
        assert sum(end for _, end in service.queue.offsets(topic)) == 1, topic


async def test_a_repetition_accepts_by_the_salt_of_its_claim(service: Service) -> None:
    """What was unknown is found, and what is missing goes where it would have gone, though the
    organization has been spread otherwise meanwhile.
    """
    org = service.own.org

    def fail(appends: Sequence[Any]) -> None:
        if any(append[0].startswith("email.send") for append in appends):
            raise QueueError("the disk went away")

    def places() -> set[int]:
        return {
            partition
            for partition, (_, end) in enumerate(service.queue.offsets("email.send.normal"))
            if end
        }

    mail = [message(to=f"r{n}@rcpt.example") for n in range(40)]
    service.control.update_organization(org, salt=4)
    service.queue.after = fail
    assert (await service.post(mail, "/emails/batch", idempotency_key="a")).status_code == 503
    service.queue.after, service.queue.before = lambda _: None, fail
    assert (await service.post(mail, "/emails/batch", idempotency_key="b")).status_code == 503
    service.queue.before = lambda _: None
    assert places() == set(partitions_of(org, service.queue.partitions, 4))
    service.control.update_organization(org, salt=1)
    assert (await service.post(mail, "/emails/batch", idempotency_key="a")).status_code == 202
    assert service.accepted() == 40
    assert (await service.post(mail, "/emails/batch", idempotency_key="b")).status_code == 202
    assert service.accepted() == 80
    assert places() == set(partitions_of(org, service.queue.partitions, 4))


async def test_the_mark_follows_and_spares_the_search(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.post(message(), **KEY)
    await service.post(message())
    claim = stored(service)
    assert claim is not None
    assert claim.is_done
    service.app = service.build()
    monkeypatch.setattr(claims, "stored_of", None)
    assert (await service.post(message(), **KEY)).status_code == 202


def test_nothing_a_caller_chose_is_on_disk_and_values_are_versioned() -> None:
    claim = Claim(b"r" * 32, START_US, Receipt(b"i" * 32, {1: b'{"message":"x"}'}, is_batch=True))
    raw = claims.encode(claim)
    assert raw[0] == claims.VERSION
    assert claims.decode(raw) == claim
    with pytest.raises(ValueError, match="version 02"):
        claims.decode(b"\x02" + raw[1:])
    assert b"order" not in claims.key_of("org_a", b"order-42")
    assert claims.key_of("org_a", b"b") != claims.key_of("org_", b"ab")


async def test_the_sweep_removes_what_has_expired_and_nothing_else() -> None:
    service = Service()
    idempotency = _idempotency(service)
    for n in range(5):
        await service.post(message(), idempotency_key=f"old-{n}")
    service.clock.now_us += LIFETIME_US
    await service.post(message(), idempotency_key="new")
    gone = 0
    for _ in range(service.queue.partitions):
        gone += await idempotency.sweep()
    await idempotency._acceptor.close()
    assert gone == 5
    assert stored(service, "old-0") is None
    assert stored(service, "new") is not None


def _idempotency(service: Service) -> Idempotency:
    return Idempotency(service.queue, Acceptor(service.queue, service.metrics), service.clock)


class Disk:
    """Dies around a chosen append; dead until `repair`."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._left: int | None = None
        self._is_before = True
        self._is_dead = False
        queue.before = self._before
        queue.after = self._after

    def arm(self, appends: int, *, is_before: bool) -> None:
        self._left, self._is_before = appends, is_before

    def repair(self) -> None:
        self._left, self._is_dead = None, False

    def _before(self, _: Sequence[Any]) -> None:
        if self._left == 0 and self._is_before:
            self._is_dead = True
        if self._is_dead:
            raise QueueError("dead")

    def _after(self, _: Sequence[Any]) -> None:
        if self._left == 0:
            self._is_dead = True
            raise QueueError("dead")
        if self._left is not None:
            self._left -= 1


KEYS = st.sampled_from(["a", "b", "c"])


class OneKeyOneMessage(RuleBasedStateMachine):
    """Law `one_key_one_message`, under concurrency, conflicts, crashes and expiry."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.service = Service()
        self.disk = Disk(self.service.queue)
        self.day = 0
        self.first: dict[str, bytes] = {}
        self.bodies: dict[str, int] = {}

    def teardown(self) -> None:
        self.restart()
        for key, body in self.bodies.items():
            # Every key that was ever tried can be brought to its end, and ends with one message.
            self.note(key, body, self.send([(key, body)]))
            assert self.copies(key) == [1] * len(self.entries(key, body))
        self.runner.close()

    def entries(self, key: str, body: int) -> list[dict[str, Any]]:
        """The messages of a request: one, or two in a batch; the mark names key, day and entry."""
        return [message(subject=f"{body}", text=f"<{key}.{self.day}.{n}>") for n in range(1 + body)]

    def copies(self, key: str) -> list[int]:
        """How often each entry of today's request under the key is in the log."""
        log = self.service.queue.messages()
        marks = [f"<{key}.{self.day}.{n}>".encode() for n in range(3)]
        return [c for c in (sum(mark in record for record in log) for mark in marks) if c]

    def send(self, requests: list[tuple[str, int]]) -> list[httpx.Response]:
        async def all_at_once() -> list[httpx.Response]:
            return await asyncio.gather(*(self.post(key, body) for key, body in requests))

        return self.runner.run(all_at_once())

    async def post(self, key: str, body: int) -> httpx.Response:
        entries = self.entries(key, body)
        tree: Any = entries if body else entries[0]
        path = "/emails/batch" if body else "/emails"
        return await self.service.post(tree, path, idempotency_key=key)

    def note(self, key: str, body: int, answers: list[httpx.Response]) -> None:
        for answer in answers:
            assert answer.status_code in {202, 409, 503}, answer.text
            if answer.status_code == 202:
                assert self.first.setdefault(key, answer.content) == answer.content
                assert self.bodies.setdefault(key, body) == body

    @rule(key=KEYS, body=st.integers(0, 1), times=st.integers(1, 4))
    def same_request(self, key: str, body: int, times: int) -> None:
        self.note(key, body, self.send([(key, body)] * times))

    @rule(key=KEYS)
    def two_bodies_at_once(self, key: str) -> None:
        answers = self.send([(key, 0), (key, 1)])
        assert [a.status_code for a in answers].count(202) <= 1
        for body, answer in enumerate(answers):
            self.note(key, body, [answer])

    @rule(keys=st.lists(KEYS, min_size=2, max_size=6))
    def many_keys_at_once(self, keys: list[str]) -> None:
        for key, answer in zip(keys, self.send([(key, 0) for key in keys]), strict=True):
            self.note(key, 0, [answer])

    # Drawn whatever the state: which request meets a crash is a matter of threads, and hypothesis
    # must be able to draw the same again.
    @rule(key=KEYS)
    def other_body(self, key: str) -> None:
        if key not in self.first:
            return
        (answer,) = self.send([(key, 1 - self.bodies[key])])
        assert answer.status_code in {409, 503}

    @rule(appends=st.integers(0, 3), is_before=st.booleans())
    def crash_soon(self, appends: int, *, is_before: bool) -> None:
        self.disk.arm(appends, is_before=is_before)

    @rule()
    def restart(self) -> None:
        self.service.app = self.service.build()
        self.disk.repair()

    @rule()
    def a_disk_that_comes_back(self) -> None:
        self.disk.repair()

    @rule()
    def expire(self) -> None:
        self.service.clock.now_us += LIFETIME_US
        self.day += 1
        self.first.clear()
        self.bodies.clear()

    @invariant()
    def law(self) -> None:
        for key in "abc":
            assert all(count == 1 for count in self.copies(key)), key


def test_law_one_key_one_message() -> None:
    """Law `one_key_one_message`: see the machine."""
    run_state_machine_as_test(
        OneKeyOneMessage, settings=settings(max_examples=25, stateful_step_count=25, deadline=None)
    )
