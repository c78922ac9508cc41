"""Freezing a loaded policy's globals: a guard rail, not a sandbox.

**Problem.** A policy that remembers something between calls answers differently in every worker,
at a retry and in a replay, and nobody can say why.
**Model.** ``global`` statements are refused before the code runs. After it ran, the module
refuses new attributes, and its lists, dicts and sets become equals that read alike and refuse to
change; nested ones too. A policy that tries raises TypeError, and the fallback is taken (G4).
**Not here.** Whoever wants to get around it can; objects of other types are left as they are.
"""

import ast
from types import ModuleType
from typing import Any, NoReturn


def _refuse(*_: object, **__: object) -> NoReturn:
    raise TypeError("a policy's globals are frozen after load: answer from what the hook is given")


_LIST = (
    "append clear extend insert pop remove reverse sort __setitem__ __delitem__ __iadd__ __imul__"
)
_DICT = "clear pop popitem setdefault update __setitem__ __delitem__ __ior__"
_SET = (
    "add clear difference_update discard intersection_update pop remove symmetric_difference_update"
    " update __iand__ __ior__ __isub__ __ixor__"
)

FrozenList: type[list[Any]] = type("FrozenList", (list,), dict.fromkeys(_LIST.split(), _refuse))
FrozenDict: type[dict[Any, Any]] = type(
    "FrozenDict", (dict,), dict.fromkeys(_DICT.split(), _refuse)
)
FrozenSet: type[set[Any]] = type("FrozenSet", (set,), dict.fromkeys(_SET.split(), _refuse))


class FrozenModule(ModuleType):
    """A module whose attributes stay as they are."""

    __setattr__ = _refuse
    __delattr__ = _refuse


def freeze(module: ModuleType) -> None:
    """Freeze the globals of a module that has run."""
    for name, value in vars(module).items():
        if not name.startswith("__"):
            vars(module)[name] = frozen(value)
    module.__class__ = FrozenModule


def frozen(value: Any) -> Any:
    """The value, or its equal that refuses to change."""
    # Exact types only: a subclass means its author wants something of it.
    if type(value) is list:
        return FrozenList(map(frozen, value))
    if type(value) is dict:
        return FrozenDict((key, frozen(item)) for key, item in value.items())
    if type(value) is set:
        return FrozenSet(value)
    if type(value) is tuple:
        return tuple(map(frozen, value))
    return value


def global_statement(tree: ast.Module) -> ast.Global | None:
    """The first ``global`` statement, if there is one."""
    return next((node for node in ast.walk(tree) if isinstance(node, ast.Global)), None)
