"""``postalynk queue flush``, ``cancel`` and ``release``: what waits is sent at once, or taken back;
what is held in doubt is sent again.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from postalynk.cli.app import COMMON, Common
from postalynk.cli.queue import queue
from postalynk.cli.render import emit_json, out
from postalynk.service.operations import ask

LONGEST_S = 3_600.0


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """What is meant; all that is named must fit."""

    org: Annotated[str | None, Parameter(help="Only mail of this organization.")] = None
    domain: Annotated[str | None, Parameter(help="Only to recipients at this domain.")] = None
    site: Annotated[
        str | None, Parameter(help="Only deferred mail whose last attempt went to this site.")
    ] = None
    tag: Annotated[
        str | None, Parameter(help="Only messages with this tag: NAME or NAME=VALUE.")
    ] = None
    all: Annotated[bool, Parameter(help="All that waits.", negative="")] = False

    def told(self) -> dict[str, Any]:
        """As the operation takes it."""
        return {
            "org": self.org,
            "domain": self.domain,
            "site": self.site,
            "tag": self.tag,
            "is_all": self.all,
        }


NOTHING = Which()


@queue.command
def flush(*, which: Which = NOTHING, yes: bool = False, common: Common = COMMON) -> None:
    """Let deferred and scheduled mail go at once; without --yes it only counts.

    Parameters
    ----------
    yes
        Do it.
    """
    _act("flush_waiting", which, "sent at once", yes, common)


@queue.command
def cancel(*, which: Which = NOTHING, yes: bool = False, common: Common = COMMON) -> None:
    """Take deferred and scheduled mail back; without --yes it only counts.

    Parameters
    ----------
    yes
        Do it.
    """
    _act("cancel_waiting", which, "cancelled", yes, common)


def _act(operation: str, which: Which, what: str, yes: bool, common: Common) -> None:
    settings = common.settings()
    answer = ask(settings, operation, timeout_s=LONGEST_S, is_dry_run=not yes, **which.told())
    if common.json:
        emit_json(answer)
        return
    would = "" if yes else "would be "
    out.print(
        f"{answer['deferred']} deferred deliveries and {answer['scheduled']} scheduled messages "
        f"{would}{what}"
    )
    if answer["left"]:
        out.print(f"{answer['left']} more are under way or fit in part, and are left alone")
    if not yes and answer["deferred"] + answer["scheduled"]:
        out.print("add --yes to do it")


@queue.command
def release(
    *message_ids: str,
    org: str | None = None,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    yes: bool = False,
    common: Common = COMMON,
) -> None:
    """Send again what is held because its receiver may have it; without --yes it only counts.

    Parameters
    ----------
    message_ids
        Held deliveries of these messages.
    org
        Only of this organization.
    all_
        All that is held.
    yes
        Do it: a recipient whose receiver has the message gets it twice.
    """
    chosen = {"message_ids": message_ids, "org": org, "is_all": all_}
    settings = common.settings()
    answer = ask(settings, "release_held", timeout_s=LONGEST_S, is_dry_run=not yes, **chosen)
    if common.json:
        emit_json(answer)
        return
    out.print(f"{answer['deliveries']} held deliveries {'are' if yes else 'would be'} sent again")
    if answer["gone"]:
        out.print(f"{answer['gone']} more are held and no longer in the log: send them anew")
    if not yes and answer["deliveries"]:
        out.print("add --yes to do it")
