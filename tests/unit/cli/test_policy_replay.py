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


def test_the_terminal_shows_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPLAYED)
    shown = capsys.readouterr().out
    assert "m1, m2" in shown
    assert "2.50%" in shown
