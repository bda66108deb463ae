"""Words similar to a word: inflections, words that begin with it, and typing errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

from nanosae.text.tokens import allowed_edits, edits, is_unspaced, stem

SAME_STEM = 0.9  # similarity of inflections
PREFIX = 0.8  # similarity of a word and its prefix, or of an unspaced run and its part
TYPO = 0.7  # similarity of a word and one with a typing error; a further factor for each error
LOST_PAIRS = 3  # most pairs of letters that a typing error can change


class Vocabulary:
    """Find the words of a list that are similar to a word.

    Args:
        words: Distinct folded words, as `split_words` returns them.

    Example:
        >>> words = Vocabulary(["bank", "banks", "banking", "banker", "blank", "東京都"])
        >>> words.similar("bank")
        {'bank': 1.0, 'banks': 0.9, 'banking': 0.9, 'banker': 0.8}
        >>> words.similar("bnak"), words.similar("東京"), words.similar("river")
        ({'bank': 0.7}, {'東京都': 0.8}, {})
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = list(words)
        self._known = set(self._words)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = defaultdict(list)
        for word in self._words:
            by_stem[stem(word)].append(word)
        return by_stem

    @cached_property
    def _pairs(self) -> list[frozenset[str]]:
        """The pairs of letters of each word."""
        return [_letter_pairs(word) for word in self._words]

    def similar(self, word: str) -> dict[str, float]:
        """Return words similar to a word, with similarities between 0 and 1, the highest first.

        Typing errors are only considered if no other word is similar.
        """
        found = dict.fromkeys(self._containing(word), PREFIX)
        its_stem = stem(word)
        if its_stem:
            found |= dict.fromkeys(self._by_stem.get(its_stem, []), SAME_STEM)
        if word in self._known:
            found[word] = 1.0
        if not found:
            found = self.typos(word)
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    def typos(self, word: str) -> dict[str, float]:
        """Return the words that differ from a word by a few typing errors."""
        most = allowed_edits(word)
        if not most:
            return {}
        pairs = _letter_pairs(word)
        fewest_common = len(pairs) - LOST_PAIRS * most
        found = {}
        for known, known_pairs in zip(self._words, self._pairs, strict=True):
            if len(pairs & known_pairs) >= fewest_common:
                n_edits = edits(word, known, most)
                if n_edits <= most:
                    found[known] = TYPO ** max(n_edits, 1)
        return found

    def _containing(self, word: str) -> list[str]:
        if is_unspaced(word):
            return [known for known in self._words if word in known]
        if len(word) < 2:
            return []
        return [known for known in self._words if known.startswith(word)]


def _letter_pairs(word: str) -> frozenset[str]:
    """Return the pairs of neighbouring letters, including the ends of the word."""
    padded = f" {word} "
    return frozenset(map("".join, pairwise(padded)))
