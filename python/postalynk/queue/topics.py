"""Topics and groups by name; design.md section 4 says what they are."""

from typing import Final

SEND_TOPICS: Final = ("email.send.high", "email.send.normal", "email.send.bulk")
"""One a lane, the most urgent first."""
EVENTS: Final = "email.events"
DEFERRED: Final = "email.deferred"
SCHEDULED: Final = "email.scheduled"
DEAD_LETTERS: Final = "email.dlq"
IDEMPOTENCY: Final = "email.idempotency"
WORKER_GROUP: Final = "worker"
"""Whose low-water marks say what is done."""
