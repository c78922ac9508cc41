"""Lint: what a type checker does not see and replay would stumble over, by code and line.

**Problem.** A hook that reads a clock, draws a random number, remembers something or walks over a
set answers differently in another worker, at a retry or in a replay; nothing fails until then.
**Model.** Each rule looks at the syntax tree of one file and yields findings. Names are followed
through imports, no further: ``from time import time as t`` is found, a wrapper in a library is not.

    PL101  `global` in a function                         docs/policy/PL101.md
    PL102  a call whose answer is not a function of its arguments, or that does I/O
    PL103  a function changes something of the module
    PL104  the order of a set decides something

**Law `deterministic`.** The same bytes give the same findings, in order of file and line.
**Not here.** A sandbox: whoever wants to get around this can.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from postalynk.policy.lint_sets import unordered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CODES: Mapping[str, str] = {
    "PL101": "a function that says `global`",
    "PL102": "an impure call: a clock, chance, files, sockets, processes",
    "PL103": "a function that changes something of the module",
    "PL104": "the order of a set decides something",
}

_MODULES = (
    "aiohttp asyncio concurrent ctypes fileinput ftplib getpass glob http httpx importlib io"
    " logging multiprocessing os pathlib pickle platform psycopg random redis requests secrets"
    " select selectors shelve shutil signal smtplib socket sqlite3 ssl subprocess sys tempfile"
    " threading time urllib uuid"
)
IMPURE_MODULES = frozenset(_MODULES.split())
"""Every call of these is refused, except `PURE`."""

_PURE = (
    "uuid.UUID pathlib.PurePath pathlib.PurePosixPath urllib.parse.urlsplit urllib.parse.urlparse"
    " urllib.parse.quote urllib.parse.unquote io.StringIO io.BytesIO"
)
PURE = frozenset(_PURE.split())
_CALLS = (
    "datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today"
    " breakpoint compile eval exec __import__ globals hash id input open print vars"
)
IMPURE_CALLS = frozenset(_CALLS.split())
"""`hash` and `id` differ between processes; `print` blocks when nobody reads."""

_MUTATORS = (
    "add append appendleft clear discard extend extendleft insert pop popitem popleft remove"
    " reverse setdefault sort update difference_update intersection_update"
    " symmetric_difference_update"
)
MUTATORS = frozenset(_MUTATORS.split())


class Finding(NamedTuple):
    """One thing to mend."""

    file: str
    line: int
    column: int
    """From 1."""
    code: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.code} {self.message}"


def lint(sources: Mapping[str, bytes]) -> list[Finding]:
    """Findings in these files, by file and place; a file that is no Python has none here."""
    found: list[Finding] = []
    for name, data in sources.items():
        try:
            tree = ast.parse(data)
        except (SyntaxError, ValueError):
            continue  # loading says it better
        found += _File(name, tree).findings()
    return sorted(found)


class _File:
    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.tree = tree
        self.imports = _imports(tree)
        self.globals = _assigned(tree.body)

    def findings(self) -> Iterator[Finding]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Global):
                yield self._finding(
                    node,
                    "PL101",
                    f"`global {', '.join(node.names)}`: a policy's globals are frozen after load",
                    "answer from what the hook is given",
                )
            elif isinstance(node, ast.Call) and (name := self._impure(node.func)):
                yield self._finding(
                    node,
                    "PL102",
                    f"calls {name}(), whose answer a replay cannot repeat",
                    "read `now`, draw with split(), look up in table()",
                )
        for function in _functions(self.tree):
            yield from self._writes(function)
        for node, what in unordered(self.tree):
            yield self._finding(
                node,
                "PL104",
                f"{what}, and the order of a set differs between processes",
                "use sorted(…), or a tuple",
            )

    def _finding(self, node: ast.stmt | ast.expr, code: str, message: str, fix: str) -> Finding:
        return Finding(self.name, node.lineno, node.col_offset + 1, code, message, fix)

    def _impure(self, function: ast.expr) -> str:
        """The full name of an impure function; empty: none that is known."""
        name = _dotted(function)
        head, _, rest = name.partition(".")
        if not head:
            return ""
        origin = self.imports.get(head)
        if origin is None:
            # A built-in, unless the file has a name of its own like it.
            return name if name in IMPURE_CALLS and head not in self.globals else ""
        full = f"{origin}.{rest}" if rest else origin
        if full in PURE or any(full.startswith(f"{pure}.") for pure in PURE):
            return ""
        is_impure = full in IMPURE_CALLS or full.partition(".")[0] in IMPURE_MODULES
        return full if is_impure else ""

    def _writes(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Finding]:
        own = _locals(function)
        for node in _own_nodes(function):
            target: ast.expr | None = None
            if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(
                node.ctx, ast.Load
            ):
                target = node.value
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in MUTATORS
            ):
                target = node.func.value
            root = _root(target) if target is not None else ""
            if root and root in self.globals and root not in own:
                assert isinstance(node, ast.expr)
                yield self._finding(
                    node,
                    "PL103",
                    f"{function.name}() changes {root}, which belongs to the module",
                    "make a new value, or keep the fact in a table",
                )


def _imports(tree: ast.Module) -> dict[str, str]:
    """Name in the file → what it was imported as, in full; relative ones are the policy's own."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.partition(".")[0]
                names[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (head := _dotted(node.value)):
        return f"{head}.{node.attr}"
    return ""


def _root(node: ast.expr) -> str:
    """The name an expression such as ``SEEN[org].hits`` starts from."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _assigned(body: list[ast.stmt]) -> set[str]:
    """Names bound in these statements, functions inside aside."""
    names: set[str] = set()
    for statement in body:
        for node in _outside_functions(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
    return names


def _locals(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    parameters = function.args
    every = [*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs]
    every += [extra for extra in (parameters.vararg, parameters.kwarg) if extra]
    stated = {
        name for node in _own_nodes(function) if isinstance(node, ast.Global) for name in node.names
    }
    return ({argument.arg for argument in every} | _assigned(function.body)) - stated


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _own_nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    for statement in function.body:
        yield from _outside_functions(statement)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is below it, without the insides of functions and classes."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        yield from _outside_functions(child)
