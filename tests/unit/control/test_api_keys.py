"""Bearer keys: what proves one, and that a wrong one learns nothing from the time it takes."""

from __future__ import annotations

import hmac
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postalynk.control import api_keys
from postalynk.control.api_keys import find, hash_token, new_token
from postalynk.control.values import ApiKey

PREFIX, TOKEN = new_token(secrets.token_bytes)
KEYS = {PREFIX: ApiKey(prefix=PREFIX, org="org_a", sha256=hash_token(TOKEN))}


def test_the_token_and_only_the_token_is_found() -> None:
    assert find(KEYS, TOKEN) is KEYS[PREFIX]
    for at in range(len(TOKEN)):
        other = TOKEN[:at] + ("b" if TOKEN[at] == "a" else "a") + TOKEN[at + 1 :]
        assert find(KEYS, other) is None


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    if text.isascii() or text.isprintable():
        assert find(KEYS, text) is None


def test_a_revoked_key_proves_nothing() -> None:
    revoked = {PREFIX: ApiKey(prefix=PREFIX, org="a", sha256=hash_token(TOKEN), revoked_at_us=1)}
    assert find(revoked, TOKEN) is None


@pytest.mark.parametrize("token", [TOKEN, TOKEN[:-1] + "x", "pl_" + "a" * 8 + "_" + "b" * 32, ""])
def test_law_same_work(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law `same_work`: one hash and one constant-time comparison, whatever the token."""
    calls: list[str] = []
    compare: Any = hmac.compare_digest
    hashed = api_keys.hash_token

    def comparing(a: bytes, b: bytes) -> bool:
        calls.append("compare")
        return bool(compare(a, b))

    def hashing(token: str) -> str:
        calls.append("hash")
        return hashed(token)

    monkeypatch.setattr(hmac, "compare_digest", comparing)
    monkeypatch.setattr(api_keys, "hash_token", hashing)
    find(KEYS, token)
    assert calls == ["hash", "compare"]


def test_a_token_has_160_random_bits_and_no_two_are_alike() -> None:
    tokens = {new_token(secrets.token_bytes)[1] for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token.rpartition("_")[2]) * 5 == 160 for token in tokens)
