"""Comparisons of texts that occur many times, but for their numbers: letters, logs, "No comment".

`contrast`, `explain` and `over_time` count copies as one text, because a copy says nothing new
about what texts are about. How often a text is sent, logged or given as an answer is another
question, to which every copy contributes: here rows count, whatever they hold. A row has a text or
not, so texts are compared as topics are, by the same tests, without covariates (copies have one
length). The tests hold their level where the rows are independent: many copies of one sender make
them too sure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from nanosae.analysis.comparisons.compared import Compared
from nanosae.analysis.comparisons.explain import question_about
from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.comparisons.hypotheses import Options, answer
from nanosae.analysis.comparisons.over_time import answer_over_time
from nanosae.analysis.groups.topic_rows import RowTopics
from nanosae.analysis.reading import beginning, texts_of
from nanosae.codes import Codes
from nanosae.errors import DataError
from nanosae.text.tokens import written_words

MIN_COPIES = 20  # of a text that is compared
MAX_TEXTS = 200  # that are compared, the most frequent
QUOTED_LETTERS = 90  # of a text
DIGIT = re.compile(r"\d")  # in numbers, dates and ids


def form_of(text: str) -> str:
    """Return what two texts share that differ in numbers, case and punctuation alone.

    Example:
        >>> form_of("Invoice 1203 of 5 May is paid.") == form_of("invoice 77 of 12 May is paid")
        True
    """
    words = written_words(text.lower())
    without_numbers = [
        "0" if not word.isalpha() and DIGIT.search(word) else word for word in words
    ]
    return " ".join(without_numbers) or text.strip()


def repeated_texts(codes: Codes) -> RowTopics | None:
    """Return the texts that many rows have, the most frequent first; None if there are none.

    Args:
        codes: A corpus with texts.
    """
    if not codes.has_texts or codes.has_tokens:
        return None
    texts = texts_of(codes, np.arange(codes.n_rows))
    # 64 bits stand for the form of a text, as `splits` tells texts apart
    hashes = np.fromiter(
        (hash(form_of(text)) for text in texts), np.int64, codes.n_rows
    )
    distinct, first, form, n_copies = np.unique(
        hashes,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    n_copies[distinct == hash("")] = 0  # rows without a text
    most_first = np.lexsort((first, -n_copies))[:MAX_TEXTS]
    kept = most_first[n_copies[most_first] >= MIN_COPIES]
    if not len(kept):
        return None
    number = np.full(len(n_copies), -1)
    number[kept] = np.arange(len(kept))
    examples = codes.texts(first[kept])
    names = [beginning(text, QUOTED_LETTERS) for text in examples]
    return RowTopics(names, number[form])


def compare_repeated(
    codes: Codes,
    *,
    groups: Sequence[str] = (),
    times: Sequence[str] = (),
    numbers: Sequence[str] = (),
) -> list[Contrast]:
    """Compare how often repeated texts occur in groups, over time and with numbers.

    Args:
        codes: The corpus.
        groups: Columns whose values are compared.
        times: Columns of dates or numbers to follow texts over.
        numbers: Columns of numbers.

    Returns:
        A comparison for each column that can be compared, with `copies` in its `about`; texts have
        the place of topics. None if no text is repeated often.
    """
    texts = repeated_texts(codes)
    if texts is None:
        return []
    compared = Compared(codes, texts, has_features=False)
    options = Options((), None, MIN_COPIES, {}, copies=True)
    found = []
    for column in (*groups, *times, *numbers):
        kind = "classes" if column in groups else "numeric"
        try:
            if column in times:
                result = answer_over_time(compared, column, options)
            else:
                question = question_about(codes, column, kind)
                result = answer(compared, question, options)
        except DataError:
            continue  # the comparison of its features says why
        found.append(result)
    return found
