"""Embed texts with a server that has the embeddings protocol (`POST BASE_URL/embeddings`)."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

import numpy as np

from nanosae.errors import ServerError, reason_of

BATCH = 128  # texts per request
ATTEMPTS = 5
FIRST_ATTEMPTS = 2  # if the server has never replied, because the address may be wrong
FIRST_PAUSE = 1.0  # seconds before the second attempt; doubles with each further one
MAX_PAUSE = 120.0  # longest pause in seconds that a server can ask for
TIMEOUT = 60.0  # seconds per request
TEMPORARY = (408, 409, 425, 429, 500, 502, 503, 504)  # statuses after which to retry
KEYS = ("NANOSAE_API_KEY", "OPENAI_API_KEY")  # environment variables, in order


@dataclass
class Endpoint:
    """A server that embeds texts.

    Attributes:
        base_url: Address without `/embeddings`, such as http://localhost:8000/v1.
        model: Name of the model on the server.
        first_pause: Seconds before a second attempt.
        credentials: Headers with secrets for this server only, instead of a key.
    """

    base_url: str
    model: str
    first_pause: float = field(default=FIRST_PAUSE, repr=False)
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    _has_replied: bool = field(default=False, init=False, repr=False)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as rows, (n, width) float32.

        Raises:
            ServerError: If the server cannot be reached, refuses, keeps failing, or does not answer
                with one vector per text.
        """
        starts = range(0, len(texts), BATCH)
        blocks = [self._encode_batch(texts[start : start + BATCH]) for start in starts]
        return np.concatenate(blocks)

    def _encode_batch(self, texts: Sequence[str]) -> np.ndarray:
        request = {"model": self.model, "input": list(texts)}
        answer = self._post(json.dumps(request).encode())
        try:
            in_order = sorted(answer["data"], key=lambda item: item["index"])
            rows = np.array([item["embedding"] for item in in_order], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(
                f"{self.base_url} did not return embeddings: {str(answer)[:80]}."
            ) from error
        if rows.ndim != 2 or len(rows) != len(texts):
            raise ServerError(
                f"{self.base_url} returned {len(rows)} vectors for {len(texts)} texts."
            )
        return rows

    def _post(self, body: bytes) -> Any:
        """Send a request, and retry after temporary failures."""
        credentials = self.credentials or _key_header()
        headers = {"Content-Type": "application/json"} | credentials
        url = f"{self.base_url.rstrip('/')}/embeddings"
        attempt = 0
        while True:
            attempt += 1
            pause = self.first_pause * 2 ** (attempt - 1)
            request = urllib.request.Request(url, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    self._has_replied = True
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                self._has_replied = True
                with error:
                    message = error.read(200).decode("utf-8", "replace")
                    problem = f"{error.code} {_without_secrets(message, credentials)}"
                if error.code not in TEMPORARY:
                    raise self._refused(error.code, problem) from error
                pause = _retry_after(error) or pause
            except (OSError, ValueError, HTTPException) as error:
                problem = reason_of(error)
            max_attempts = ATTEMPTS if self._has_replied else FIRST_ATTEMPTS
            if attempt >= max_attempts:
                raise ServerError(
                    f"{self.base_url} failed {attempt} times: {problem}.",
                    remedy="Check that the server is running, and repeat the command to resume.",
                )
            time.sleep(pause)

    def _refused(self, code: int, problem: str) -> ServerError:
        remedy = None
        if code in (401, 403):
            remedy = f"Set the key in {' or '.join(KEYS)}."
        return ServerError(f"{self.base_url} refused: {problem}", remedy=remedy)


def _key_header() -> dict[str, str]:
    for name in KEYS:
        key = os.environ.get(name)
        if key:
            return {"Authorization": f"Bearer {key}"}
    return {}


def _without_secrets(message: str, credentials: dict[str, str]) -> str:
    """Return a server's message without the secrets that it may repeat."""
    for header in credentials.values():
        secret = header.rpartition(" ")[2]
        message = message.replace(secret, "…")
    return message


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Return the pause in seconds that a server asks for, at most `MAX_PAUSE`."""
    seconds = error.headers.get("Retry-After", "")
    return min(float(seconds), MAX_PAUSE) if seconds.isdecimal() else None
