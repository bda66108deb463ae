"""A client for chat-completions servers with retries, limits and cost accounting.

The API key is read from OPENAI_API_KEY (or credentials from the server's URL) and is sent only to
the server: it is never stored, shown or logged.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanosae.addresses import split_credentials
from nanosae.analysis.llm.answer_store import AnswerStore
from nanosae.analysis.llm.answers import answer_fault, token_count
from nanosae.analysis.llm.prompts import PROMPT_VERSION
from nanosae.errors import ConfigError, ServerError
from nanosae.extras import extra

LEAST = {"max_calls": 0, "max_cost": 0, "concurrency": 1, "retries": 0}
RESERVED = ("model", "messages", "stream")  # not allowed in `params`
TOKEN_LIMITS = ("max_completion_tokens", "max_tokens")  # two names of one parameter
UNSTORED = ("extra_headers", "extra_query")  # may contain a key
PERMANENT = (401, 403, 404)  # status codes that a retry cannot change
MAX_FAILURES = 20  # consecutive failures after which one more ends the run
# a name of maximum length
DRY_ANSWER = "FINAL: one two three four five six seven eight"
DEFAULT_MAX_TOKENS = 1000  # of an answer, if the request sets no limit


@dataclass(frozen=True)
class Chat:
    """A chat-completions server: its model, parameters, prices and limits.

    Attributes:
        model: Name of the model on the server.
        base_url: URL of the server up to `/v1`; None: OPENAI_BASE_URL, or else OpenAI.
        params: All other parameters of a request.
        price: Price per million prompt tokens and per million completion tokens.
        max_calls: Maximum number of calls; labelling stops cleanly before exceeding it.
        max_cost: Maximum cost; labelling stops cleanly before a call that could exceed it. Needs
            `price`.
        concurrency: Number of simultaneous calls.
        retries: Number of retries, with increasing delays, after 408, 409, 429, 5xx, a timeout or a
            lost connection. Connections to a server that has never replied are not retried.
        timeout: Seconds to wait for an answer.

    Raises:
        ConfigError: If a value is out of range, or `max_cost` is given without `price`.
    """

    model: str
    base_url: str | None = field(default=None, repr=False)
    params: dict[str, Any] = field(
        default_factory=lambda: {"temperature": 0, "max_tokens": 400}, repr=False
    )
    price: tuple[float, float] | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    concurrency: int = 8
    retries: int = 5
    timeout: float = 300.0

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("model is empty: give the name of the model.")
        if self.max_cost is not None and self.price is None:
            raise ConfigError(
                f"max_cost={self.max_cost} needs price=(prompt, completion)."
            )
        if self.price is not None:
            is_pair = len(self.price) == 2
            if not is_pair or min(self.price) < 0:
                raise ConfigError(
                    f"price={self.price} must be two non-negative numbers."
                )
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} must be at least {least}.")
        if not self.timeout > 0:
            raise ConfigError(f"timeout={self.timeout} must be above 0 seconds.")
        _check_params(self.params)


def _check_params(params: dict[str, Any]) -> None:
    for name in RESERVED:
        if name in params:
            raise ConfigError(f"params may not contain {name!r}.")
    for name in TOKEN_LIMITS:
        limit = params.get(name)
        is_integer = isinstance(limit, int) and not isinstance(limit, bool)
        if limit is not None and not (is_integer and limit > 0):
            raise ConfigError(f"params: {name}={limit!r} must be a positive integer.")
    try:
        json.dumps(params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"params cannot be sent as JSON: {error}.") from error


@dataclass
class Usage:
    """Calls, tokens and cost of a session.

    Attributes:
        model: Name of the model.
        calls: Number of calls, including failed ones.
        cached: Number of prompts answered from the store.
        failed: Number of calls without a usable answer.
        prompt_tokens: Prompt tokens. For failed calls, and if the server reports none, an estimate:
            one token per 4 bytes of the prompt.
        completion_tokens: Completion tokens; in the same cases, the maximum that the request
            allows.
        cost: Cost of these tokens.
        stopped: The limit that ended the session, or "".
        error: The last failure, or "".
    """

    model: str
    calls: int = 0
    cached: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    stopped: str = ""
    error: str = ""


@dataclass(frozen=True)
class _Tokens:
    prompt: int
    completion: int


@dataclass(frozen=True)
class _Reply:
    """A reply of the server: a usable answer, or the fault of an unusable one; and its tokens."""

    answer: str | None
    fault: str
    tokens: _Tokens


class ChatSession:
    """Asks a server, stores every answer, counts usage and enforces the limits.

    Args:
        chat: The server.
        path: The SQLite file of answers.
        dry_run: Make no calls; only count those that would be made.
    """

    def __init__(self, chat: Chat, path: Path, *, dry_run: bool = False) -> None:
        self.chat = chat
        self.usage = Usage(chat.model)
        self._dry_run = dry_run
        self._client = _client(chat, dry_run=dry_run)
        self._store = AnswerStore(path)
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(chat.concurrency)
        self._failures_in_a_row = 0
        self._has_replied = False

    def close(self) -> None:
        """Close the store and the connections."""
        self._store.close()
        self._client.close()

    def ask(self, prompt: str) -> str | None:
        """Return the answer from the store or the server; None if there is no usable one.

        Raises:
            ServerError: If the server cannot be reached, rejects the key or the model, or fails
                more than MAX_FAILURES times in a row.
        """
        messages = [{"role": "user", "content": prompt}]
        request = {"model": self.chat.model, "messages": messages, **self.chat.params}
        identity = self._identity(request)
        bound = _upper_bound(prompt, request)
        with self._lock:
            known = self._store.get(identity)
            if known is not None:
                self.usage.cached += 1
                return known
            if not self._book_call(bound):
                return None
        if self._dry_run:
            return DRY_ANSWER
        with self._slots:
            reply = self._send(request, bound)
        with self._lock:
            self._book_tokens(reply.tokens, instead_of=bound)
            if reply.answer is None:
                self.usage.failed += 1
                self.usage.error = reply.fault
                return None
            self._store.put(identity, reply.answer)
        return reply.answer

    def _identity(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return everything that can change the answer, except what may contain a key."""
        kept = {name: value for name, value in request.items() if name not in UNSTORED}
        context = {
            "base_url": str(self._client.base_url),
            "prompt_version": PROMPT_VERSION,
        }
        return context | kept

    def _book_call(self, bound: _Tokens) -> bool:
        """Reserve a call with the most tokens it can use; return False if a limit forbids it."""
        if self.usage.stopped:
            return False
        prompt_tokens = self.usage.prompt_tokens + bound.prompt
        completion_tokens = self.usage.completion_tokens + bound.completion
        cost = self._cost(prompt_tokens, completion_tokens)
        for name, value in (("max_calls", self.usage.calls + 1), ("max_cost", cost)):
            limit = getattr(self.chat, name)
            if limit is not None and value > limit:
                self.usage.stopped = f"{name}={limit}"
                done = f"{self.usage.calls} calls, {self.usage.cost:.4g} spent"
                warnings.warn(f"Stopped at {name}={limit} after {done}.", stacklevel=3)
                return False
        self.usage.calls += 1
        self._set_tokens(prompt_tokens, completion_tokens)
        return True

    def _book_tokens(self, used: _Tokens, instead_of: _Tokens) -> None:
        """Replace the tokens reserved for a call by those it has used."""
        prompt_tokens = self.usage.prompt_tokens + used.prompt - instead_of.prompt
        completion_tokens = (
            self.usage.completion_tokens + used.completion - instead_of.completion
        )
        self._set_tokens(prompt_tokens, completion_tokens)

    def _set_tokens(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.usage.prompt_tokens = prompt_tokens
        self.usage.completion_tokens = completion_tokens
        self.usage.cost = self._cost(prompt_tokens, completion_tokens)

    def _cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        prompt_price, completion_price = self.chat.price or (0, 0)
        prompt_cost = prompt_tokens * prompt_price
        completion_cost = completion_tokens * completion_price
        return (prompt_cost + completion_cost) / 1e6

    def _send(self, request: dict[str, Any], bound: _Tokens) -> _Reply:
        """Call the server and check its reply."""
        import openai

        unreadable = (
            ValueError,
            AttributeError,
            TypeError,
            LookupError,
            RecursionError,
        )
        try:
            completion = self._complete(request)
            answer = completion.choices[0].message.content
        except (openai.APIError, *unreadable) as error:
            self._count_failure(error)
            return _Reply(None, type(error).__name__, bound)
        with self._lock:
            self._failures_in_a_row = 0
        usage = getattr(completion, "usage", None)
        tokens = _Tokens(
            token_count(getattr(usage, "prompt_tokens", None), bound.prompt),
            token_count(getattr(usage, "completion_tokens", None), bound.completion),
        )
        fault = answer_fault(answer)
        return _Reply(None if fault else answer, fault, tokens)

    def _complete(self, request: dict[str, Any]) -> Any:
        """Call the server; retry only if it has ever replied."""
        import openai

        client = self._client
        if not self._has_replied:
            client = client.with_options(max_retries=0)
        try:
            completion = client.chat.completions.create(**request)
        except openai.APIStatusError as error:
            retries = self.chat.retries - 1
            is_permanent = error.status_code in PERMANENT
            is_final = self._has_replied or is_permanent or retries < 0
            self._has_replied = True
            if is_final:
                raise
            retrying = client.with_options(max_retries=retries)
            return retrying.chat.completions.create(**request)
        self._has_replied = True
        return completion

    def _count_failure(self, error: Exception) -> None:
        """Count a failed call; raise if further calls would fail as well.

        The original message is not repeated: it, or the URL in it, may contain the key.
        """
        import openai

        with self._lock:
            self._failures_in_a_row += 1
            too_many = self._failures_in_a_row > MAX_FAILURES
        is_unreachable = type(error) is openai.APIConnectionError
        is_permanent = getattr(error, "status_code", 0) in PERMANENT
        if is_unreachable or too_many or is_permanent:
            what = f"{type(error).__name__} for {self.chat.model!r}"
            raise ServerError(
                f"{self._client.base_url}: {what}.",
                remedy="Check base_url, model and OPENAI_API_KEY; answers so far are kept.",
            ) from None


def _upper_bound(prompt: str, request: dict[str, Any]) -> _Tokens:
    """Return the most tokens that a call is expected to use."""
    prompt_tokens = len(prompt.encode()) // 4 + 8
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    return _Tokens(prompt_tokens, limit or DEFAULT_MAX_TOKENS)


def _client(chat: Chat, *, dry_run: bool) -> Any:
    openai = extra("llm", "openai", "a label by a language model")
    key = os.environ.get("OPENAI_API_KEY")
    address = chat.base_url or os.environ.get("OPENAI_BASE_URL") or None
    if not (key or address or dry_run):
        raise ConfigError(
            "OPENAI_API_KEY is not set; OpenAI needs it, other servers need base_url."
        )
    headers = {}
    if address is not None:
        address, headers = split_credentials(address)
    return openai.OpenAI(
        api_key=key or "none",
        base_url=address,
        default_headers=headers,
        max_retries=chat.retries,
        timeout=chat.timeout,
    )
