"""Where partitions end, asked of brokers some of which have just changed their parts."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from postalynk.errors import QueueError
from postalynk.queue.kafka.cluster import NEWEST, ends

PLACE = TopicPartition("t", 0, -1)


class FakeAdmin:
    """Answers one question after the other as told; repeats the last answer."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.renewed = 0

    def list_offsets(self, places: dict[TopicPartition, Any], **_: Any) -> dict[Any, Future[Any]]:
        """As `AdminClient` has it."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        future: Future[Any] = Future()
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(SimpleNamespace(offset=answer))
        return dict.fromkeys(places, future)

    def list_topics(self, **_: Any) -> None:
        """Renews what a client knows of leaders."""
        self.renewed += 1


def refusal(code: int) -> KafkaException:
    """What a broker answers."""
    return KafkaException(KafkaError(code))


def asked(admin: FakeAdmin, spec: Any = NEWEST, patience_s: float = 5.0) -> list[int]:
    """The answer for one partition."""
    return ends(admin, [PLACE], spec, patience_s)  # type: ignore[arg-type]


def test_a_client_with_an_old_idea_of_the_leader_gets_a_new_one() -> None:
    admin = FakeAdmin(refusal(KafkaError.FENCED_LEADER_EPOCH), 7)
    assert asked(admin) == [7]
    assert admin.renewed == 1


def test_a_try_that_no_broker_answers_is_tried_again() -> None:
    assert asked(FakeAdmin(refusal(KafkaError._TIMED_OUT), TimeoutError(), 7)) == [7]


def test_no_offset_is_no_answer() -> None:
    assert asked(FakeAdmin(-1, 7)) == [7]


def test_no_record_after_a_time_is_an_answer() -> None:
    spec = OffsetSpec.for_timestamp(1)
    assert asked(FakeAdmin(-1, 7), spec) == [-1]


@pytest.mark.parametrize("answer", [-1, refusal(KafkaError.FENCED_LEADER_EPOCH)])
def test_it_is_not_asked_for_ever(answer: Any) -> None:
    with pytest.raises(QueueError, match="the offsets cannot be read"):
        asked(FakeAdmin(answer), patience_s=0.0)


def test_what_asking_again_does_not_mend_is_raised_at_once() -> None:
    admin = FakeAdmin(refusal(KafkaError.TOPIC_AUTHORIZATION_FAILED), 7)
    with pytest.raises(QueueError):
        asked(admin)
