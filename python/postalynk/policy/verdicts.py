"""What the hook `accept` answers: take a message in, or refuse it with a reply.

A refusal is a reply of SMTP whatever way the message came: over SMTP it is sent as it stands, over
HTTP its code becomes a status (4yz: 429, try later; 5yz: 403) and its words the error's message.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

# RFC 3463 section 2: class "." subject "." detail.
_ENHANCED = re.compile(r"([45])\.\d{1,3}\.\d{1,3}", re.ASCII)
# RFC 5321 section 4.5.3.1.5: a reply line has 512 octets, code and enhanced code included.
MAX_WHY = 400
_LINE = re.compile(rf"[ -~]{{1,{MAX_WHY}}}", re.ASCII)


class Accept(msgspec.Struct, frozen=True):
    """Take the message in: ``return Accept()``."""


class _Reason(msgspec.Struct, frozen=True):
    code: int
    why: str


class Reject(_Reason, frozen=True, kw_only=True):
    """Refuse the message: ``Reject(550, "no attachments over 5 MB here")``.

    ``code``: 400 to 499, the client may try again later; 500 to 599, it must not (RFC 5321 section
    4.2.1). ``why``: one line of ASCII for the sender, at most 400 characters. ``enhanced``: the
    enhanced code (RFC 3463), of the code's class; left out, ``4.7.1`` or ``5.7.1``, "refused by
    policy". Raises ValueError for anything else.

        Reject(451, "over today's quota", enhanced="4.7.0")
    """

    enhanced: str = ""

    def __post_init__(self) -> None:
        if type(self.code) is not int or not 400 <= self.code <= 599:
            raise ValueError(f"Reject code={self.code!r}: use 400 to 599, such as 550 or 451")
        why: object = self.why
        is_line = isinstance(why, str) and _LINE.fullmatch(why) is not None
        if not is_line:
            raise ValueError(f"Reject why={why!r}: one line of ASCII, 1 to {MAX_WHY} characters")
        digit = str(self.code // 100)
        if self.enhanced == "":
            msgspec.structs.force_setattr(self, "enhanced", f"{digit}.7.1")
            return
        enhanced: object = self.enhanced
        found = _ENHANCED.fullmatch(enhanced) if isinstance(enhanced, str) else None
        if found is None or found[1] != digit:
            raise ValueError(f"Reject enhanced={self.enhanced!r}: write it as {digit}.7.1")

    @property
    def is_final(self) -> bool:
        """Whether the client must not try again (5yz)."""
        return self.code >= 500


Verdict: TypeAlias = Accept | Reject
"""What `accept` answers: ``Accept()``, or ``Reject(550, "why")``."""
