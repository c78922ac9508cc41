"""``postalynk queue``, ``audit`` and ``drain``: where the accepted mail is."""

from cyclopts import App

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, err, out, printable, table
from postalynk.errors import ControlError
from postalynk.service.operations import ask

queue = App(name="queue", help="What waits, by lane, organization and site.")
app.command(queue)


@queue.default
def show(*, common: Common = COMMON) -> None:
    """Depth per lane, organization and site, and the oldest age."""
    state = ask(common.settings(), "queue_state")
    if common.json:
        emit_json(state)
        return
    table(state["lanes"], ["lane", "waiting", "oldest_age_s"], empty="No lanes.")
    out.print(
        f"\ndeferred {state['deferred']}, scheduled {state['scheduled']}, "
        f"in flight {state['in_flight']}"
    )
    for halted in state["halted"]:
        out.print(
            f"\npartition {halted['partition']} is halted, {halted['held']} records held: "
            f"{printable(halted['why'])}\n  look at `postalynk dlq ls`, mend the cause, then "
            f"`postalynk dlq resume --partition {halted['partition']}`",
            markup=False,
        )
    for noun in ("organizations", "sites"):
        rows = [{noun[:-1]: name, "in_flight": n} for name, n in state[noun].items()]
        if rows:
            out.print()
            table(rows, [noun[:-1], "in_flight"], empty="")


@app.command
def audit(*, full: bool = False, common: Common = COMMON) -> int:
    """Account for every accepted delivery; exit status 1 unless nothing is lost or doubled.

    It reads the events since the last audit; what those before said is kept beside the queue.

    Parameters
    ----------
    full
        Read all events there are.
    """
    report = ask(common.settings(), "audit", timeout_s=600.0, is_full=full)
    clean = not report["unaccounted"] and not report["twice"]
    if common.json:
        emit_json(report)
    else:
        out.print(f"accepted {report['accepted']} deliveries")
        table(
            [{"state": state, "deliveries": n} for state, n in sorted(report["states"].items())],
            ["state", "deliveries"],
            empty="",
        )
        out.print(
            "every one is accounted for"
            if clean
            else f"[red]unaccounted: {report['unaccounted']}\ndelivered twice: {report['twice']}[/]"
        )
    return 0 if clean else 1


def seconds(text: str) -> float:
    """``60s``, ``5m``, ``1h`` or plain seconds."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    number = text[:-1] if unit else text
    try:
        value = float(number) * (unit or 1.0)
    except ValueError:
        value = -1.0
    if value < 0:
        raise ControlError(f"--timeout {text!r} is no time span", fix="write 60s, 5m or 1h")
    return value


# A cluster whose brokers are away is asked for up to half a minute, some questions one after the
# other, before the answer is that it does not say.
GRACE_S = 120.0


@app.command
def drain(*, timeout: str = "60s", common: Common = COMMON) -> int:
    """Wait until nothing is queued, deferred mail aside; exit status 1 at the timeout.

    Parameters
    ----------
    timeout
        How long to wait: 60s, 5m, 1h.
    """
    limit_s = seconds(timeout)
    err.print(f"waiting up to {timeout} for the queue to empty…")
    state = ask(common.settings(), "drain", timeout_s=limit_s + GRACE_S, limit_s=limit_s)
    if common.json:
        emit_json(state)
    else:
        out.print(
            f"{'drained' if state['drained'] else 'still queued: ' + str(state['queued'])}, "
            f"{state['deferred']} deferred"
        )
    return 0 if state["drained"] else 1
