"""The texts from which a language model names a feature, and those by which the name is judged.

The model sees the strongest texts of the training part. The name is judged on random held-out
active rows of any strength and on as many inactive ones, random or hard (nearest to the feature),
drawn independently for each feature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.llm.prompts import interpretation_prompt
from nanosae.analysis.ranking import largest_places
from nanosae.analysis.splits import first_of_each
from nanosae.codes import Codes

Negatives = Literal["random", "hard", "mixed"]
HARD_SHARE = {"random": 0.0, "mixed": 0.5, "hard": 1.0}


@dataclass(frozen=True)
class Case:
    """A feature to name and the texts that judge the name.

    Attributes:
        feature: Its number.
        prompt: The prompt for its name; "" if it is active on no row of the training part.
        texts: Held-out texts, active and inactive ones in random order.
        truth: Whether the feature is active on each, 0 or 1, (len(texts),).
    """

    feature: int
    prompt: str
    texts: list[str]
    truth: np.ndarray


@dataclass(frozen=True)
class CaseSource:
    """Draws the texts of each feature independently of all others.

    Attributes:
        codes: The corpus.
        duplicate_group: Duplicate group of each row, (n_rows,); at most one row of each is shown.
        held: Whether a row is held out, bool (n_rows,).
        shown: Number of strongest texts to show, and of inactive ones.
        tests: Number of held-out active texts to judge, and of inactive ones.
        words: Texts are cut to this number of words, and to 8 times as many characters.
        negatives: Kind of the inactive texts.
        seed: Seed of the draws.
    """

    codes: Codes
    duplicate_group: np.ndarray
    held: np.ndarray
    shown: int
    tests: int
    words: int
    negatives: Negatives
    seed: int

    def draw(self, features: np.ndarray) -> Iterator[Case]:
        """Yield the case of each feature, (F,)."""
        train_rows = np.flatnonzero(~self.held)
        held_rows = np.flatnonzero(self.held)
        hard_train = self._hard_inactive(features, train_rows)
        hard_held = self._hard_inactive(features, held_rows)
        for i, feature in enumerate(features.tolist()):
            rng = np.random.default_rng([self.seed, feature])
            rows, activations = self.codes.feature(feature)
            strongest = self._strongest_distinct(rows, activations)
            shown = rows[strongest]
            tested = rng.permutation(rows[self.held[rows]])[: self.tests]
            inactive = np.setdiff1d(train_rows, rows)
            shown_inactive = self._draw(inactive, hard_train[i], len(shown), rng)
            inactive = np.setdiff1d(held_rows, rows)
            tested_inactive = self._draw(inactive, hard_held[i], len(tested), rng)
            test_rows = rng.permutation(np.concatenate([tested, tested_inactive]))
            prompt = ""
            if len(shown):
                prompt = interpretation_prompt(
                    self._texts(shown),
                    activations[strongest].tolist(),
                    self._texts(shown_inactive),
                )
            truth = np.isin(test_rows, rows).astype(float)
            yield Case(feature, prompt, self._texts(test_rows), truth)

    def _hard_inactive(
        self, features: np.ndarray, rows: np.ndarray
    ) -> list[np.ndarray]:
        """Return the inactive rows nearest to each feature; none if `negatives` is "random"."""
        if HARD_SHARE[self.negatives] == 0:
            return [rows[:0]] * len(features)
        n_rows = max(self.shown, self.tests)
        return hard_inactive(self.codes, features, rows, n_rows)

    def _strongest_distinct(
        self, rows: np.ndarray, activations: np.ndarray
    ) -> np.ndarray:
        """Return the positions of the strongest training rows, one of each duplicate group."""
        order = largest_places(activations, len(activations))
        order = order[~self.held[rows[order]]]
        group = self.duplicate_group[rows[order]]
        return order[first_of_each(group)[: self.shown]]

    def _draw(
        self, inactive: np.ndarray, hard: np.ndarray, n: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw n inactive rows: a share of them the hardest, the others at random."""
        hardest = hard[: round(HARD_SHARE[self.negatives] * n)]
        others = np.setdiff1d(inactive, hardest)
        drawn = rng.permutation(others)[: n - len(hardest)]
        return np.concatenate([hardest, drawn])

    def _texts(self, rows: np.ndarray) -> list[str]:
        """Return the texts of rows as they are shown: on one line, and truncated."""
        texts = []
        for text in self.codes.texts(rows):
            shortened = " ".join(text.split()[: self.words])
            texts.append(shortened[: 8 * self.words])
        return texts
