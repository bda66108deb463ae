"""The web server of the local pages: access control, response headers, timeouts.

Pages are served on 127.0.0.1 by default; on any other address a random token is required. Other web
sites cannot access them: the Host header must name this machine (against DNS rebinding), and no
response may be framed or read by another origin. A defect is answered with one sentence and logged;
a defect in the middle of a response closes the connection, so that a download fails visibly.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from nanosae.errors import BusyError, ConfigError
from nanosae.view.pages import to_json

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STOPPED = "The server has been stopped."
DEFECT = "The server has met a defect; its terminal says where."
MAX_CONNECTIONS = 64  # further ones are answered with status 503
MAX_HEAD = 2**16  # bytes of a request's first line and headers
REQUEST_SECONDS = 15.0  # for the head of a request to arrive, and for its body
SHUTDOWN_SECONDS = 2  # for requests that are being answered
log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware that controls access, adds headers, and answers defects.

    Args:
        app: The application.
        host: The address on which the server listens.
        token: The token that every request must present; None: no token is required.
        headers: Headers of all responses in addition to HEADERS.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        host: str = "127.0.0.1",
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._app = app
        self._own_hosts = {"127.0.0.1", "localhost", "::1", host}
        self._is_local = is_local(host)
        self._token = token
        self._headers = HEADERS | (headers or {})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_guarded(message: Any) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        request = Request(scope)
        try:
            answer = self._refuse(request) or self._app
            await answer(scope, receive, send_guarded)
        except asyncio.CancelledError:  # by a server that waits no longer
            if not has_begun:
                await refusal(STOPPED, 503)(scope, receive, send_guarded)
        except Exception as error:
            note_defect(request, error)
            if not has_begun:
                await answer_defect(request, error)(scope, receive, send_guarded)

    def _refuse(self, request: Request) -> Response | None:
        host = _hostname(request.headers.get("host", ""))
        if self._is_local and host not in self._own_hosts:
            return refusal("This page can only be opened on its own machine.", 403)
        if self._token and not _knows_token(request, self._token):
            return refusal("Open the address that the command printed.", 401)
        return None


def cookie_name(request: Request) -> str:
    """Return the name of the cookie of a port: browsers send cookies to all ports of a host."""
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"nanosae-{port}" if port.isdecimal() else "nanosae"


def _knows_token(request: Request, token: str) -> bool:
    known = request.cookies.get(cookie_name(request), "")
    given = request.query_params.get("token") or known
    return secrets.compare_digest(given.encode(), token.encode())


def _hostname(header: str) -> str:
    """Return the host name in a Host header, without port and brackets."""
    name, _, port = header.rpartition(":")
    if not port.isdecimal():
        name = header
    return name.strip("[]").lower()


def note_defect(request: Request, error: Exception) -> None:
    """Log an unexpected error and its origin in one line."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    place = "?"
    if innermost is not None:
        place = f"{innermost.tb_frame.f_code.co_filename}:{innermost.tb_lineno}"
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    log.error("defect at %s: %s (%s)", request.url.path, reason, place)
    log.debug("its traceback:", exc_info=error)


def answer_defect(_request: Request, _error: Exception) -> Response:
    """Return the response to a request that met a defect; `Guard` logs the defect."""
    return refusal(DEFECT, 500)


def refusal(sentence: str, status: int) -> Response:
    """Return an error response with one sentence."""
    return json_response({"error": sentence}, status)


def json_response(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(to_json(value), status, media_type="application/json")


async def read_body(request: Request, most: int) -> bytes | None:
    """Return the body of a request, or None if it is longer than `most` bytes.

    Raises:
        TimeoutError: If it does not arrive in time.
    """
    body = b""
    async with asyncio.timeout(REQUEST_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                return None
    return body


class ImpatientProtocol(H11Protocol):
    """uvicorn's protocol with a timeout for connections that send no request."""

    def connection_made(self, transport: Any) -> None:
        """Accept a connection."""
        super().connection_made(transport)
        self._check_later()

    def _check_later(self) -> None:
        self.loop.call_later(REQUEST_SECONDS, self._close_if_silent, self.cycle)

    def _close_if_silent(self, last_request: Any) -> None:
        """Close if no request has come since the last check and none is being answered."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.cycle is not last_request:
            self._check_later()
        else:
            self.transport.close()


def make_server(app: Any) -> uvicorn.Server:
    """Return a server; `run([listener])` serves until it is stopped."""
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        log_level="error",
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def serving(app: Any, listener: socket.socket) -> Iterator[None]:
    """Serve from a thread of this process during the block."""
    server = make_server(app)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        BusyError: If the port is in use.
        ConfigError: If there is no such host or port.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"port {port} does not exist: choose a port from 0 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        message = f"cannot listen on {host}, port {port}: {error.strerror or error};"
        if error.errno == errno.EADDRINUSE:
            raise BusyError(message, remedy="choose another port.") from error
        raise ConfigError(message, remedy="choose another host or port.") from error


def is_local(host: str) -> bool:
    """Return whether an address is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"
