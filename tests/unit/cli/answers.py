"""What operations answer, fixed; `test_rendering` checks that real ones have the same shape."""

from __future__ import annotations

from typing import Any

ORG = "org_qk3vbnx2aolrm7d5zt4e"
KEY = "pl_h5w2kq7c_m3ztxn6uv4rjy2gdpb7fq5askewo3h2l"
MESSAGE = "019abcde-f012-7000-8000-000000000042"
NOW_US = 1_795_521_600_000_000
HOSTILE = "\x1b[2J[bold]you[/] are \u202eowned\r\n[/nothing]"
"""What a stranger may have made part of an answer: a terminal's commands, rich's markup."""

ORGANIZATION: dict[str, Any] = {"org": ORG, "api_key": KEY}
UPDATED: dict[str, Any] = {"org": ORG, "salt": 8}
ORGANIZATIONS: list[dict[str, Any]] = [
    {
        "org": ORG,
        "name": "Acme [EU]",
        "plan": "pro",
        "in_doubt": "hold",
        "salt": 8,
        "keys": 2,
        "domains": ["acme.example", "mail.acme.example"],
    }
]
DOMAIN: dict[str, Any] = {
    "domain": "acme.example",
    "org": ORG,
    "selectors": ["pl1", "pl2"],
    "records": [
        {"name": "pl1._domainkey.acme.example", "type": "TXT", "value": "v=DKIM1; k=rsa; p=MIIB"},
        {"name": "pl2._domainkey.acme.example", "type": "TXT", "value": "v=DKIM1; k=ed25519; p=x"},
    ],
    "notes": ["No source has an address, so no SPF record can be given."],
    "keys": [
        {
            "selector": "pl1",
            "algorithm": "rsa",
            "record": "v=DKIM1; k=rsa; p=MIIB",
            "state": "signing",
            "since_us": NOW_US,
            "shown_since_us": 0,
        },
        {
            "selector": "pl2",
            "algorithm": "ed25519",
            "record": "v=DKIM1; k=ed25519; p=x",
            "state": "waiting",
            "since_us": NOW_US,
            "shown_since_us": NOW_US,
        },
    ],
}
DOMAINS: list[dict[str, Any]] = [
    {
        "domain": "acme.example",
        "org": ORG,
        "selectors": ["pl1", "pl2"],
        "changing": ["pl3 waiting", "pl4 waiting"],
    }
]
POOLS: list[dict[str, Any]] = [
    {"name": "default", "sources": {"mta1": 3, "mta2": 1}},
    {"name": "bulk", "sources": {"mta2": 1}},
]
POOL: dict[str, Any] = {"created_at_us": NOW_US, "version": 1, **POOLS[0]}
SUPPRESSED: list[dict[str, Any]] = [
    {
        "address": "ada@example.org",
        "state": "suppressed",
        "reason": f"complained {HOSTILE}",
        "since_us": NOW_US,
        "until_us": 0,
    },
    {
        "address": "bob@example.org",
        "state": "lifted",
        "reason": "by the operator",
        "since_us": NOW_US,
        "until_us": NOW_US + 86_400_000_000,
    },
]
SOURCE: dict[str, Any] = {
    "created_at_us": NOW_US,
    "version": 1,
    "name": "mta1",
    "ip": "192.0.2.1",
    "ehlo": "mta1.acme.example",
    "relay": "",
}
SOURCES: list[dict[str, Any]] = [
    {"name": "mta1", "ip": "192.0.2.1", "ehlo": "mta1.acme.example", "relay": ""},
    {
        "name": "mta2",
        "ip": "192.0.2.2",
        "ehlo": "mta2.acme.example",
        "relay": "socks5://192.0.2.9",
    },
]
AUDIT: dict[str, Any] = {
    "accepted": 12,
    "states": {"queued": 1, "deferred": 2, "delivered": 9},
    "unaccounted": [],
    "twice": [],
}
AUDIT_BAD: dict[str, Any] = AUDIT | {"unaccounted": [f"{MESSAGE}/0"], "twice": [f"{MESSAGE}/1"]}
QUEUE: dict[str, Any] = {
    "lanes": [
        {"lane": "high", "waiting": 0, "oldest_age_s": 0.0},
        {"lane": "normal", "waiting": 3, "oldest_age_s": 1.25},
        {"lane": "bulk", "waiting": 40_000, "oldest_age_s": 3_600.5},
    ],
    "deferred": 7,
    "scheduled": 5,
    "in_flight": 12,
    "organizations": {ORG: 12},
    "sites": {"google": 10, "rcpt.example": 2},
    "halted": [{"partition": 17, "why": "101 records in a row cannot be processed", "held": 3}],
}
LETTER: dict[str, Any] = {
    "id": "3:0",
    "at_us": NOW_US,
    "topic": "email.send.normal",
    "source_partition": 3,
    "source_offset": 1_234,
    "reason": "undecodable",
    "detail": HOSTILE,
    "message_id": None,
    "org": "",
    "key": None,
    "version": "0.1.0",
    "policy_version": "",
    "size_bytes": 512,
    "count": 2,
    "first_at_us": NOW_US - 60_000_000,
    "last_at_us": NOW_US,
}
KNOWN_LETTER: dict[str, Any] = LETTER | {
    "at_us": NOW_US + 1_500_000,
    "reason": "unprojectable",
    "detail": "the id is of the year 5138",
    "topic": "email.events",
    "message_id": MESSAGE,
    "org": ORG,
    "id": "3:1",
    "count": 1,
    "first_at_us": NOW_US + 1_500_000,
    "last_at_us": NOW_US + 1_500_000,
}
SHOWN_LETTER: dict[str, Any] = LETTER | {"record": "mwEKB0FjbWUAAA=="}
TOP: list[dict[str, Any]] = [
    {
        "name": "undecodable",
        "letters": 12,
        "organizations": 2,
        "first_at_us": NOW_US,
        "last_at_us": NOW_US + 5_000_000,
    },
    {
        "name": "",
        "letters": 1,
        "organizations": 1,
        "first_at_us": NOW_US,
        "last_at_us": NOW_US,
    },
]
DROPPED: dict[str, Any] = {"is_dry_run": True, "dropped": [LETTER]}
FLUSH: dict[str, Any] = {"is_dry_run": True, "deferred": 7, "scheduled": 2, "left": 1}
CANCEL: dict[str, Any] = {"is_dry_run": False, "deferred": 7, "scheduled": 0, "left": 0}
DRY_RUN: dict[str, Any] = {
    "is_dry_run": True,
    "redriven": [LETTER, KNOWN_LETTER],
    "refused": [LETTER],
}
REDRIVE: dict[str, Any] = {"is_dry_run": False, "redriven": [KNOWN_LETTER], "refused": []}
DRAINED: dict[str, Any] = {"drained": True, "queued": 0, "deferred": 7}
NOT_DRAINED: dict[str, Any] = {"drained": False, "queued": 40, "deferred": 7}

POLICIES: dict[str, Any] = {
    "in_force": "9221174c5e36",
    "canary": None,
    "ended": "",
    "deployed": [
        {
            "version": "1f0c0ffee000",
            "deployed_at": "2026-11-23T12:00:00+00:00",
            "files": ["policy.py"],
        },
        {
            "version": "9221174c5e36",
            "deployed_at": "2026-11-24T12:00:00+00:00",
            "files": ["policy.py", "vip.toml"],
        },
    ],
}
NO_POLICIES: dict[str, Any] = {"in_force": "", "canary": None, "ended": "", "deployed": []}
TALLY: dict[str, Any] = {"attempts": 120, "deferred": 4, "bounced": 1, "failed": 0}
TRIAL: dict[str, Any] = {
    "version": "9221174c5e36",
    "share": 0.05,
    "since": "2026-11-24T12:00:00+00:00",
}
CANARY: dict[str, Any] = POLICIES | {
    "in_force": "1f0c0ffee000",
    "canary": TRIAL
    | {
        "candidate": TALLY,
        "elsewhere": TALLY | {"attempts": 2400, "deferred": 80},
    },
    "ended": "0aa0aa0aa0aa taken back: failed 9 of 100 (9.0%), elsewhere 0 of 900 (0.0%)",
}


def _event(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "delivered",
        "attempt": 2,
        "at": "2026-11-24T12:05:00.250000+00:00",
        "recorded_at": "2026-11-24T12:05:00.251000+00:00",
        "due_at": None,
        "reason": "",
        "class": "",
        "phase": "",
        "reply": {"code": 250, "enhanced": "2.0.0", "text": "2.0.0 Ok: queued as 4F1C2"},
        "path": {
            "pool": "default",
            "source": "mta1",
            "relay": "",
            "site": "rcpt.example",
            "mx": "mx1.rcpt.example",
            "peer": "192.0.2.25:25",
        },
        "tls": {"used": "TLSv1.3", "refused": "", "policy": "dane"},
        "latency_us": {"connect": 900, "mail": 300, "dot": 2_000, "total": 4_200},
        "policy": {
            "version": "d41d8cd9",
            "reason": "the default pool",
            "is_fallback": False,
            "explanation": None,
        },
        "size_bytes": 2_048,
        "transcript": "",
    } | changes


EXPLANATION: dict[str, Any] = {
    "line": "policy.py:7",
    "source": 'return Route(POOLS[msg.tags["kind"]])',
    "answer": f"raised KeyError: {HOSTILE}",
    "reads": [{"name": "msg.tags['kind']", "value": f"'{HOSTILE}'"}],
    "is_repeatable": False,
}
DEFERRED: dict[str, Any] = _event(
    kind="deferred",
    attempt=1,
    at="2026-11-24T12:00:00.100000+00:00",
    due_at="2026-11-24T12:05:00+00:00",
    reply={"code": 451, "enhanced": "4.7.1", "text": f"4.7.1 later\n{HOSTILE}"},
    tls={"used": "", "refused": "certificate expired", "policy": ""},
    transcript=f"0.001 S: 220 mx1\n0.002 C: EHLO mta1\n0.003 S: 451 4.7.1 {HOSTILE}\n",
    policy={
        "version": "d41d8cd9",
        "reason": "policy raised KeyError at policy.py:7",
        "is_fallback": True,
        "explanation": EXPLANATION,
    },
    **{"class": "rate", "phase": "mail"},
)
STORY: dict[str, Any] = {
    "message": {
        "object": "email",
        "id": MESSAGE,
        "from": "Shop <shop@acme.example>",
        "to": ["ann@rcpt.example"],
        "cc": [],
        "bcc": [],
        "reply_to": [],
        "subject": f"Grüße {HOSTILE}",
        "created_at": "2026-11-24T12:00:00+00:00",
        "scheduled_at": None,
        "tags": [],
        "priority": "normal",
        "size_bytes": 2_048,
        "message_id": f"{MESSAGE}@acme.example",
        "org": ORG,
        "expires_at": None,
    },
    "deliveries": [
        {
            "recipient": 0,
            "address": "ann@rcpt.example",
            "state": "delivered",
            "attempts": 2,
            "events": [DEFERRED, _event()],
        },
        {
            "recipient": 1,
            "address": "bob@rcpt.example",
            "state": "queued",
            "attempts": 0,
            "events": [],
        },
    ],
    "is_truncated": True,
}

TLS_REPORTS = [
    {
        "organization-name": "acme.example",
        "date-range": {
            "start-datetime": "2026-01-01T00:00:00Z",
            "end-datetime": "2026-01-01T23:59:59Z",
        },
        "contact-info": "tls@acme.example",
        "report-id": "2026-01-01T00:00:00Z_rcpt.example",
        "policies": [
            {
                "policy": {"policy-type": "sts", "policy-domain": "rcpt.example"},
                "summary": {"total-successful-session-count": 7, "total-failure-session-count": 2},
                "failure-details": [
                    {"result-type": "certificate-expired", "failed-session-count": 2}
                ],
            }
        ],
    }
]
