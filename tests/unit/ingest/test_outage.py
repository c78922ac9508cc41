"""A queue that does not answer is told of once in a while, not once a request."""

from __future__ import annotations

from structlog.testing import capture_logs

from postalynk.errors import QueueError
from postalynk.ingest.outage import TELL_EVERY_S, Outage
from tests.unit.ingest.service import Service, message


def test_one_line_at_once_then_one_in_a_while_and_the_end() -> None:
    now_s = 100.0
    outage = Outage(lambda: now_s)
    with capture_logs() as lines:
        outage.over()
        for _ in range(50):
            outage.failed(QueueError("no broker"))
        assert len(lines) == 1
        now_s += TELL_EVERY_S
        outage.failed(QueueError("no broker"))
        outage.over()
        outage.over()
    assert [line["log_level"] for line in lines] == ["error", "error", "info"]
    assert [line["failures"] for line in lines] == [1, 51, 51]
    assert lines[0]["error.message"] == "no broker"
    assert lines[2]["for_s"] == TELL_EVERY_S


def test_a_second_outage_is_told_at_once() -> None:
    outage = Outage(lambda: 0.0)
    with capture_logs() as lines:
        for _ in range(2):
            outage.failed(QueueError("no broker"))
            outage.over()
    assert [line["log_level"] for line in lines] == ["error", "info", "error", "info"]


async def test_refused_requests_leave_no_traces(service: Service) -> None:
    def fail(_: object) -> None:
        raise QueueError("no broker")

    service.queue.before = fail
    with capture_logs() as lines:
        for number in range(5):
            assert (await service.post(message(), idempotency_key=f"k{number}")).status_code == 503
            assert (await service.post(message())).status_code == 503
        service.queue.before = lambda _: None
        assert (await service.post(message())).status_code == 202
    assert [line["log_level"] for line in lines] == ["error", "info"]
    assert not any(line.get("exc_info") for line in lines)
