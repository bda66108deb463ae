"""Features: their list, the card of a feature, names and bookmarks."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pandas' stubs see arrays for columns

from __future__ import annotations

from typing import Any

import numpy as np

from nanosae.analysis.ranking import largest_places, middles_of_bands
from nanosae.analysis.search.label_search import rank_labels
from nanosae.analysis.splits import distinct_texts
from nanosae.errors import DataError
from nanosae.runs import annotations
from nanosae.view.explorer.corpus import Answer, OpenCorpus
from nanosae.view.explorer.evidence import feature_words
from nanosae.view.explorer.glance import sentences_about
from nanosae.view.explorer.rows import PAGE, row_lines

EXAMPLES = 10  # texts of each kind on a card
BINS = 20  # of the histogram on a card
RELATED = 8  # similar features, and features that are active together
MAX_PARTNER_ROWS = 2_000  # sample of a feature's rows in which partners are counted
MIN_TOGETHER = 5  # of these rows on which a partner must be active
MAX_NAME = 200  # characters of a name
FACTS = ("keywords", "health")  # columns of the feature table
LAST_LABEL = "\uffff"  # sorts features without a label last
ORDERS = ("score", "rows", "name")
MAX_FOUND = 400  # by a search


def list_features(
    corpus: OpenCorpus,
    words: str = "",
    sort: str = "score",
    marked: bool = False,
    at: int = 0,
) -> Answer:
    """Return a page of the list of features.

    Args:
        corpus: The corpus.
        words: Search words, or the number of a feature; the best matches come first.
        sort: Order of features without `words`: "score" (of the label), "rows" or "name".
        marked: Whether to list only bookmarked features.
        at: Number of features to skip.
    """
    if sort not in ORDERS:
        raise DataError(
            f"features can be sorted by {', '.join(ORDERS)}, not by {sort!r}."
        )
    bookmarks = set(annotations.bookmarks(corpus.run, corpus.codes.model))
    if words:
        found = _search(corpus, words)
        features = [f for f in found if f in bookmarks] if marked else found
    else:
        every = np.flatnonzero(corpus.codes.counts).tolist()
        features = _in_order(corpus, sorted(bookmarks) if marked else every, sort)
    page = features[at : at + PAGE]
    return {"total": len(features), "lines": _lines(corpus, page, bookmarks)}


def _search(corpus: OpenCorpus, words: str) -> list[int]:
    """Return the features whose labels match, or the one with this number.

    The best matches come first, and features with doubtful labels last.
    """
    if words.isdecimal():
        feature = int(words)
        return [feature] if feature < corpus.codes.n_features else []
    found = rank_labels(corpus.labels, words, MAX_FOUND)["feature"]
    counts = corpus.codes.counts
    active = [feature for feature in found.tolist() if counts[feature]]
    return sorted(active, key=lambda feature: feature in corpus.doubtful)


def _in_order(corpus: OpenCorpus, features: list[int], sort: str) -> list[int]:
    labels, counts = corpus.labels, corpus.codes.counts
    # a high AUC on few texts is uncertain
    scores = np.nan_to_num(_lowest_scores(corpus))
    doubtful = corpus.doubtful

    def order(feature: int) -> Any:
        if sort == "name":
            return labels.get(feature, LAST_LABEL).casefold()
        if sort == "rows":
            return -counts[feature]
        is_doubtful = feature in doubtful
        return is_doubtful, -scores[feature], -counts[feature]

    return sorted(features, key=order)


def _lines(
    corpus: OpenCorpus, features: list[int], bookmarks: set[int]
) -> list[Answer]:
    """Return the lines of the list for these features."""
    labels, counts, scores = corpus.labels, corpus.codes.counts, corpus.scores
    doubtful = corpus.doubtful
    return [
        {
            "feature": feature,
            "name": labels.get(feature, ""),
            "rows": counts[feature],
            "marked": feature in bookmarks,
            "score": scores.get(feature),
            "doubtful": feature in doubtful,
        }
        for feature in features
    ]


def _lowest_scores(corpus: OpenCorpus) -> np.ndarray:
    """Return the lower ends of the intervals of AUCs; NaN without a label or if they are stale."""
    column = "label_auc_low"
    every = range(corpus.codes.n_features)
    table = corpus.table
    if column in table.attrs.get("stale", {}):
        return np.full(len(every), np.nan)
    return table.reindex(index=every, columns=[column])[column].to_numpy(float)


def card(corpus: OpenCorpus, feature: int) -> Answer:
    """Return the card of a feature."""
    rows, activations = corpus.codes.feature(feature)
    n = len(rows)
    strongest = float(activations.max(initial=0))
    line = _described(corpus, feature)
    examples = _examples(corpus, rows, activations, line)
    has_texts = corpus.codes.has_texts
    texts = corpus.codes.texts(examples["strongest"], marks="") if has_texts else []
    return {
        "feature": feature,
        "name": corpus.labels.get(feature, ""),
        "named": feature in annotations.names(corpus.run, corpus.codes.model),
        "marked": feature in annotations.bookmarks(corpus.run, corpus.codes.model),
        "rows": n,
        "density": n / max(corpus.codes.n_rows, 1),
        "mean": activations.mean() if n else 0.0,
        "max": strongest,
        "histogram": np.histogram(activations, BINS, (0, strongest or 1))[0],
        "facts": {name: line[name] for name in FACTS if name in line},
        "score": corpus.scores.get(feature),
        "doubtful": feature in corpus.doubtful,
        "findings": sentences_about(corpus, "feature", feature),
        "words": feature_words(line, corpus.labels.get(feature, ""), texts),
        "family": _family_name(corpus, feature),
        "examples": {
            kind: row_lines(corpus, chosen, feature)
            for kind, chosen in examples.items()
            if len(chosen)
        },
        "near": _similar_directions(corpus, feature),
        "partners": _partners(corpus, feature, rows),
    }


def _described(corpus: OpenCorpus, feature: int) -> dict[Any, Any]:
    """Return the fresh columns of a feature in the feature table."""
    table = corpus.table
    if feature not in table.index:
        return {}
    line = table.loc[feature].to_dict()
    stale = table.attrs.get("stale", {})
    return {name: value for name, value in line.items() if name not in stale}


def _examples(
    corpus: OpenCorpus,
    rows: np.ndarray,
    activations: np.ndarray,
    line: dict[Any, Any],
) -> dict[str, np.ndarray]:
    """Return example rows of a feature by kind, with different texts."""
    n = len(rows)
    by_strength = rows[np.argsort(-activations, kind="stable")]
    examples = {"strongest": distinct_texts(corpus.codes, by_strength, EXAMPLES)}
    if n > EXAMPLES:
        middles = middles_of_bands(by_strength, EXAMPLES)
        distinct = distinct_texts(corpus.codes, middles, EXAMPLES)
        examples["from strong to weak"] = distinct
    if line.get("n_active") == n:  # the description is of this corpus, not of another
        for kind in ("near_misses", "hard_negatives"):
            name = kind.replace("_", " ")
            examples[name] = np.array(line.get(kind, []), int)
    return examples


def _family_name(corpus: OpenCorpus, feature: int) -> str | None:
    families = corpus.groups("family")
    if families is None:
        return None
    return families.names.get(int(families.of_feature[feature]))


def _similar_directions(corpus: OpenCorpus, feature: int) -> list[list[Any]]:
    """Return the features with the most similar directions, and their cosines."""
    if corpus.directions is None:
        return []
    cosine = corpus.directions @ corpus.directions[feature]
    cosine[corpus.codes.counts == 0] = -1
    cosine[feature] = -1
    return _most_related(corpus, cosine)


def _partners(corpus: OpenCorpus, feature: int, rows: np.ndarray) -> list[list[Any]]:
    """Return the features with the largest NPMI with a feature, on a sample of its rows.

    The normalised pointwise mutual information of features i and j is
    log(p(i, j) ÷ p(i)p(j)) ÷ −log p(i, j): 1 if they are always active together, 0 by chance.
    """
    n, counts = corpus.codes.n_rows, corpus.codes.counts
    stride = max(1, -(-len(rows) // MAX_PARTNER_ROWS))
    sample = rows[::stride]
    together = np.bincount(corpus.codes.take(sample).indices, minlength=len(counts))
    share = together / max(len(sample), 1)  # of the feature's rows
    p_both = share * len(rows) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(share * n / counts)
        npmi = pmi / -np.log(p_both)
    is_uncertain = (together < MIN_TOGETHER) | (p_both >= 1)
    npmi[is_uncertain | ~(npmi > 0)] = -1
    npmi[feature] = -1
    return _most_related(corpus, npmi)


def _most_related(corpus: OpenCorpus, values: np.ndarray) -> list[list[Any]]:
    """Return the features with the largest values above −1, with labels and values."""
    related = []
    for feature in largest_places(values, RELATED).tolist():
        if values[feature] > -1:
            label = corpus.labels.get(feature, "")
            related.append([feature, label, values[feature]])
    return related


def rename(corpus: OpenCorpus, feature: int, name: str) -> Answer:
    """Name a feature, with at most 200 characters; an empty name restores its label.

    Returns:
        The new line of the feature in lists.
    """
    corpus.codes.features([feature])  # it must exist
    name = " ".join(name.split())[:MAX_NAME]
    model = corpus.codes.model
    annotations.rename(corpus.run, feature, name, model)
    bookmarks = set(annotations.bookmarks(corpus.run, model))
    (line,) = _lines(corpus, [feature], bookmarks)
    return line


def bookmark(corpus: OpenCorpus, feature: int, on: bool) -> Answer:
    """Set or remove a bookmark."""
    corpus.codes.features([feature])  # it must exist
    annotations.bookmark(corpus.run, feature, on=on, model=corpus.codes.model)
    return {"marked": on}
