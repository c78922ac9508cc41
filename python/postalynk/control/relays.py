"""Egress relays as an operator writes them: ``socks5://[user:password@]host[:port]`` (RFC 1928) or
``proxy2://host:port`` (PROXY protocol, version 2).

**Invariant.** What is shown never holds the login; the whole URL is sealed where it has one.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from postalynk.errors import ControlError

SCHEMES = ("socks5", "proxy2")
_FORM = "write socks5://[user:password@]host[:port] or proxy2://host:port"


def place(source: str) -> str:
    """Where the sealed URL of a source belongs; see `postalynk.control.secrets`."""
    return f"source/{source}/relay"


def without_login(url: str) -> str:
    """The URL as it may be shown. Raises ControlError, without the URL, when it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ControlError("the relay is no URL", fix=_FORM) from error
    has_login = parts.username is not None
    is_whole = (
        parts.scheme in SCHEMES
        and bool(parts.hostname)
        and (parts.path, parts.query, parts.fragment) == ("", "", "")
        and port != 0
        and has_login == bool(parts.password)
    )
    is_fit = parts.scheme != "proxy2" or (port is not None and not has_login)
    if not (is_whole and is_fit):
        raise ControlError("the relay is not understood", fix=_FORM)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
