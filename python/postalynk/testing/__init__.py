"""Receivers to test against: the sink that `postalynk dev` delivers to.

It listens on loopback only, keeps a count and a ledger, and plays receivers by the local part of
the recipient: ``defer…`` greylists once, ``bounce…`` refuses, ``full…`` is over quota, ``slow…``
takes its time, ``drop…`` hangs up after the final dot, ``busy…`` answers 421; all others accept.
"""

from postalynk._engine import Sink

__all__ = ["Sink"]
