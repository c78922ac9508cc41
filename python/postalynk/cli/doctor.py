"""``postalynk doctor``: whether machine, settings and process are in order, and why so."""

import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from postalynk import __version__
from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, table
from postalynk.engine import choose_signing
from postalynk.errors import NotRunning, PostalynkError
from postalynk.policy import load as load_policies
from postalynk.service.client import control_directory
from postalynk.service.operations import ask
from postalynk.service.process import policy_directory
from postalynk.settings import Settings

LOW_DISK_BYTES = 1 << 30


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    check: str
    verdict: Literal["ok", "note", "wrong"]
    detail: str
    fix: str = ""


@app.command
def doctor(*, common: Common = COMMON) -> int:
    """Look at all that could keep mail from going out; exit status 1 if something is wrong."""
    settings = common.settings()
    findings = list(examine(settings))
    wrong = any(finding.verdict == "wrong" for finding in findings)
    if common.json:
        emit_json(
            {
                "findings": msgspec.to_builtins(findings),
                "settings": _effective(settings),
            }
        )
    else:
        table(
            [msgspec.to_builtins(finding) for finding in findings],
            ["verdict", "check", "detail", "fix"],
            empty="",
        )
        out.print()
        table(_effective(settings), ["setting", "value", "from"], empty="")
    return 1 if wrong else 0


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, cheapest first."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("version", "ok", f"Postalynk {__version__}, Python {version}")
    yield _signing(settings)
    yield from _disk(settings)
    yield _policy(settings)
    try:
        state = ask(settings, "process_state")
    except NotRunning:
        yield Finding("process", "note", "not running", "start it with `postalynk up`")
        yield from _ports(settings)
    except PostalynkError as error:
        yield Finding("process", "wrong", error.message, error.fix)
    else:
        yield from _process(state)


def _signing(settings: Settings) -> Finding:
    try:
        chosen = choose_signing(settings)
    except PostalynkError as error:
        return Finding("signing", "wrong", error.message, error.fix)
    fast = "avx512ifma" in Path("/proc/cpuinfo").read_text()
    cost = "RSA-2048 at about 260 µs" if fast else "RSA-2048 at about 700 µs"
    alone = "" if chosen.lanes else f", {cost} a signature"
    return Finding("signing", "ok", f"{chosen.name}{alone}; {chosen.reason}")


def _disk(settings: Settings) -> Iterator[Finding]:
    directory = control_directory(settings)
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    verdict: Literal["ok", "wrong"] = "ok" if free >= LOW_DISK_BYTES else "wrong"
    fix = "" if verdict == "ok" else "free some: a full disk stops accepting"
    yield Finding("disk", verdict, f"{free / 1e9:.1f} GB free for the queue", fix)


def _policy(settings: Settings) -> Finding:
    try:
        policies = load_policies(policy_directory(settings))
    except PostalynkError as error:
        return Finding("policy", "wrong", error.message, error.fix)
    return Finding(
        "policy", "ok", f"{settings.policy.path or 'default'}, version {policies.version}"
    )


def _ports(settings: Settings) -> Iterator[Finding]:
    for key, listen in (
        ("api.listen", settings.api.listen),
        ("submission.listen", settings.submission.listen),
        ("submission.listen_tls", settings.submission.listen_tls),
        ("metrics.listen", settings.metrics.listen),
    ):
        if not listen:
            continue
        host, _, port = listen.rpartition(":")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as error:
                fix = "stop what uses it, or set another"
                yield Finding(key, "wrong", f"{listen}: {error.strerror}", fix)
            else:
                yield Finding(key, "ok", f"{listen} is free")


def _process(state: dict[str, Any]) -> Iterator[Finding]:
    yield Finding("process", "ok", f"running, pid {state['pid']}, up {state['up_s']:.0f} s")
    if state["worker"]:
        yield Finding("worker", "ok", f"running, policy {state['policy_version']}")
    else:
        yield Finding("worker", "wrong", "stopped", "look at the log, then restart")
    if state["postgresql"]:
        yield Finding("postgresql", "ok", f"{state['projection_lag']} records behind")
    else:
        yield Finding(
            "postgresql",
            "note",
            "out of reach; mail goes on",
            "see docs/runbooks/projection-lag.md",
        )
    for line in state["recovery"]:
        yield Finding("queue", "note", line)


def _effective(settings: Settings) -> list[dict[str, str]]:
    rows = []

    def walk(value: Any, prefix: str) -> None:
        for name in value.__struct_fields__:
            item = getattr(value, name)
            if isinstance(item, msgspec.Struct):
                walk(item, f"{prefix}{name}.")
            elif prefix:
                key = f"{prefix}{name}"
                origin = settings.origins.get(key, "default")
                rows.append({"setting": key, "value": _shown(key, item), "from": origin})

    walk(settings, "")
    return rows


def _shown(key: str, item: object) -> str:
    text = str(item)
    if key == "queue.client" and isinstance(item, dict):
        # Some of librdkafka's settings are secrets, and it has hundreds.
        return str(dict.fromkeys(item, "…"))
    if key.endswith("url") and "@" in text:
        scheme, _, rest = text.partition("://")
        return f"{scheme}://…@{rest.rpartition('@')[2]}"
    return text
