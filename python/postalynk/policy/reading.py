"""Attributes a policy reads, checked when it is loaded: one that does not exist is found there.

**Problem.** ``msg.rcpt.sight`` in a branch that is taken once a week raises once a week, and only
the fallback route shows it. A type checker would have said so, but not everybody runs one.
**Model.** A hook's parameters have the types they are called with; any other function's have those
of their annotations. What is read of a parameter, and of what that gives, is followed through
attributes, method calls and ``pools[…]``; a name that the type has not is an error.
**Law `no_false_alarm`.** Only what is known is judged: a name that is assigned again in the
function, or whose type is not one of the surface, is not looked at.
**Not here.** Locals, containers, other modules' types: mypy knows them.
"""

from __future__ import annotations

import ast
import typing
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from postalynk.policy import surface
from postalynk.policy.moment import Now
from postalynk.policy.pools import Pool, Pools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postalynk.policy.hooks import Kind

PARAMETERS: Mapping[Kind, tuple[type, ...]] = {
    "accept": (surface.Incoming, Now),
    "route": (surface.Message, Pools, Now),
    "shape": (surface.Path,),
    "warmup": (surface.Source, Now),
    "retry": (surface.Attempt,),
}
"""What each hook is called with."""

_TYPES = (*(kind for kinds in PARAMETERS.values() for kind in kinds), Pool)
_BY_NAME: Mapping[str, type] = {
    kind.__name__: kind for kind in (*_TYPES, surface.Organization, surface.Recipient)
}
_ITEMS: Mapping[type, type] = {Pools: Pool}


class Missing(NamedTuple):
    """An attribute that is read and does not exist."""

    line: int
    owner: str
    """The type's name."""
    name: str
    known: tuple[str, ...]
    """What there is instead, sorted."""


def missing(tree: ast.Module) -> Iterator[Missing]:
    """Every read of a missing attribute in one file, in order of functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            types = _parameters(node)
            for read in ast.walk(node) if types else ():
                if isinstance(read, ast.Attribute):
                    owner = _type_of(read.value, types)
                    if owner is not None and read.attr not in _members(owner):
                        known = tuple(sorted(_members(owner)))
                        yield Missing(read.lineno, owner.__name__, read.attr, known)


def _parameters(function: ast.FunctionDef) -> dict[str, type]:
    """The parameters whose type is known, without those that mean something else further down."""
    given = [*function.args.posonlyargs, *function.args.args]
    expected = _expected(function)
    types: dict[str, type] = {}
    for number, argument in enumerate(given):
        known = expected[number] if number < len(expected) else None
        known = known or _annotated(argument.annotation)
        if known is not None:
            types[argument.arg] = known
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            types.pop(node.id, None)
        # A function within has parameters of its own.
        if isinstance(node, ast.arg) and node not in given:
            types.pop(node.arg, None)
    return types


def _expected(function: ast.FunctionDef) -> Sequence[type]:
    """By the decorator: ``@policy.route`` or ``@policy.route(org=…)``."""
    for decorator in function.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and called.attr in PARAMETERS:
            is_ours = isinstance(called.value, ast.Name) and called.value.id == "policy"
            if is_ours:
                return PARAMETERS[called.attr]  # type: ignore[index]  # looked up just above
    return ()


def _annotated(annotation: ast.expr | None) -> type | None:
    if isinstance(annotation, ast.Attribute):
        return _BY_NAME.get(annotation.attr)
    return _BY_NAME.get(annotation.id) if isinstance(annotation, ast.Name) else None


def _type_of(node: ast.expr, types: Mapping[str, type]) -> type | None:
    if isinstance(node, ast.Name):
        return types.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _type_of(node.value, types)
        return None if owner is None else _members(owner).get(node.attr)
    if isinstance(node, ast.Subscript):
        owner = _type_of(node.value, types)
        return None if owner is None else _ITEMS.get(owner)
    return None


@lru_cache(maxsize=64)
def _members(owner: type) -> Mapping[str, type | None]:
    """Name → its type where that is one of the surface, of everything public in ``owner``."""
    found: dict[str, type | None] = {}
    for name in dir(owner):
        member: Any = getattr(owner, name, None)
        if not name.startswith("_"):
            found[name] = _returned(member) if isinstance(member, property) else None
    return found


def _returned(member: property) -> type | None:
    try:
        answer = typing.get_type_hints(member.fget).get("return") if member.fget else None
    except NameError:
        return None  # a name that is imported for the type checker alone
    return answer if answer in _BY_NAME.values() else None
