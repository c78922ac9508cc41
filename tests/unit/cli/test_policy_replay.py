"""A replay as it is shown: shares, the sentence, a page that strangers' text cannot steer."""

from typing import Any

import pytest

from postalynk.cli.policy_replay import page, share, show, summary

REPLAYED: dict[str, Any] = {
    "baseline": "aaaaaaaaaaaa",
    "candidate": "bbbbbbbbbbbb",
    "deliveries": 400,
    "changed": 10,
    "share": 0.025,
    "failures_before": 0,
    "failures_after": 2,
    "changes": [
        {
            "site": "<script>.example",
            "lane": "bulk",
            "before": "default",
            "after": "default, held",
            "what": "time",
            "deliveries": 10,
            "share": 0.025,
            "samples": ["m1", "m2"],
        }
    ],
    "exceeded": [
        {
            "pool": "default",
            "site": "<b>google",
            "source": "mta1",
            "rate_per_s": 0.5,
            "minutes": 3,
            "first_us": 1_795_521_600_000_000,
            "worst_us": 1_795_521_660_000_000,
            "worst_wait_s": 90.0,
        }
    ],
    "exceeded_before": [],
    "decision_us": {"baseline": 1.25, "candidate": 2.5},
}


@pytest.mark.parametrize(("text", "wanted"), [("2%", 0.02), ("0.02", 0.02), ("0%", 0), ("1", 1)])
def test_a_share_is_a_percentage_or_a_fraction(text: str, wanted: float) -> None:
    assert share(text) == wanted


@pytest.mark.parametrize("text", ["2", "-1%", "101%", "two", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"share|convert"):
        share(text)


def test_the_page_is_complete_and_escaped() -> None:
    made = page(REPLAYED)
    assert "<script>" not in made
    assert "&lt;script&gt;.example" in made
    assert summary(REPLAYED).startswith("10 of 400 deliveries change (2.50%), policy aaaaaaaaaaaa")
    assert "0 before, 2 after" in made
    assert "<code>m1</code><br><code>m2</code>" in made
    assert "<b>google" not in made
    assert "Limits of 1 paths would be exceeded (0 before)" in made
    assert "<td>0.5/s</td><td>3</td><td>2026-11-24 12:00</td><td>2026-11-24 12:01</td>" in made
    assert "A decision takes 2.5 µs, 1.25 µs before." in made


def test_the_terminal_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPLAYED)
    shown = capsys.readouterr().out
    assert "m1, m2" in shown
    assert "90 s" in shown
    assert "2.50%" in shown
