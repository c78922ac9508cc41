"""``postalynk dlq``: what could not be processed, why, and how it goes back."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.moments import moment_us
from postalynk.cli.render import emit_json, out, printable, table
from postalynk.errors import ControlError
from postalynk.service.operations import ask

dlq = App(name="dlq", help="Dead letters: records that could not be processed.")
app.command(dlq)

# A redrive goes at its pace; this is only the time after which we stop waiting for the answer.
LONGEST_S = 86_400.0


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which dead letters are meant; those that are not named fit all."""

    reason: Annotated[str | None, Parameter(help="Only those with this reason.")] = None
    org: Annotated[str | None, Parameter(help="Only those of this organization.")] = None
    since: Annotated[
        str | None, Parameter(help="Only those put aside since: 2h, 3d or an RFC 3339 time.")
    ] = None
    until: Annotated[str | None, Parameter(help="Only those put aside before.")] = None
    release: Annotated[
        str | None, Parameter(help="Only those put aside by this release of Postalynk.")
    ] = None
    id: Annotated[
        str | None, Parameter(help="Only this one: PARTITION:OFFSET, or a message id.")
    ] = None

    def told(self) -> dict[str, Any]:
        """As the operation takes it."""
        return {
            "reason": self.reason,
            "org": self.org,
            "since_us": None if self.since is None else moment_us(self.since, "--since"),
            "until_us": None if self.until is None else moment_us(self.until, "--until"),
            "version": self.release,
            "id": self.id,
        }


ALL = Which()


@dlq.command
def ls(*, which: Which = ALL, common: Common = COMMON) -> None:
    """Dead letters with their reasons, oldest first."""
    letters = ask(common.settings(), "dead_letters", **which.told())
    if common.json:
        emit_json(letters)
    else:
        _table(letters, "No dead letters.")


@dlq.command
def show(
    id: str,  # noqa: A002  the name is what help shows
    /,
    *,
    output: Path | None = None,
    common: Common = COMMON,
) -> None:
    """One dead letter: why, when, how often, and the record itself.

    Parameters
    ----------
    id
        PARTITION:OFFSET as `dlq ls` shows it, or a message id.
    output
        Write the record's bytes to this file.
    """
    letter = ask(common.settings(), "show_letter", letter_id=id)
    record = base64.b64decode(letter["record"])
    if output is not None:
        try:
            output.write_bytes(record)
        except OSError as error:
            raise ControlError(f"{output}: {error.strerror}", fix="name another file") from error
    if common.json:
        emit_json(letter)
        return
    for name, value in _readable(letter).items():
        if name != "record":
            out.print(f"{name.replace('_', ' ')}: {printable(str(value))}", markup=False)
    out.print("record:", markup=False)
    for place in range(0, min(len(record), 512), 16):
        octets = record[place : place + 16]
        text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in octets)
        out.print(f"  {place:04x}  {octets.hex(' '):47}  {text}", markup=False)
    if len(record) > 512:
        out.print(f"  … {len(record)} octets: --output FILE writes them all", markup=False)


@dlq.command
def top(
    by: Literal["reason", "org", "version", "policy_version", "topic"] = "reason",
    /,
    *,
    which: Which = ALL,
    common: Common = COMMON,
) -> None:
    """Where dead letters come from: counted, with the first and the last.

    Parameters
    ----------
    by
        What they are counted by.
    """
    groups = ask(common.settings(), "dead_letters_top", by=by, **which.told())
    if common.json:
        emit_json(groups)
        return
    rows = [_readable({by: group["name"] or "(none)", **group}) for group in groups]
    columns = [by, "letters", "organizations", "first_at", "last_at"]
    table(rows, columns, empty="No dead letters.")


@dlq.command
def redrive(
    *,
    which: Which = ALL,
    rate: float | None = None,
    yes: bool = False,
    common: Common = COMMON,
) -> None:
    """Put dead letters back where they came from; without --yes it only shows which.

    Parameters
    ----------
    rate
        So many a second at most; default: dead_letters.redrive_per_s.
    yes
        Do it.
    """
    if rate is not None and rate <= 0:
        raise ControlError(f"--rate {rate:g} puts nothing back", fix="use a number above 0")
    answer = ask(
        common.settings(),
        "redrive",
        timeout_s=LONGEST_S,
        is_dry_run=not yes,
        rate_per_s=rate,
        **which.told(),
    )
    if common.json:
        emit_json(answer)
        return
    _table(answer["redriven"], "No dead letter fits.")
    if answer["refused"]:
        out.print(f"{len(answer['refused'])} more cannot go back: their key was not kept")
    _say(len(answer["redriven"]), "put back", is_done=yes)


@dlq.command
def drop(*, which: Which = ALL, yes: bool = False, common: Common = COMMON) -> None:
    """Give dead letters up: listed no more, counted for good; without --yes it only shows which.

    Parameters
    ----------
    yes
        Do it.
    """
    answer = ask(common.settings(), "drop_letters", is_dry_run=not yes, **which.told())
    if common.json:
        emit_json(answer)
        return
    _table(answer["dropped"], "No dead letter fits.")
    _say(len(answer["dropped"]), "given up", is_done=yes)


@dlq.command
def resume(*, partition: int | None = None, common: Common = COMMON) -> None:
    """Let halted partitions go on; what was held in them becomes dead letters.

    Parameters
    ----------
    partition
        Only this one.
    """
    resumed = ask(common.settings(), "resume_partitions", partition=partition)
    if common.json:
        emit_json(resumed)
    else:
        numbers = ", ".join(str(number) for number in resumed)
        out.print(f"partitions {numbers} go on" if resumed else "No partition is halted.")


def _say(count: int, what: str, *, is_done: bool) -> None:
    if count:
        out.print(f"{count} {what}" if is_done else f"{count} would be {what}: add --yes")


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same with times for people: ``at_us`` becomes ``at``."""
    shown = {}
    for name, value in row.items():
        if name.endswith("at_us"):
            moment = datetime.fromtimestamp(value / 1e6, UTC)
            shown[name.removesuffix("_us")] = moment.isoformat("T", "seconds")
        else:
            shown[name] = value
    return shown


def _table(letters: Sequence[Mapping[str, Any]], empty: str) -> None:
    columns = ["id", "at", "topic", "reason", "detail", "message_id", "version", "count"]
    table([_readable(row) for row in letters], columns, empty=empty)
