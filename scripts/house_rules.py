"""Check the house rules that no other tool knows.

Each rule is one function that yields findings, ``path:line: sentence``; the module prints them all
and fails if there is one. What a formatter, a linter or the type checker can see is left to it.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
EXTENSION = "postalynk._engine"
# A path of the machine a line was written on works nowhere else.
MACHINE_PATH = re.compile(r"(?<![\w.}/])/(?:work|root|home)/\w")
TESTS_AT_END = re.compile(r"^#\[cfg\(test\)\]\nmod \w+ \{.*\Z", re.MULTILINE | re.DOTALL)
LAW = re.compile(r"\bLaw `(?:law_)?(\w+)`")


def tracked(root: Path) -> list[Path]:
    """Every text file git knows or would add, generated ones excepted, relative to `root`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = (Path(line) for line in listed.splitlines())
    return [p for p in paths if (root / p).is_file() and p.suffix not in {".lock", ".bin"}]


def is_exempt(path: Path) -> bool:
    """Tests and benchmarks may be long: a story is read from top to bottom."""
    return bool({"tests", "benches", "examples"} & set(path.parts)) or path.name == "tests.rs"


def long_files(root: Path, paths: list[Path]) -> Iterator[str]:
    """A file holds one concept, in at most 500 lines, the tests at its end aside."""
    for path in paths:
        if path.suffix in {".py", ".rs"} and not is_exempt(path):
            lines = len(TESTS_AT_END.sub("", (root / path).read_text()).splitlines())
            if lines > MAX_FILE_LINES:
                yield f"{path}:1: {lines} lines; split it by concept ({MAX_FILE_LINES} at most)"


def long_functions(root: Path, paths: list[Path]) -> Iterator[str]:
    """A Python function fits one view, docstring aside (Clippy watches the Rust ones)."""
    for path in paths:
        if path.suffix != ".py" or is_exempt(path):
            continue
        for node in ast.walk(ast.parse((root / path).read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines ({MAX_FUNCTION_LINES})"


def module_docs(root: Path, paths: list[Path]) -> Iterator[str]:
    """The idea comes before the code: a Rust file starts with its module doc."""
    for path in paths:
        text = (root / path).read_text() if path.suffix == ".rs" else ""
        if text and "tests" not in path.parts and not text.startswith(("//!", "#!")):
            yield f"{path}:1: start with //! and say what the file is for"


def unsafe_crates(root: Path, paths: list[Path]) -> Iterator[str]:
    """Only the binding crate may hold unsafe code; every other one forbids it."""
    for path in paths:
        if path.parts[0] == "rust" and path.parts[1:2] != ("python",) and path.name == "lib.rs":
            if "#![forbid(unsafe_code)]" not in (root / path).read_text():
                yield f"{path}:1: say #![forbid(unsafe_code)]"


def imports_of_extension(source: str) -> bool:
    """Whether this Python source imports the extension module, for types only or not."""
    parent, _, name = EXTENSION.rpartition(".")
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names) if any(n.name == EXTENSION for n in names):
                return True
            case ast.ImportFrom(module=str(module), names=names) if module == EXTENSION or (
                module == parent and any(n.name == name for n in names)
            ):
                return True
    return False


def extension_borders(root: Path, paths: list[Path]) -> Iterator[str]:
    """A room meets Rust in one file, so the border can be read and replaced there."""
    rooms: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if path.suffix == ".py" and path.is_relative_to("python/postalynk"):
            if imports_of_extension((root / path).read_text()):
                rooms[path.parts[2]].append(path)
    for room, files in sorted(rooms.items()):
        for path in files[1:]:
            yield f"{path}:1: {room} already imports {EXTENSION} in {files[0]}; one file a room"


def untested_laws(root: Path, paths: list[Path]) -> Iterator[str]:
    """A law that a module doc states is the name of a test."""
    sources = {p: (root / p).read_text() for p in paths if p.suffix in {".py", ".rs"}}
    everything = "\n".join(sources.values())
    for path, text in sources.items():
        for number, line in enumerate([] if is_exempt(path) else text.splitlines(), 1):
            for name in LAW.findall(line):
                if not re.search(rf"\bfn law_{name}|\bdef test_law_{name}", everything):
                    yield f"{path}:{number}: no test is named law_{name}"


def machine_paths(root: Path, paths: list[Path]) -> Iterator[str]:
    """Nothing committed knows the machine it was written on."""
    for path in paths:
        try:
            text = (root / path).read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line):
                yield f"{path}:{number}: names a directory of one machine"


RULES = [
    long_files,
    long_functions,
    module_docs,
    unsafe_crates,
    extension_borders,
    untested_laws,
    machine_paths,
]


def main() -> int:
    """Print every finding; the exit code says whether there was one."""
    root = Path(__file__).resolve().parent.parent
    paths = tracked(root)
    findings = [finding for rule in RULES for finding in rule(root, paths)]
    print("\n".join(findings) if findings else f"{len(paths)} files keep {len(RULES)} rules")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
