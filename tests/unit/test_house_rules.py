"""Each house rule finds the breach it is there for, and passes what keeps it."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("house_rules", ROOT / "scripts/house_rules.py")
assert SPEC is not None
assert SPEC.loader is not None
house_rules = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(house_rules)

Rule = Callable[[Path, list[Path]], Iterator[str]]

LONG_FUNCTION = "def long() -> None:\n" + "    print()\n" * 61
BORDER = "from postalynk._engine import Engine\n"

BREACHES = [
    ("long_files", {"python/postalynk/model.py": "x = 1\n" * 501}),
    ("long_functions", {"python/postalynk/model.py": LONG_FUNCTION}),
    ("module_docs", {"rust/mime/src/fold.rs": "pub fn fold() {}\n"}),
    ("unsafe_crates", {"rust/mime/src/lib.rs": "//! MIME.\n"}),
    ("extension_borders", {f"python/postalynk/queue/{n}.py": BORDER for n in ("a", "b")}),
    ("untested_laws", {"rust/mime/src/lib.rs": "//! **Law `fold_keeps_words`.** It does.\n"}),
    ("machine_paths", {"README.md": "cd /" + "home/someone/postalynk\n"}),
]
RUST_TESTS = "#[cfg(test)]\nmod tests {\n" + "    // a case\n" * 100 + "}\n"
KEEPERS = [
    ("long_files", {"tests/t.py": "x = 1\n" * 501, "rust/a.rs": "//\n" * 500 + RUST_TESTS}),
    ("long_functions", {"python/postalynk/model.py": "def f() -> None:\n" + "    print()\n" * 60}),
    ("module_docs", {"rust/mime/src/fold.rs": "//! Folding.\n"}),
    ("unsafe_crates", {"rust/mime/src/lib.rs": "//! MIME.\n#![forbid(unsafe_code)]\n"}),
    ("extension_borders", {f"python/postalynk/{r}/border.py": BORDER for r in ("queue", "engine")}),
    ("untested_laws", {"rust/a.rs": "//! **Law `total`.**\n", "rust/b.rs": "fn law_total() {}\n"}),
    ("machine_paths", {"README.md": "curl localhost:8080/workers; ls ~/postalynk/home\n"}),
]


def findings(name: str, files: dict[str, str], root: Path) -> list[str]:
    """Lay `files` out under `root` and give what the rule called `name` says of them."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    rule: Rule = getattr(house_rules, name)
    return list(rule(root, [Path(path) for path in files]))


@pytest.mark.parametrize(("name", "files"), BREACHES, ids=[name for name, _ in BREACHES])
def test_a_breach_is_found(name: str, files: dict[str, str], tmp_path: Path) -> None:
    assert len(findings(name, files, tmp_path)) == 1


@pytest.mark.parametrize(("name", "files"), KEEPERS, ids=[name for name, _ in KEEPERS])
def test_what_keeps_the_rule_passes(name: str, files: dict[str, str], tmp_path: Path) -> None:
    assert findings(name, files, tmp_path) == []


def test_every_rule_is_tried_both_ways() -> None:
    rules = {rule.__name__ for rule in house_rules.RULES}
    assert {name for name, _ in BREACHES} == {name for name, _ in KEEPERS} == rules
