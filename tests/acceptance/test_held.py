"""`up --hold` keeps mail and delivers none; started without it, what was held leaves (G1, G3).

What runs: `postalynk up --hold`, then `postalynk up`, and the sink. What holds: every message is
shown as waiting and accounted for meanwhile, none is at the receiver, and then each comes once.
"""

from pathlib import Path

from tests.support.processes import Postalynk, Sink

MESSAGES = 20


def arrived(sink: Sink, sent: list[str]) -> list[str]:
    """Which of ``sent`` the receiver has, a copy each."""
    known = (message_id.partition("@")[0] for message_id, _ in sink.received())
    return [message_id for message_id in known if message_id in sent]


def test_held_mail_leaves_when_it_is_let(sink: Sink, tmp_path: Path) -> None:
    """Held until a restart without the option, then delivered."""
    target = Postalynk(tmp_path / "own", sink.address)
    try:
        target.start("--hold").prepare()
        sent = [target.send(to="held@rcpt.example") for _ in range(MESSAGES)]
        target.wait_projected()
        assert {target.state(message_id) for message_id in sent} == {"queued"}
        waiting = target.ask("queue")
        assert sum(lane["waiting"] for lane in waiting["lanes"]) == MESSAGES
        report = target.ask("audit")
        assert (report["accepted"], report["unaccounted"]) == (MESSAGES, [])
        assert target.request("GET", "/readyz")[0] == 200
        assert target.stop() == 0
        assert arrived(sink, sent) == []

        target.start()
        for message_id in sent:
            target.wait_state(message_id, "delivered")
        assert sorted(arrived(sink, sent)) == sorted(sent)
    finally:
        target.remove()
