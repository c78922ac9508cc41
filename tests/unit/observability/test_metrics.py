"""The registry exposes its catalogue and asks for queue depths at scrape time."""

from postalynk.observability import Metrics, QueueDepth


def test_exposition_shows_counts_depths_and_the_engine() -> None:
    metrics = Metrics()
    metrics.accepted.labels(lane="high").inc(3)
    metrics.policy_errors.labels(hook="route", function="pick", line="policy.py:12").inc()
    metrics.watch_queue(lambda: [QueueDepth("bulk", 7, 1.5)])
    text = metrics.exposition("engine_metric 1\n").decode()
    assert 'postalynk_accepted_total{lane="high"} 3.0' in text
    assert (
        'postalynk_policy_errors_total{function="pick",hook="route",line="policy.py:12"} 1.0'
        in text
    )
    assert 'postalynk_queue_records{lane="bulk"} 7.0' in text
    assert 'postalynk_queue_oldest_age_seconds{lane="bulk"} 1.5' in text
    assert text.endswith("engine_metric 1\n")


def test_two_registries_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.fenced.inc()
    assert "postalynk_fenced_total 0.0" in other.exposition().decode()
