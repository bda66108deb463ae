"""Compare topics with BERTopic and with k-means, against labels.

    python bench/topics.py FOLDER [NAME:COLUMN[:LEFT_OUT] ...] [--n 20] [--rows 20000] [--seeds 3]
        [--save]

FOLDER holds embeddings, NAME.ENCODER.f16.npy, and NAME.parquet with `text` and a column of labels;
rows with the label LEFT_OUT are clustered and not scored. Each seed draws its rows, which all
methods get in the same order, and is the random state of the others. Methods:

- nanosae: `topics` with its default settings.
- k-means: on centred embeddings of length 1, the best of three starts.
- BERTopic, as its documentation recommends with precomputed embeddings: English stop words are left
  out of its words only, and UMAP has its settings and a random state. With k-means, the best of ten
  starts; or with HDBSCAN, its default, whose topics are merged to n, before and after
  `reduce_outliers` by embeddings; or with the smallest clusters of HDBSCAN that give at most n
  topics, which it advises before merging, and `reduce_outliers`.

Without BERTopic (pip install bertopic), its lines are left out. UMAP runs once per seed for all
that use it; its time is in the seconds of each, and in the first the compilation of its code.

Scores: normalised mutual information and adjusted Rand index of all labelled rows, unassigned ones
as one more group, and of those with a topic; mean NPMI of the pairs of each topic's ten words in
the texts of the corpus, of words chosen by class-based TF-IDF for every method (`npmi`), and of
those that the method shows (`npmi_shown`); the share of rows without a topic; processor seconds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import machine
from nanosae import SAETrainer, TrainConfig
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.statistics import unit
from nanosae.codes import Codes
from nanosae.text.stop_words import is_stop_word, stop_words_of

CORPORA = ("clinc150:domain:out_of_scope", "wordnet:lexname", "debian:section")
PEERS = ("bertopic", "umap-learn", "hdbscan", "scikit-learn")
N_WORDS = 10
SMALLEST = 10  # HDBSCAN's smallest clusters by BERTopic's default
WORD = r"(?u)\b\w+(?:['’]\w+)*\b"
UNSHOWN: list[list[str]] = []


@dataclass(frozen=True)
class Labelled:
    """Texts, embeddings and labels in one order of the rows."""

    texts: list[str]
    vectors: np.ndarray
    labels: np.ndarray
    is_scored: np.ndarray

    def drawn(self, n_rows: int, seed: int) -> Labelled:
        """Return that many random rows, or all of them, in random order."""
        shuffled = np.random.default_rng(seed).permutation(len(self.texts))
        rows = shuffled[:n_rows]
        texts = [self.texts[row] for row in rows]
        arrays = (self.vectors, self.labels, self.is_scored)
        return Labelled(texts, *(array[rows] for array in arrays))


@dataclass(frozen=True)
class Grouping:
    """The topic of each row, −1 for none, the words that a method shows and its seconds."""

    method: str
    row_topic: np.ndarray
    words: list[list[str]]
    seconds: float


def main() -> None:
    """Measure every method on every corpus; print means and spreads, and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("corpora", nargs="*", default=CORPORA)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    asked = {name: value for name, value in vars(args).items() if name != "folder"}
    report: dict[str, Any] = {"asked": asked, "machine": machine.facts()}
    if find_spec("bertopic"):
        versions = {name: importlib.metadata.version(name) for name in PEERS}
        report["machine"]["peers"] = versions
    lines: list[dict[str, Any]] = []
    for wanted in args.corpora:
        name, column, left_out = [*wanted.split(":"), ""][:3]
        corpus = read(args.folder, name, column, left_out)
        for seed in range(args.seeds):
            drawn = corpus.drawn(args.rows, seed)
            found = scored(drawn, args.n, seed)
            lines.extend({"corpus": name, "seed": seed} | line for line in found)
        table = pd.DataFrame(lines).drop(columns="seed")
        spread = table.groupby(["corpus", "method"], sort=False).agg(["mean", "std"])
        print(spread.loc[[name]].round(3).T.to_string(), flush=True)
        if args.save:  # again after each corpus
            machine.save("topics", report | {"results": lines})


def read(folder: Path, name: str, column: str, left_out: str) -> Labelled:
    """Read a corpus; rows without a label and those left out are not scored."""
    table = pd.read_parquet(folder / f"{name}.parquet", columns=["text", column])
    labels = table[column].fillna("").astype(str).to_numpy(object)
    (file,) = folder.glob(f"{name}.*.npy")
    vectors = np.load(file).astype(np.float32)
    is_scored = ~np.isin(labels, ["", left_out])
    return Labelled(table["text"].tolist(), vectors, labels, is_scored)


def scored(corpus: Labelled, n: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the scores of each method."""
    vocabulary = CountVectorizer(stop_words="english", min_df=5, binary=True)
    presence = vocabulary.fit_transform(corpus.texts)
    for found in groupings(corpus, n, seed):
        labels, row_topic = corpus.labels, found.row_topic
        all_rows = agreement(labels, row_topic, corpus.is_scored)
        has_topic = corpus.is_scored & (row_topic >= 0)
        assigned = agreement(labels, row_topic, has_topic)
        shown = coherence_of_shown(corpus.texts, found.words) if found.words else None
        yield {
            "method": found.method,
            "n": int(row_topic.max()) + 1,
            **all_rows,
            **{f"{score}_assigned": value for score, value in assigned.items()},
            "npmi": coherence(presence, row_topic),
            "npmi_shown": shown,
            "unassigned": float((row_topic < 0).mean()),
            "seconds": round(found.seconds, 2),
        }


def agreement(
    labels: np.ndarray, row_topic: np.ndarray, rows: np.ndarray
) -> dict[str, float]:
    """Return the agreement of topics with the labels of some rows."""
    pair = labels[rows], row_topic[rows]
    nmi = float(normalized_mutual_info_score(*pair))
    return {"nmi": nmi, "ari": float(adjusted_rand_score(*pair))}


def groupings(corpus: Labelled, n: int, seed: int) -> Iterator[Grouping]:
    """Yield what each method finds."""
    yield nanosae_topics(corpus, n)
    start = time.process_time()
    rows = unit(corpus.vectors - corpus.vectors.mean(axis=0))
    row_topic = k_means(n, 3, seed).fit_predict(rows)
    yield Grouping("k-means", row_topic, UNSHOWN, time.process_time() - start)
    if find_spec("bertopic"):
        yield from bertopic_topics(corpus, n, seed)


def k_means(n: int, n_starts: int, seed: int) -> KMeans:
    """Return scikit-learn's k-means."""
    n_init: Any = n_starts
    return KMeans(n, n_init=n_init, random_state=seed)


def nanosae_topics(corpus: Labelled, n: int) -> Grouping:
    """Find topics in the codes of a small SAE, on which the topics of rows do not depend."""
    config = TrainConfig(hidden_size=256, k=8, steps=50, batch_size=1024)
    model = SAETrainer(config).train(corpus.vectors, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "codes"
        model.encode_corpus(corpus.vectors, path, metadata=corpus.texts)
        directions = model.W_dec.detach().numpy()
        start = time.process_time()
        found = topics(Codes.open(path), n, directions=directions)
        row_topic = found.row_topic
        words = found.table["Representation"].tolist()
        return Grouping("nanosae", row_topic, words, time.process_time() - start)


class Reduced:
    """Stands in for a UMAP model that BERTopic fits: returns what UMAP gave before."""

    def __init__(self, reduced: np.ndarray) -> None:
        self.reduced = reduced

    def fit(self, X: np.ndarray, y: Any = None) -> Reduced:
        """Do nothing."""
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the reduced rows."""
        return self.reduced


def bertopic_topics(corpus: Labelled, n: int, seed: int) -> Iterator[Grouping]:
    """Yield what BERTopic finds with k-means and with HDBSCAN."""
    from hdbscan import HDBSCAN
    from umap import UMAP

    start = time.process_time()
    umap = UMAP(
        n_neighbors=15,
        n_components=5,
        min_dist=0.0,
        metric="cosine",
        random_state=seed,
    )
    reduced: Any = umap.fit_transform(corpus.vectors)
    of_umap = time.process_time() - start

    def clusters(smallest: int) -> Any:
        # BERTopic's defaults but for the size
        return HDBSCAN(min_cluster_size=smallest, prediction_data=True)

    start = time.process_time() - of_umap
    model, row_topic = fitted(corpus, reduced, k_means(n, 10, seed))
    seconds = time.process_time() - start
    yield Grouping("BERTopic, k-means", row_topic, words_of(model), seconds)

    start = time.process_time() - of_umap
    model, row_topic = fitted(corpus, reduced, clusters(SMALLEST))
    has_outliers = row_topic.min() < 0
    model.reduce_topics(corpus.texts, nr_topics=n + int(has_outliers))
    row_topic = np.array(model.topics_)
    seconds = time.process_time() - start
    yield Grouping("BERTopic, HDBSCAN merged", row_topic, words_of(model), seconds)
    row_topic = without_outliers(model, corpus)
    seconds = time.process_time() - start
    method = "BERTopic, HDBSCAN merged, outliers reduced"
    yield Grouping(method, row_topic, words_of(model), seconds)

    start = time.process_time() - of_umap
    smallest = smallest_for(lambda size: clusters(size).fit_predict(reduced), n)
    model, row_topic = fitted(corpus, reduced, clusters(smallest))
    row_topic = without_outliers(model, corpus)
    seconds = time.process_time() - start
    method = "BERTopic, HDBSCAN sized, outliers reduced"
    yield Grouping(method, row_topic, words_of(model), seconds)


def fitted(corpus: Labelled, reduced: np.ndarray, clusters: Any) -> tuple[Any, Any]:
    """Fit BERTopic; return it and the topic of each row."""
    from bertopic import BERTopic

    model = BERTopic(
        umap_model=Reduced(reduced),
        hdbscan_model=clusters,
        vectorizer_model=CountVectorizer(stop_words="english"),
    )
    row_topic, _ = model.fit_transform(corpus.texts, corpus.vectors)
    return model, np.array(row_topic)


def without_outliers(model: Any, corpus: Labelled) -> np.ndarray:
    """Give outliers the topic with the nearest embedding, and all topics new words."""
    if min(model.topics_) < 0:
        row_topic = model.reduce_outliers(
            corpus.texts,
            model.topics_,
            strategy="embeddings",
            embeddings=corpus.vectors,
        )
        vectorizer = CountVectorizer(stop_words="english")
        model.update_topics(corpus.texts, topics=row_topic, vectorizer_model=vectorizer)
    return np.array(model.topics_)


def words_of(model: Any) -> list[list[str]]:
    """Return the words of each topic but that of the outliers."""
    topics_of_model = {
        topic: [word for word, _ in words if word]
        for topic, words in model.get_topics().items()
    }
    return [words for topic, words in topics_of_model.items() if topic >= 0]


def smallest_for(cluster: Callable[[int], np.ndarray], n: int) -> int:
    """Return the least of a series of smallest sizes with which there are at most n clusters."""
    size = SMALLEST
    while cluster(size).max() + 1 > n:
        size = round(size * 1.5)
    return size


def coherence(presence: Any, row_topic: np.ndarray) -> float:
    """Return the mean NPMI of the pairs of each topic's ten most distinctive words.

    Words are chosen the same way for every method, by class-based TF-IDF.
    """
    n = int(row_topic.max()) + 1
    counts = np.array([presence[row_topic == t].sum(axis=0) for t in range(n)])
    counts = counts.reshape(n, -1).astype(float)
    per_topic = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    total = np.maximum(counts.sum(axis=0), 1)
    weight = per_topic * np.log(1 + counts.sum() / n / total)
    best = np.argsort(-weight, axis=1, kind="stable")[:, :N_WORDS]
    return npmi(presence, best)


def coherence_of_shown(texts: Sequence[str], shown: Iterable[list[str]]) -> float:
    """Return the mean NPMI of the pairs of the first ten words that each topic shows.

    Phrases are split into words without stop words, as the other methods have single words.
    """
    stop_words = stop_words_of(np.array(texts, dtype=object))
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
    columns = [[place[word] for word in words] for words in words_of_topics]
    return npmi(presence, columns)


def npmi(presence: Any, columns_of_topics: Iterable[Sequence[int]]) -> float:
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
