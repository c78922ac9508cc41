"""Lint: each rule finds what it is for, on its line, and leaves the rest alone."""

from pathlib import Path

import pytest

from postalynk.policy import DEFAULT, DEV, read_bundle
from postalynk.policy.lint import CODES, lint

DOCS = Path(__file__).parents[3] / "docs/policy"


def found(text: str) -> list[tuple[str, int]]:
    return [(finding.code, finding.line) for finding in lint({"policy.py": text.encode()})]


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.time()",
        "from time import time as t\nt()",
        "import random\ndef f():\n    return random.random() < 0.05",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "import socket\nsocket.create_connection(('a', 1))",
        "import urllib.request\nurllib.request.urlopen('x')",
        "import os.path as p\np.exists('x')",
        "from uuid import uuid4\nuuid4()",
        "open('vip.txt')",
        "hash('org_1') % 20",
        "print('x')",
    ],
)
def test_pl102_an_impure_call(text: str) -> None:
    assert [code for code, _ in found(text)] == ["PL102"]
    assert found(text)[0][1] == len(text.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "from uuid import UUID\nUUID('0')",
        "from datetime import timedelta\ntimedelta(hours=1)",
        "from urllib.parse import urlsplit\nurlsplit('x').netloc.lower()",
        "def hash(x):\n    return 1\nhash('own')",
        "import re\nre.match('a', 'b')",
        "from .names import open_pool\nopen_pool()",
    ],
)
def test_pl102_leaves_pure_calls_alone(text: str) -> None:
    assert found(text) == []


def test_pl101_global() -> None:
    assert found("N = 0\ndef f():\n    global N\n    N = 1\n") == [("PL101", 3)]


@pytest.mark.parametrize(
    "line",
    ["SEEN.append(1)", "SEEN[0] = 1", "SEEN[0] += 1", "del SEEN[0]", "SEEN[0].hits.add(1)",
     "SEEN.hits = 1", "x = SEEN.pop()"],
)  # fmt: skip
def test_pl103_a_function_that_changes_the_module(line: str) -> None:
    assert found(f"SEEN = []\ndef f(msg):\n    {line}\n") == [("PL103", 3)]


@pytest.mark.parametrize(
    "text",
    [
        "SEEN = []\ndef f(msg):\n    SEEN = []\n    SEEN.append(1)\n",
        "SEEN = []\ndef f(SEEN):\n    SEEN.append(1)\n",
        "SEEN = []\nSEEN.append(1)\n",
        "SEEN = []\ndef f(msg):\n    return SEEN.count(1) + SEEN[0]\n",
        "def f(msg):\n    own = {}\n    own['a'] = 1\n    return own\n",
    ],
)
def test_pl103_leaves_locals_and_reading_alone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "for x in {1, 2}: pass",
        "for x in set(a): pass",
        "S = frozenset({1})\ndef f():\n    return [x for x in S]",
        "S = {1} | {2}\ndef f():\n    return ','.join(S)",
        "S = {1}\nT = list(S - {2})",
        "S = {1}\nT = [*S]",
        "def f():\n    s = set()\n    return s.pop()",
        "S = {1}\ndef f():\n    return next(x for x in S)",
        "S: set[int] = {1}\ndef f():\n    return tuple(S)",
    ],
)
def test_pl104_the_order_of_a_set(text: str) -> None:
    assert [code for code, _ in found(text)] == ["PL104"]


@pytest.mark.parametrize(
    "text",
    [
        "S = {1}\nT = sorted(S)",
        "S = {1}\nT = len(S) + sum(S) + max(S)",
        "S = {1}\nT = any(x > 1 for x in S)",
        "S = {1}\nT = {x + 1 for x in S}",
        "S = {1}\nT = 1 in S",
        "S = (1, 2)\nfor x in S: pass",
        "S = {1: 2}\nfor x in S: pass",
        "S = {1}\ndef f(S):\n    return list(S)",
        "S = {1}\ndef f():\n    S = sorted(a)\n    return list(S)",
    ],
)
def test_pl104_leaves_what_forgets_order_alone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("directory", [DEFAULT, DEV])
def test_the_shipped_policies_are_clean(directory: Path) -> None:
    assert lint(read_bundle(directory).sources) == []


def test_law_deterministic() -> None:
    """Law `deterministic`: the same bytes, the same findings, in order of file and line."""
    sources = {"b.py": b"open('x')\nhash('y')", "a.py": b"id(1)", "c.py": b"if"}
    once = lint(sources)
    assert once == lint(dict(reversed(sources.items())))
    assert [(one.file, one.line) for one in once] == [("a.py", 1), ("b.py", 1), ("b.py", 2)]
    assert str(once[0]).startswith("a.py:1:1: PL102 calls id()")


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_page_whose_examples_are_true(code: str) -> None:
    """The first block is what the rule finds, the second what it leaves alone."""
    page = (DOCS / f"{code}.md").read_text()
    assert page.startswith(f"# {code}")
    wrong, right = (block.partition("```")[0] for block in page.split("```python\n")[1:3])
    assert {finding_code for finding_code, _ in found(wrong)} == {code}
    assert found(right) == []
