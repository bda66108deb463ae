"""Addresses of servers, apart from the credentials that they may hold."""

from __future__ import annotations

import base64
from urllib.parse import SplitResult, unquote, urlsplit

from nanosae.errors import ConfigError


def split_credentials(address: str) -> tuple[str, dict[str, str]]:
    """Return an address without user and password, and the header that sends them.

    Args:
        address: Of a server, up to `/v1`.

    Example:
        >>> split_credentials("https://me:secret@host/v1")[0]
        'https://host/v1'

    Raises:
        ConfigError: If the address is not one; it is not shown, for it may hold a key.
    """
    parts = _split_address(address)
    if parts is None:
        raise ConfigError("base_url must be like http://127.0.0.1:8080/v1.")
    if parts.query or parts.fragment:
        raise ConfigError(
            "base_url must end with its path, such as /v1, without ? or #.",
            remedy="Give a key in OPENAI_API_KEY.",
        )
    credentials, _, server = parts.netloc.rpartition("@")
    headers = {}
    if credentials:
        encoded = base64.b64encode(unquote(credentials).encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
    return parts._replace(netloc=server).geturl(), headers


def _split_address(address: str) -> SplitResult | None:
    """Return the parts of an address, None if it is not one of a server."""
    try:
        parts = urlsplit(address)
        has_server = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if has_server and parts.scheme in ("http", "https") else None
