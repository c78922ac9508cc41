"""A candidate that loops costs its author an answer, and nobody else anything."""

import threading

import pytest

from postalynk.errors import ControlError
from postalynk.service.candidate import limited


def loop() -> None:
    while True:
        pass


def test_a_loop_is_interrupted() -> None:
    before = threading.active_count()
    with limited(floor_s=0.2) as limit:
        assert limit.run(1, lambda: 7) == 7
        with pytest.raises(ControlError, match="over its time budget"):
            limit.run(1, loop)
        assert limit.run(1, lambda: 8) == 8, "the next piece of work has its own time"
    assert threading.active_count() == before, "the watchdog ends with the work"


def test_errors_pass_through() -> None:
    with limited() as limit, pytest.raises(ZeroDivisionError):
        limit.run(1, lambda: 1 / 0)
