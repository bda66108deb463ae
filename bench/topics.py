"""Compare topics with k-means and with UMAP + k-means, as BERTopic uses them, against labels.

    python bench/topics.py RUN/codes/default intent [--leave-out oos] [--seeds 3] [--json FILE]
    python bench/topics.py RUN/codes/default FILE.parquet:lexname

For 20 topics and for as many as there are labels: normalised mutual information with the labels;
NPMI of each topic's ten words (mean over pairs, in the texts of the corpus), of words chosen by
class-based TF-IDF for every method, and of those that topics show; the share of rows without a
topic; and seconds. The corpus needs embeddings. UMAP needs the extra `umap`; without it, its line
is left out.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import normalized_mutual_info_score

from nanosae.analysis.groups.topics import topics
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes
from nanosae.text.stop_words import is_stop_word, stop_words_of

N_WORDS = 10
WORD = r"(?u)\b\w+(?:['’]\w+)*\b"


def main() -> None:
    """Measure every method and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codes", type=Path)
    parser.add_argument("labels")
    parser.add_argument("--leave-out", default="", help="rows with this label")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    codes = Codes.open(args.codes)
    labels = read_labels(codes, args.labels)
    is_labelled = ~np.isin(labels, ["", args.leave_out])
    texts = codes.texts()
    vocabulary = CountVectorizer(stop_words="english", min_df=5, binary=True)
    presence = vocabulary.fit_transform(texts)
    lines = []
    for n in (20, len(set(labels[is_labelled]))):
        shown = topics(codes, n).table["Representation"]
        npmi_shown = coherence_of_shown(texts, shown)
        for method, seed, topic_of_row, seconds in runs(codes, n, args.seeds):
            has_topic = is_labelled & (topic_of_row >= 0)
            nmi = normalized_mutual_info_score(
                labels[has_topic], topic_of_row[has_topic]
            )
            lines.append(
                {
                    "method": method,
                    "n": n,
                    "seed": seed,
                    "nmi": nmi,
                    "npmi": coherence(presence, topic_of_row, n),
                    "npmi_shown": npmi_shown if method == "nanosae" else np.nan,
                    "unassigned": float((topic_of_row < 0).mean()),
                    "seconds": seconds,
                }
            )
    means: Any = pd.DataFrame(lines).groupby(["n", "method"]).mean()
    table = means.drop(columns="seed")
    sys.stdout.write(table.round(3).to_string() + "\n")
    if args.json:
        args.json.write_text(json.dumps(lines, indent=1), "utf-8")


def read_labels(codes: Codes, wanted: str) -> np.ndarray:
    """Return a column of the codes, or of a Parquet file in the same row order."""
    if ":" in wanted:
        file, column = wanted.rsplit(":", 1)
        found = pd.read_parquet(file, columns=[column])[column].to_numpy(object)
    else:
        found = codes.column(wanted)
    return np.array(["" if label is None else str(label) for label in found])


def runs(codes: Codes, n: int, seeds: int):
    """Yield method, seed, topic of each row and seconds."""
    vectors = codes.vectors()
    rows = unit(vectors - vectors.mean(axis=0))
    methods: dict[str, Callable[[int], np.ndarray]] = {
        "k-means": lambda seed: k_means(rows, n, seed)
    }
    if find_spec("umap"):
        methods["UMAP + k-means"] = lambda seed: umap_k_means(vectors, n, seed)
    start = time.perf_counter()
    found = topics(codes, n)
    yield "nanosae", 0, found.row_topic, time.perf_counter() - start
    for name, cluster in methods.items():
        for seed in range(seeds):
            start = time.perf_counter()
            yield name, seed, cluster(seed), time.perf_counter() - start


def k_means(rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Cluster centred unit-norm rows."""
    n_init: Any = 3
    return KMeans(n, n_init=n_init, random_state=seed).fit_predict(rows)


def umap_k_means(vectors: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Cluster like BERTopic, with its settings of UMAP, but k-means instead of HDBSCAN."""
    from umap import UMAP

    reduce = UMAP(
        n_neighbors=15,
        n_components=5,
        min_dist=0.0,
        metric="cosine",
        random_state=seed,
    )
    n_init: Any = 10
    return KMeans(n, n_init=n_init, random_state=seed).fit_predict(
        reduce.fit_transform(vectors)
    )


def coherence(presence, topic_of_row: np.ndarray, n: int) -> float:
    """Return the mean NPMI of the pairs of each topic's ten most distinctive words.

    Words are chosen the same way for every method, by BERTopic's class-based TF-IDF.
    """
    counts = np.array([presence[topic_of_row == t].sum(axis=0) for t in range(n)])
    counts = counts.reshape(n, -1).astype(float)
    per_topic = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    total = np.maximum(counts.sum(axis=0), 1)
    weight = per_topic * np.log(1 + counts.sum() / n / total)
    best = np.argsort(-weight, axis=1, kind="stable")[:, :N_WORDS]
    return npmi(presence, best)


def coherence_of_shown(texts: np.ndarray, shown: Iterable[list[str]]) -> float:
    """Return the mean NPMI of the pairs of the first ten words that each topic shows.

    Phrases are split into words without stop words, as the other methods have single words.
    """
    stop_words = stop_words_of(texts)
    words_of_topics = []
    for terms in shown:
        words = re.findall(WORD, " ".join(terms).lower())
        kept = [word for word in words if not is_stop_word(word, stop_words)]
        distinct = list(dict.fromkeys(kept))
        words_of_topics.append(distinct[:N_WORDS])
    vocabulary = sorted({word for words in words_of_topics for word in words})
    place = {word: column for column, word in enumerate(vocabulary)}
    counter = CountVectorizer(vocabulary=vocabulary, binary=True, token_pattern=WORD)
    presence = counter.transform(texts)
    return npmi(
        presence, [[place[word] for word in words] for words in words_of_topics]
    )


def npmi(presence, columns_of_topics: Iterable[Sequence[int]]) -> float:
    """Return the mean NPMI of the pairs of columns of each topic; −1 if they never co-occur."""
    n_texts = presence.shape[0]
    share = np.asarray(presence.mean(axis=0)).ravel()
    columns = presence.tocsc().astype(float)
    values = []
    for best in columns_of_topics:
        together = (columns[:, best].T @ columns[:, best]).toarray() / n_texts
        for i, j in combinations(range(len(best)), 2):
            both = together[i, j]
            if both == 0:
                values.append(-1.0)
                continue
            pmi = np.log(both / (share[best[i]] * share[best[j]]))
            values.append(pmi / -np.log(both) if both < 1 else 1.0)
    return float(np.mean(values))


if __name__ == "__main__":
    main()
