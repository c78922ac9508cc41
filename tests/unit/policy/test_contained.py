"""Files, sockets, programs and waiting are refused while a hook runs, and only there and then."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from postalynk.policy.contained import ForbiddenInHook, contained
from postalynk.routing import Interrupted
from postalynk.routing.budget import Budget

MIB = 1 << 20


@pytest.mark.parametrize(
    ("event", "act"),
    [
        ("open", lambda: Path(__file__).read_text()),
        ("os.listdir", lambda: os.listdir("/")),  # noqa: PTH208
        ("socket.__new__", socket.socket),
        ("socket.getaddrinfo", lambda: socket.getaddrinfo("localhost", 25)),
        ("subprocess.Popen", lambda: subprocess.run(["true"], check=True)),
        ("os.system", lambda: os.system("true")),
        # Announced since CPython 3.13; before, the time budget ends a sleep.
        *([("time.sleep", lambda: time.sleep(0))] if sys.version_info >= (3, 13) else []),
    ],
)
def test_what_reaches_out_is_refused(event: str, act: Callable[[], object]) -> None:
    with contained(), pytest.raises(ForbiddenInHook) as raised:
        act()
    assert str(raised.value).startswith(f"{event} in a hook")
    act()


def test_a_module_that_is_loaded_late_is_none_of_it() -> None:
    sys.modules.pop("colorsys", None)
    with contained():
        import colorsys  # noqa: PLC0415
    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_another_thread_may() -> None:
    read = threading.Event()
    begin = threading.Event()

    def other() -> None:
        begin.wait()
        Path(__file__).read_text()
        read.set()

    thread = threading.Thread(target=other)
    thread.start()
    with contained():
        begin.set()
        assert read.wait(30)
    thread.join()


def test_a_budget_contains_its_hooks_and_not_what_loads() -> None:
    budget = Budget(1)
    with pytest.raises(ForbiddenInHook):
        budget.run(1, Path(__file__).read_text)
    assert budget.run(1, Path(__file__).read_text, is_loading=True)
    assert Path(__file__).read_text()


def keeps(blocks: int, make: Callable[[], object]) -> Callable[[], int]:
    return lambda: len([make() for _ in range(blocks)])


@pytest.mark.parametrize(
    "work",
    [
        lambda: len(bytearray(1 << 30)),
        keeps(1_000, lambda: bytearray(MIB)),
        keeps(100_000_000, lambda: [None]),
        lambda: len("x" * (1 << 30)),
        lambda: len(list(range(1 << 28))),
        lambda: len({number: str(number) for number in range(1 << 26)}),
    ],
    ids=["one block", "many blocks", "small objects", "a string", "a list", "a dict"],
)
def test_more_memory_than_the_limit_is_a_memory_error(work: Callable[[], int]) -> None:
    with pytest.raises(MemoryError):
        Budget(100, memory_bytes=64 * MIB).run(1, work)


def test_what_is_given_back_may_be_taken_again() -> None:
    def often() -> int:
        return sum(len(bytearray(16 * MIB)) for _ in range(50))

    assert Budget(100, memory_bytes=64 * MIB).run(1, often) == 50 * 16 * MIB
    assert Budget(100, memory_bytes=0).run(1, lambda: len(bytearray(300 * MIB))) == 300 * MIB


def test_the_limit_is_over_with_the_run_and_holds_for_one_thread() -> None:
    budget = Budget(100, memory_bytes=8 * MIB)
    inside, outside = threading.Event(), threading.Event()
    sizes: list[int] = []

    def other() -> None:
        inside.wait()
        sizes.append(len(bytearray(32 * MIB)))
        outside.set()

    thread = threading.Thread(target=other)
    thread.start()

    def work() -> bool:
        inside.set()
        return outside.wait(30)

    answer = budget.run(1, work)
    assert answer is True
    assert not isinstance(answer, Interrupted)
    thread.join()
    assert sizes == [32 * MIB]
    assert len(bytearray(32 * MIB)) == 32 * MIB
