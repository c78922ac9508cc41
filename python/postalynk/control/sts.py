"""MTA-STS of a sender domain: its policy beside its MX hosts (RFC 8461).

**Why it matters to a sender.** Bounces and replies are mail *to* the domain. A policy in mode
``enforce`` that does not name an MX host keeps them out, from every sender that heeds it.
**Model.** The policy is fetched and read by the code the engine uses when it sends to others: one
GET, no redirect, a certificate good for ``mta-sts.DOMAIN``, `text/plain`, at most 64 kilobytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from postalynk.control.border import fetch_sts_policy
from postalynk.control.bulk_rules import Finding, Verdict

DAY_S = 86_400


class StsPolicy(msgspec.Struct, frozen=True):
    """A policy, held against a domain's MX hosts.

    `mode`: enforce, testing or none. `max_age_s`: how long senders may keep it, in seconds.
    `unnamed`: the hosts it does not name.
    """

    mode: str
    max_age_s: int
    unnamed: list[str]


class NoPolicy(Exception):
    """What senders get instead of a policy, in words."""


Fetch: TypeAlias = Callable[[str, Sequence[str]], StsPolicy]
"""A domain and its MX hosts in; raises NoPolicy, and Unanswered where DNS does."""


def fetcher(addresses: Callable[[str], list[str]], ca_file: str = "", port: int = 443) -> Fetch:
    """Fetches over HTTPS, from the addresses that the function finds.

    ``ca_file``: a PEM file of authorities to trust beside Mozilla's; empty: none.
    """

    def fetch(domain: str, hosts: Sequence[str]) -> StsPolicy:
        found = addresses(f"mta-sts.{domain}")
        try:
            return StsPolicy(*fetch_sts_policy(domain, found, hosts, ca_file, port))
        except ValueError as error:
            raise NoPolicy(str(error)) from error

    return fetch


def findings(domain: str, hosts: Sequence[str], fetch: Fetch) -> Iterator[Finding]:
    """One finding about the policy of a domain that announces one and has these MX hosts."""
    place = f"https://mta-sts.{domain}/.well-known/mta-sts.txt"
    try:
        policy = fetch(domain, hosts)
    except NoPolicy as error:
        detail = f"is announced, and senders cannot get the policy: {error}"
        fix = f"serve it at {place}, or remove _mta-sts.{domain}"
        yield Finding("mta-sts", "note", detail, fix)
        return
    if policy.mode != "none" and policy.unnamed:
        names = ", ".join(policy.unnamed)
        is_enforced = policy.mode == "enforce"
        verdict: Verdict = "wrong" if is_enforced else "note"
        effect = "refuse to deliver to it" if is_enforced else "report it and deliver"
        detail = f"the policy does not name {names}; senders that heed it {effect}"
        fix = f"add mx: {names} at {place}, then change id= at _mta-sts.{domain}"
        yield Finding("mta-sts", verdict, detail, fix)
    elif policy.mode == "none":
        yield Finding("mta-sts", "ok", "the policy is none: senders need heed nothing")
    else:
        days = f"{policy.max_age_s / DAY_S:.3g}"
        detail = f"policy {policy.mode}, kept for {days} days, names every MX host"
        yield Finding("mta-sts", "ok", detail)
