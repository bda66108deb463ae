"""Addresses of servers, and the credentials in them."""

from __future__ import annotations

import base64
from urllib.parse import SplitResult, unquote, urlsplit

from nanosae.errors import ConfigError


def split_credentials(address: str) -> tuple[str, dict[str, str]]:
    """Return an address without user and password, and the header that transmits them.

    Args:
        address: Address of a server, up to `/v1`.

    Example:
        >>> split_credentials("https://me:secret@host/v1")[0]
        'https://host/v1'

    Raises:
        ConfigError: If it is not a valid address; it is not shown, as it may contain a key.
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
    """Return the parts of the address of a server, or None if it is not one."""
    try:
        parts = urlsplit(address)
        has_server = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if has_server and parts.scheme in ("http", "https") else None
