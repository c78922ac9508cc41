"""The watchdog: an interruption arrives inside `Budget.run` or not at all."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from postalynk.routing import Interrupted
from postalynk.routing.budget import GRACE_S, Budget


@pytest.fixture
def watched() -> Iterator[Callable[[float], Budget]]:
    budgets: list[Budget] = []
    closing = threading.Event()

    def watch() -> None:
        while not closing.wait(0.002):
            for budget in budgets:
                budget.check(time.monotonic())

    thread = threading.Thread(target=watch)
    thread.start()

    def make(floor_s: float) -> Budget:
        budgets.append(Budget(0, floor_s))
        return budgets[-1]

    yield make
    closing.set()
    thread.join()


def test_what_is_quick_is_answered(watched: Callable[[float], Budget]) -> None:
    assert watched(5).run(1, lambda: 7) == 7


def test_an_exception_of_the_work_goes_through(watched: Callable[[float], Budget]) -> None:
    with pytest.raises(ZeroDivisionError):
        watched(5).run(1, lambda: 1 / 0)


def test_a_loop_is_interrupted_and_the_next_run_is_not(watched: Callable[[float], Budget]) -> None:
    budget = watched(0.05)

    def loop() -> None:
        while True:
            pass

    for _ in range(3):
        assert isinstance(budget.run(1, loop), Interrupted)
        assert budget.run(1, lambda: 7) == 7


def test_a_loop_that_swallows_exceptions_is_interrupted(watched: Callable[[float], Budget]) -> None:
    def stubborn() -> None:
        while True:
            try:
                while True:
                    pass
            except Exception:  # noqa: BLE001  what is tested
                continue

    assert isinstance(watched(0.05).run(1, stubborn), Interrupted)


def test_one_that_swallows_the_interruption_and_returns_has_no_answer(
    watched: Callable[[float], Budget],
) -> None:
    def swallow() -> int:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001  what is tested
            return 7

    assert isinstance(watched(0.05).run(1, swallow), Interrupted)


def test_law_inside(watched: Callable[[float], Budget]) -> None:
    """Law `inside`: with work that ends just as its time does, nothing ever leaks out of `run`."""
    budget = watched(0.003)
    interrupted = 0
    for number in range(400):
        work_s = 0.002 + number % 20 / 5_000
        until = time.perf_counter() + work_s

        def work(until: float = until) -> int:
            while time.perf_counter() < until:
                pass
            return 7

        answer = budget.run(1, work)
        interrupted += isinstance(answer, Interrupted)
        # Bytecode in which a late exception would show.
        sum(range(2_000))
    assert interrupted > 0


def test_one_that_cannot_be_interrupted_is_reported() -> None:
    budget = Budget(0, 0.01)
    begun, hold = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        hold.wait()

    thread = threading.Thread(target=lambda: budget.run(1, stuck))
    thread.start()
    assert begun.wait(60)
    now = time.monotonic() + 0.05
    assert not budget.check(now)
    assert not budget.check(now + GRACE_S)
    assert budget.check(now + GRACE_S + 0.1)
    hold.set()
    thread.join(60)
    assert not budget.check(now + GRACE_S + 0.2)
