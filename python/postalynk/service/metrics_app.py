"""``/metrics``: the Python side's registry and the engine's, one after the other."""

import asyncio

from prometheus_client import Gauge
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from postalynk.engine import Engine
from postalynk.ingest.border import Submission
from postalynk.observability import Metrics
from postalynk.recorder.projection import Recorder

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics_app(
    metrics: Metrics,
    engine: Engine | None,
    recorder: Recorder | None,
    submission: Submission | None = None,
) -> Starlette:
    """Serves GET /metrics; a scrape is made in a thread, so a slow one delays no mail."""
    sources = [part.metrics for part in (engine, submission) if part is not None]
    if recorder is not None:
        _watch(metrics, recorder)

    async def scrape(_request: Request) -> Response:
        body = await asyncio.to_thread(lambda: metrics.exposition(*(ask() for ask in sources)))
        return Response(body, media_type=CONTENT_TYPE)

    return Starlette(routes=[Route("/metrics", scrape)])


def _watch(metrics: Metrics, recorder: Recorder) -> None:
    # Grows: PostgreSQL is down or too slow; see docs/runbooks/projection-lag.md.
    lag = Gauge(
        "postalynk_projection_lag_records",
        "Events not yet in PostgreSQL",
        registry=metrics.registry,
    )
    lag.set_function(recorder.lag)
