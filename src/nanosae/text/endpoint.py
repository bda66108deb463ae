"""Texts to rows by a server of the embeddings protocol (`POST BASE_URL/embeddings`)."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanosae.errors import ServerError

BATCH = 128  # texts in a request
ATTEMPTS = 5
FIRST_ATTEMPTS = 2  # at a server that has never replied: the address may be wrong
# seconds before the second attempt; each further pause is twice as long
FIRST_PAUSE = 1.0
MAX_PAUSE = 120.0  # seconds that a server may ask to wait
TIMEOUT = 60.0  # seconds for an answer
TEMPORARY = (408, 409, 425, 429, 500, 502, 503, 504)  # statuses: ask again
KEYS = ("NANOSAE_API_KEY", "OPENAI_API_KEY")  # variables of the environment, in order


@dataclass
class Endpoint:
    """A server that embeds texts.

    Attributes:
        base_url: Its address up to `/embeddings`, such as http://localhost:8000/v1.
        model: Name of the model there.
        first_pause: Seconds before a second attempt.
        credentials: Headers that go to the server and nowhere else, instead of a key.
    """

    base_url: str
    model: str
    first_pause: float = field(default=FIRST_PAUSE, repr=False)
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    _has_replied: bool = field(default=False, init=False, repr=False)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, (n, width) float32.

        Raises:
            ServerError: If the server is not there, refuses, keeps failing, or answers what is no
                vector for each text.
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
                f"{self.base_url} answered no embeddings: {str(answer)[:80]}."
            ) from error
        if rows.ndim != 2 or len(rows) != len(texts):
            raise ServerError(
                f"{self.base_url} answered {len(rows)} vectors for {len(texts)} texts."
            )
        return rows

    def _post(self, body: bytes) -> Any:
        """Send a request, again after what may pass by itself."""
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
                    words = error.read(200).decode("utf-8", "replace")
                    problem = f"{error.code} {_without(words, credentials)}"
                if error.code not in TEMPORARY:
                    raise self._refused(error.code, problem) from error
                pause = _asked_pause(error) or pause
            except (OSError, ValueError) as error:
                problem = str(error)
            most = ATTEMPTS if self._has_replied else FIRST_ATTEMPTS
            if attempt >= most:
                raise ServerError(
                    f"{self.base_url} failed {attempt} times: {problem}.",
                    remedy="Is the server running? The same command goes on where it stopped.",
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


def _without(words: str, credentials: dict[str, str]) -> str:
    """Return what a server says without the secrets that it may repeat."""
    for header in credentials.values():
        words = words.replace(header.rpartition(" ")[2], "…")
    return words


def _asked_pause(error: urllib.error.HTTPError) -> float | None:
    """Return the seconds that a server asks to wait, of which no command stands still for long."""
    asked = error.headers.get("Retry-After", "")
    return min(float(asked), MAX_PAUSE) if asked.isdecimal() else None
