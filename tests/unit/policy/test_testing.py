"""The testing kit: doubles a hook accepts, strategies, examples, the pytest plugin."""

from pathlib import Path

import pytest
from hypothesis import given

from postalynk.policy import DEFAULT, Attempt, Message, Now, load
from postalynk.policy import testing as kit
from postalynk.routing import Resolver
from tests.support.policies import pytest_run

POLICY = '''\
from postalynk.policy import Message, Now, Pools, Route, policy


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """By night, bulk waits.

    >>> route(Message.fake(priority="bulk"), Pools.fake(), at("23:00")).not_before
    '07:00'
    """
    if msg.priority == "bulk" and now.between("22:00", "07:00"):
        return Route("default", not_before="07:00")
    return Route("default")
'''
TEST = """\
from hypothesis import given

from postalynk.policy.testing import Message, Pools, at


def test_noon(hooks):
    assert hooks.route(Message.fake(priority="bulk"), Pools.fake(), at("12:00")).not_before is None
"""


def test_a_double_satisfies_the_protocol() -> None:
    message: Message = kit.Message.fake(provider="google", to="Ada@Gmail.com", plan="dedicated")
    assert (message.rcpt.domain, message.rcpt.site) == ("gmail.com", "google")
    assert message.org.plan == "dedicated"
    attempt: Attempt = kit.Attempt.fake("421 4.7.28 Too fast", class_="rate", attempt=3)
    assert (attempt.code, attempt.enhanced, attempt.reply) == (421, "4.7.28", "Too fast")
    assert attempt.delivery.attempt == 3
    assert kit.Attempt.fake("").code == 0
    assert kit.Attempt.fake("450 4.2 x").enhanced == ""
    assert kit.Pools.fake().names == {"default", "high", "majors"}
    assert kit.Pools.fake("a").names == {"a"}


def test_an_attribute_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError):
        _ = kit.Message.fake().colour  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["7", "24:00", "2026-13-01 00:00", ""])
def test_at_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="write 'HH:MM'"):
        kit.at(text)


def test_at_is_a_monday_unless_a_day_is_named() -> None:
    assert kit.at("23:00").datetime.weekday() == 0
    assert kit.at("2026-03-01 09:30").datetime.isoformat() == "2026-03-01T09:30:00+00:00"


@pytest.mark.parametrize(
    "make", [lambda: kit.Message.fake(to="ada"), lambda: kit.Attempt.fake("x")]
)
def test_nonsense_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match="is no"):
        make()  # type: ignore[operator]


SHIPPED = load(DEFAULT)


@given(msg=kit.messages(), pools=kit.pools("default", "high", "majors"), now=kit.moments())
def test_law_route_total(msg: kit.Message, pools: kit.Pools, now: Now) -> None:
    """Law `route_total`: every message, at every instant, is given only pools that exist."""
    answer = kit.Hooks(SHIPPED).route(msg, pools, now)
    assert set(answer.pools) <= pools.names
    assert Resolver(SHIPPED).resolve([msg], pools, now).faults == []


@given(attempt=kit.replies())
def test_every_failure_has_an_answer(attempt: kit.Attempt) -> None:
    assert kit.Hooks(SHIPPED).retry(attempt).delays_s


def test_hooks_refuse_what_a_worker_would_not_take(tmp_path: Path) -> None:
    head = "from postalynk.policy import Route, policy\n@policy.route\ndef r(m, p, n):\n    return "
    (tmp_path / "policy.py").write_text(head + "Route('gone')\n")
    with pytest.raises(ValueError, match=r"policy.py:2: there is no pool 'gone'"):
        kit.Hooks(load(tmp_path)).route(kit.Message.fake(), kit.Pools.fake(), kit.at("12:00"))
    (tmp_path / "policy.py").write_text(head + "7\n")
    with pytest.raises(TypeError, match="answered int, not a Route"):
        kit.Hooks(load(tmp_path)).route(kit.Message.fake(), kit.Pools.fake(), kit.at("12:00"))


def test_examples_are_run(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(POLICY)
    (example,) = kit.run_examples(load(tmp_path))
    assert (example.place, example.tried, example.failure) == ("policy.py:8", 1, "")
    (tmp_path / "policy.py").write_text(POLICY.replace("'07:00'\n    \"", "'08:00'\n    \""))
    (example,) = kit.run_examples(load(tmp_path))
    assert "'08:00'" in example.failure
    assert "'07:00'" in example.failure


def test_the_plugin_runs_tests_and_examples(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(POLICY)
    (tmp_path / "test_policy.py").write_text(TEST)
    done = pytest_run(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    (tmp_path / "policy.py").write_text(POLICY.replace("'07:00'\n    \"", "'08:00'\n    \""))
    done = pytest_run(tmp_path)
    assert done.returncode == 1
    assert "policy.py:8" in done.stdout
    (tmp_path / "policy.py").write_text(POLICY.replace("import Message", "import Massage"))
    assert "policy.py:1: ImportError" in pytest_run(tmp_path).stdout
