"""Write the parts of the reference that the code itself can tell: settings, commands, policies.

``python scripts/reference.py`` writes all below the mark in ``settings.md``, ``cli.md`` and
``policy.md`` of ``docs/reference`` and leaves what a person wrote above it. A test
fails while a page differs from what this writes.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from postalynk import policy, settings
from postalynk.cli import commands
from postalynk.policy import testing

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"

MARK = "<!-- Below this line scripts/reference.py writes; edit python/postalynk/{} instead. -->"


def settings_page() -> str:
    """Every section, key and default."""
    texts = docstrings(Path(inspect.getfile(settings)).read_text())
    parts = []
    for section, kind in get_type_hints(settings.Settings).items():
        if isinstance(kind, type) and issubclass(kind, settings.Section):
            parts += list(table(section, kind, texts))
    return "\n".join(parts)


def table(section: str, kind: type[msgspec.Struct], texts: dict[str, str]) -> Iterator[str]:
    """One section of the settings page, and those below it."""
    yield f"## `[{section}]`\n"
    yield texts[kind.__name__] + "\n"
    yield "| key | default | |\n|---|---|---|"
    below = []
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            below.append((f"{section}.{field.name}", field.type))
            continue
        text = texts.get(f"{kind.__name__}.{field.name}", "")
        yield f"| `{field.name}` | `{shown(default_of(field))}` | {text} |"
    yield ""
    for name, inner in below:
        yield from table(name, inner, texts)


def default_of(field: Any) -> Any:
    """A field's default, made anew where it is made for each."""
    made = field.default_factory
    return field.default if made is msgspec.NODEFAULT else made()


def shown(default: Any) -> str:
    """A default as TOML writes it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, dict):
        return str(default)
    if isinstance(default, tuple):
        return str(list(default))
    return f'"{default}"' if isinstance(default, str) else str(default)


def docstrings(source: str) -> dict[str, str]:
    """``Class`` and ``Class.field`` → the docstring below it, on one line."""
    texts = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        texts[node.name] = flat(ast.get_docstring(node) or "")
        for field, after in zip(node.body, node.body[1:], strict=False):
            match field, after:
                case (
                    ast.AnnAssign(target=ast.Name(name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    texts[f"{node.name}.{name}"] = flat(text)
    return texts


def flat(text: str) -> str:
    """Docstring markup as one line of Markdown."""
    return re.sub(r"\s+", " ", text.replace("``", "`")).replace("|", "\\|").strip()


def cli_page() -> str:
    """Every command and option."""
    parts = ["## The commands"]
    for path, command in walk(commands(), ()):
        parts += list(entry(path, command))
    parts.append(
        "\nEvery command but `dev` and `policy test` also takes `--config FILE` (settings file) "
        "and `--json`\n(answer with JSON); every command takes `--help`.\n"
    )
    return "\n".join(parts)


def walk(app: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command one can type, in alphabetical order."""
    for name in sorted(name for name in app if not name.startswith("-")):
        command = app[name]
        if command.show:
            if command.default_command is not None:
                yield (*path, name), command
            yield from walk(command, (*path, name))


def entry(path: tuple[str, ...], command: Any) -> Iterator[str]:
    """One command: how it is typed, what it does, its options."""
    shown_options, words = [], []
    for argument in command.assemble_argument_collection(parse_docstring=True):
        field = argument.field_info
        name = argument.names[0]
        if name in {"*", "--config", "--json"}:
            continue
        if field.kind in {field.POSITIONAL_OR_KEYWORD, field.VAR_POSITIONAL}:
            word = name.lstrip("-").upper().replace("-", "_")
            word = f"{word}…" if field.kind == field.VAR_POSITIONAL else word
            words.append(word)
        else:
            choices = get_args(argument.hint) if "Literal" in str(argument.hint) else ()
            value = "" if argument.hint is bool else f" {'|'.join(choices) or name[2:].upper()}"
            word = f"{name}{value}"
            words.append(word if argument.required else f"[{word}]")
        if argument.parameter.help:
            default = field.default if field.default not in {None, False, field.empty, ""} else None
            text = flat(argument.parameter.help) + (f" Default: `{default}`." if default else "")
            shown_options.append(f"- `{word}`: {text}")
    description = inspect.getdoc(command.default_command) or ""
    yield f"\n### `postalynk {' '.join((*path, *words))}`\n"
    yield description.partition("\nParameters\n")[0].strip().replace("``", "`")
    if shown_options:
        yield "\n" + "\n".join(shown_options)


POLICY = {
    "Hooks": "policy",
    "What hooks read": "Message Recipient Organization Incoming Path Source Attempt Now Pools Pool"
    " PathState Standing Band",
    "What hooks answer": "Route split Split Set Add Remove HeaderOp Retry Shape Tls Warmup LADDER"
    " Accept Reject Verdict",
    "Facts": "table Table",
    "Loading": "load load_bundle read_bundle made_of Bundle Policies Hook Canary DEFAULT DEV",
}
"""Section → the names of `postalynk.policy`, in the order a reader wants them."""


def policy_page() -> str:
    """Every public name of a policy and of its testing kit."""
    parts = []
    sections = [(title, policy, names.split()) for title, names in POLICY.items()]
    sections.append(("The testing kit", testing, list(testing.__all__)))
    for title, module, names in sections:
        parts.append(f"## {title}\n\n`from {module.__name__} import {', '.join(names)}`\n")
        for name in names:
            parts += list(public(name, getattr(module, name)))
    return "\n".join(parts)


def public(name: str, thing: Any) -> Iterator[str]:
    """One public name: how it is called, its docstring, what it has."""
    if type(thing).__name__ == "_Policy":
        for hook in ("accept", "route", "shape", "warmup", "retry"):
            yield f"### `@policy.{hook}`\n\n{markdown(getattr(thing, hook).__doc__)}\n"
        return
    is_callable = inspect.isfunction(thing) or inspect.isclass(thing)
    yield f"### `{name}{signature(thing) if is_callable else ''}`\n"
    yield markdown(thing.__doc__ if is_callable else constant_docs()[name]) + "\n"
    if inspect.isclass(thing) and (rows := list(members(thing))):
        yield "| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def signature(thing: Any) -> str:
    """Its parameters; none of what an author never makes."""
    if getattr(thing, "_is_protocol", False) or thing.__name__ in {"Pool", "Policies", "Hooks"}:
        return ""
    bare = inspect.signature(thing)
    parameters = [p.replace(annotation=p.empty) for p in bare.parameters.values()]
    text = str(bare.replace(parameters=parameters, return_annotation=bare.empty))
    # The value of a default that is no literal says nothing, and differs between runs.
    return re.sub(r"=<[^>]*>|='200, 500[^']*'|=\{[^}]*\}+|=Now\([^)]*\)", "=…", text)


def members(kind: type) -> Iterator[str]:
    """Its attributes and methods that have a docstring, in order of definition."""
    for owner in reversed([c for c in kind.__mro__ if c.__module__.startswith("postalynk.")]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
            match node, after:
                case ast.FunctionDef(name), _ if not name.startswith("_"):
                    is_property = isinstance(inspect.getattr_static(owner, name), property)
                    call = "" if is_property else signature(getattr(owner, name))
                    call = call.replace("(self, ", "(").replace("(self)", "()")
                    yield f"| `{name}{call}` | {flat(ast.get_docstring(node) or '')} |"
                case (
                    ast.AnnAssign(target=ast.Name(name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    yield f"| `{name}` | {flat(text)} |"


def constant_docs() -> dict[str, str]:
    """Constant or alias of `postalynk.policy` → the docstring below it."""
    texts = {}
    for path in sorted(Path(inspect.getfile(policy)).parent.glob("*.py")):
        body = ast.parse(path.read_text()).body
        for node, after in pairwise(body):
            match node, after:
                case (
                    ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    texts[name] = text
    return texts


def markdown(docstring: str | None) -> str:
    """A docstring as Markdown: its indented blocks are code."""
    lines: list[str] = []
    for block in re.split(r"\n\n+", inspect.cleandoc(docstring or "")):
        if block.startswith(("    ", "@", "with ")):
            lines.append(f"```python\n{textwrap.dedent(block)}\n```")
        elif lines and lines[-1].endswith("```") and block.startswith("@"):
            lines[-1] = f"{lines[-1][:-4]}\n\n{block}\n```"
        else:
            lines.append(block.replace("``", "`"))
    return "\n\n".join(lines)


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    generated = {
        "settings.md": ("settings.py", settings_page),
        "cli.md": ("cli/", cli_page),
        "policy.md": ("policy/", policy_page),
    }
    texts = {}
    for name, (source, write) in generated.items():
        mark = MARK.format(source)
        above, found, _ = (PAGES / name).read_text().partition(mark)
        assert found, f"{name} has lost its mark: {mark}"
        texts[PAGES / name] = f"{above}{mark}\n\n{write().strip()}\n"
    return texts


def main() -> int:
    """Write them."""
    for path, text in pages().items():
        path.write_text(text)
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
