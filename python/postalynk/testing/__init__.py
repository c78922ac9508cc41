"""Receivers to test against: the sink that `postalynk dev` delivers to, and distance to it.

`Sink` listens on loopback only, keeps a count and a ledger, and plays receivers by the local part
of the recipient: ``defer…`` greylists once, ``bounce…`` refuses, ``full…`` is over quota, ``slow…``
takes its time, ``drop…`` hangs up after the final dot, ``busy…`` answers 421; all others accept.
With ``provider=`` it has the manners of a big one instead (``google``, ``microsoft``, ``yahoo``,
``apple``, ``gmx``): ``unknown…``, ``full…``, ``spam…``, ``rate…`` and ``unauthenticated…`` are
answered in its words. ``tls_fault=`` breaks its TLS (``cut``, ``garbage``, ``alert``, ``expired``),
which a policy's `Shape(tls=…)` must stand. `Rule` makes it misbehave at any step; `DelayProxy` puts
it far away::

    sink = Sink(rules=[reply("rcpt", "451 4.7.1 later", matching="bob@", times=1), close("dot")])
    far = DelayProxy(sink.address, round_trip_ms=50)
"""

from postalynk._engine import DelayProxy, Sink

__all__ = ["DelayProxy", "Rule", "Sink", "close", "delay", "reply", "reset"]

Rule = tuple[str, str, int, int, int, str, str]
"""What `Sink` takes; made by the functions below."""


def reply(
    step: str, text: str, *, matching: str = "", skip: int = 0, times: int = 0, delay_ms: int = 0
) -> Rule:
    """Answer so at a step: ``banner``, ``ehlo``, ``starttls``, ``mail``, ``rcpt``, ``data``,
    ``dot``, ``rset`` or ``quit``. ``matching``: only where the address, or one of the recipients,
    contains it; not the first ``skip`` times; at most ``times`` (0: always).
    """
    return (step, matching, skip, times, delay_ms, "reply", text)


def delay(step: str, delay_ms: int, *, matching: str = "", times: int = 0) -> Rule:
    """Take time before behaving well."""
    return (step, matching, 0, times, delay_ms, "behave", "")


def close(step: str, *, matching: str = "", skip: int = 0, times: int = 0) -> Rule:
    """Hang up without a reply."""
    return (step, matching, skip, times, 0, "close", "")


def reset(step: str, *, matching: str = "", skip: int = 0, times: int = 0) -> Rule:
    """Reset the connection (RST) without a reply."""
    return (step, matching, skip, times, 0, "reset", "")
