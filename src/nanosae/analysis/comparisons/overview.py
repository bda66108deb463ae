"""What a corpus holds, in plain words, where no column of it is compared.

Its largest topics, texts that are there more than once, families and pairs of features, and the
texts that are least like others: lines like those of
`nanosae.analysis.comparisons.sentences.findings`, but counts, not tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.comparisons.sentences import COLUMNS, Line, percent, repeats_name
from nanosae.analysis.groups.clustering import nearest_rows
from nanosae.analysis.groups.topic_rows import NAMING_WORDS
from nanosae.analysis.reading import drawn_rows
from nanosae.analysis.splits import same_texts
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.runs.tables import doubtful_labels, known_labels

FIRST_TOPICS = 3  # before everything else; the others come last
FAMILIES = 2
KINDS = 3  # of a family that are named
MIN_KINDS = 2
MOST = 0.6  # of the texts of a kind that its root is in
MIN_REPEATED = 3  # texts: fewer are an accident
PAIRS = 3  # of features that go together
MIN_TOGETHER = 20  # texts that a pair shares
MIN_SHARE_TOGETHER = 0.2  # of the texts of one feature that also have the other
MIN_TIMES = 2  # as large as among the other texts
UNUSUAL = 3  # texts that are quoted
NEAREST = 6  # an unusual text is far from so many others
SAMPLE_ROWS = 2**17  # rows that are looked at
REFERENCE_ROWS = 2**13  # rows that an unusual text is far from
MAX_DENSITY = 0.2  # of features that are told
QUOTED_LETTERS = 70  # of a text
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")  # of HTML
UNNAMED = re.compile(
    r"_(?:feature \d|unnamed$)"
)  # in the name of a topic without words


class _Named(NamedTuple):
    """What is told about: texts that are there once, and features whose names can be believed."""

    rows: np.ndarray
    features: np.ndarray
    labels: Mapping[int, str]


def overview(
    codes: Corpus,
    topics: pd.DataFrame | None = None,
    families: Sequence[Mapping[str, Any]] = (),
) -> pd.DataFrame:
    """Say what a corpus holds without comparing any column.

    A text is unusual if the sixth-nearest of the others is far from it (the outliers of Ramaswamy
    et al., SIGMOD 2000). More than 131,072 rows are sampled.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        topics: `Topics.table`.
        families: Lines of `Families.table`, the largest first.

    Returns:
        One line per sentence with the columns of `findings`: `side` is "topic", "repeated",
        "family", "together" or "unusual"; `share` and `other_share` are shares of texts, `strength`
        is their difference; `feature` is missing where a sentence is about none (of a topic
        it is the most frequent one), `topic` where it is about none.
    """
    codes = as_codes(codes)
    of_topics = list(_topic_lines(codes, topics))
    lines = of_topics[:FIRST_TOPICS]
    if codes.has_texts:
        rows = drawn_rows(codes, SAMPLE_ROWS)
        text_group = same_texts(codes, rows)
        _, first = np.unique(text_group, return_index=True)
        named = _named_features(codes, rows[first])
        lines += chain(
            _repeated_line(codes, rows, text_group),
            _family_lines(codes, families, named),
            _pair_lines(codes, named),
            _unusual_line(codes, rows[np.bincount(text_group)[text_group] == 1]),
        )
    lines += of_topics[FIRST_TOPICS:]
    return pd.DataFrame(lines, columns=COLUMNS).astype(
        {"feature": "Int64", "topic": "Int64"}
    )


def _line(
    side: str,
    sentence: str,
    share: float,
    *,
    label: str = "",
    feature: int | None = None,
    topic: int | None = None,
    other_share: float = 0.0,
) -> Line:
    return {
        "side": side,
        "sentence": sentence,
        "label": label,
        "feature": feature,
        "topic": topic,
        "share": share,
        "other_share": other_share,
        "strength": share - other_share,
    }


def _topic_lines(codes: Codes, topics: pd.DataFrame | None) -> Iterator[Line]:
    """Say how many of the texts each topic makes up, the largest first."""
    if topics is None:
        return
    largest_first = topics.sort_values("Count", ascending=False, kind="stable")
    for topic in largest_first.to_dict("records"):
        if UNNAMED.search(topic["Name"]) or not topic["Count"]:
            continue
        words = ", ".join(topic["Representation"][:NAMING_WORDS])
        share = topic["Count"] / codes.n_rows
        features = topic["Features"]
        yield _line(
            "topic",
            f"The topic “{words}” makes up {percent(share)} of the texts.",
            share,
            label=words,
            feature=features[0] if len(features) else None,
            topic=topic["Topic"],
        )


def _named_features(codes: Codes, rows: np.ndarray) -> _Named:
    """Return features with names that are not doubtful, and that are not nearly everywhere."""
    doubtful = doubtful_labels(codes)
    is_rare = codes.density <= MAX_DENSITY
    labels = {
        feature: label
        for feature, label in known_labels(codes).items()
        if feature not in doubtful and is_rare[feature]
    }
    return _Named(rows, np.array(sorted(labels), np.int64), labels)


def _repeated_line(
    codes: Codes, rows: np.ndarray, text_group: np.ndarray
) -> Iterator[Line]:
    """Say how many texts repeat another one, but for case, digits and punctuation."""
    sizes = np.bincount(text_group)
    n_repeated = int((sizes - 1).sum())
    if n_repeated < MIN_REPEATED:
        return
    most = int(sizes.argmax())
    place = int((text_group == most).argmax())
    share = n_repeated / len(rows)
    (text,) = _quotes(codes, rows[[place]])
    yield _line(
        "repeated",
        f"{n_repeated:,} texts ({percent(share)}) repeat another one; the most frequent is "
        f"there {sizes[most]:,} times: {text}.",
        share,
    )


def _family_lines(
    codes: Codes, families: Sequence[Mapping[str, Any]], named: _Named
) -> Iterator[Line]:
    """Say what large families of features consist of: kinds that mostly lie inside their root."""
    n_told = 0
    told: set[int] = set()
    for family in families:
        members = [member for member in family["members"] if member in named.labels]
        if family["root"] not in members or told & set(members):
            continue
        root, *kinds = _kinds_of_root(codes, members, named.rows)
        if len(kinds) < MIN_KINDS:
            continue
        told |= set(members)
        label = named.labels[root]
        share = float(codes.density[root])
        parts = [f"“{named.labels[kind]}”" for kind in kinds[:KINDS]]
        if n_further := len(kinds) - len(parts):
            parts.append(f"{n_further:,} more")
        yield _line(
            "family",
            f"Texts about “{label}” ({percent(share)}) come in kinds: {_listed(parts)}.",
            share,
            label=label,
            feature=root,
        )
        n_told += 1
        if n_told == FAMILIES:
            return


def _kinds_of_root(codes: Codes, members: list[int], rows: np.ndarray) -> list[int]:
    """Return the root, which is first, and the members that have it in most of their texts."""
    shared, counts = _shared_counts(codes, rows, np.array(members))
    with_root = shared[[0]].toarray().ravel()
    is_inside = with_root >= MOST * counts
    return [
        member for member, is_kind in zip(members, is_inside, strict=True) if is_kind
    ]


def _pair_lines(codes: Codes, named: _Named) -> Iterator[Line]:
    """Say which features occur in the same texts far more often than elsewhere, each once.

    Features whose labels share a word are parts of one subject, which nobody needs to be told.
    """
    shared, counts = _shared_counts(codes, named.rows, named.features)
    pairs = sp.coo_array(sp.triu(shared, 1))
    places = np.stack(pairs.coords)
    n_shared = pairs.data
    pair_counts = counts[places]
    rarer = np.where(pair_counts[0] <= pair_counts[1], places[0], places[1])
    other = places.sum(0) - rarer
    share = n_shared / counts[rarer]
    n_others = np.maximum(len(named.rows) - counts[rarer], 1)
    other_share = (counts[other] - n_shared) / n_others
    difference = share - other_share
    is_often = (n_shared >= MIN_TOGETHER) & (share >= MIN_SHARE_TOGETHER)
    is_often &= share >= MIN_TIMES * other_share
    order = np.argsort(-np.where(is_often, difference, -1), kind="stable")
    told: set[int] = set()
    for pair in order[: is_often.sum()].tolist():
        feature = int(named.features[rarer[pair]])
        partner = int(named.features[other[pair]])
        label, its_label = named.labels[feature], named.labels[partner]
        if told & {feature, partner} or repeats_name(label, its_label):
            continue
        told |= {feature, partner}
        own, others = float(share[pair]), float(other_share[pair])
        yield _line(
            "together",
            f"Of the texts about “{label}”, {percent(own)} are about "
            f"“{its_label}”, too; of the others, {percent(others)}.",
            own,
            label=label,
            feature=feature,
            other_share=others,
        )
        if len(told) == 2 * PAIRS:
            return


def _shared_counts(
    codes: Codes, rows: np.ndarray, features: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Count the texts that two features share, csr_array (F, F), and those of each, (F,)."""
    activations: Any = codes.take(rows)[:, features]
    is_active = (activations > 0).astype(np.int64)
    counts = np.asarray(is_active.sum(axis=0)).ravel()
    return sp.csr_array(is_active.T @ is_active), counts


def _unusual_line(codes: Codes, rows: np.ndarray) -> Iterator[Line]:
    """Quote the texts that are furthest from all others."""
    if not codes.has_vectors or len(rows) <= NEAREST:
        return
    furthest = rows[np.argsort(closeness(codes.vectors(rows)), kind="stable")]
    texts = _listed(_quotes(codes, furthest[:UNUSUAL]))
    share = UNUSUAL / codes.n_rows
    yield _line("unusual", f"Least like all others are the texts {texts}.", share)


def closeness(vectors: np.ndarray) -> np.ndarray:
    """Return the cosine of each row with its sixth-nearest in a sample, itself counted, (n,).

    Rows are not centred: what is left of a row near the middle would be noise of any direction.
    """
    directions = unit(vectors)
    sample = np.random.default_rng(0).permutation(len(directions))[:REFERENCE_ROWS]
    reference = directions[sample]
    nearest = nearest_rows(directions, reference, NEAREST)
    cosines = [
        np.einsum("ij,ij->i", directions, reference[places]) for places in nearest.T
    ]
    return np.min(cosines, axis=0)


def _quotes(codes: Codes, rows: np.ndarray) -> list[str]:
    """Return texts in quotation marks, long ones cut at a word."""
    quotes = []
    for text in codes.texts(rows):
        one_line = " ".join(TAG.sub(" ", text).split())
        cut = one_line[:QUOTED_LETTERS]
        if len(one_line) > QUOTED_LETTERS:
            cut = f"{cut.rsplit(' ', 1)[0]} …"
        quotes.append(f"“{cut}”")
    return quotes


def _listed(parts: Sequence[str]) -> str:
    """Join parts as a sentence does.

    Example:
        >>> _listed(["a"]), _listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
