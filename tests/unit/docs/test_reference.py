"""The reference says what the code says: settings, commands, metrics, error names, links."""

import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from postalynk import policy
from postalynk.policy import testing

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
SPEC = importlib.util.spec_from_file_location("reference", ROOT / "scripts/reference.py")
assert SPEC is not None
assert SPEC.loader is not None
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)

PAGES = sorted(path for path in DOCS.rglob("*.md") if "decisions" not in path.parts)
LINK = re.compile(r"\]\(([^)#\s]+)?(#[^)\s]+)?\)|src=\"([^\"]+)\"")


@pytest.mark.parametrize("page", ["settings.md", "cli.md", "policy.md"])
def test_a_generated_page_is_fresh(page: str) -> None:
    path = DOCS / "reference" / page
    assert path.read_text() == reference.pages()[path], "run python scripts/reference.py"


def test_the_policy_page_has_every_public_name() -> None:
    listed = " ".join(reference.POLICY.values()).split()
    assert sorted(listed) == sorted(policy.__all__)


@pytest.mark.parametrize("module", [policy, testing], ids=lambda module: module.__name__)
def test_every_public_name_of_a_policy_has_an_example(module: ModuleType) -> None:
    constants = reference.constant_docs()
    for name in module.__all__:
        thing = getattr(module, name)
        is_own = inspect.isclass(thing) or inspect.isfunction(thing)
        text = (inspect.getdoc(thing) if is_own else constants.get(name, "")) or ""
        if name != "policy":  # its hooks have one each
            assert "``" in text or "\n    " in text, f"{name}: {text!r}"


def test_every_attribute_a_hook_reads_is_explained() -> None:
    for name in reference.POLICY["What hooks read"].split():
        kind = getattr(policy, name)
        for row in reference.members(kind) if inspect.isclass(kind) else ():
            assert row.split(" | ")[1].strip(" |"), f"{name}: {row}"


def sources(folder: str, suffix: str) -> str:
    return "\n".join(path.read_text() for path in sorted((ROOT / folder).rglob(f"*{suffix}")))


def metric_names() -> Iterator[str]:
    """Every metric the sources register; the acceptance tests scrape the real ones."""
    yield from re.findall(r'"(postalynk_[a-z_]+)"', sources("python/postalynk", ".py"))
    text = (ROOT / "rust/delivery/src/metrics.rs").read_text()
    for plain, timed in re.findall(r'\.register\(\s*(?:"(\w+)"|format!\("(\w+)_\{)', text):
        yield "postalynk_" + (plain or f"{timed}_seconds")
    counts = (ROOT / "rust/submission/src/counts.rs").read_text()
    yield "postalynk_submission_open_connections"
    for name in re.findall(r'\(\s*"([a-z_]+)",\s*"[A-Z]', counts):
        yield f"postalynk_submission_{name}"


def test_every_metric_is_documented() -> None:
    page = (DOCS / "reference/metrics.md").read_text()
    names = {name for name in metric_names() if not name.endswith("_")}
    assert len(names) > 12
    missing = [name for name in names if not re.search(rf"`{name}(_total)?[`{{]", page)]
    assert missing == []


def test_every_metric_of_the_reference_exists() -> None:
    page = (DOCS / "reference/metrics.md").read_text()
    rows = re.findall(r"^\| `(postalynk_\w+)", page, re.MULTILINE)
    assert len(rows) > 12
    known = set(metric_names())
    assert {name.removesuffix("_total") for name in rows} <= known


def test_every_error_name_of_the_api_is_documented() -> None:
    code = sources("python/postalynk/ingest", ".py")
    names = {
        name
        for pattern in (r'refusal\(\s*\d+,\s*"(\w+)"', r'"(validation_error)"')
        for name in re.findall(pattern, code)
    }
    assert len(names) > 10
    page = (DOCS / "reference/http-api.md").read_text()
    assert [name for name in names if f"`{name}`" not in page] == []


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor, picture in LINK.findall(page.read_text()):
        path = (page.parent / (target or picture)).resolve() if target or picture else page
        if "://" in target:
            continue
        assert path.exists(), f"{page.name}: {target or picture}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor[1:] in {slug(heading) for heading in headings}, anchor


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    pages = [path.relative_to(DOCS).as_posix() for path in PAGES]
    assert [page for page in pages if page != "README.md" and f"({page})" not in index] == []


def test_pages_that_the_code_names_exist() -> None:
    code = sources("python/postalynk", ".py") + sources("rust", ".rs")
    named = set(re.findall(r"docs/(?:reference|runbooks|guide|decisions)/[\w-]+\.md", code))
    assert "docs/reference/settings.md" in named
    assert [name for name in named if not (ROOT / name).exists()] == []
