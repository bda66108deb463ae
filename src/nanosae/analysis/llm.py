"""Labels by a language model, scored on texts that it has not seen, each call paid for once.

The protocol is that of O'Neill et al. 2024 (arXiv 2408.00657, section 4): an interpreter reads
texts on which a feature is strongest and texts on which it is silent, and names it in 1 to 8 words;
a predictor reads the name and one held-out text and says from -1 to 1 whether the feature fires.
Scores are Pearson's correlation with the truth (0 or 1) and F1 of predictions above 0. Detection
costs a tenth: it shows ten held-out texts at once and asks which of them fit the name.

Test texts are active rows of any strength, at random, not the strongest; and as many silent ones:
random, or hard (nearest to the feature), drawn for each feature anew. Their kind stands beside the
score, for scores with other negatives are not comparable.

Any server that speaks chat-completions will do. As soon as an answer arrives it is kept in SQLite
under a hash of all that can change it; whatever is interrupted, it is not paid for again (calls
under way at that moment are). The key is read from OPENAI_API_KEY and goes nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.codes import Codes
from nanosae.extras import extra

PROMPT_VERSION = 1
INTERPRET = """A feature of text embeddings is a number per text: above 0 if the text has a certain
property, 0 if not. Find the property in four steps. 1. List what the ACTIVE texts share (subject,
purpose, form, tone, single words), in narrow and in broad terms; the activation in front of each
says how much it counts. 2. Strike out what the SILENT texts have, too. 3. Of the rest take the
simplest description that fits all ACTIVE texts and is no broader than needed. 4. End with one line:
FINAL: and that description in 1 to 8 plain words."""
JUDGE = "A feature of text embeddings fires on texts that fit this description: {label}"
PREDICT = """Does it fire on the text below? Give a short reason and end with one line: PREDICTION:
and a number from -1 (certainly silent) over 0 (no idea) to 1 (certainly active)."""
DETECT = """Which of the numbered texts below does it fire on? Any number of them may fit, or none.
End with one line: MATCHES: and their numbers with commas between them, or the word none."""


@dataclass(frozen=True)
class Chat:
    """Say how to reach, ask and pay a chat-completions server.

    Args:
        model: Name of the model, as the server knows it.
        base_url: Address of the server up to `/v1`; None is OpenAI's (or OPENAI_BASE_URL).
        params: Everything else that a request holds.
        price: Money per million prompt tokens and per million completion tokens.
        max_calls: Stop cleanly before the call that would be one too many.
        max_cost: Stop cleanly before the call that could cost more than is left; needs `price`.
        concurrency: Calls under way at once.
        retries: Times a call is repeated, with growing pauses, after 408, 409, 429, 5xx, a timeout
            or a lost connection.
        timeout: Seconds to wait for an answer.

    Raises:
        ValueError: If `max_cost` comes without `price`.
    """

    model: str
    base_url: str | None = None
    params: dict[str, Any] = field(default_factory=lambda: {"temperature": 0, "max_tokens": 400})
    price: tuple[float, float] | None = None
    max_calls: int | None = None
    max_cost: float | None = None
    concurrency: int = 8
    retries: int = 5
    timeout: float = 300.0

    def __post_init__(self) -> None:
        if self.max_cost is not None and self.price is None:
            raise ValueError(f"max_cost={self.max_cost} needs price=(prompt, completion).")


def llm_label(
    codes: Codes,
    chat: Chat,
    features: Any = None,
    *,
    predictor: Chat | None = None,
    scoring: Literal["predict", "detect"] = "predict",
    negatives: Literal["random", "hard", "mixed"] = "random",
    shown: int = 10,
    tests: int = 20,
    words: int = 150,
    groups: str | None = None,
    cache: str | Path | None = None,
    dry_run: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Name features with a language model and score the names on held-out texts.

    Args:
        codes: A corpus with texts.
        chat: The server and model that name features.
        features: Which features; by default all that are active on some row.
        predictor: The server and model that judge names; by default the same.
        scoring: "predict" asks about one text a call, "detect" about ten.
        negatives: Kind of silent texts, shown and tested: "random", "hard" or half of each.
        shown: Strongest texts to show (one of several near-duplicates), and silent ones.
        tests: Held-out active texts to judge, and silent ones.
        words: Words to which a text is cut; also to 8 characters for each of them.
        groups: A column whose equal values stay on one side of the split.
        cache: The SQLite file of answers; by default `llm.sqlite` in the run folder.
        dry_run: Ask nothing and return the bill.
        seed: Seed of the split and of the drawing; a feature's texts do not depend on the others.

    Returns:
        A frame with `feature, llm_label, llm_f1, llm_pearson, llm_n` (texts judged), `llm_unparsed`
        (texts without the answer asked for; they count as "silent"), `llm_negatives, llm_scoring,
        llm_model`. No name is "", no score NaN. `frame.attrs["bill"]` is a list with, for each
        model, `model, calls, cached, failed, prompt_tokens, completion_tokens, cost, stopped` and
        `error` (the last failure); a dry run returns it as a frame. There, and for failed calls and
        servers that count no tokens, these are estimates, meant as upper bounds: UTF-8 bytes ÷ 4 of
        every prompt and the largest answer that `params` allow (1,000 tokens if they do not say).

    Raises:
        ImportError: If the `llm` extra is missing.
        ValueError: If there are no texts, or OpenAI's server is meant and no key is set.
        ConnectionError: If the server is not there, refuses the key or the model, or fails 20 calls
            in a row. Call again to go on from the answers that are kept.
    """
    features = np.flatnonzero(codes.counts) if features is None else np.unique(features)
    path = Path(cache or (codes.run or codes.path) / "llm.sqlite")
    near = duplicate_groups(codes)
    held = held_out(near if groups is None else duplicate_groups(codes, groups=groups), 0.5, seed)
    one, records = scoring == "predict", []
    size, read = (1, parse_prediction) if one else (10, parse_matches)
    namer = _Session(chat, path, dry_run)
    judge = _Session(predictor, path, dry_run) if predictor else namer
    with (
        closing(namer),
        closing(judge),
        ThreadPoolExecutor(chat.concurrency) as names,
        ThreadPoolExecutor(judge.chat.concurrency) as judges,
    ):

        def name(case: tuple[int, str, list[str], np.ndarray]) -> dict[str, Any]:
            feature, question, texts, truth = case
            label = parse_label(namer.ask(question)) if question else ""
            cuts = [slice(i, i + size) for i in range(0, len(texts), size)] if label else []
            said = list(judges.map(judge.ask, [_exam(label, texts[x], one) for x in cuts]))
            came = [(a, truth[x]) for a, x in zip(said, cuts, strict=True) if a is not None]
            guess = [np.zeros(0), *(read(answer, len(fact)) for answer, fact in came)]
            fact = [np.zeros(0), *(fact for _, fact in came)]
            scores = agreement(np.concatenate(guess), np.concatenate(fact))
            return {"feature": feature, "llm_label": label, **scores}

        for block in np.split(features, range(512, len(features), 512)):
            draw = _cases(codes, block, near, held, (shown, tests, words), negatives, seed)
            records += names.map(name, draw)
    bill = [session.bill for session in dict.fromkeys([namer, judge])]
    facts = {"llm_negatives": negatives, "llm_scoring": scoring, "llm_model": chat.model}
    frame = pd.DataFrame(bill) if dry_run else pd.DataFrame(records).assign(**facts)
    frame.attrs["bill"] = bill
    return frame


def parse_label(answer: str | None) -> str:
    r"""Return the name in an interpreter's answer, at most 8 words, "" if there is none.

    Example:
        >>> parse_label("<think>FINAL: no</think> It is about ...\n**FINAL:** text editors.")
        'text editors'
    """
    return " ".join(_said(answer, "FINAL").strip(" \t*_`\"'.").split()[:8])


def parse_prediction(answer: str | None, n: int = 1) -> np.ndarray:
    r"""Return the number in a predictor's answer, between -1 and 1, or NaN, `n` times.

    Example:
        >>> parse_prediction("It fits.\nPREDICTION: 0.9"), parse_prediction("PREDICTION: maybe")
        (array([0.9]), array([nan]))
    """
    number = re.search(r"[-−]?(\d+\.?\d*|\.\d+)", _said(answer, "PREDICTION"))
    return np.clip(np.full(n, float(number[0].replace("−", "-")) if number else np.nan), -1, 1)


def parse_matches(answer: str | None, n: int) -> np.ndarray:
    """Return which of `n` numbered texts an answer names, 0 or 1 (n,), NaN if it cannot be read.

    Example:
        >>> parse_matches("MATCHES: 1, 3", 4).tolist(), parse_matches("MATCHES: none", 2).tolist()
        ([1.0, 0.0, 1.0, 0.0], [0.0, 0.0])
    """
    said = _said(answer, "MATCHES")
    numbers = [int(x) for x in re.findall(r"\d+", said)]
    clear = bool(numbers) or "none" in said.lower()
    return np.where(clear, np.isin(np.arange(1, n + 1), numbers), np.nan)


def agreement(guess: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Compare predictions with the truth; a NaN among them counts as 0.

    Returns:
        `llm_f1` of predictions above 0 and `llm_pearson`, NaN where undefined, `llm_n`,
        `llm_unparsed` (how many were NaN).

    Example:
        >>> agreement(np.array([0.9, 0.2, -1.0]), np.array([1, 0, 0]))["llm_f1"]
        0.6666666666666666
    """
    lost, guess = int(np.isnan(guess).sum()), np.nan_to_num(guess)
    both, on = len(np.unique(truth)) == 2, guess > 0
    f1 = float(2 * (on @ truth) / (on.sum() + truth.sum())) if both else np.nan
    r = float(np.corrcoef(guess, truth)[0, 1]) if both and np.ptp(guess) > 0 else np.nan
    return {"llm_f1": f1, "llm_pearson": r, "llm_n": len(truth), "llm_unparsed": lost}


def _said(answer: str | None, tag: str) -> str:
    """Return what follows the last `TAG:` on its line, thoughts left out."""
    spoken = re.sub(r"(?is)<think>.*?(</think>|\Z)", "", answer or "")
    spoken = spoken.rpartition("</think>")[2]  # some servers cut the opening mark
    return (re.findall(rf"(?i)\b{tag}\b\W*?:(.*)", spoken) or [""])[-1]


def _exam(label: str, texts: Sequence[str], one: bool) -> str:
    """Ask about one text, or about several by their numbers."""
    lines = [("" if one else f"{i}. ") + f"<text>{text}</text>" for i, text in enumerate(texts, 1)]
    return "\n".join([JUDGE.format(label=label), PREDICT if one else DETECT, *lines])


def _cases(
    codes: Codes, features: Any, near: Any, held: Any, sizes: tuple, kind: str, seed: int
) -> Iterator[tuple[int, str, list[str], np.ndarray]]:
    """Yield feature, question ("" without active texts), test texts and whether they are active."""
    shown, tests, words = sizes
    share = {"random": 0.0, "mixed": 0.5, "hard": 1.0}[kind]
    halves = [np.flatnonzero(~held), np.flatnonzero(held)]
    most = [hard_inactive(codes, features, x, max(shown, tests)) for x in halves if share]
    for i, feature in enumerate(features.tolist()):
        rng, (rows, acts) = np.random.default_rng([seed, feature]), codes.feature(feature)
        top = np.argsort(-acts, kind="stable")
        top = top[~held[rows[top]]]
        alone = np.unique(near[rows[top]], return_index=True)[1]  # one of several near-copies
        top = top[np.sort(alone)[:shown]]
        drawn = [rows[top], rng.permutation(rows[held[rows]])[:tests]]
        for half, n in enumerate(map(len, drawn[:2])):
            hard = most[half][i][: round(share * n)] if share else rows[:0]
            rest = np.setdiff1d(halves[half], np.concatenate([rows, hard]))
            drawn.append(np.concatenate([hard, rng.permutation(rest)[: n - len(hard)]]))
        test = rng.permutation(np.concatenate(drawn[1::2]))
        texts = codes.texts(np.concatenate([drawn[0], drawn[2], test]))
        texts = [" ".join(text.split()[:words])[: 8 * words] for text in texts]
        lines = [f"<text>{text}</text>" for text in texts[: len(texts) - len(test)]]
        for k, act in enumerate(acts[top]):
            lines[k] = f"[{act / acts[top[0]]:.2f}] {lines[k]}"
        parts = [INTERPRET, "ACTIVE:", *lines[: len(top)], "SILENT:", *lines[len(top) :]]
        question = "\n".join(parts) if len(top) else ""
        yield feature, question, texts[len(lines) :], np.isin(test, rows).astype(float)


class _Session:
    """Ask a server, remember every answer, keep count and keep within the limits."""

    def __init__(self, chat: Chat, path: Path, dry_run: bool) -> None:
        self.chat, self.dry_run, self.lock, self.in_a_row = chat, dry_run, threading.Lock(), 0
        self.bill: dict[str, Any] = {"model": chat.model, "calls": 0, "cached": 0, "failed": 0}
        self.bill |= {"prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0, "stopped": ""}
        self.bill |= {"error": ""}
        self.client, self.slots = _client(chat, dry_run), threading.Semaphore(chat.concurrency)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(path, check_same_thread=False, timeout=60)
        self.db.execute("CREATE TABLE IF NOT EXISTS answers (key PRIMARY KEY, request, answer)")

    def close(self) -> None:
        self.db.close()
        self.client.close()

    def ask(self, prompt: str) -> str | None:
        """Return the answer, from the store or the server; None if none is to be had."""
        messages = [{"role": "user", "content": prompt}]
        request = {"model": self.chat.model, "messages": messages, **self.chat.params}
        where = {"base_url": str(self.client.base_url), "prompt_version": PROMPT_VERSION}
        text = json.dumps(where | request, sort_keys=True, ensure_ascii=False)
        key = hashlib.sha256(text.encode()).hexdigest()
        longest = request.get("max_completion_tokens") or request.get("max_tokens") or 1000
        bound = {"prompt_tokens": len(prompt.encode()) // 4 + 8, "completion_tokens": longest}
        with self.lock:
            known = self.db.execute("SELECT answer FROM answers WHERE key = ?", [key]).fetchone()
            after = self._booked(cached=1) if known else self._booked(calls=1, **bound)
            if not known and self._too_much(after):
                return None
            self.bill = after
        if known or self.dry_run:
            return known[0] if known else "FINAL: one two three four five six seven eight"
        with self.slots:
            answer, used = self._send(request)
        with self.lock:
            self.in_a_row = self.in_a_row + 1 if answer is None else 0
            if answer is None:
                self.bill = self._booked(failed=1) | used
                return None
            self.bill = self._booked(**{x: (used.get(x) or bound[x]) - bound[x] for x in bound})
            with self.db:  # a transaction of its own: on disk before anything else happens
                self.db.execute("REPLACE INTO answers VALUES (?, ?, ?)", [key, text, answer])
        return answer

    def _booked(self, **more: int) -> dict[str, Any]:
        """Return the bill with some numbers added."""
        bill = self.bill | {name: self.bill[name] + number for name, number in more.items()}
        prices = zip(("prompt_tokens", "completion_tokens"), self.chat.price or (0, 0), strict=True)
        return bill | {"cost": sum(bill[name] * price for name, price in prices) / 1e6}

    def _too_much(self, after: dict[str, Any]) -> bool:
        """Tell whether a bill passes a limit; warn the first time."""
        for name, value in (("max_calls", after["calls"]), ("max_cost", after["cost"])):
            limit = getattr(self.chat, name)
            if limit is not None and value > limit and not self.bill["stopped"]:
                self.bill["stopped"] = f"{name}={limit}"
                did = f"{self.bill['calls']} calls, {self.bill['cost']:.4g} spent"
                warnings.warn(f"Stopped at {name}={limit} after {did}.", stacklevel=2)
        return bool(self.bill["stopped"])

    def _send(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Return answer and tokens used; None is a call that failed, an error a hopeless server."""
        import openai

        unreadable = (json.JSONDecodeError, AttributeError, TypeError, LookupError)
        try:
            reply: Any = self.client.chat.completions.create(**request)
            answer, usage = reply.choices[0].message.content or "", reply.usage
            return answer, usage.model_dump() if usage else {}
        except (openai.APIError, *unreadable) as error:
            gone = type(error) is openai.APIConnectionError
            gone = gone or getattr(error, "status_code", 0) in (401, 403, 404)
            if gone or self.in_a_row >= 20:  # the server's own words may hold the key
                what = f"{self.client.base_url}: {type(error).__name__} for {self.chat.model!r}."
                hint = "Check base_url, model and OPENAI_API_KEY; answers so far are kept."
                raise ConnectionError(f"{what} {hint}") from None
            return None, {"error": type(error).__name__}


def _client(chat: Chat, dry_run: bool) -> Any:
    openai = extra("llm", "openai", "a label by a language model")
    key, base = os.environ.get("OPENAI_API_KEY"), chat.base_url or os.environ.get("OPENAI_BASE_URL")
    if not (key or base or dry_run):
        raise ValueError("OPENAI_API_KEY is not set; OpenAI needs it, other servers need base_url.")
    limits: dict[str, Any] = {"max_retries": chat.retries, "timeout": chat.timeout}
    return openai.OpenAI(api_key=key or "none", base_url=base, **limits)
