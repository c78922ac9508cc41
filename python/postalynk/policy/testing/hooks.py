"""`Hooks`: a loaded policy as a test calls it, each organization with its own hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postalynk.policy.answers import Retry, Route
from postalynk.policy.contained import contained
from postalynk.policy.limits import Shape, Warmup
from postalynk.policy.verdicts import Accept, Reject

if TYPE_CHECKING:
    from postalynk.policy.load import Policies
    from postalynk.policy.moment import Now
    from postalynk.policy.pools import Pools
    from postalynk.policy.surface import Attempt, Incoming, Message, Path, Source
    from postalynk.policy.verdicts import Verdict


class Hooks:
    """The hooks of one policy, loaded, frozen and contained as a worker has them.

        answer = hooks.route(Message.fake(provider="google"), Pools.fake(), at("12:00"))

    Errors pass through: a hook that raises fails its test. One that answers something else than it
    should raises TypeError, and a route to a pool that is not among ``pools`` raises ValueError:
    the worker would take the fallback for each of them.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        """What was loaded; ``policies.version`` is the bundle's."""

    def route(self, msg: Message, pools: Pools, now: Now) -> Route:
        """What the policy answers about this delivery."""
        hook = self.policies.route_for(msg.org.id)
        with contained():
            answer = hook.function(msg, pools, now)
        if not isinstance(answer, Route):
            raise TypeError(f"{hook.place}: answered {type(answer).__name__}, not a Route")
        for name in answer.pools:
            if name not in pools:
                raise ValueError(f"{hook.place}: there is no pool {name!r} among {pools!r}")
        return answer

    def accept(self, msg: Incoming, now: Now) -> Verdict:
        """What the policy answers about this message; without the hook it is taken in."""
        hook = self.policies.hook("accept", msg.org.id)
        if hook is None:
            return Accept()
        with contained():
            answer = hook.function(msg, now)
        if not isinstance(answer, Accept | Reject):
            raise TypeError(f"{hook.place}: answered {type(answer).__name__}, no Accept or Reject")
        return answer

    def shape(self, path: Path, org: str | None = None) -> Shape:
        """What the policy answers about this path; ``org``: one with a hook of its own."""
        hook = self.policies.hook("shape", org)
        if hook is None:
            return Shape()
        with contained():
            answer = hook.function(path)
        if not isinstance(answer, Shape):
            raise TypeError(f"{hook.place}: answered {type(answer).__name__}, not a Shape")
        return answer

    def warmup(self, source: Source, now: Now, org: str | None = None) -> Warmup | None:
        """What the policy answers about this source; None, as without the hook: it is warm."""
        hook = self.policies.hook("warmup", org)
        if hook is None:
            return None
        with contained():
            answer = hook.function(source, now)
        if answer is not None and not isinstance(answer, Warmup):
            raise TypeError(f"{hook.place}: answered {type(answer).__name__}, not a Warmup")
        return answer

    def retry(self, attempt: Attempt) -> Retry:
        """What the policy answers about this failure."""
        hook = self.policies.retry_for(attempt.delivery.org.id)
        with contained():
            answer = hook.function(attempt)
        if not isinstance(answer, Retry):
            raise TypeError(f"{hook.place}: answered {type(answer).__name__}, not a Retry")
        return answer
