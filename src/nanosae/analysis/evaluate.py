"""How good is a dictionary? Held-out measures, always beside what needs no SAE at all.

Each measure is taken of the codes and of four baselines, on the same rows with the same split: the
dense vectors, their principal components (of both, an axis and its opposite are a feature each),
k-means clusters (one-hot), and an SAE whose directions are random (encoder = transpose, one
threshold for the same L0). Random dictionaries do well on many scores (arXiv 2602.14111), so that
a score alone says little.

Whatever is chosen (feature, threshold, probe) is chosen on one half of the rows and measured on the
other; near-duplicates and equal `groups` are kept together. Intervals are 95 %, for other
held-out rows with labels and fits held fixed: the measure's influence function, summed over tied
rows (the infinitesimal jackknife, to which the bootstrap converges).

Not here: what needs a language model; TPP and SCR, which do not rank SAEs (arXiv 2605.18229).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import expit

from nanosae.analysis import columns
from nanosae.analysis import statistics as st
from nanosae.analysis.classification import single_feature_scores
from nanosae.analysis.describe import DENSE
from nanosae.analysis.matching import match, stability
from nanosae.analysis.reading import run_model
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.codes import Codes
from nanosae.runs.tables import records

RIDGE, DENSE_RIDGE = 1.0, 10.0  # of sparse probes and of all columns, at unit variance
QUERIES = 1000  # rows asked for their neighbours; features asked for their intruders
NEIGHBOURS, TRIALS, STRONGEST = 10, 5, 50  # questions per feature, from its strongest rows


@dataclass
class Evaluation:
    """Hold the measures.

    Attributes:
        table: `representation, measure, value, low, high, n`: the mean over n labels, features or
            rows.
        labels: The feature of best F1 on the selection half, for each label: `representation,
            label, feature, threshold, f1, auc, n_rows`; the last three on the held-out half.
        about: Options and counts.
    """

    table: pd.DataFrame
    labels: pd.DataFrame
    about: dict[str, Any]

    def wide(self) -> pd.DataFrame:
        """Return one line per measure, one column per representation."""
        wide = self.table.pivot(index="measure", columns="representation", values="value")
        return wide.loc[self.table["measure"].unique(), self.table["representation"].unique()]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {"about": self.about} | records(table=self.table, labels=self.labels)

    def _repr_html_(self) -> str:
        return self.wide().round(3).to_html(na_rep="")


def evaluate(
    codes: Codes,
    labels: Any = None,
    *,
    ks: Sequence[int] = (1, 2, 5, 10, 20),
    others: Sequence[Any] = (),
    truth: Codes | None = None,
    baselines: bool = True,
    groups: str | None = None,
    min_rows: int = 10,
    max_rows: int = 25_000,
    share: float = 0.5,
    seed: int = 0,
) -> Evaluation:
    """Measure a dictionary.

    Args:
        codes: The corpus.
        labels: A metadata column, or one value per row: several labels in a cell are joined by "|",
            rows without any are left out. None: only what needs no labels.
        ks: Numbers of features of the sparse probes.
        others: Other SAEs of the same input, for stability, as `matching.stability` takes them.
        truth: Codes of the same rows with the known activations, for recovery: the correlation of
            each true feature with its one-to-one partner.
        baselines: Whether to measure the baselines too; they need vectors.
        groups: A column whose equal values are kept in one half.
        min_rows: Rows of each half that a label needs.
        max_rows: Rows that are used, drawn from those with labels.
        share: Share of rows to hold out.
        seed: Of split, draws and baselines.

    Raises:
        ValueError: If no label has enough rows, or labels are not one per row.
    """
    values = columns.one_per_row(codes, ["any"] * codes.n_rows if labels is None else labels)
    rows, rng = np.flatnonzero(~columns.is_missing(values)), np.random.default_rng(seed)
    rows = np.sort(rng.permutation(rows)[:max_rows])
    made = _representations(codes, rows, baselines and codes.has_vectors, rng)
    found: dict[str, dict[str, Any]] = {name: {} for name in made}
    best = [pd.DataFrame()]
    if labels is not None:
        part = duplicate_groups(codes, groups=groups)
        held, part = held_out(part, share, seed)[rows], part[rows]
        names, y = columns.label_matrix(values[rows])
        seen = np.stack([y[~held].sum(0), y[held].sum(0)])
        spare = np.array([[(~held).sum()], [held.sum()]]) - seen
        enough = np.flatnonzero(np.minimum(seen, spare).min(0) >= min_rows)
        if not len(enough):
            raise ValueError(f"none of {len(names)} labels has {min_rows} rows in both halves.")
        for name, (x, _, _) in made.items():
            measures, chosen = _single_features(x, y[:, enough], held, part)
            chosen |= {"representation": name, "label": np.array(names, object)[enough]}
            best.append(pd.DataFrame(chosen))
            found[name] = measures | _probes(x, y[:, enough], held, part, ks)
        if "dense" in made:
            scores = _full_probe(codes.vectors(rows), y[:, enough].toarray(), ~held)
            found["dense"] |= _scored("all", scores, y[:, enough], held, part)
    spaces = _spaces(codes, rows, seed)
    for name, (x, back, directions) in made.items():
        for space, points in spaces.items():
            found[name][f"intruder_{space}"] = _intruder(x, points, rng)
        found[name] |= _use(x, directions)
        if back is not None:
            found[name] |= _reconstruction(codes.vectors(rows), back, rng)
    if others:
        found["codes"]["stability"] = _mean(stability(codes.weights(), others)[codes.counts > 0])
    if truth is not None:
        pairs = match(truth, codes)["partner_similarity"][truth.counts > 0]
        found["codes"]["recovery"] = _mean(pairs)
    lines = [
        {"representation": name, "measure": measure} | value
        for name, measures in found.items()
        for measure, value in measures.items()
    ]
    about = {"rows": len(rows), "labels": labels if isinstance(labels, str) else None}
    about |= {"groups": groups, "min_rows": min_rows, "share": share, "seed": seed}
    chosen = pd.concat(best[1:] or best, ignore_index=True)
    return Evaluation(pd.DataFrame(lines), chosen, about)


def _representations(codes: Codes, rows: Any, baselines: bool, rng: Any) -> dict[str, Any]:
    """Make codes and baselines: (strengths, reconstruction or None, directions or None)."""
    x = sp.csc_array(codes.take(rows))
    weights = run_model(codes) if codes.has_vectors else None
    made = {"codes": (x, weights and weights.decode(x.tocsr()), weights and weights.directions())}
    if not baselines:
        return made
    from sklearn.cluster import MiniBatchKMeans

    dense = codes.vectors(rows)
    mean, l0, n = dense.mean(0), x.nnz / len(rows), codes.n_features
    centred = dense - mean
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    kept = axes[:, : max(1, round(l0))]
    k_means = MiniBatchKMeans(max(2, min(n, len(rows) // 50)), n_init="auto", random_state=0)
    cluster = k_means.fit_predict(dense)
    directions = st.unit(rng.normal(size=(n, dense.shape[1])).astype(np.float32))
    some = centred[rng.permutation(len(rows))[:1000]] @ directions.T
    bound = max(0, np.quantile(some, 1 - l0 / n))
    tiles = (tile @ directions.T for tile in np.split(centred, range(4096, len(rows), 4096)))
    random = sp.vstack([sp.csr_array(np.where(z > bound, z, 0)) for z in tiles])
    back = random @ directions
    back *= (back * centred).sum() / max((back * back).sum(), 1e-12)  # the best single scale
    return made | {
        "dense": (_signed(centred), None, None),
        "pca": (_signed(centred @ axes), centred @ kept @ kept.T + mean, None),
        "k-means": (
            sp.csc_array(columns.one_hot(cluster)),
            k_means.cluster_centers_[cluster],
            None,
        ),
        "random": (sp.csc_array(random), back + mean, directions),
    }


def _signed(x: np.ndarray) -> sp.csc_array:
    """Make two features of each column: what lies above 0, and what lies below."""
    return sp.csc_array(np.maximum(np.hstack([x, -x]), 0))


def _single_features(x: Any, y: Any, held: Any, part: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure the best feature of each label, and the best one-to-one assignment."""
    train, test = (sp.csc_array(x.tocsr()[half]) for half in (~held, held))
    single = single_feature_scores(train, y[~held])
    auc, f1, threshold = single.auc, single.f1, single.threshold
    truth, labels, best = y[held].toarray() > 0, np.arange(y.shape[1]), f1.argmax(0)
    on = test[:, best].toarray() >= threshold[best, labels]
    scores, measures = _f1(on, truth, part[held])
    of_best, of_auc = (
        _auc(test[:, js].toarray(), truth, part[held]) for js in (best, np.nanargmax(auc, 0))
    )
    js, ls = linear_sum_assignment(-f1)
    one_to_one = _f1(test[:, js].toarray() >= threshold[js, ls], truth[:, ls], part[held])[1]
    chosen = {"feature": best, "threshold": threshold[best, labels], "f1": scores}
    measures = {"best_feature_f1": measures, "covered": _mean(scores >= 0.5)}
    measures |= {"best_feature_auc": of_auc[1], "one_to_one_f1": one_to_one}
    return measures, chosen | {"auc": of_best[0], "n_rows": truth.sum(0)}


def _probes(x: Any, y: Any, held: Any, part: Any, ks: Sequence[int]) -> dict[str, Any]:
    """Fit logistic regressions on the k features of largest mean difference (in deviations)."""
    train, some, measures = x.tocsr()[~held], y[~held], {}
    sums, positive = (some.T @ train).toarray(), some.sum(0)[:, None]
    apart = sums / positive - (train.sum(0) - sums) / (train.shape[0] - positive)
    deviation = np.sqrt(np.maximum(train.power(2).mean(0) - train.mean(0) ** 2, 1e-12))
    order = np.argsort(-np.abs(apart / deviation), axis=1, kind="stable")
    truth = y.toarray() > 0
    for k in ks:
        scores = np.empty(truth.shape)
        for label, js in enumerate(order[:, :k]):
            scores[:, label] = _probe(x[:, js].toarray(), truth[:, label], ~held)
        measures |= _scored(str(k), scores, y, held, part)
    return measures


def _probe(x: np.ndarray, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Fit on some rows, score all; rows that are all zero enter as two weighted rows."""
    on, scale = train & x.any(1), x[train].std(0) + 1e-9
    silent = [(train & ~on & (y == outcome)).sum() for outcome in (False, True)]
    design = np.vstack([x[on] / scale, np.zeros((2, x.shape[1]))])
    weight, outcome = np.r_[np.ones(on.sum()), silent], np.r_[y[on], 0, 1]
    beta = st.regress(np.c_[np.ones(len(design)), design], outcome, weight, ridge=RIDGE)[0]
    return x @ (beta[1:] / scale) + beta[0]


def _full_probe(x: np.ndarray, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Fit logistic regressions on all columns, for all labels at once, and score all rows."""
    x = (x - x[train].mean(0)) / (x[train].std(0) + 1e-6)
    x = np.c_[np.full(len(x), 10.0), x]  # a large constant is hardly penalised
    a, on, shape = x[train], y[train] > 0, (x.shape[1], y.shape[1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(shape)
        z = a @ w
        value = np.logaddexp(0, z).sum() - z[on].sum() + DENSE_RIDGE / 2 * (w * w).sum()
        return value, (a.T @ (expit(z) - on) + DENSE_RIDGE * w).ravel()

    start, how = np.zeros(shape).ravel(), {"maxiter": 150}
    return x @ minimize(loss, start, jac=True, method="L-BFGS-B", options=how).x.reshape(shape)


def _scored(k: str, scores: np.ndarray, y: Any, held: Any, part: Any) -> dict[str, Any]:
    """Measure logits on the held-out half: F1 (yes is what is likelier than not), AUC, accuracy.

    Accuracy is balanced, yes what is likelier than the label's share: the AUC of yes and no.
    """
    rate = y[~held].mean(0)
    truth, scores, part = y[held].toarray() > 0, scores[held], part[held]
    likely = scores >= np.log(rate / (1 - rate))
    found = {"f1": _f1(scores >= 0, truth, part), "auc": _auc(scores, truth, part)}
    found["accuracy"] = _auc(likely, truth, part)
    return {f"probe_{name}@{k}": summary for name, (_, summary) in found.items()}


def _f1(on: np.ndarray, truth: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """F1 of every column, and their mean with its interval."""
    size = np.maximum(on.sum(0) + truth.sum(0), 1)
    f1 = 2 * (on & truth).sum(0) / size
    return f1, _summary(f1, (2.0 * (on & truth) - f1 * (1.0 * on + truth)) / size, part)


def _auc(scores: Any, truth: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """AUC of every column, and their mean with its interval (placements: DeLong et al. 1988)."""
    from scipy.stats import rankdata

    n, positive = len(truth), truth.sum(0)
    rank = rankdata(scores, axis=0)
    own = rankdata(rank + truth * (2.0 * n), axis=0) - truth * (n - positive)  # rank in its class
    below = (rank - own) / np.where(truth, n - positive, positive)
    auc = (below * truth).sum(0) / positive
    right = np.where(truth, below, 1 - below)
    return auc, _summary(auc, (right - auc) / np.where(truth, positive, n - positive), part)


def _summary(values: np.ndarray, influence: np.ndarray, part: np.ndarray) -> dict[str, Any]:
    """Mean over columns, with the interval that the influences of rows (n, columns) give."""
    of_parts = columns.one_hot(np.unique(part, return_inverse=True)[1]).T @ influence.mean(1)
    value, wide = float(values.mean()), 1.959964 * float(np.sqrt((of_parts**2).sum()))
    return {"value": value, "low": value - wide, "high": value + wide, "n": len(values)}


def _mean(values: Any) -> dict[str, Any]:
    """Mean of independent values, with its interval; of none, NaN."""
    values = np.asarray(values, dtype=np.float64) if len(values) else np.array([np.nan])
    return _summary(values, (values - values.mean())[:, None] / len(values), np.arange(len(values)))


def _spaces(codes: Codes, rows: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return unit rows to judge features in: their own embedding, and words."""
    spaces = {"vectors": codes.vectors(rows)} if codes.has_vectors else {}
    if codes.has_texts:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(sublinear_tf=True).fit_transform(codes.texts(rows, ""))
        axes = TruncatedSVD(min(100, *words.shape), random_state=seed)
        spaces["words"] = axes.fit_transform(words)
    return {k: st.unit(v) for k, v in spaces.items()}


def _intruder(x: Any, points: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Ask which of five texts lies farthest from the others: a silent one among four active?"""
    right = []
    for j in rng.permutation(np.flatnonzero(np.diff(x.indptr) >= 4))[:QUERIES]:
        span = slice(x.indptr[j], x.indptr[j + 1])
        strongest = x.indices[span][np.argsort(-x.data[span], kind="stable")[:STRONGEST]]
        silent = np.setdiff1d(rng.integers(0, x.shape[0], 5 * TRIALS), x.indices[span])[:TRIALS]
        four = rng.permuted(np.tile(strongest, (len(silent), 1)), axis=1)[:, :4]
        five = points[np.c_[four, silent]]
        alike = np.einsum("tid,tjd->ti", five, five)
        right += [(alike.argmin(1) == 4).mean()] if len(silent) else []
    return _mean(right)


def _use(x: Any, directions: Any) -> dict[str, Any]:
    """Tell how evenly features are used, and how alike their directions are."""
    density = np.sort(np.diff(x.indptr) / max(x.shape[0], 1))
    n = len(density)
    gini = (2 * np.arange(1, n + 1) - n - 1) @ density / max(n * density.sum(), 1e-12)
    use = {"l0": density.sum(), "dead": (density == 0).mean(), "dense": (density > DENSE).mean()}
    out = {k: {"value": float(v), "n": n} for k, v in (use | {"gini": gini}).items()}
    if directions is not None:
        out["redundancy"] = _mean(1 - _neighbours(directions[np.diff(x.indptr) > 0], 1)[0][:, 1])
    return out


def _neighbours(x: np.ndarray, n: int, ask: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine distances and numbers of each row itself and its n nearest neighbours."""
    from sklearn.neighbors import NearestNeighbors

    n = min(n + 1, len(x))
    return NearestNeighbors(n_neighbors=n, metric="cosine").fit(x).kneighbors(x[ask])


def _reconstruction(x: np.ndarray, back: np.ndarray, rng: Any) -> dict[str, Any]:
    """Compare rows with their reconstruction: variance, cosine, neighbours."""
    error, spread = ((x - back) ** 2).sum(1), ((x - x.mean(0)) ** 2).sum(1)
    fvu = np.array([error.sum() / spread.sum()])
    influence = ((error - fvu * spread) / spread.sum())[:, None]
    cosine = (x * back).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(back, axis=1) + 1e-9)
    ask = rng.permutation(len(x))[:QUERIES]
    near = [_neighbours(m, NEIGHBOURS, ask)[1] for m in (x, back)]  # themselves among them
    pairs = zip(ask, *near, strict=True)
    shared = [len((set(a) & set(b)) - {i}) / NEIGHBOURS for i, a, b in pairs]
    out = {"fvu": _summary(fvu, influence, np.arange(len(x))) | {"n": len(x)}}
    return out | {"cosine": _mean(cosine), f"recall@{NEIGHBOURS}": _mean(shared)}
