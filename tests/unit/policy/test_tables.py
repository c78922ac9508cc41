"""Tables: data beside the code, frozen, part of the version."""

from pathlib import Path

import pytest

from postalynk.errors import PolicyError
from postalynk.policy import Table, load

HEAD = "from postalynk.policy import Route, policy, table\n"
HOOK = "\n@policy.route\ndef route(m, p, n):\n    return Route(VIP.get(m.org.id, 'default'))\n"


def vip(directory: Path, file: str, content: str) -> Table:
    (directory / "policy.py").write_text(HEAD + f"VIP = table('vip', '{file}')\n" + HOOK)
    (directory / file).write_text(content)
    (module,) = load(directory).modules
    made: Table = module.VIP
    return made


@pytest.mark.parametrize(
    ("file", "content", "rows"),
    [
        ("vip.toml", "[vip]\norg_1 = 'high'\n[other]\norg_2 = 'low'\n", {"org_1": "high"}),
        ("vip.toml", "vip = ['org_1', 'org_2']\n", {"org_1": True, "org_2": True}),
        ("vip.json", '{"vip": {"org_1": {"pool": "high"}}}', {"org_1": {"pool": "high"}}),
        ("vip.csv", "org,pool\norg_1,high\n\n", {"org_1": "high"}),
        ("vip.csv", "org,pool,n\norg_1,high,3\n", {"org_1": {"pool": "high", "n": "3"}}),
        ("vip.csv", "org\norg_1\n", {"org_1": True}),
        ("vip.csv", "", {}),
    ],
)
def test_formats(tmp_path: Path, file: str, content: str, rows: dict[str, object]) -> None:
    table = vip(tmp_path, file, content)
    assert dict(table) == rows
    assert repr(table) == f"table('vip', {len(rows)} rows)"


def test_a_table_is_frozen_all_the_way_down(tmp_path: Path) -> None:
    table = vip(tmp_path, "vip.toml", "[vip]\norg_1 = {pools = ['a']}\n")
    with pytest.raises(TypeError, match="frozen"):
        table["org_1"]["pools"].append("b")
    with pytest.raises(TypeError):
        table["org_2"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("vip.toml", "[other]\n", "has no table 'vip'; write \\[vip\\]"),
        ("vip.toml", "[vip", "vip.toml: "),
        ("vip.json", "[]", "has no table 'vip'"),
        ("vip.csv", "a,b\n1\n", "line 2 has 1 columns, the head 2"),
        ("vip.csv", "a,b\n1,2\n1,3\n", "line 3 repeats the key '1'"),
    ],
)
def test_what_is_wrong_names_the_line_that_asked(
    tmp_path: Path, file: str, content: str, complaint: str
) -> None:
    with pytest.raises(PolicyError, match=f"policy.py:2: ValueError: .*{complaint}"):
        vip(tmp_path, file, content)


def test_only_files_of_the_policy_are_tables(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(HEAD + "VIP = table('vip', '../secret.toml')\n" + HOOK)
    with pytest.raises(PolicyError, match="no table file"):
        load(tmp_path)
