"""What a policy is tested with: deliveries made up, pools made up, a clock that stands still.

**Problem.** A hook is a plain function, so a test only needs something to call it with.
**Model.** `Message`, `Attempt`, `Incoming`, `Path`, `Source` and `Pools` here are frozen values
that a type checker accepts where a hook asks for the protocols of the same name; ``fake`` fills in
whatever a test does not care about. `at` makes a `Now`. The strategies make up deliveries,
failures, pools and instants for hypothesis. An example in a hook's docstring is run by ``postalynk
policy check`` and by the pytest plugin.
`simulate` runs the policy, its limits and its warm-up over a day of made-up traffic and says what
every path did.
**Not here.** An engine. What a policy answers is data; what becomes of it is tested elsewhere.

    from postalynk.policy.testing import Message, Pools, at

    def test_bulk_waits_for_the_morning(hooks):
        answer = hooks.route(Message.fake(priority="bulk"), Pools.fake(), at("23:00"))
        assert answer.not_before == "07:00"

The strategies need hypothesis, the plugin pytest: ``pip install 'postalynk[testing]'``.
"""

from postalynk.policy.testing.doubles import (
    Attempt,
    Incoming,
    Message,
    Organization,
    Path,
    Pools,
    Recipient,
    Source,
    at,
)
from postalynk.policy.testing.examples import Example, run_examples
from postalynk.policy.testing.hooks import Hooks
from postalynk.policy.testing.strategies import messages, moments, pools, replies
from postalynk.routing.simulation import Flow, PathRates, Simulation, simulate

__all__ = [
    "Attempt",
    "Example",
    "Flow",
    "Hooks",
    "Incoming",
    "Message",
    "Organization",
    "Path",
    "PathRates",
    "Pools",
    "Recipient",
    "Simulation",
    "Source",
    "at",
    "messages",
    "moments",
    "pools",
    "replies",
    "run_examples",
    "simulate",
]
