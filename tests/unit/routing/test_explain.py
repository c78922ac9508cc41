"""Explain: what was read, in order, the line that answered, and what it comes to."""

from pathlib import Path

from postalynk.policy import DEFAULT, Policies, load, load_bundle, made_of
from postalynk.policy.testing import Message, Pools, at
from postalynk.routing import explain

HEAD = "from postalynk.policy import Message, Now, Pools, Route, policy, split\n\n@policy.route\n"
POLICY = (
    HEAD
    + """\
def route(msg: Message, pools: Pools, now: Now) -> Route:
    if msg.tags.get("campaign") == "spring" and "canary" in pools:
        return Route("canary")
    if msg.lane == "bulk" and now.between("22:00", "07:00"):
        return helper(msg)
    return Route(split({"default": 1, "high": 0}, by="org"), fallback=["high"], reason="else")

def helper(msg: Message) -> Route:
    if msg.org.plan == "dedicated":
        return Route("high")
    return Route("default", not_before="07:00")
"""
)


def policies(text: str) -> Policies:
    return load_bundle(made_of({"policy.py": text.encode()}, Path("explained")))


def test_reads_in_order_and_the_line_that_answered() -> None:
    told = explain(policies(POLICY), Message.fake(priority="bulk"), Pools.fake(), at("23:00"))
    assert [(read.name, read.value) for read in told.reads] == [
        ("msg.tags.get('campaign')", "None"),
        ("msg.lane", "'bulk'"),
        ("now.between('22:00', '07:00')", "True"),
        ("msg.org.plan", "'standard'"),
    ]
    assert (told.line, told.source) == ("policy.py:8", "return helper(msg)")
    assert (told.function, told.place, told.pool) == ("route", "policy.py:3", "default")
    assert told.not_before_us == at("2026-01-06 07:00").at_us
    assert told.is_repeatable
    assert "not_before='07:00'" in told.answer


def test_a_split_is_drawn() -> None:
    told = explain(policies(POLICY), Message.fake(), Pools.fake(), at("12:00"))
    assert (told.pool, told.fallback, told.reason) == ("default", ["high"], "else")


def test_a_policy_that_raises_is_explained_too() -> None:
    text = HEAD + "def route(msg, pools, now):\n    return {}[msg.rcpt.site]\n"
    told = explain(policies(text), Message.fake(), Pools.fake(), at("12:00"))
    assert told.answer == "raised KeyError: 'example.org'"
    assert (told.line, told.source) == ("policy.py:5", "return {}[msg.rcpt.site]")
    assert told.is_fallback
    assert told.reason == "policy raised KeyError at policy.py:5"
    assert told.is_repeatable


def test_a_policy_that_answers_otherwise_when_asked_again_is_found_out() -> None:
    counting = "import itertools\n" + HEAD.replace("@policy", "N = itertools.count()\n@policy")
    text = counting + "def route(msg, pools, now):\n    return Route(f'{next(N)}')\n"
    told = explain(policies(text), Message.fake(), Pools.fake("0", "1", "2"), at("12:00"))
    assert not told.is_repeatable


def test_the_shipped_policy_is_explained() -> None:
    told = explain(load(DEFAULT), Message.fake(provider="google"), Pools.fake(), at("12:00"))
    assert [read.name for read in told.reads] == ["msg.rcpt.provider"]
    assert (told.pool, told.source) == ("majors", "return TO_MAJORS")
