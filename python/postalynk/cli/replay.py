"""``postalynk replay``: what the log retains, done again."""

from typing import Annotated

from cyclopts import Parameter

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.moments import moment_us
from postalynk.cli.render import emit_json, out
from postalynk.errors import ControlError
from postalynk.service.operations import ask

LONGEST_S = 86_400.0


@app.command
def replay(
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str,
    org: str | None = None,
    into: str | None = None,
    resend: bool = False,
    message: str | None = None,
    state: str | None = None,
    yes: bool = False,
    common: Common = COMMON,
) -> None:
    """Rebuild PostgreSQL from the log, or send messages again.

    Parameters
    ----------
    from_
        Since when: 2h, 3d or an RFC 3339 time.
    to
        Until when.
    org
        Only of this organization.
    into
        `projections`: write the events of that time into them; rows that are there stay.
    resend
        Send the messages of that time again, with new attempt numbers; needs --yes.
    message
        With --resend: only this message.
    state
        With --resend: only deliveries that ended so, such as bounced.
    yes
        With --resend: do it. Without, it is only counted, and refused.
    """
    if resend == (into is not None):
        raise ControlError("nothing, or two things, to replay into", fix="--into or --resend")
    if into not in {None, "projections"}:
        raise ControlError(f"there is no {into!r} to replay into", fix="use --into projections")
    which = {"from_us": moment_us(from_, "--from"), "to_us": moment_us(to, "--to"), "org": org}
    settings = common.settings()
    if into is not None:
        answer = ask(settings, "replay_projections", timeout_s=LONGEST_S, **which)
        if common.json:
            emit_json(answer)
            return
        out.print(
            f"{answer['events']} events in the log; new in PostgreSQL: "
            f"{answer['new_messages']} messages, {answer['new_events']} events"
        )
        if answer["refused"]:
            out.print(f"{answer['refused']} batches were refused by PostgreSQL")
        return
    chosen = {"message_id": message, "state": state, "is_dry_run": not yes}
    answer = ask(settings, "resend", timeout_s=LONGEST_S, **which, **chosen)
    if not yes:
        raise ControlError(
            f"{answer['deliveries']} deliveries would be sent a second time",
            fix="look at `postalynk why ID` of some, then add --yes",
        )
    if common.json:
        emit_json(answer)
    else:
        out.print(f"{answer['deliveries']} deliveries are sent again")
