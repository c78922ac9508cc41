"""Loading a policy: its files run once, then they are frozen, hooks found and checked.

**Model.** Every ``*.py`` of the bundle runs once in a fresh package whose name
holds the version; files import each other with ``from .vip import VIP``. What runs is exactly the
bytes that were hashed: no byte-code cache, no second reading of the file. A `route` or `retry` the
directory leaves out is that of the policy shipped with Postalynk; without `accept`, `shape` or
`warmup` messages are taken in, limits are the engine's, and sources are warm.
**Invariants.** After `load` there is one `route` and one `retry` for everybody, at most one of
each hook per organization, each taking the arguments it will be called with and reading only
attributes that exist (`reading`).
**Errors.** PolicyError ``file:line: what``; then nothing has been loaded.
**Not here.** What a bundle is (`bundle`), lints (`lint`), which version is in force (the service).
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import threading
import traceback
from copy import copy
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from postalynk.errors import PolicyError
from postalynk.policy.bundle import Bundle, read_bundle
from postalynk.policy.freeze import freeze, global_statement
from postalynk.policy.hooks import NOTES, Kind, Note
from postalynk.policy.reading import missing
from postalynk.policy.tables import serving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

DEFAULT = Path(__file__).parent / "default"
"""The policy shipped with Postalynk: ``load(DEFAULT)``."""

DEV = Path(__file__).parent / "dev"
"""That of ``postalynk dev``, ``load(DEV)``: the same routes, retries within seconds."""

_ARGUMENTS: Mapping[Kind, tuple[str, ...]] = {
    "accept": ("msg", "now"),
    "route": ("msg", "pools", "now"),
    "shape": ("path",),
    "warmup": ("source", "now"),
    "retry": ("attempt",),
}
_SHIPPED: Sequence[Kind] = ("route", "retry")
"""Without these nothing can be sent."""


class Hook(NamedTuple):
    """A hook and where it stands: ``load("policy/").route.place``."""

    kind: Kind
    function: Any
    """An ``AcceptHook``, ``RouteHook`` … of `postalynk.policy.hooks`, by ``kind``."""
    place: str
    """``policy.py:12``, the line of its definition."""

    @property
    def name(self) -> str:
        """The function's name."""
        return str(self.function.__name__)


class Canary(NamedTuple):
    """A candidate beside the version in force: ``policies.beside(Canary(candidate, 0.05))``."""

    policies: Policies
    share: float
    """Of the organizations, 0 to 1."""


class Policies:
    """The hooks of one loaded version: ``load("policy/").route.function(msg, pools, now)``."""

    def __init__(
        self,
        bundle: Bundle,
        modules: Sequence[ModuleType],
        files: Mapping[str, str],
        hooks: Mapping[tuple[Kind, str | None], Hook],
    ) -> None:
        self.bundle = bundle
        """The bytes that run."""
        self.version = bundle.version
        """12 hexadecimal digits of the SHA-256 of code and tables."""
        self.modules = tuple(modules)
        """The policy's own files as loaded, in order of name."""
        self.files = dict(files)
        """Path of every source file → its name in messages."""
        self.hooks = dict(hooks)
        self.route = self.hooks["route", None]
        """Everybody's `route`."""
        self.retry = self.hooks["retry", None]
        """Everybody's `retry`."""
        self.has_variants = any(org for kind, org in self.hooks if kind in _SHIPPED)
        """Whether some organization has a `route` or a `retry` of its own."""
        self.canary: Canary | None = None
        """A candidate that decides for some organizations in place of this version."""

    def beside(self, canary: Canary | None) -> Policies:
        """This version with that candidate: one value, so a batch sees both or neither."""
        both = copy(self)
        both.canary = canary
        return both

    def hook(self, kind: Kind, org: str | None = None) -> Hook | None:
        """The hook of an organization: its own, else everybody's; None: there is neither."""
        own = None if org is None else self.hooks.get((kind, org))
        return self.hooks.get((kind, None)) if own is None else own

    def variants(self, kind: Kind) -> tuple[str, ...]:
        """The organizations with such a hook of their own, sorted."""
        return tuple(sorted(org for known, org in self.hooks if known == kind and org))

    def route_for(self, org: str) -> Hook:
        """The `route` of an organization: its own, else everybody's."""
        return self._of("route", org)

    def retry_for(self, org: str) -> Hook:
        """The `retry` of an organization: its own, else everybody's."""
        return self._of("retry", org)

    def _of(self, kind: Kind, org: str) -> Hook:
        own: Hook | None = self.hooks.get((kind, org))
        return self.hooks[kind, None] if own is None else own

    def place_of(self, error: BaseException, otherwise: str) -> str:
        """``file:line`` of the innermost frame of ``error`` in this policy; else ``otherwise``."""
        place = otherwise
        for frame, line in traceback.walk_tb(error.__traceback__):
            if (name := self.files.get(frame.f_code.co_filename)) is not None:
                place = f"{name}:{line}"
        return place


def load(directory: Path | str) -> Policies:
    """Load a policy directory: ``load("policy/")``; raises PolicyError naming file and line."""
    return load_bundle(read_bundle(directory))


def load_bundle(bundle: Bundle) -> Policies:
    """Load a bundle: ``load_bundle(read_bundle("policy/"))``; raises PolicyError, file and line."""
    own = _load(bundle)
    left_out: list[Kind] = [kind for kind in _SHIPPED if (kind, None) not in own.hooks]
    if left_out:
        shipped = _load(read_bundle(DEFAULT))
        own.files.update(shipped.files)
        for kind in left_out:
            own.hooks[kind, None] = shipped.hooks[kind, None]
    return Policies(bundle, own.modules, own.files, own.hooks)


class _Loaded(NamedTuple):
    modules: list[ModuleType]
    files: dict[str, str]
    hooks: dict[tuple[Kind, str | None], Hook]


def _load(bundle: Bundle) -> _Loaded:
    modules = _run(bundle, f"postalynk_policy_{bundle.version}")
    files = {bundle.path(name): name for name in bundle.sources}
    hooks: dict[tuple[Kind, str | None], Hook] = {}
    for module in modules:
        for note in vars(module).get(NOTES, ()):
            hook = _hook(note, files)
            other = hooks.get((note.kind, note.org))
            if other is not None:
                whose = f"organization {note.org}" if note.org else "everybody"
                raise PolicyError(
                    f"{hook.place}: {whose} has a {note.kind} hook already, at {other.place}",
                    fix="keep one",
                )
            hooks[note.kind, note.org] = hook
    if not hooks:
        raise PolicyError(
            f"{bundle.directory} has no hook", fix="decorate a function with @policy.route"
        )
    return _Loaded(modules, files, hooks)


class _Importer(MetaPathFinder, Loader):
    """Serves the modules of one policy from memory, and freezes each once it has run."""

    def __init__(self, bundle: Bundle, package: str) -> None:
        self.bundle = bundle
        self.package = package

    def find_spec(self, fullname: str, *_others: object) -> ModuleSpec | None:
        """The interface of `importlib.abc.MetaPathFinder`."""
        if fullname == self.package:
            spec = ModuleSpec(fullname, self, is_package=True)
            spec.submodule_search_locations = list[str]()
            return spec
        package, _, stem = fullname.rpartition(".")
        if package != self.package or f"{stem}.py" not in self.bundle.sources:
            return None
        return ModuleSpec(fullname, self, origin=self.bundle.path(f"{stem}.py"))

    def exec_module(self, module: ModuleType) -> None:
        """Run one file of the policy, then freeze it."""
        if module.__name__ == self.package:
            return
        name = f"{module.__name__.rpartition('.')[2]}.py"
        path = self.bundle.path(name)
        source = self.bundle.content[name]
        tree = ast.parse(source, path)
        if (statement := global_statement(tree)) is not None:
            raise PolicyError(
                f"{name}:{statement.lineno}: `global` in a policy: its globals are frozen",
                fix="answer from what the hook is given",
            )
        for read in missing(tree):
            raise PolicyError(
                f"{name}:{read.line}: {read.owner} has no {read.name!r}",
                fix=f"it has {', '.join(read.known)}",
            )
        module.__file__ = path
        exec(compile(tree, path, "exec", dont_inherit=True), vars(module))  # noqa: S102  the operator's own code
        freeze(module)


_LOADING = threading.Lock()
"""One at a time: the importer is found through the process's own `sys.meta_path`."""


def _run(bundle: Bundle, package: str) -> list[ModuleType]:
    importer = _Importer(bundle, package)
    name = ""
    with _LOADING, serving(bundle):
        # A fresh namespace, also for bytes that were loaded before.
        for name in [key for key in sys.modules if key.partition(".")[0] == package]:
            del sys.modules[name]
        sys.meta_path.insert(0, importer)
        try:
            modules = []
            for name in bundle.sources:
                stem = name.removesuffix(".py")
                modules.append(importlib.import_module(f"{package}.{stem}"))
            return modules
        except PolicyError:
            raise
        except (Exception, SystemExit) as error:
            place = _explain(error, bundle.directory, name)
            raise PolicyError(place, fix="mend that line") from error
        finally:
            sys.meta_path.remove(importer)


def _explain(error: BaseException, directory: Path, name: str) -> str:
    """``file:line: what`` of an error while a file ran or was compiled."""
    place = f"{name}:1"
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{Path(error.filename).name}:{error.lineno or 1}"
    else:
        for frame, line in traceback.walk_tb(error.__traceback__):
            if Path(frame.f_code.co_filename).parent == directory:
                place = f"{Path(frame.f_code.co_filename).name}:{line}"
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{place}: {type(error).__name__}: {what}"


def _hook(note: Note, files: Mapping[str, str]) -> Hook:
    function = note.function
    code = function.__code__
    place = f"{files.get(code.co_filename, code.co_filename)}:{code.co_firstlineno}"
    wanted = _ARGUMENTS[note.kind]
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise PolicyError(
            f"{place}: {note.kind} must be a plain function", fix="answer with return"
        )
    try:
        inspect.signature(function).bind(*wanted)
    except TypeError as error:
        raise PolicyError(
            f"{place}: {note.kind} cannot be called: {error}",
            fix=f"define it as ({', '.join(wanted)})",
        ) from error
    return Hook(note.kind, function, place)
