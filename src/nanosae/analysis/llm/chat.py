"""A client for servers that speak the chat-completions protocol: retries, limits, costs.

The key is read from OPENAI_API_KEY (or from user and password in the server's address) and goes to
the server only: it is never stored, shown or logged.
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

# parts of a request that `params` may not hold
RESERVED = ("model", "messages", "stream")
MOST_TOKENS = ("max_completion_tokens", "max_tokens")  # of an answer, by two names
UNSTORED = ("extra_headers", "extra_query")  # parts that may hold a key
HOPELESS = (401, 403, 404)  # statuses that another try cannot change
MAX_FAILURES = 20  # calls that fail in a row before a run ends
DRY_ANSWER = "FINAL: one two three four five six seven eight"  # the longest name
DEFAULT_MAX_TOKENS = 1000  # of an answer, where the request does not say


@dataclass(frozen=True)
class Chat:
    """How to reach, ask and pay a chat-completions server.

    Attributes:
        model: Name of the model, as the server knows it.
        base_url: Address of the server up to `/v1`; None is OpenAI's (or OPENAI_BASE_URL).
        params: Everything else that a request holds.
        price: Money per million prompt tokens and per million completion tokens.
        max_calls: Stop cleanly before the call that would be one too many.
        max_cost: Stop cleanly before the call that could cost more than is left; needs `price`.
        concurrency: Calls under way at once.
        retries: Times a call is repeated, with growing pauses, after 408, 409, 429, 5xx, a timeout
            or a lost connection; a connection to a server that has never replied is not repeated.
        timeout: Seconds to wait for an answer.

    Raises:
        ConfigError: If a value is out of range, or `max_cost` comes without `price`.
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
                    f"price={self.price} must be two numbers that are not negative."
                )
        for name, least in (
            ("max_calls", 0),
            ("max_cost", 0),
            ("concurrency", 1),
            ("retries", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} must be at least {least}.")
        if not self.timeout > 0:
            raise ConfigError(f"timeout={self.timeout} must be above 0 seconds.")
        _check_params(self.params)


def _check_params(params: dict[str, Any]) -> None:
    for name in RESERVED:
        if name in params:
            raise ConfigError(f"params may not hold {name!r}.")
    for name in MOST_TOKENS:
        most = params.get(name)
        is_count = isinstance(most, int) and not isinstance(most, bool) and most > 0
        if most is not None and not is_count:
            raise ConfigError(f"params: {name}={most!r} must be a positive integer.")
    try:
        json.dumps(params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"params cannot be sent as JSON: {error}.") from error


@dataclass
class Usage:
    """What the calls to a model amount to.

    Attributes:
        model: Name of the model.
        calls: Calls made, failed ones included.
        cached: Questions answered from the store.
        failed: Calls without an answer that can be kept.
        prompt_tokens: Tokens read. For failed calls, and where a server counts none, an upper
            bound: a token for every 4 bytes of the prompt.
        completion_tokens: Tokens written; there, the most that the request allows.
        cost: Their price.
        stopped: The limit that ended the run, "" if none.
        error: The last failure, "" if none.
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
    """A reply of the server: an answer that can be kept, or what is wrong; tokens if counted."""

    answer: str | None
    fault: str
    tokens: _Tokens


class ChatSession:
    """Ask a server, remember every answer, keep count and keep within the limits.

    Args:
        chat: The server.
        path: The SQLite file of answers.
        dry_run: Ask nothing: count the calls that would be made.
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
        """Return the answer, from the store or the server; None if none is to be had.

        Raises:
            ServerError: If the server is not there, refuses the key or the model, or fails
                MAX_FAILURES times in a row.
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
        """Return all that can change the answer, without what may hold a key."""
        kept = {name: value for name, value in request.items() if name not in UNSTORED}
        where = {
            "base_url": str(self._client.base_url),
            "prompt_version": PROMPT_VERSION,
        }
        return where | kept

    def _book_call(self, bound: _Tokens) -> bool:
        """Count a call with the most that it can use; False if a limit forbids it."""
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
        """Replace the most that a call could use by what it has used."""
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
        return (
            prompt_tokens * prompt_price + completion_tokens * completion_price
        ) / 1e6

    def _send(self, request: dict[str, Any], bound: _Tokens) -> _Reply:
        """Call the server; what comes back is checked before anybody trusts it."""
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
        """Call the server; only one that has ever replied is worth pauses and retries."""
        import openai

        client = self._client
        if not self._has_replied:
            client = client.with_options(max_retries=0)
        try:
            completion = client.chat.completions.create(**request)
        except openai.APIStatusError as error:
            retries = self.chat.retries - 1
            is_final = self._has_replied or error.status_code in HOPELESS or retries < 0
            self._has_replied = True
            if is_final:
                raise
            patient = client.with_options(max_retries=retries)
            return patient.chat.completions.create(**request)
        self._has_replied = True
        return completion

    def _count_failure(self, error: Exception) -> None:
        """Count a call that failed; raise if the server is hopeless, without its own words.

        They may hold the key, as may the address that the error knows.
        """
        import openai

        with self._lock:
            self._failures_in_a_row += 1
            many = self._failures_in_a_row > MAX_FAILURES
        is_gone = type(error) is openai.APIConnectionError
        if is_gone or many or getattr(error, "status_code", 0) in HOPELESS:
            what = f"{type(error).__name__} for {self.chat.model!r}"
            raise ServerError(
                f"{self._client.base_url}: {what}.",
                remedy="Check base_url, model and OPENAI_API_KEY; answers so far are kept.",
            ) from None


def _upper_bound(prompt: str, request: dict[str, Any]) -> _Tokens:
    """Return the most tokens that a call is expected to use."""
    longest = request.get("max_completion_tokens") or request.get("max_tokens")
    return _Tokens(len(prompt.encode()) // 4 + 8, longest or DEFAULT_MAX_TOKENS)


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
