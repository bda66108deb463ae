"""Which texts a language model sees of a feature, and by which ones its name is judged.

Shown are the strongest texts of the training part of the split. Judged are held-out active rows of
any strength, at random, not the strongest; and as many inactive ones: random, or hard (nearest to
the feature), drawn for each feature anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.prompts import interpretation_prompt
from nanosae.analysis.ranking import largest_places
from nanosae.codes import Codes

Negatives = Literal["random", "hard", "mixed"]
HARD_SHARE = {"random": 0.0, "mixed": 0.5, "hard": 1.0}


@dataclass(frozen=True)
class Case:
    """A feature to name and the texts that judge the name.

    Attributes:
        feature: Its number.
        prompt: The question for its name, "" if it is active on no row of the training part.
        texts: Held-out texts, active and inactive ones mixed.
        truth: Whether it is active on each, 0 or 1, (len(texts),).
    """

    feature: int
    prompt: str
    texts: list[str]
    truth: np.ndarray


@dataclass(frozen=True)
class CaseSizes:
    """How much is shown and judged.

    Attributes:
        shown: Strongest texts to show, and inactive ones.
        tests: Held-out active texts to judge, and inactive ones.
        words: Words to which a text is cut; also to 8 characters for each of them.
    """

    shown: int
    tests: int
    words: int


def draw_cases(
    codes: Codes,
    features: np.ndarray,
    duplicate_group: np.ndarray,
    held: np.ndarray,
    sizes: CaseSizes,
    negatives: Negatives,
    seed: int,
) -> Iterator[Case]:
    """Draw the texts of each feature, independently of the other features.

    Args:
        codes: The corpus.
        features: Which features, (F,).
        duplicate_group: Group of near-duplicates of each row, of which one is shown, (n_rows,).
        held: Whether a row is held out, bool (n_rows,).
        sizes: How many texts to draw.
        negatives: Kind of the inactive texts.
        seed: Seed of the draws.
    """
    hard_share = HARD_SHARE[negatives]
    train_rows = np.flatnonzero(~held)
    held_rows = np.flatnonzero(held)
    n_hard = max(sizes.shown, sizes.tests)
    hard_train = hard_held = [train_rows[:0]] * len(features)
    if hard_share:
        hard_train = hard_inactive(codes, features, train_rows, n_hard)
        hard_held = hard_inactive(codes, features, held_rows, n_hard)
    for i, feature in enumerate(features.tolist()):
        rng = np.random.default_rng([seed, feature])
        rows, activations = codes.feature(feature)
        strongest = _strongest_distinct(
            rows, activations, held, duplicate_group, sizes.shown
        )
        shown = rows[strongest]
        tested = rng.permutation(rows[held[rows]])[: sizes.tests]
        shown_inactive = _draw_inactive(
            train_rows, rows, hard_train[i], len(shown), hard_share, rng
        )
        tested_inactive = _draw_inactive(
            held_rows, rows, hard_held[i], len(tested), hard_share, rng
        )
        test_rows = rng.permutation(np.concatenate([tested, tested_inactive]))
        prompt = ""
        if len(shown):
            prompt = interpretation_prompt(
                _cut(codes.texts(shown), sizes.words),
                activations[strongest].tolist(),
                _cut(codes.texts(shown_inactive), sizes.words),
            )
        truth = np.isin(test_rows, rows).astype(float)
        yield Case(feature, prompt, _cut(codes.texts(test_rows), sizes.words), truth)


def _strongest_distinct(
    rows: np.ndarray,
    activations: np.ndarray,
    held: np.ndarray,
    duplicate_group: np.ndarray,
    n: int,
) -> np.ndarray:
    """Return places of the n strongest training rows, one of each group of near-duplicates."""
    order = largest_places(activations, len(activations))
    order = order[~held[rows[order]]]
    _, first_of_group = np.unique(duplicate_group[rows[order]], return_index=True)
    return order[np.sort(first_of_group)[:n]]


def _draw_inactive(
    rows: np.ndarray,
    active: np.ndarray,
    hard: np.ndarray,
    n: int,
    hard_share: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw n inactive rows: a share of the hardest, and others at random."""
    hardest = hard[: round(hard_share * n)]
    others = np.setdiff1d(rows, np.concatenate([active, hardest]))
    drawn = rng.permutation(others)[: n - len(hardest)]
    return np.concatenate([hardest, drawn])


def _cut(texts: np.ndarray, n_words: int) -> list[str]:
    """Return texts on one line, cut to a number of words and to 8 characters for each of them."""
    shortened = [" ".join(text.split()[:n_words]) for text in texts]
    return [text[: 8 * n_words] for text in shortened]
