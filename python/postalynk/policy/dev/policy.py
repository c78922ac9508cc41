# ruff: noqa: ARG001, INP001  (loaded by path, so no package; a hook need not read all it is given)
"""The policy of ``postalynk dev``: retries in seconds, so that one can watch them.

Routing is that of the policy shipped with Postalynk, since this file has no `route`.
"""

from postalynk.policy import Attempt, Retry, policy

AGAIN = Retry("2s, 5s*3, 30s*10, 5m", max_age="1d", jitter=0.1)


@policy.retry
def retry(attempt: Attempt) -> Retry:
    """Two seconds after the first failure, then ever more slowly."""
    return AGAIN
