"""What policy authors test against: rules, manners, distance."""

import smtplib
import ssl
import time

import pytest

from postalynk.testing import DelayProxy, Sink, close, delay, reply


def client(address: str) -> smtplib.SMTP:
    host, _, port = address.rpartition(":")
    return smtplib.SMTP(host, int(port), timeout=60)


def test_a_rule_answers_then_the_receiver_behaves() -> None:
    sink = Sink(rules=[reply("rcpt", "451 4.7.1 later", matching="bob@", times=1), close("dot")])
    with client(sink.address) as smtp:
        smtp.ehlo("test.example")
        smtp.mail("a@b.example")
        assert smtp.rcpt("bob@c.example")[0] == 451
        assert smtp.rcpt("bob@c.example")[0] == 250
        with pytest.raises(smtplib.SMTPServerDisconnected):
            smtp.data(b"hi")
    assert [m[2] for m in sink.messages()] == [["bob@c.example"]]
    sink.stop()


@pytest.mark.parametrize(
    ("provider", "code"),
    [("google", 550), ("microsoft", 550), ("yahoo", 250), ("apple", 550), ("gmx", 550)],
)
def test_providers_have_their_words(provider: str, code: int) -> None:
    sink = Sink(provider=provider)
    with client(sink.address) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("starttls")
        smtp.mail("a@b.example")
        assert smtp.rcpt("unknown@c.example")[0] == code
    sink.stop()


@pytest.mark.parametrize("fault", ["cut", "garbage", "alert", "expired"])
def test_tls_breaks_as_asked(fault: str) -> None:
    sink = Sink(tls_fault=fault)
    context = ssl.create_default_context()
    if fault == "expired":
        context.check_hostname = False
    smtp = client(sink.address)
    smtp.ehlo()
    with pytest.raises((ssl.SSLError, OSError, smtplib.SMTPServerDisconnected)):
        smtp.starttls(context=context)
    smtp.close()
    sink.stop()


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no TLS fault"):
        Sink(tls_fault="lunch")
    with pytest.raises(ValueError, match="no provider"):
        Sink(provider="nobody")
    with pytest.raises(ValueError, match="no step"):
        Sink(rules=[delay("lunch", 1)])


def test_distance_takes_its_time() -> None:
    sink = Sink()
    far = DelayProxy(sink.address, round_trip_ms=40)
    began = time.monotonic()
    with client(far.address) as smtp:
        smtp.sendmail("a@b.example", ["c@d.example"], b"Subject: x\r\n\r\nhi\r\n")
        assert time.monotonic() - began >= 0.2  # banner, EHLO, MAIL, RCPT, DATA, dot
    assert sink.received() == 1
    far.stop()
    sink.stop()
