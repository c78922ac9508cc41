"""Law `same_everywhere`: equal inputs, equal answers, in every process and for every hash seed."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

PROGRAM = """
import sys
from pathlib import Path
from postalynk.policy import Now, Pools, Retry, load
from postalynk.policy.testing import Attempt, Message
from postalynk.routing import Failed, Resolver, due_at, plans, shapes

resolver = Resolver(load(sys.argv[1]))
pools = Pools({"a": ["s2", "s1"], "b": ["s1"], "default": ["s3"]})
mail = [Message.fake(id=str(n), org=f"org_{n % 7}", tags={"k": str(n % 3)}) for n in range(200)]
for seed in sys.argv[2:]:
    now = Now(int(seed) * 3_600_000_000)
    print(resolver.resolve(mail, pools, now))
    print(plans(resolver, [None], pools, now, {}))
    print(shapes(resolver, [("s1", "example.org", "", f"org_{seed}")]))
    print(due_at(Failed(seed, 1, 0, 0), 5, Retry("1m, 5m")))
"""
POLICY = """
from postalynk.policy import *

SITES = {"example.org", "example.net", "example.com"}

@policy.route
def route(msg, pools, now):
    if msg.tags["k"] == "1":
        return Route(sorted(pools)[0])
    return Route(split({"a": 3, "b": 1}, by="org" if msg.tags["k"] == "2" else "message"))

@policy.shape
def shape(path):
    return Shape(connections=len(SITES) + (path.site in SITES))

@policy.warmup
def warmup(source, now):
    return Warmup("1970-01-01") if source.name == "s1" else None
"""


def _run(directory: Path, hash_seed: str, seeds: list[int]) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory), *map(str, seeds)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_law_same_everywhere(tmp_path: Path) -> None:
    """One run of many instants a seed; the text of everything decided is the same."""
    (tmp_path / "policy.py").write_text(POLICY)

    @settings(max_examples=3, deadline=None)
    @given(
        seeds=st.lists(st.integers(0, 20_000), min_size=5, max_size=20),
        hash_seed=st.integers(1, 4_000_000_000),
    )
    def law(seeds: list[int], hash_seed: int) -> None:
        assert _run(tmp_path, "0", seeds) == _run(tmp_path, str(hash_seed), seeds)

    law()
