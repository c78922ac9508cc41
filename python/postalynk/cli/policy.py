"""``postalynk policy``: make one, check it, put it in force, go back."""

import base64
import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, err, out, table
from postalynk.errors import ControlError, NotRunning, PolicyError
from postalynk.service.operations import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postalynk.policy import Bundle

policy = App(name="policy", help="Policies: make one, check it, put it in force, go back.")
app.command(policy)

Place = Annotated[Path, Parameter(name="DIRECTORY")]


@policy.command
def new(directory: Place, *, common: Common = COMMON) -> None:
    """Write a first policy, with a table and a test, into a new directory."""
    from postalynk.policy.scaffold import make

    files = make(directory)
    if common.json:
        emit_json({"directory": str(directory), "files": files})
        return
    out.print(f"{directory}: {', '.join(files)}", markup=False)
    out.print(f"Try it: postalynk policy test {directory}", markup=False)


@policy.command
def check(directory: Place, *, common: Common = COMMON) -> int:
    """Load a policy, check its types and its examples, lint it; exit status 1 if one fails."""
    return _check(_read(directory), common)


@policy.command
def lint(directory: Place, *, common: Common = COMMON) -> int:
    """Find what replay and retries would stumble over: PL101 to PL104, docs/policy/."""
    from postalynk.policy.lint import lint as find

    findings = find(_read(directory).sources)
    if common.json:
        emit_json([found._asdict() for found in findings])
    for found in [] if common.json else findings:
        out.print(f"{found}\n  fix: {found.fix}; see docs/policy/{found.code}.md", markup=False)
    if not findings and not common.json:
        out.print("nothing found")
    return 1 if findings else 0


@policy.command
def test(directory: Place, *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run a policy's tests and examples with pytest, to which further arguments go.

    Its plugin gives tests the fixture ``hooks`` and needs no configuration.
    """
    import importlib.util
    import subprocess

    from postalynk.cli.policy_deploy import pytest_command

    if importlib.util.find_spec("pytest") is None:
        raise PolicyError("pytest is not installed", fix="pip install 'postalynk[testing]'")
    _read(directory)
    command = [*pytest_command(directory), *arguments]
    return subprocess.run(command, check=False).returncode


@policy.command(name="list")
def list_(*, common: Common = COMMON) -> None:
    """Deployed versions, the one in force, and the one the worker runs."""
    _show(ask(common.settings(), "list_policies"), common)


@policy.command
def deploy(
    directory: Place, *, canary: str = "", untested: bool = False, common: Common = COMMON
) -> int:
    """Check a policy and put it in force; a running worker takes it at its next batch.

    Its own tests must pass, and asked about the mail of the last minute it must fail no more often
    than the policy in force. It takes precedence over ``policy.path``. The five deployed last are
    kept.

    Parameters
    ----------
    canary
        The share of the organizations it decides for, such as 5%, until it is promoted. It is taken
        back by itself when it defers, bounces or fails more than the policy in force.
    untested
        Neither run its tests nor ask it about the last minute; it is checked all the same.
    """
    from postalynk.cli.policy_deploy import smoked, tested
    from postalynk.cli.policy_replay import share

    try:
        part = share(canary) if canary else None
    except ValueError as error:
        raise ControlError(str(error)) from error
    bundle = _read(directory)
    if _check(bundle, common, is_quiet=True):
        return 1
    files = _encoded(bundle.content)
    if not untested:
        tested(directory)
        smoked(common.settings(), _encoded(_deployed(common, None)), files)
    _show(ask(common.settings(), "deploy_policy", files=files, canary_share=part), common)
    return 0


@policy.command
def promote(*, common: Common = COMMON) -> None:
    """Put the canary in force for every organization."""
    _show(ask(common.settings(), "promote_policy"), common)


@policy.command
def rollback(
    version: Annotated[str | None, Parameter(name="VERSION")] = None, *, common: Common = COMMON
) -> None:
    """Put the policy deployed before in force again, or the version named.

    While a canary is on trial it goes, and nothing else changes. Before the first deployed one
    there is the policy of ``policy.path``.
    """
    _show(ask(common.settings(), "roll_back_policy", version=version), common)


@policy.command
def diff(directory: Place, *, version: str | None = None, common: Common = COMMON) -> int:
    """What a directory would change of the policy in force; exit status 1 if anything.

    Parameters
    ----------
    version
        A deployed version to compare with, in place of the one in force.
    """
    bundle = _read(directory)
    theirs = _deployed(common, version)
    lines = _difference(theirs, bundle.content)
    if common.json:
        emit_json({"version": bundle.version, "is_changed": bool(lines), "diff": lines})
    else:
        out.print("\n".join(lines) or "no difference", markup=False)
    return 1 if lines else 0


@policy.command
def explain(
    message_id: Annotated[str | None, Parameter(name="ID")] = None,
    *,
    message: Path | None = None,
    at: str | None = None,
    to: str | None = None,
    candidate: Path | None = None,
    common: Common = COMMON,
) -> None:
    """Why a delivery goes where it goes: what the policy read, the line that answered, the answer.

    Parameters
    ----------
    message_id
        A message whose record the queue retains, asked about as for its first attempt.
    message
        A JSON file in place of it: {"provider": "google", "priority": "bulk"}, the arguments of
        Message.fake.
    at
        "HH:MM" or "YYYY-MM-DD HH:MM" (UTC); left out, when the message was accepted, or 12:00.
    to
        Which recipient of the message; left out, the first.
    candidate
        A policy directory in place of the policy in force.
    """
    from postalynk.policy.testing import at as instant
    from postalynk.service.replaying import explained_file

    moment = None if at is None else instant(at)
    files = _files_of(candidate, common)
    if (message_id is None) == (message is None):
        raise ControlError("name a message or a file", fix="give an ID or --message FILE")
    if message is not None:
        pools = [row["name"] for row in ask(common.settings(), "list_pools")]
        told = explained_file(files, message, pools, moment or instant("12:00"))
    else:
        at_us = None if moment is None else moment.at_us
        told = ask(
            common.settings(), "explain_policy", timeout_s=120, files=_encoded(files),
            message_id=message_id, to=to, at_us=at_us,
        )  # fmt: skip
    emit_json(told) if common.json else _tell(told)


@policy.command
def replay(
    *,
    candidate: Path,
    since: str = "24h",
    baseline: str = "deployed",
    max_changed: str = "",
    html: Path | None = None,
    common: Common = COMMON,
) -> int:
    """What a candidate would change of the decisions about the mail the queue retains.

    Exit status 1 when more than --max-changed of the deliveries change.

    Parameters
    ----------
    candidate
        The policy directory to try.
    since
        How far back, such as 24h or 7d.
    baseline
        What to compare with: deployed (the policy in force), or a directory.
    max_changed
        The share that may change, such as 2%; left out, any.
    html
        Write the table to this file, too.
    """
    import time

    from postalynk.cli.policy_replay import page, share, show
    from postalynk.policy.spans import parse_span

    try:
        since_us = time.time_ns() // 1_000 - parse_span(since) * 1_000_000
        limit = share(max_changed) if max_changed else 1.0
    except ValueError as error:
        raise ControlError(str(error)) from error
    before = _files_of(None if baseline == "deployed" else Path(baseline), common)
    after = _read(candidate).content
    replayed = ask(
        common.settings(), "replay_policy", timeout_s=3_600,
        baseline=_encoded(before), candidate=_encoded(after), since_us=since_us,
    )  # fmt: skip
    if html is not None:
        html.write_text(page(replayed))
    emit_json(replayed) if common.json else show(replayed)
    return 1 if replayed["share"] > limit else 0


@policy.command
def simulate(
    directory: Place,
    *,
    traffic: Path,
    hours: int = 24,
    start: str = "2026-01-05 00:00",
    common: Common = COMMON,
) -> None:
    """Run a policy, its limits and its warm-up over hours of made-up traffic.

    Parameters
    ----------
    traffic
        A JSON file: {"flows": [{"message": {"provider": "google"}, "rate": "3600/h", "orgs": 20}]},
        the arguments of Flow and of Message.fake, and "pools": {"shared": {"mta-1": 1}}; left out,
        the pools of this installation.
    hours
        How long, on the virtual clock.
    start
        When it begins, "YYYY-MM-DD HH:MM" (UTC); a warm-up knows the day.
    """
    from postalynk.cli.policy_simulate import read, show
    from postalynk.policy import load
    from postalynk.policy.testing import at, simulate

    try:
        begins = at(start)
    except ValueError as error:
        raise ControlError(str(error)) from error
    if hours < 1:
        raise ControlError(f"hours {hours}: nothing would happen", fix="use 1 or more")
    flows, members = read(traffic)
    if not members:
        rows = ask(common.settings(), "list_pools")
        members = {row["name"]: row["sources"] for row in rows}
    simulated = simulate(load(directory), flows, hours, start=begins, pools=members)
    show(simulated, as_json=common.json)


def _files_of(directory: Path | None, common: Common) -> "Mapping[str, bytes]":
    """The files of a directory, else of the policy in force."""
    return _deployed(common, None) if directory is None else _read(directory).content


def _tell(told: dict[str, Any]) -> None:
    """Draw an explanation: question, line, answer."""
    out.print(f"{told['function']} at {told['place']}, policy {told['version']}", markup=False)
    for read in told["reads"]:
        out.print(f"  {read['name']}  {read['value']}", markup=False)
    out.print(f"{told['line']}  {told['source']}", markup=False)
    out.print(f"  {told['answer']}", markup=False)
    chosen = f"pool {told['pool']}" + (", the fallback" if told["is_fallback"] else "")
    if told["fallback"]:
        chosen += f", then {', '.join(told['fallback'])}"
    out.print(chosen + (f" because {told['reason']}" if told["reason"] else ""), markup=False)
    if not told["is_repeatable"]:
        out.print("Asked again it answered otherwise: see docs/policy/PL102.md", markup=False)
    for made in told.get("attempts", []):
        _tell_attempt(made, told["version"])


def _tell_attempt(made: dict[str, Any], version: str) -> None:
    """What the engine did with the decision of one attempt."""
    whose = "" if made["version"] in ("", version) else f", decided by {made['version']}"
    out.print(f"attempt {made['attempt']}: {made['kind']}{whose}", markup=False)
    if made["pool"]:
        fallback = ", the fallback" if made["is_fallback"] else ""
        why = f" because {made['reason']}" if made["reason"] else ""
        place = f" from {made['source']}" if made["source"] else ""
        out.print(f"  pool {made['pool']}{fallback}{place} to {made['site']}{why}", markup=False)
    if made["outcome"]:
        out.print(f"  {made['outcome']}".replace("\n", " / "), markup=False)
    if stored := made["explanation"]:
        out.print(f"  then: {stored['line']}  {stored['source'] or stored['answer']}", markup=False)


def _deployed(common: Common, version: str | None) -> dict[str, bytes]:
    from postalynk.policy import read_bundle
    from postalynk.service.process import policy_directory

    settings = common.settings()
    try:
        files = ask(settings, "policy_files", version=version)
    except NotRunning:
        raise
    except ControlError:
        if version is not None:
            raise
        # Nothing runs and nothing is deployed: what would run is that of policy.path.
        return dict(read_bundle(policy_directory(settings)).content)
    return {name: base64.b64decode(data) for name, data in files.items()}


def _difference(before: "Mapping[str, bytes]", after: "Mapping[str, bytes]") -> list[str]:
    lines: list[str] = []
    for name in sorted({*before, *after}):
        one, other = (
            files.get(name, b"").decode(errors="replace").splitlines() for files in (before, after)
        )
        lines += difflib.unified_diff(one, other, f"in force/{name}", f"new/{name}", lineterm="")
    return lines


def _read(directory: Path) -> "Bundle":
    from postalynk.policy import read_bundle

    return read_bundle(directory)


def _encoded(content: "Mapping[str, bytes]") -> dict[str, str]:
    return {name: base64.b64encode(data).decode() for name, data in content.items()}


def _check(bundle: "Bundle", common: Common, *, is_quiet: bool = False) -> int:
    """Check and say how it went; with ``is_quiet`` only if something is wrong."""
    from postalynk.policy.check import check as look

    steps = look(bundle)
    has_failed = any(step.state == "failed" for step in steps)
    if is_quiet and not has_failed:
        return 0
    if common.json:
        emit_json({"version": bundle.version, "steps": [step._asdict() for step in steps]})
    else:
        console = err if is_quiet else out
        for step in steps:
            console.print(f"{step.name:9} {step.state}", markup=False)
            for finding in step.findings:
                console.print(f"  {finding}", markup=False)
        if not has_failed:
            console.print(f"version   {bundle.version}", markup=False)
    return 1 if has_failed else 0


def _show(listed: dict[str, Any], common: Common) -> None:
    if common.json:
        emit_json(listed)
        return
    canary = listed.get("canary")
    roles = {canary["version"]: f"canary, {canary['share']:.1%}"} if canary else {}
    roles[listed["in_force"]] = "in force"
    rows = [{**row, "": roles.get(row["version"], "")} for row in reversed(listed["deployed"])]
    table(rows, ["version", "deployed_at", "files", ""], empty="No policy is deployed.")
    if not listed["in_force"]:
        out.print("In force is the policy of policy.path.")
    if canary and "candidate" in canary:
        for name, whose in (("candidate", "Canary"), ("elsewhere", "Elsewhere")):
            counts = ", ".join(f"{what} {count}" for what, count in canary[name].items())
            out.print(f"{whose}: {counts}.", markup=False)
    if listed.get("ended"):
        out.print(f"The last trial: {listed['ended']}.", markup=False)
    if running := listed.get("running"):
        beside = f" and the canary {listed['running_canary']}" if listed["running_canary"] else ""
        out.print(f"The worker runs {running}{beside}.", markup=False)
