"""PL104: where the order of a set decides something.

**Model.** An expression is a set if it is written as one, made by ``set()`` or ``frozenset()``, an
operation on sets, or a name that the same scope or the module binds to nothing but sets. Order
matters where such an expression is walked over: a ``for``, a comprehension that makes a list, a
dict or a generator, ``list()``, ``tuple()``, ``iter()``, ``enumerate()``, ``join()``, a star,
``pop()``. It does not where the outcome forgets it: ``sorted``, ``len``, ``any``, ``all``, ``sum``,
``min``, ``max``, ``in``, another set.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_MAKERS = frozenset({"set", "frozenset"})
_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_ORDERED = frozenset({"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "dict"})
_FORGETFUL = frozenset({"sorted", "len", "any", "all", "sum", "min", "max", "set", "frozenset"})
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def unordered(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Every expression whose order is used and has none, with what uses it."""
    of_module = _sets_of(tree, frozenset())
    yield from _uses(tree, of_module)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _uses(node, _sets_of(node, of_module))


def _uses(scope: _Scope, known: frozenset[str]) -> Iterator[tuple[ast.expr, str]]:
    forgiven: set[int] = set()
    for node in _inside(scope):
        if isinstance(node, ast.Call) and _name(node.func) in _FORGETFUL:
            forgiven.update(id(argument) for argument in node.args)
        for walked, what in _walks(node):
            if id(node) not in forgiven and _is_set(walked, known):
                yield walked, what


def _walks(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """The expressions whose order ``node`` uses."""
    if isinstance(node, ast.For | ast.AsyncFor):
        yield node.iter, "a loop walks over a set"
    elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
        for generator in node.generators:
            yield generator.iter, "a comprehension walks over a set"
    elif isinstance(node, ast.Starred):
        yield node.value, "a star unpacks a set"
    elif isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute):
            if function.attr == "join" and node.args:
                yield node.args[0], "join() walks over a set"
            elif function.attr == "pop" and not node.args:
                yield function.value, "pop() takes any element of a set"
        elif _name(function) in _ORDERED:
            for argument in node.args:
                yield argument, f"{_name(function)}() walks over a set"


def _is_set(node: ast.expr, known: frozenset[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.BinOp) and isinstance(
        node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor
    ):
        return _is_set(node.left, known)
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute):
            return function.attr in _METHODS and _is_set(function.value, known)
        return _name(function) in _MAKERS
    return False


def _sets_of(scope: _Scope, outer: frozenset[str]) -> frozenset[str]:
    """Names that this scope, or the one around it, binds to sets and to nothing else."""
    bound: dict[str, bool] = {}
    if not isinstance(scope, ast.Module):
        bound = {argument.arg: False for argument in scope.args.args}
    for node in _inside(scope):
        pairs: list[tuple[ast.expr, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.For | ast.comprehension):
            pairs = [(node.target, None)]
        for target, value in pairs:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    is_set = value is not None and name is target and _is_set(value, outer)
                    bound[name.id] = is_set and bound.get(name.id, True)
    own = {name for name, is_set in bound.items() if is_set}
    return frozenset(own | (outer - bound.keys()))


def _inside(scope: _Scope) -> Iterator[ast.AST]:
    """What runs in this scope, outer nodes first, without the functions in it."""
    todo: list[ast.AST] = list(reversed(scope.body))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo.extend(reversed(list(ast.iter_child_nodes(node))))


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
