"""``postalynk policy new``: a policy that works, with an example and a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.errors import PolicyError

if TYPE_CHECKING:
    from pathlib import Path

POLICY = '''\
"""Where our mail goes, and when it is tried again."""

from postalynk.policy import Attempt, Message, Now, Pools, Retry, Route, policy, table

VIP = table("vip", "vip.toml")


@policy.route
def route(msg: Message, pools: Pools, now: Now) -> Route:
    """Choose by who sends, who receives and how urgent it is.

    >>> route(Message.fake(provider="google"), Pools.fake(), at("12:00")).pool
    'majors'
    """
    if msg.org.id in VIP:
        return Route(VIP[msg.org.id], fallback=["default"], reason="in the VIP table")
    if msg.rcpt.provider in ("google", "outlook", "yahoo"):
        return Route("majors", fallback=["default"], reason="major mailbox provider")
    if msg.priority == "bulk" and now.between("22:00", "07:00"):
        return Route("default", not_before="07:00", reason="bulk waits for the morning")
    return Route("default")


@policy.retry
def retry(attempt: Attempt) -> Retry:
    """Soon at first, for greylisting; then rarely."""
    if attempt.class_ == "rate":
        return Retry("15m, 1h*3, 4h*6")
    return Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d", jitter=0.2)
'''

TABLE = """\
# Organization → the pool its mail takes.
[vip]
# org_4h2k = "high"
"""

TEST = '''\
"""What the policy promises. Run with: postalynk policy test DIRECTORY."""

from hypothesis import given

from postalynk.policy.testing import Attempt, Hooks, Message, Pools, at, messages, replies


def test_majors_take_their_own_pool(hooks: Hooks) -> None:
    answer = hooks.route(Message.fake(provider="google"), Pools.fake(), at("12:00"))
    assert answer.pool == "majors"


def test_bulk_waits_for_the_morning(hooks: Hooks) -> None:
    bulk = Message.fake(priority="bulk")
    assert hooks.route(bulk, Pools.fake(), at("23:00")).not_before == "07:00"
    assert hooks.route(bulk, Pools.fake(), at("12:00")).not_before is None


@given(msg=messages())
def test_every_message_has_a_pool(hooks: Hooks, msg: Message) -> None:
    assert hooks.route(msg, Pools.fake(), at("23:00")).pool in Pools.fake()


@given(attempt=replies())
def test_every_failure_is_tried_again(hooks: Hooks, attempt: Attempt) -> None:
    assert hooks.retry(attempt).delays_s[0] >= 60
'''

FILES = {"policy.py": POLICY, "vip.toml": TABLE, "test_policy.py": TEST}


def make(directory: Path) -> list[str]:
    """Write a first policy into a new or empty directory; raises PolicyError when it is neither."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise PolicyError(f"{directory} is not empty", fix="name a new directory")
        for name, text in FILES.items():
            (directory / name).write_text(text)
    except OSError as error:
        raise PolicyError(f"cannot write {directory}: {error.strerror}") from error
    return list(FILES)
