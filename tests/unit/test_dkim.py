"""The signing façade: dkimpy verifies what it writes; names, keys and messages are judged."""

import base64
import subprocess
from collections.abc import Callable

import dkim
import pytest

from postalynk.dkim import Signer, SigningError, generate_key
from postalynk.mime import compose

MESSAGE = compose(from_="a@example.com", to="b@example.org", text="Hello").bytes


def dns(*signers: Signer) -> Callable[..., bytes]:
    records = {f"{s.selector}._domainkey.{s.domain}.": s.dns_record.encode() for s in signers}
    return lambda name, timeout=5: records.get(
        name.decode() if isinstance(name, bytes) else name, b""
    )


def is_valid(message: bytes, *signers: Signer, index: int = 0) -> bool:
    try:
        return bool(dkim.DKIM(message).verify(index, dnsfunc=dns(*signers)))
    except dkim.ValidationError:
        return False


@pytest.fixture(scope="module")
def rsa() -> Signer:
    return Signer("example.com", "r1", generate_key("rsa"))


@pytest.fixture(scope="module")
def ed25519() -> Signer:
    return Signer("example.com", "e1", generate_key("ed25519"))


def test_two_signatures_on_one_message(rsa: Signer, ed25519: Signer) -> None:
    signed = rsa.sign(MESSAGE) + ed25519.sign(MESSAGE) + MESSAGE
    assert is_valid(signed, rsa, ed25519, index=0)
    assert is_valid(signed, rsa, ed25519, index=1)
    assert not is_valid(signed[:-3] + b"!\r\n", rsa, ed25519)
    assert (rsa.algorithm, ed25519.algorithm) == ("rsa-sha256", "ed25519-sha256")


def test_many_are_signed_as_one_is(rsa: Signer) -> None:
    messages = [MESSAGE, MESSAGE.replace(b"Hello", b"Bye")]
    fields = rsa.sign_many(messages, now_s=1_790_000_000)
    assert fields == [rsa.sign(m, now_s=1_790_000_000) for m in messages]
    assert rsa.sign_many([]) == []


def test_time_expiry_and_form_are_options() -> None:
    key = generate_key("ed25519")
    signer = Signer("example.com", "e1", key, expires_after_s=86_400, canonicalization="simple")
    field = signer.sign(MESSAGE, now_s=1_790_000_000)
    assert b"t=1790000000; x=1790086400;" in field.replace(b"\r\n ", b" ")
    assert b"c=simple/simple;" in field
    assert is_valid(signer.sign(MESSAGE) + MESSAGE, signer)
    bare = Signer("example.com", "e1", key, timestamp=False).sign(MESSAGE)
    assert b" t=" not in bare
    assert b" x=" not in bare


def test_a_key_may_be_pem(rsa: Signer) -> None:
    der = generate_key("rsa")
    pem = (
        b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(der) + b"-----END PRIVATE KEY-----\n"
    )
    pkcs1 = subprocess.run(
        ["openssl", "rsa", "-traditional"], input=pem, capture_output=True, check=True
    ).stdout
    assert b"BEGIN RSA PRIVATE KEY" in pkcs1
    records = {Signer("example.com", "s", k).dns_record for k in (der, pem, pem.decode(), pkcs1)}
    assert len(records) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nodot", "s", generate_key("ed25519")), '\'"nodot" is not a domain name'),
        (("example.com", "a b", generate_key("ed25519")), "is not a DKIM selector"),
        (("example.com", "s", b"nonsense"), "not an RSA or Ed25519 private key"),
        (("example.com", "s", "-----BEGIN PUBLIC KEY-----"), "no unencrypted private key"),
    ],
)
def test_a_wrong_signer_is_refused(arguments: tuple[str, str, bytes | str], text: str) -> None:
    with pytest.raises(SigningError) as error:
        Signer(*arguments)
    assert text.strip("'") in str(error.value)


def test_a_message_that_cannot_be_signed_is_named(rsa: Signer) -> None:
    with pytest.raises(SigningError, match="no From"):
        rsa.sign(b"To: b@example.org\r\n\r\n")
    with pytest.raises(SigningError, match="line end at octet 19 is not CRLF"):
        rsa.sign(b"From: a@example.com\nTo: b@example.org\n\n")
    with pytest.raises(SigningError, match=r"messages\[1\]: the message has no From"):
        rsa.sign_many([MESSAGE, b"\r\n"])


def test_no_key_is_shown(rsa: Signer) -> None:
    assert repr(rsa) == "Signer('example.com', 'r1', <rsa-sha256>)"
