"""How well single features match concepts: a comparison of recipes, with and without labels.

    python bench/concepts.py DIR [--recipes NAME ...] [--seeds 0 1] [--json] [--save]

DIR holds NAME.minilm.f16.npy and NAME.parquet for each corpus of `LABELS`. Measured for each
recipe, as means over seeds:

    auc, f1        of the best single feature of each label, averaged over labels; feature and
                   threshold are chosen on one half of the rows and scored on the other
    clusters       the same AUC with k-means clusters of the rows instead of labels
    fvu            on a tenth of the rows, excluded from training
    stability      share of features whose decoder row has a cosine above 0.7 with one of another
                   seed (of weights, noise and the order of the data)
    intruders      share of inactive texts that are told from active ones by their words
    seconds        processor time of the training

The seed changes the held-out rows within training, but not the excluded tenth.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

import machine
from nanosae import SAEModel, SAETrainer, TrainConfig
from nanosae.analysis.classification import single_feature_scores
from nanosae.analysis.evaluation.measures import intruder_detection
from nanosae.analysis.statistics import unit

LABELS = {"clinc150": "intent", "debian": "section", "wordnet": "lexname"}
NO_LABEL = ("", "oos")
MIN_ROWS = 80  # labels with fewer rows are left out
CLUSTERS = (16, 64, 256)
SIMILAR = 0.7
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "batchtopk": {"activation": "batchtopk"},
    "topk": {"activation": "topk"},
    "jumprelu": {"activation": "jumprelu"},
    "matryoshka": {"matryoshka": (64, 256, 1024)},
    "batchtopk, noise 0.5": {"activation": "batchtopk", "noise": 0.5},
    "batchtopk, k=16": {"activation": "batchtopk", "k": 16},
}


class Corpus(NamedTuple):
    """Rows with labels and splits.

    Attributes:
        rows: Embeddings, (n, width).
        labels: Indicators of the labels, csr_array (n, n_labels).
        clusters: Indicators of k-means clusters, csr_array (n, n_clusters).
        words: Unit-norm vectors of the words of each row, (n, any).
        unseen: Rows excluded from training, bool (n,).
        half: Rows that choose features, bool (n,); the others score them.
    """

    rows: np.ndarray
    labels: Any
    clusters: Any
    words: np.ndarray
    unseen: np.ndarray
    half: np.ndarray


def load(folder: Path, name: str) -> Corpus:
    """Read a corpus, and cluster its rows."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = np.load(folder / f"{name}.minilm.f16.npy").astype(np.float32)
    table = pd.read_parquet(folder / f"{name}.parquet")
    clusters = []
    for n_clusters in CLUSTERS:
        k_means = MiniBatchKMeans(n_clusters, n_init="auto", random_state=0)
        clusters.append(indicators(k_means.fit_predict(rows - rows.mean(0))))
    words = TfidfVectorizer(sublinear_tf=True, min_df=3).fit_transform(table["text"])
    axes = TruncatedSVD(100, random_state=0).fit_transform(words)
    draw = np.random.default_rng(7)
    return Corpus(
        rows=rows,
        labels=indicators(table[LABELS[name]].to_numpy(object)),
        clusters=sp.csr_array(sp.hstack(clusters)),
        words=unit(axes),
        unseen=draw.random(len(rows)) < 0.1,
        half=draw.random(len(rows)) < 0.5,
    )


def indicators(values: np.ndarray) -> Any:
    """Return indicators of the values with enough rows, csr_array (n, n_values)."""
    number, names = pd.factorize(values)
    n_rows = np.bincount(number)
    chosen = [
        index
        for index, name in enumerate(names)
        if name not in NO_LABEL and n_rows[index] >= MIN_ROWS
    ]
    columns = [number == index for index in chosen]
    return sp.csr_array(np.stack(columns, axis=1).astype(np.float64))


def best_feature(features: Any, labels: Any, half: np.ndarray) -> tuple[float, float]:
    """Return mean AUC and F1 of the best features, chosen on one half and scored on the other."""
    by_row = sp.csr_array(features)
    choosing = single_feature_scores(sp.csc_array(by_row[half]), labels[half])
    others = by_row[~half]
    scoring = single_feature_scores(sp.csc_array(others), labels[~half])
    label = np.arange(labels.shape[1])
    auc = scoring.auc[choosing.auc.argmax(0), label]
    best = choosing.f1.argmax(0)
    predicted = others[:, best].toarray() >= choosing.threshold[best, label]
    truth = labels[~half].toarray() > 0
    f1 = 2 * (predicted & truth).sum(0) / (predicted.sum(0) + truth.sum(0))
    return float(auc.mean()), float(f1.mean())


def measure(model: SAEModel, corpus: Corpus) -> dict[str, float]:
    """Measure one model."""
    features = model.features(corpus.rows)
    unseen = corpus.rows[corpus.unseen]
    decoder, bias = model.W_dec.detach().numpy(), model.b_dec.detach().numpy()
    error = ((unseen - features[corpus.unseen] @ decoder - bias) ** 2).sum()
    mean = corpus.rows[~corpus.unseen].mean(0)
    auc, f1 = best_feature(features, corpus.labels, corpus.half)
    cluster_auc, _ = best_feature(features, corpus.clusters, corpus.half)
    by_feature, rng = sp.csc_array(features), np.random.default_rng(0)
    return {
        "auc": auc,
        "f1": f1,
        "clusters": cluster_auc,
        "fvu": float(error / ((unseen - mean) ** 2).sum()),
        "l0": features[corpus.unseen].nnz / len(unseen),
        "intruders": intruder_detection(by_feature, corpus.words, rng).value,
    }


def stability(decoders: list[np.ndarray]) -> float:
    """Return the share of features with a match in another seed; NaN for a single seed."""
    shares = []
    for one, other in itertools.permutations(decoders, 2):
        shares.append(((unit(one) @ unit(other).T).max(1) > SIMILAR).mean())
    return float(np.mean(shares)) if shares else float("nan")


def try_recipe(
    corpus: Corpus, recipe: dict[str, Any], args: argparse.Namespace
) -> dict[str, float]:
    """Train a recipe with each seed, and average the measures."""
    sizes = {"hidden_size": args.hidden_size, "k": args.k, "noise": 0.0}
    sizes |= {"steps": args.steps, "batch_size": args.batch_size}
    measured, decoders = [], []
    for seed in args.seeds:
        config = TrainConfig(**sizes | recipe | {"seed": seed, "data_seed": seed})
        start = time.process_time()
        rows = corpus.rows[~corpus.unseen]
        model = SAETrainer(config).train(rows, progress=False)
        seconds = time.process_time() - start
        measured.append(measure(model, corpus) | {"seconds": seconds})
        decoders.append(model.W_dec.detach().numpy())
    means = pd.DataFrame(measured).mean().to_dict()
    return means | {"stability": stability(decoders)}


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Return the arguments of a script that trains on labelled corpora."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--corpora", nargs="*", default=list(LABELS), choices=LABELS)
    parser.add_argument("--hidden-size", type=int, default=1024)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--save", action="store_true", help="keep in bench/results")
    return parser


def reported(
    bench: str, lines: list[dict[str, Any]], args: argparse.Namespace
) -> dict[str, Any]:
    """Return a report of the results, after printing and keeping it as the arguments ask."""
    report = {"results": lines, "machine": machine.facts()}
    if args.json:
        print(json.dumps(report))
    if args.save:
        machine.save(bench, report)
    return report


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    args = parser.parse_args(argv)
    lines = []
    for name in args.corpora:
        corpus = load(args.folder, name)
        for recipe in args.recipes:
            found = try_recipe(corpus, RECIPES[recipe], args)
            lines.append({"corpus": name, "recipe": recipe} | found)
            if not args.json:
                print(pd.DataFrame(lines[-1:]).round(3).to_string(index=False))
    return reported("concepts", lines, args)


if __name__ == "__main__":
    main()
