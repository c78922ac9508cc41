"""``postalynk why``: the story of a message."""

from datetime import datetime
from typing import Any

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out, printable
from postalynk.service.operations import ask


@app.command
def why(message_id: str, *, common: Common = COMMON) -> None:
    """The story of a message: decisions, attempts, replies, times.

    Parameters
    ----------
    message_id
        The id that POST /emails answered with.
    """
    story = ask(common.settings(), "why", message_id=message_id)
    if common.json:
        emit_json(story)
    else:
        tell(story)


def tell(story: dict[str, Any]) -> None:
    """Draw a story on the terminal, one line per thing that happened."""
    message = story["message"]
    title = f"{message['from']} → {', '.join(message['to'])}  “{message['subject']}”"
    out.print(f"{message['id']}  {printable(title)}", markup=False)
    began = datetime.fromisoformat(message["created_at"])
    out.print(f"{began:%Y-%m-%d %H:%M:%S} UTC  accepted, lane {message['priority']}", markup=False)
    if message.get("scheduled_at"):
        at = datetime.fromisoformat(message["scheduled_at"])
        out.print(f"{at:%Y-%m-%d %H:%M:%S} UTC  to be sent at this time", markup=False)
    for delivery in story["deliveries"]:
        out.print(f"  {delivery['address']}: {delivery['state']}", markup=False)
        for event in delivery["events"]:
            for line in _lines(event, began):
                out.print(f"    {printable(line)}", markup=False)
    if story["is_truncated"]:
        out.print("  (more events than are shown)")


def _lines(event: dict[str, Any], began: datetime) -> list[str]:
    after_s = (datetime.fromisoformat(event["at"]) - began).total_seconds()
    attempt = f"attempt {event['attempt']} " if event["attempt"] else ""
    lines = [f"+{after_s:.3f} s  {attempt}{event['kind']}"]
    path, policy = event["path"], event["policy"]
    if path["pool"]:
        fallback = ", the fallback" if policy["is_fallback"] else ""
        reason = f" because {policy['reason']}" if policy["reason"] else ""
        lines.append(f"  pool {path['pool']}{fallback}{reason} (policy {policy['version']})")
    if told := policy.get("explanation"):
        lines.append(f"  decided at {told['line']}: {told['source'] or told['answer']}")
        lines += [f"    {read['name']}  {read['value']}" for read in told["reads"]]
        if not told["is_repeatable"]:
            lines.append("    asked again it answered otherwise: see docs/policy/PL102.md")
    if path["peer"]:
        took = event["latency_us"]["total"] / 1000
        tls = event["tls"]["used"] or "plaintext"
        if event["tls"]["policy"] not in ("", "opportunistic"):
            tls += f" ({event['tls']['policy']} demanded)"
        via = f" by {path['relay']}" if path["relay"] else ""
        lines.append(
            f"  from {path['source']}{via} to {path['mx'] or path['site']} at {path['peer']}, "
            f"{tls}, {took:.1f} ms"
        )
    if event["tls"]["refused"]:
        lines.append(f"  TLS was offered and not used: {event['tls']['refused']}")
    if reply := event["reply"]:
        lines.append(f"  {reply['code']} {reply['text']}".replace("\n", " / "))
    if event["class"]:
        lines.append(f"  class {event['class']}, at {event['phase']}")
    if event["reason"]:
        lines.append(f"  {event['reason']}")
    if event["due_at"]:
        lines.append(f"  tried again at {event['due_at']}")
    lines += [f"    {said}" for said in event["transcript"].rstrip("\n").split("\n") if said]
    return lines
