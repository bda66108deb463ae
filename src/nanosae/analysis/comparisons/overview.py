"""A summary of a corpus in plain words that needs no column to compare.

It covers the largest topics, repeated texts, families and pairs of features, and unusual texts. The
rows have the format of `nanosae.analysis.comparisons.summary.findings`, but they are counts, not
tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from nanosae.analysis.comparisons.sentences import Line, findings_table, percent
from nanosae.analysis.comparisons.summary import repeats_name
from nanosae.analysis.groups.clustering import nearest_rows
from nanosae.analysis.groups.topic_rows import topic_name
from nanosae.analysis.reading import beginning, drawn_rows, texts_of
from nanosae.analysis.splits import first_of_each, same_texts
from nanosae.codes import Codes, Corpus, as_codes
from nanosae.lengths import unit
from nanosae.runs.tables import doubtful_labels, known_labels

FIRST_TOPICS = 3  # listed before everything else; other topics come last
FAMILIES = 2
KINDS = 3  # members of a family that are named
MIN_KINDS = 2
MOST = 0.6  # share of a member's texts that also have the root, for it to be a kind of the root
MIN_REPEATED = 3  # fewer repeated texts are not worth a sentence
PAIRS = 3  # of features that are active together
MIN_TOGETHER = 20  # texts that both features of a pair share
MIN_SHARE_TOGETHER = 0.2  # share of the rarer feature's texts that also have the other
MIN_TIMES = 2  # ratio of that share to the share among the other texts
UNUSUAL = 3  # texts that are quoted
NEAREST = 6  # unusual texts are far from their sixth-nearest other text
SAMPLE_ROWS = 2**17
REFERENCE_ROWS = 2**13  # sample in which nearest neighbours are searched
FIRST_ROWS = 2**10  # of these, with which all rows are compared first
LIKELY_ROWS = 64  # that are then compared with all of these
ROUNDING = 1e-5  # of a cosine
MAX_DENSITY = 0.2  # features that are active more often are not mentioned
QUOTED_LETTERS = 70  # of a text
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")  # HTML
UNNAMED = re.compile(r"_(?:feature \d|unnamed$)")  # names of topics without words


class _Named(NamedTuple):
    """Distinct texts, and the features with trustworthy labels."""

    rows: np.ndarray
    features: np.ndarray
    labels: Mapping[int, str]


def overview(
    codes: Corpus,
    topics: pd.DataFrame | None = None,
    families: Sequence[Mapping[str, Any]] = (),
) -> pd.DataFrame:
    """Summarise a corpus in sentences, without comparing any column.

    Unusual texts are those whose sixth-nearest neighbour is furthest away (the distance-based
    outliers of Ramaswamy et al., SIGMOD 2000). Corpora of more than 131,072 rows are sampled.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        topics: `Topics.table`.
        families: Rows of `Families.table`, the largest family first.

    Returns:
        One row per sentence with the columns of `findings`: `side` is "topic", "repeated",
        "family", "together" or "unusual"; `share` and `other_share` are shares of texts, `strength`
        is their difference; `feature` (for a topic its most frequent one) and `topic` are missing
        where they do not apply.
    """
    codes = as_codes(codes)
    of_topics = list(_topic_lines(codes, topics))
    lines = of_topics[:FIRST_TOPICS]
    if codes.has_texts:
        rows = drawn_rows(codes, SAMPLE_ROWS)
        text_group = same_texts(texts_of(codes, rows), len(rows))
        named = _named_features(codes, rows[first_of_each(text_group)])
        lines += chain(
            _repeated_line(codes, rows, text_group),
            _family_lines(codes, families, named),
            _pair_lines(codes, named),
            _unusual_line(codes, rows[np.bincount(text_group)[text_group] == 1]),
        )
    lines += of_topics[FIRST_TOPICS:]
    return findings_table(lines)


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
    """Yield the share of the texts that each topic makes up, the largest first."""
    if topics is None:
        return
    largest_first = topics.sort_values("Count", ascending=False, kind="stable")
    for topic in largest_first.to_dict("records"):
        if UNNAMED.search(topic["Name"]) or not topic["Count"]:
            continue
        name = topic_name(topic["Representation"])
        share = topic["Count"] / codes.n_rows
        features = topic["Features"]
        yield _line(
            "topic",
            f"The topic “{name}” makes up {percent(share)} of the texts.",
            share,
            label=name,
            feature=features[0] if len(features) else None,
            topic=topic["Topic"],
        )


def _named_features(codes: Codes, rows: np.ndarray) -> _Named:
    """Return the features that are not too common and whose labels are not doubtful."""
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
    """Yield how many texts repeat another one up to case, digits and punctuation."""
    sizes = np.bincount(text_group)
    n_repeated = int((sizes - 1).sum())
    if n_repeated < MIN_REPEATED:
        return
    most = int(sizes.argmax())
    place = int((text_group == most).argmax())
    share = n_repeated / len(rows)
    (text,) = _quotes(codes, rows[[place]])
    n_texts = f"{n_repeated:,} texts"
    if len(rows) < codes.n_rows:
        n_texts = f"Of {len(rows):,} texts drawn at random, {n_repeated:,}"
    yield _line(
        "repeated",
        f"{n_texts} ({percent(share)}) repeat another one; "
        f"the most frequent occurs {sizes[most]:,} times: {text}.",
        share,
    )


def _family_lines(
    codes: Codes, families: Sequence[Mapping[str, Any]], named: _Named
) -> Iterator[Line]:
    """Yield what large families consist of: kinds whose texts mostly lie inside the root's."""
    n_families = 0
    mentioned: set[int] = set()
    for family in families:
        members = [member for member in family["members"] if member in named.labels]
        if family["root"] not in members or mentioned & set(members):
            continue
        root, *kinds = _root_and_kinds(codes, members, named.rows)
        label = named.labels[root]
        labels_of_kinds = dict.fromkeys(named.labels[kind] for kind in kinds)
        labels_of_kinds.pop(label, None)
        if len(labels_of_kinds) < MIN_KINDS:
            continue
        mentioned |= set(members)
        share = float(codes.density[root])
        quoted = [f"“{kind}”" for kind in [*labels_of_kinds][:KINDS]]
        n_further = len(labels_of_kinds) - len(quoted)
        if n_further:
            quoted.append(f"{n_further:,} more")
        yield _line(
            "family",
            f"Texts about “{label}” ({percent(share)}) fall into kinds: {_listed(quoted)}.",
            share,
            label=label,
            feature=root,
        )
        n_families += 1
        if n_families == FAMILIES:
            return


def _root_and_kinds(codes: Codes, members: list[int], rows: np.ndarray) -> list[int]:
    """Return the first member, the root, and the members most of whose texts have the root."""
    shared, counts = _shared_counts(codes, rows, np.array(members))
    with_root = shared[[0]].toarray().ravel()
    is_kind = with_root >= MOST * counts
    return np.array(members)[is_kind].tolist()


def _pair_lines(codes: Codes, named: _Named) -> Iterator[Line]:
    """Yield pairs of features that are active together far more often than by chance.

    Each feature is mentioned once. Pairs whose labels share a word are skipped as obvious.
    """
    pairs = _frequent_pairs(codes, named)
    mentioned: set[int] = set()
    for line in pairs.to_dict("records"):
        feature = int(line["feature"])
        partner = int(line["partner"])
        label = named.labels[feature]
        partner_label = named.labels[partner]
        if mentioned & {feature, partner} or repeats_name(label, partner_label):
            continue
        mentioned |= {feature, partner}
        share = float(line["share"])
        other_share = float(line["other_share"])
        yield _line(
            "together",
            f"Of the texts about “{label}”, {percent(share)} are also about "
            f"“{partner_label}”; of the others, {percent(other_share)}.",
            share,
            label=label,
            feature=feature,
            other_share=other_share,
        )
        if len(mentioned) == 2 * PAIRS:
            return


def _frequent_pairs(codes: Codes, named: _Named) -> pd.DataFrame:
    """Return the pairs of features that share many texts, by decreasing difference of shares.

    Returns:
        `feature` (the rarer one), `partner`, `share` (of the feature's texts that have the partner)
        and `other_share` (of all other texts).
    """
    shared, counts = _shared_counts(codes, named.rows, named.features)
    pairs = sp.coo_array(sp.triu(shared, 1))
    first, second = pairs.coords
    n_shared = pairs.data
    is_first_rarer = counts[first] <= counts[second]
    rarer = np.where(is_first_rarer, first, second)
    other = np.where(is_first_rarer, second, first)
    share = n_shared / counts[rarer]
    n_others = np.maximum(len(named.rows) - counts[rarer], 1)
    other_share = (counts[other] - n_shared) / n_others
    is_frequent = (n_shared >= MIN_TOGETHER) & (share >= MIN_SHARE_TOGETHER)
    is_frequent &= share >= MIN_TIMES * other_share
    columns = {
        "feature": named.features[rarer],
        "partner": named.features[other],
        "share": share,
        "other_share": other_share,
    }
    table = pd.DataFrame(columns)
    difference = np.where(is_frequent, share - other_share, -1)
    largest_first = np.argsort(-difference, kind="stable")
    return table.iloc[largest_first[: is_frequent.sum()]]


def _shared_counts(
    codes: Codes, rows: np.ndarray, features: np.ndarray
) -> tuple[Any, np.ndarray]:
    """Count the texts that each pair of features shares, csr_array (F, F), and each has, (F,)."""
    activations: Any = codes.take(rows)[:, features]
    is_active = (activations > 0).astype(np.int64)
    counts = np.asarray(is_active.sum(axis=0)).ravel()
    return sp.csr_array(is_active.T @ is_active), counts


def _unusual_line(codes: Codes, rows: np.ndarray) -> Iterator[Line]:
    """Quote the texts that are furthest from all others; those without an embedding are not."""
    if not codes.has_vectors:
        return
    vectors = codes.vectors(rows)
    is_blank = [not text.strip() for text in texts_of(codes, rows)]
    is_known = vectors.any(axis=1) & np.logical_not(is_blank)
    rows = rows[is_known]
    if len(rows) <= NEAREST:
        return
    furthest = rows[furthest_rows(vectors[is_known], UNUSUAL)]
    texts = _listed(_quotes(codes, furthest))
    share = UNUSUAL / codes.n_rows
    yield _line("unusual", f"The most unusual texts are {texts}.", share)


def furthest_rows(vectors: np.ndarray, n: int) -> np.ndarray:
    """Return the n rows whose sixth-nearest row in a sample is furthest, the furthest first.

    A row's sixth-nearest in a part of the sample is no nearer than that in all of it, so only rows
    that are not near enough in the part are compared with all (cf. Bay and Schwabacher, KDD 2003).
    Rows are not centred: centring a row near the mean would leave only noise.
    """
    directions = unit(vectors)
    sample = np.random.default_rng(0).permutation(len(directions))[:REFERENCE_ROWS]
    every_row = np.arange(len(directions))
    at_least = closeness(directions, every_row, sample[:FIRST_ROWS])
    likely = np.argsort(at_least, kind="stable")[:LIKELY_ROWS]
    nth = np.sort(closeness(directions, likely, sample))[:n].max(initial=-1)
    candidates = np.flatnonzero(at_least <= nth + ROUNDING)
    found = closeness(directions, candidates, sample)
    return candidates[np.argsort(found, kind="stable")[:n]]


def closeness(
    directions: np.ndarray, rows: np.ndarray, sample: np.ndarray
) -> np.ndarray:
    """Return the cosine of some rows with the sixth-nearest other row of a sample, (len(rows),).

    Args:
        directions: All unit rows, (n, width).
        rows: The rows.
        sample: The rows to compare them with, at least seven.
    """
    own = directions[rows]
    places = nearest_rows(own, directions[sample], NEAREST + 1)
    nearest = sample[places]
    cosines = [np.einsum("ij,ij->i", own, directions[others]) for others in nearest.T]
    ascending = np.sort(cosines, axis=0)
    has_itself = (nearest == rows[:, None]).any(axis=1)
    return np.where(has_itself, ascending[0], ascending[1])


def _quotes(codes: Codes, rows: np.ndarray) -> list[str]:
    """Return texts in quotation marks, long ones truncated at a word."""
    without_tags = (TAG.sub(" ", text) for text in codes.texts(rows))
    return [f"“{beginning(text, QUOTED_LETTERS)}”" for text in without_tags]


def _listed(parts: Sequence[str]) -> str:
    """Join parts as in a sentence.

    Example:
        >>> _listed(["a"]), _listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
