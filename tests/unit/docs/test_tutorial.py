"""The tutorial's policies load, and its story is the one the code tells."""

import re
from pathlib import Path

import pytest

from postalynk.cli.message import tell
from postalynk.policy import Now, Pools, load
from postalynk.routing import Resolver
from tests.unit.doubles import Msg, Tried

TUTORIAL = (Path(__file__).parents[3] / "docs/tutorial/first-message.md").read_text()
POLICIES = re.findall(r"^```python\n(# policy\.py\n.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
POOLS = Pools(["default", "high", "majors"])
NOON = Now(12 * 3_600_000_000)
STORY = {
    "message": {
        "id": "019b1c31-…",
        "from": "shop@acme.example",
        "to": ["ada@receiver.example"],
        "subject": "Your order",
        "created_at": "2026-11-24T09:12:03+00:00",
        "priority": "normal",
    },
    "deliveries": [
        {
            "address": "ada@receiver.example",
            "state": "delivered",
            "events": [
                {
                    "kind": "delivered",
                    "attempt": 1,
                    "at": "2026-11-24T09:12:03.021000+00:00",
                    "due_at": None,
                    "reason": "",
                    "class": "",
                    "phase": "",
                    "reply": {"code": 250, "enhanced": "2.0.0", "text": "2.0.0 OK"},
                    "transcript": "",
                    "path": {
                        "relay": "",
                        "pool": "default",
                        "source": "default",
                        "site": "127.0.0.1",
                        "mx": "127.0.0.1",
                        "peer": "127.0.0.1:1025",
                    },
                    "tls": {"used": "", "refused": "", "policy": ""},
                    "latency_us": {"total": 3_400},
                    "policy": {
                        "version": "5f0c…",
                        "reason": "neither a major provider nor high priority",
                        "is_fallback": False,
                    },
                }
            ],
        }
    ],
    "is_truncated": False,
}


def test_its_policies_do_what_it_says(tmp_path: Path) -> None:
    assert len(POLICIES) == 2
    policy = tmp_path / "policy.py"
    policy.write_text(POLICIES[0])
    assert load(tmp_path).retry.function(Tried()).delays_s[0] == 2
    policy.write_text(POLICIES[1])
    route = load(tmp_path).route.function
    answer = route(Msg(tags={"kind": "order"}), POOLS, NOON)
    assert (answer.pool, answer.reason) == ("high", "orders go first")
    assert route(Msg(), POOLS, NOON).reason == "all else can wait"


def test_a_broken_policy_is_told_as_it_says(tmp_path: Path) -> None:
    broken = re.sub(r"(def route\(.*\n)", r"\1    1 / 0\n", POLICIES[1])
    (tmp_path / "policy.py").write_text(broken)
    resolved = Resolver(load(tmp_path)).resolve([Msg()], POOLS, NOON)
    assert resolved.faults[0].reason in TUTORIAL


def test_its_story_is_in_the_words_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    (told,) = re.findall(r"^ *(019b1c31-\S+  shop@.*?)\n\n", TUTORIAL, re.MULTILINE | re.DOTALL)
    tell(STORY)
    shown = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line.strip() for line in told.splitlines()] == shown
