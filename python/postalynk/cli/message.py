"""``postalynk why``: the story of a message."""

from datetime import UTC, datetime
from typing import Any

from postalynk.cli.app import COMMON, Common, app
from postalynk.cli.render import emit_json, out
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
    """Draw a story on the terminal."""
    raise SystemExit(story)
