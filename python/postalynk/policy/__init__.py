"""Policy: what an author imports to decide where mail goes and when it is tried again.

**Problem.** Which pool a delivery takes and when a failed one is tried again is the operator's
knowledge. It belongs in code a type checker understands and a test can call, not in settings.
**Model.** A policy is a directory of Python files with plain functions. The answer is data, so it
can be printed, compared and replayed. Nothing an author writes does I/O: the engine acts on the
answer later.

    accept   a message at the door           (Incoming, Now) -> Accept | Reject
    route    a delivery, every attempt       (Message, Pools, Now) -> Route
    shape    a path, when it is first used   (Path) -> Shape
    warmup   a source and provider, daily    (Source, Now) -> Warmup | None
    retry    a failed attempt                (Attempt) -> Retry

**Guard rails.** Randomness is data too (`split`, drawn by keyed hash). Module globals are frozen
after load. A hook that raises or answers nonsense costs no message: the fallback is taken,
counted and shown by ``postalynk why`` (G4).
**Facts are data.** `table` reads a TOML, JSON or CSV file beside the code, part of its version.
**Not here.** What a policy is tested with is in `postalynk.policy.testing`, what finds mistakes in
one in `postalynk.policy.lint`.

    from postalynk.policy import policy, Message, Pools, Now, Route

    @policy.route
    def route(msg: Message, pools: Pools, now: Now) -> Route:
        return Route("majors" if msg.rcpt.provider == "google" else "default")

`load` and `Bundle` are for the worker and for tests; everything else here is for authors.
"""

from postalynk.policy.answers import Add, HeaderOp, Remove, Retry, Route, Set, Split, split
from postalynk.policy.bundle import Bundle, made_of, read_bundle
from postalynk.policy.hooks import policy
from postalynk.policy.limits import LADDER, Shape, Tls, Warmup
from postalynk.policy.load import DEFAULT, DEV, Canary, Hook, Policies, load, load_bundle
from postalynk.policy.moment import Now
from postalynk.policy.pools import Band, PathState, Pool, Pools, Standing
from postalynk.policy.surface import (
    Attempt,
    Incoming,
    Message,
    Organization,
    Path,
    Recipient,
    Source,
)
from postalynk.policy.tables import Table, table
from postalynk.policy.verdicts import Accept, Reject, Verdict

__all__ = [
    "DEFAULT",
    "DEV",
    "LADDER",
    "Accept",
    "Add",
    "Attempt",
    "Band",
    "Bundle",
    "Canary",
    "HeaderOp",
    "Hook",
    "Incoming",
    "Message",
    "Now",
    "Organization",
    "Path",
    "PathState",
    "Policies",
    "Pool",
    "Pools",
    "Recipient",
    "Reject",
    "Remove",
    "Retry",
    "Route",
    "Set",
    "Shape",
    "Source",
    "Split",
    "Standing",
    "Table",
    "Tls",
    "Verdict",
    "Warmup",
    "load",
    "load_bundle",
    "made_of",
    "policy",
    "read_bundle",
    "split",
    "table",
]
