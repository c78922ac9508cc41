"""What `policy simulate` reads, and how its answer is shown."""

from pathlib import Path
from typing import Any

import msgspec

from postalynk.cli.render import emit_json, out, table
from postalynk.errors import ControlError
from postalynk.policy.testing import Flow, Message, PathRates, Simulation

COLUMNS = (
    "source",
    "site",
    "limit",
    "sent",
    "most an hour",
    "most a second",
    "waiting",
    "longest wait",
)


class _Described(msgspec.Struct, forbid_unknown_fields=True):
    rate: str
    message: dict[str, Any] = {}
    orgs: int = 1
    between: tuple[str, str] | None = None

    def flow(self) -> Flow:
        return Flow(Message.fake(**self.message), self.rate, self.orgs, self.between)


class _Traffic(msgspec.Struct, forbid_unknown_fields=True):
    flows: list[_Described]
    pools: dict[str, dict[str, int]] = {}


def read(path: Path) -> tuple[list[Flow], dict[str, dict[str, int]]]:
    """Flows, and the pools named beside them; raises ControlError when the file says neither."""
    try:
        described = msgspec.json.decode(path.read_bytes(), type=_Traffic)
        return [one.flow() for one in described.flows], described.pools
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}", fix="name a JSON file") from error
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ControlError(
            f"{path} describes no traffic: {error}",
            fix='write {"flows": [{"message": {"provider": "google"}, "rate": "3600/h"}]}',
        ) from error


def show(simulated: Simulation, *, as_json: bool) -> None:
    """Draw it: a path a line, then the sum."""
    if as_json:
        emit_json(msgspec.to_builtins(simulated))
        return
    table([_row(path) for path in simulated.paths], COLUMNS, empty="Nothing was sent.")
    out.print(
        f"Of {simulated.arrived} deliveries {simulated.sent} were sent in {simulated.hours} hours, "
        f"{simulated.waiting} wait; {simulated.put_off} times one was put off to a later hour; "
        f"failures of the policy: {simulated.failures}.",
        markup=False,
    )


def _row(path: PathRates) -> dict[str, str]:
    whose = f" ({path.org})" if path.org else ""
    return {
        "source": path.source,
        "site": path.site + whose,
        "limit": path.limit,
        "sent": str(sum(path.per_hour)),
        "most an hour": str(max(path.per_hour)),
        "most a second": str(path.most_per_s),
        "waiting": str(path.waiting[-1]),
        "longest wait": f"{path.longest_wait_s:g} s",
    }
