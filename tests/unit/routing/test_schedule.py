"""When a failed delivery is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from postalynk.policy import Retry
from postalynk.routing import Failed, due_at

S = 1_000_000
START = 1_700_000_000 * S


def _schedules(*, is_rising: bool = False) -> st.SearchStrategy[list[int]]:
    delays = st.lists(st.integers(1, 20_000), min_size=1, max_size=6)
    return delays.map(sorted) if is_rising else delays


def _retry(delays_s: list[int], max_age: str = "3d", jitter: float = 0.2) -> Retry:
    return Retry(", ".join(f"{delay}s" for delay in delays_s), max_age=max_age, jitter=jitter)


@given(
    delays_s=_schedules(),
    attempt=st.integers(1, 50),
    jitter=st.floats(0, 0.99),
    key=st.text(),
    age_s=st.integers(0, 100_000),
)
def test_law_jitter_bounds(
    delays_s: list[int], attempt: int, jitter: float, key: str, age_s: int
) -> None:
    """Law `jitter_bounds`: short of the deadline, within ``jitter`` of the schedule's delay."""
    now_us = START + age_s * S
    due = due_at(Failed(key, attempt, START, 0), now_us, _retry(delays_s, jitter=jitter))
    assert due is not None
    delay_us = delays_s[min(attempt, len(delays_s)) - 1] * S
    assert delay_us * (1 - jitter) - 1 <= due - now_us <= delay_us * (1 + jitter) + 1


@given(delays_s=_schedules(is_rising=True), attempt=st.integers(1, 20))
def test_law_monotone(delays_s: list[int], attempt: int) -> None:
    """Law `monotone`: without jitter, a schedule that never shortens gives delays that never do."""
    retry = _retry(delays_s, max_age="1w", jitter=0)
    one = due_at(Failed("k", attempt, START, 0), START, retry)
    next_one = due_at(Failed("k", attempt + 1, START, 0), START, retry)
    assert one is not None
    assert next_one is not None
    assert one <= next_one


@given(
    delays_s=st.lists(st.integers(600, 50_000), min_size=1, max_size=5),
    max_age_h=st.integers(1, 100),
    expires_h=st.none() | st.integers(0, 100),
    attempt_s=st.integers(0, 1_800),
    key=st.text(),
)
def test_law_expires_once(
    delays_s: list[int], max_age_h: int, expires_h: int | None, attempt_s: int, key: str
) -> None:
    """Law `expires_once`: one that always fails ends, at or after its deadline, never before."""
    retry = _retry(delays_s, max_age=f"{max_age_h}h")
    expires_at_us = 0 if expires_h is None else START + expires_h * 3_600 * S
    deadline = min(START + max_age_h * 3_600 * S, expires_at_us or 2**63)
    now_us, attempt = START, 1
    while True:
        now_us += attempt_s * S
        due = due_at(Failed(key, attempt, START, expires_at_us), now_us, retry)
        if due is None:
            break
        assert now_us < due <= deadline, "later, and never later than the end"
        now_us, attempt = due, attempt + 1
        assert attempt < 1_000
    assert now_us >= deadline


def test_the_same_in_every_worker_and_different_for_every_delivery() -> None:
    retry = Retry("1h", jitter=0.5)
    due = [due_at(Failed(f"m{n}", 1, START, 0), START, retry) for n in range(50)]
    assert due == [due_at(Failed(f"m{n}", 1, START, 0), START, retry) for n in range(50)]
    assert len(set(due)) == 50
    assert due[0] != due_at(Failed("m0", 2, START, 0), START, retry)


def test_the_schedule_of_the_shipped_policy() -> None:
    retry = Retry("1m, 5m*2, 1h*3, 4h*10", jitter=0)
    minutes = [
        ((due_at(Failed("k", attempt, START, 0), START, retry) or 0) - START) // (60 * S)
        for attempt in (1, 2, 3, 4, 6, 7, 16, 17, 99)
    ]
    assert minutes == [1, 5, 5, 60, 60, 240, 240, 240, 240]
