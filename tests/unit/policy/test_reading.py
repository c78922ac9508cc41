"""Attributes that do not exist are found when a policy is loaded."""

from pathlib import Path

import pytest

from postalynk.errors import PolicyError
from postalynk.policy import load, made_of
from postalynk.policy.load import load_bundle

HEAD = "from postalynk.policy import *\n"


def _load(code: str) -> None:
    load_bundle(made_of({"policy.py": (HEAD + code).encode()}, Path("bundle")))


@pytest.mark.parametrize(
    ("code", "line", "what"),
    [
        ("@policy.route\ndef r(m, p, n):\n    return Route(m.rcpt.sight)\n", 4, "'sight'"),
        ("@policy.route\ndef r(m, p, n):\n    return Route(p['a'].health)\n", 4, "'health'"),
        ("@policy.route\ndef r(m, p, n):\n    return Route(n.tomorrow())\n", 4, "'tomorrow'"),
        ("@policy.route(org='o')\ndef r(m, p, n):\n    return Route(m.organ)\n", 4, "'organ'"),
        ("@policy.accept\ndef a(m, n):\n    return Reject(550, m.rcpt)\n", 4, "'rcpt'"),
        ("@policy.shape\ndef s(path):\n    return Shape(rate=path.speed)\n", 4, "'speed'"),
        ("@policy.warmup\ndef w(s, n):\n    return Warmup(s.born)\n", 4, "'born'"),
        ("@policy.retry\ndef r(a):\n    return Retry(a.delivery.org.tier)\n", 4, "'tier'"),
        ("def f(msg: Message):\n    return msg.body\n", 3, "'body'"),
    ],
)
def test_a_missing_attribute_is_refused_with_its_line(code: str, line: int, what: str) -> None:
    with pytest.raises(PolicyError) as raised:
        _load(code)
    assert f"policy.py:{line}: " in str(raised.value)
    assert what in str(raised.value)


def test_law_no_false_alarm() -> None:
    """Law `no_false_alarm`: what is not known is not judged."""
    _load(
        "@policy.route\n"
        "def r(msg, pools, now):\n"
        "    names = [msg.foo for msg in ()]\n"
        "    found = pools\n"
        "    found = len(found.names)\n"
        "    inner = lambda now: now.anything\n"
        "    return Route(sorted(pools)[0] if pools['a'].name.upper() and found else 'b')\n"
    )


def test_the_shipped_policies_read_only_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(
        HEAD + "@policy.route\ndef r(msg, pools, now):\n    return Route(msg.tags.get('a', 'b'))\n"
    )
    load(tmp_path)
