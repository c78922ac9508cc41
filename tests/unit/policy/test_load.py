"""Loading: what runs is what was hashed, what is wrong names its line, globals stay as they are."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.errors import PolicyError
from postalynk.policy import DEFAULT, DEV, Now, Pools, Retry, Route, load
from postalynk.policy.bundle import version_of
from tests.unit.doubles import Msg, Org, Rcpt, Tried

HEAD = "from postalynk.policy import policy, Retry, Route\n"
ROUTE = HEAD + "@policy.route\ndef route(msg, pools, now):\n    return Route('a')\n"
POOLS = Pools(["majors", "high", "default"])


def _write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


# --- the shipped policies ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "priority", "pool"),
    [
        ("google", "high", "majors"),
        ("outlook", "bulk", "majors"),
        ("", "high", "high"),
        ("gmx", "normal", "default"),
        ("", "bulk", "default"),
    ],
)
def test_the_shipped_policy_is_the_three_way_choice(
    provider: str, priority: str, pool: str
) -> None:
    route = load(DEFAULT).route.function
    answer = route(Msg(priority=priority, rcpt=Rcpt(provider=provider)), POOLS, Now(0))
    assert isinstance(answer, Route)
    assert answer.pool == pool
    assert answer.reason
    assert {answer.pool, *answer.fallback} <= POOLS.names


def test_the_shipped_policy_retries_for_three_days() -> None:
    retry = load(DEFAULT).retry.function
    for kind in ("deferred", "in_doubt"):
        assert retry(Tried(kind=kind)) == Retry("1m, 5m*2, 1h*3, 4h*10", max_age="3d", jitter=0.2)


def test_the_policy_of_dev_retries_at_once_and_routes_as_shipped() -> None:
    dev = load(DEV)
    assert dev.retry.function(Tried()).delays_s[0] == 2
    assert dev.route.function(Msg(), POOLS, Now(0)).pool == "default"
    assert dev.version != load(DEFAULT).version


# --- hooks -------------------------------------------------------------------------------------


def test_the_most_specific_hook_wins(tmp_path: Path) -> None:
    policies = load(
        _write(
            tmp_path,
            policy__py=ROUTE,
            vip__py=HEAD + "@policy.route(org='org_42')\ndef vip(msg, pools, now):\n"
            "    return Route('vip')\n"
            "@policy.retry(org='org_42')\ndef again(attempt):\n    return Retry('1s')\n",
        )
    )
    assert policies.has_variants
    assert (
        policies.route_for("org_42").function(Msg(org=Org("org_42")), POOLS, Now(0)).pool == "vip"
    )
    assert policies.route_for("org_1").function(Msg(), POOLS, Now(0)).pool == "a"
    assert policies.retry_for("org_42").function(Tried()) == Retry("1s")
    assert policies.retry_for("org_1").function(Tried()).delays_s[0] == 60
    assert policies.route_for("org_42").place == "vip.py:2"


def test_files_import_each_other(tmp_path: Path) -> None:
    policies = load(
        _write(
            tmp_path,
            policy__py=HEAD + "from .names import POOL\n@policy.route\n"
            "def route(msg, pools, now):\n    return Route(POOL)\n",
            names__py="POOL = 'tuned'\n",
        )
    )
    assert policies.route.function(Msg(), POOLS, Now(0)).pool == "tuned"


def test_two_loads_share_nothing(tmp_path: Path) -> None:
    _write(tmp_path, policy__py=ROUTE)
    one, other = load(tmp_path), load(tmp_path)
    assert one.version == other.version
    assert one.route.function is not other.route.function
    assert not list(tmp_path.glob("__pycache__")), "what runs is what was hashed"


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "holds no policy"),
        ({"policy__py": "X = 1\n"}, "has no hook"),
        ({"policy__py": "X = 1\nif True\n"}, r"policy\.py:2: SyntaxError"),
        ({"policy__py": "X = 1\n\nY = 1 / 0\n"}, r"policy\.py:3: ZeroDivisionError: division by"),
        ({"policy__py": "import sys\nsys.exit(3)\n"}, r"policy\.py:2: SystemExit"),
        ({"policy__py": "import no_such_thing\n"}, r"policy\.py:1: ModuleNotFoundError"),
        ({"policy__py": "from .gone import X\n"}, r"policy\.py:1: ModuleNotFoundError"),
        ({"a__py": ROUTE, "b__py": "from .a import nothing\n"}, r"b\.py:1: ImportError"),
        ({"policy__py": HEAD + "X = Retry('1x')\n"}, r"policy\.py:2: ValueError: '1x' in the"),
        ({"policy__py": ROUTE + ROUTE}, r"policy\.py:6: everybody has a route hook already, at p"),
        ({"my-policy__py": ROUTE}, r"my-policy\.py:1: no name for a module"),
        (
            {"policy__py": "N = 0\ndef f():\n    global N\n    N = 1\n"},
            r"policy\.py:3: `global` in a policy",
        ),
        (
            {"policy__py": HEAD + "@policy.route\ndef r(msg):\n    return Route('a')\n"},
            r"policy\.py:2: route cannot be called: too many positional.*\(msg, pools, now\)",
        ),
        (
            {"policy__py": HEAD + "@policy.retry\nasync def r(attempt):\n    return Retry('1m')\n"},
            r"policy\.py:2: retry must be a plain function",
        ),
        (
            {"policy__py": HEAD + "@policy.route(org='')\ndef r(a, b, c): ...\n"},
            r"policy\.py:2: ValueError: @policy\.route\(org=''\): give the id",
        ),
        ({"policy__py": HEAD + "policy.route(7)\n"}, r"policy\.py:2: TypeError"),
    ],
)
def test_what_is_wrong_names_file_and_line(
    tmp_path: Path, files: dict[str, str], complaint: str
) -> None:
    with pytest.raises(PolicyError, match=complaint):
        load(_write(tmp_path, **files))
    assert not [name for name in sys.meta_path if type(name).__name__ == "_Importer"]


def test_no_directory_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"cannot read the policy.*check policy\.path"):
        load(tmp_path / "gone")


def test_bytes_that_are_no_python_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match=r"policy\.py:1: "):
        load(tmp_path)


# --- the version -------------------------------------------------------------------------------


def test_tests_beside_a_policy_are_not_part_of_it(tmp_path: Path) -> None:
    version = load(_write(tmp_path, policy__py=ROUTE)).version
    _write(tmp_path, test_policy__py="1 / 0", conftest__py="1 / 0", README__md="words")
    assert load(tmp_path).version == version
    assert load(_write(tmp_path, vip__toml="a = 1")).version != version


@given(
    one=st.dictionaries(
        st.text("ab1:.", min_size=1, max_size=3), st.binary(max_size=3), max_size=3
    ),
    other=st.dictionaries(
        st.text("ab1:.", min_size=1, max_size=3), st.binary(max_size=3), max_size=3
    ),
)
def test_law_version(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """Law `version`: the same names and bytes, the same version; and only then."""
    same = version_of(dict(sorted(one.items()))) == version_of(dict(sorted(other.items())))
    assert same is (one == other)


# --- frozen globals ----------------------------------------------------------------------------

STATEFUL = (
    HEAD
    + """
SEEN = []
COUNTS = {"a": {"b": 1}}
NAMES = {"x"}
import sys

@policy.route
def route(msg, pools, now):
    assert SEEN == [] and COUNTS["a"]["b"] == 1 and "x" in NAMES and [*SEEN, 1] + SEEN == [1]
    match msg.id:
        case "append": SEEN.append(1)
        case "extend": x = SEEN; x += [1]
        case "assign": COUNTS["a"] = 2
        case "nested": COUNTS["a"]["b"] = 2
        case "set": NAMES.add("y")
        case "module": sys.modules[__name__].SEEN = [1]
        case "delete": del sys.modules[__name__].SEEN
    return Route("a")
"""
)


@pytest.mark.parametrize("how", ["append", "extend", "assign", "nested", "set", "module", "delete"])
def test_globals_are_frozen_after_load(tmp_path: Path, how: str) -> None:
    route = load(_write(tmp_path, policy__py=STATEFUL)).route.function
    with pytest.raises(TypeError, match="frozen after load"):
        route(Msg(id=how), POOLS, Now(0))
    assert route(Msg(id="nothing"), POOLS, Now(0)) == Route("a")
