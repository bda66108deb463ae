"""Why a feature is active on a text: its words there, and the sentences that it depends on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nanosae.errors import DataError, NanoSAEError
from nanosae.text.embedders import received_embedder
from nanosae.text.stop_words import is_stop_word, stop_words_of
from nanosae.view.explorer.corpus import Answer, OpenCorpus

MAX_WORDS = 20  # of a feature that are marked
MAX_SENTENCES = 40  # of a text whose sentences can be weighed
MIN_LETTERS = 12  # shorter sentences are joined to the one before
LONG_WORD = re.compile(r"\w{4,}")
END = re.compile(r"[.!?][\"'”’)\]]*\s+|[。！？]\s*|\n+")


def feature_words(
    line: dict[Any, Any], label: str, texts: Sequence[str] = ()
) -> list[str]:
    """Return the words to mark in the texts of a feature: of its label, and its keywords.

    Args:
        line: Its row of the feature table.
        label: Its label or name.
        texts: Texts of the feature; keywords that are stop words of their languages are left out.
    """
    words = _listed(label)
    keywords = line.get("keywords")
    if isinstance(keywords, str):
        stop_words = stop_words_of(texts)
        words += [
            word for word in _listed(keywords) if not is_stop_word(word, stop_words)
        ]
    if len(words) == 1:  # a sentence, or a phrase alone
        words += LONG_WORD.findall(label)
    return list(dict.fromkeys(words))[:MAX_WORDS]


def _listed(words: str) -> list[str]:
    """Return the parts of a list between commas."""
    parts = [word.strip() for word in words.split(",")]
    return [word for word in parts if word]


def can_weigh(corpus: OpenCorpus, text: str) -> bool:
    """Return whether a text's sentences can be weighed: it has several, and there is a model."""
    is_text = corpus.codes.has_texts and not corpus.codes.has_tokens
    has_sentences = 2 <= len(split_sentences(text)) <= MAX_SENTENCES
    return corpus.model is not None and is_text and has_sentences


def weigh_sentences(corpus: OpenCorpus, row: int, feature: int) -> Answer:
    """Measure how removing each sentence of a text changes the activation of a feature.

    The run's embedder embeds the text again without each of its sentences.

    Returns:
        `activation`, and `sentences`, which together are the text: each with the share of the
        activation that is lost without it, from 0 to 1.

    Raises:
        DataError: If there is no model or no embedder, or the text is a single sentence.
    """
    corpus.codes.features([feature])  # it must exist
    corpus.codes.row(row)
    is_text = corpus.codes.has_texts and not corpus.codes.has_tokens
    if corpus.model is None or not is_text:
        raise DataError("weighing sentences needs a model and texts.")
    (text,) = corpus.codes.texts([row])
    spans = split_sentences(text)
    if not 2 <= len(spans) <= MAX_SENTENCES:
        raise DataError(
            f"sentences in this text: {len(spans)}; between 2 and {MAX_SENTENCES} are needed."
        )
    shortened = [text[:start] + text[stop:] for start, stop in spans]
    vectors = _encode(corpus, [text, *shortened])
    activations = corpus.model.encode(vectors)[:, [feature]].toarray().ravel()
    whole = activations[0]
    if whole <= 0:
        raise DataError(
            "encoded again, this text does not activate the feature: was it embedded by "
            "another embedder?"
        )
    drops = np.clip(1 - activations[1:] / whole, 0, 1)
    return {
        "activation": float(whole),
        "sentences": [
            [text[start:stop], float(drop)]
            for (start, stop), drop in zip(spans, drops, strict=True)
        ],
    }


def _encode(corpus: OpenCorpus, texts: list[str]) -> np.ndarray:
    assert corpus.model is not None
    known = corpus.model.metadata
    name = known.get("embedder")
    if not name:
        raise DataError(
            "the run names no embedder, so the text cannot be encoded again."
        )
    prompt = known.get("prompt") or ""
    try:
        vectors = received_embedder(name).encode([prompt + text for text in texts])
    except (OSError, NanoSAEError) as error:
        raise DataError(f"the embedder {name} cannot be used: {error}") from error
    return np.asarray(vectors, np.float32)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Return the start and end of each sentence; together they cover the whole text.

    Example:
        >>> split_sentences("It rained all day. Then the sun came out!")
        [(0, 19), (19, 41)]
    """
    ends = [match.end() for match in END.finditer(text)]
    ends = [end for end in ends if not text[end : end + 1].islower()]  # not "e.g. this"
    cuts = sorted({0, *ends, len(text)})
    spans: list[tuple[int, int]] = []
    for start, stop in pairwise(cuts):
        before = spans[-1] if spans else (0, MIN_LETTERS)
        is_short = min(stop - start, before[1] - before[0]) < MIN_LETTERS
        if spans and is_short:
            spans[-1] = (before[0], stop)
        else:
            spans.append((start, stop))
    return spans
