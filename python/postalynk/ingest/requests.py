"""A body becomes messages or problems: the fast pass, and where it fails the slow one.

An entry is an `EmailRequest` once it has its types; what has not is a list of problems already.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from postalynk.ingest.answers import Answer, Problem, invalid, invalid_tree, refusal
from postalynk.ingest.border import new_message_id
from postalynk.ingest.compose import Composer
from postalynk.ingest.idempotency import Prepared
from postalynk.ingest.inspection import Inspection
from postalynk.ingest.receipt import Receipt
from postalynk.ingest.schema import MAX_BATCH, EmailRequest, decode_batch, decode_one
from postalynk.model import AcceptedMessage

Entry = EmailRequest | list[Problem]


class Reading:
    """One body of one organization, validated at one moment."""

    def __init__(self, composer: Composer, *, is_batch: bool, is_strict: bool) -> None:
        """``is_strict``: one refused entry refuses the whole batch, as Resend's header asks."""
        self._composer = composer
        self._inspection = Inspection(composer)
        self._is_batch = is_batch
        self._is_strict = is_strict
        self.is_strict = is_strict or not is_batch
        """Whether one refused message refuses the whole request."""

    def prepare(self, body: bytes, ids: list[bytes] | None = None) -> Prepared | Answer:
        """Messages and receipt, under the ids given or fresh ones; or the refusal."""
        entries = self._decode(body)
        if isinstance(entries, Answer):
            return entries
        if ids is None:
            now_ms = self._composer.now_us // 1000
            ids = [new_message_id(now_ms) for _ in entries]
        messages: list[AcceptedMessage] = []
        refused: dict[int, list[Problem]] = {}
        compose = self._composer.compose
        for index, (entry, message_id) in enumerate(zip(entries, ids, strict=True)):
            if isinstance(entry, list):
                refused[index] = entry
                continue
            try:
                messages.append(compose(entry, message_id))
            except ValueError as flaw:
                refused[index] = self._problems(entry, index, flaw)
        if refused and (not messages or self._is_strict or not self._is_batch):
            return invalid([p for problems in refused.values() for p in problems])
        errors = {at: msgspec.json.encode(invalid_tree(ps)) for at, ps in refused.items()}
        return Prepared(Receipt(b"".join(ids), errors, self._is_batch), messages)

    # --- decoding -------------------------------------------------------------------------------

    def _decode(self, body: bytes) -> list[Entry] | Answer:
        try:
            if self._is_batch:
                batch = decode_batch(body)
                return self._count(len(batch)) or list(batch)
            return [decode_one(body)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return self._decode_slowly(body, str(error))

    def _decode_slowly(self, body: bytes, reason: str) -> list[Entry] | Answer:
        try:
            tree = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            message = f"the body is not JSON: {error}"[:300]
            return refusal(400, "invalid_json", message)
        if not self._is_batch:
            return [self._convert(tree, "", reason)]
        if not isinstance(tree, list):
            self._inspection.refuse("", "is not a list", "send a list of messages")
            return invalid(self._inspection.problems)
        return self._count(len(tree)) or [
            self._convert(item, f"[{index}]", reason) for index, item in enumerate(tree)
        ]

    def _count(self, entries: int) -> Answer | None:
        if 1 <= entries <= MAX_BATCH:
            return None
        self._inspection.refuse(
            "", f"the batch has {entries} messages", f"send 1 to {MAX_BATCH} at a time"
        )
        return invalid(self._inspection.problems)

    def _convert(self, item: Any, at: str, reason: str) -> Entry:
        problems = self._inspection.inspect(item, at)
        if problems:
            return problems
        try:
            return msgspec.convert(item, EmailRequest)
        except msgspec.ValidationError as error:
            # The passes disagree: refused all the same, with what the decoder said.
            return [Problem(at, None, str(error) or reason, "correct it")]

    def _problems(self, entry: EmailRequest, index: int, flaw: ValueError) -> list[Problem]:
        at = f"[{index}]" if self._is_batch else ""
        problems = self._inspection.inspect(msgspec.to_builtins(entry), at)
        return problems or [Problem(at, None, str(flaw), "correct it")]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")
