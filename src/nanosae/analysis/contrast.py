"""Which features tell groups, times or outcomes apart, with honest numbers.

Three questions, one machine: `contrast` (this group against that one), `over_time` (what rises and
falls) and `explain` (what goes with a target: two classes, many, or a number). Statistics are about
a feature being on or off; one sparse product gives the sums of every feature at once.

1. Rows are split in two halves, near-duplicates (and equal `groups`) kept together. Rows so tied
   count as one text: each weighs 1 ÷ their number. Copies are no evidence.
2. On the selection half every feature gets a score test; those with p ≤ 0.05 are candidates, and
   an L1 path (LARS) picks the few that explain the target together.
3. All that is reported comes from the other half: effect, 95 % interval, p, and q, the
   Benjamini-Hochberg rate over the candidates. A finding has q ≤ `fdr` and the sign that was seen
   in selection. Effects of findings are thus free of the winner's curse.

Covariates (text length unless told otherwise) are held equal by stratification: the rows are cut
into cells (quantiles of numbers, levels of the rest) and a feature has its own base rate in each.
The model for features is log odds(on) = α(cell) + β z, solved for all candidates at once; β is the
log-odds ratio (z: 1 in group A, else 0) or the slope in time. With one cell, β and its interval
are exactly Haldane-Anscombe's corrected log-odds ratio and Woolf's interval: half a text is added
to each count; with several cells it is shared out by their size. p is the likelihood ratio test
with half a text moved towards "no effect", about as strict as Fisher's exact test (the score test
is far too bold for rare features in small groups). For numbers, β is the least-squares difference
between rows with and without the feature, cells held equal; the outermost 1 % of numbers on each
side are drawn in to the percentile, so that one huge number makes no finding.

It says what goes together with what, not why; covariates that nobody named are not held equal.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.special import betaincinv, chdtrc, expit, logit, ndtr

from nanosae.analysis import statistics as st
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.codes import Codes
from nanosae.runs.tables import known_labels, records

Z95 = 1.959964
MAX_PERIODS = 36
MAX_PATH = 2000  # candidates that enter the L1 path, strongest first: its Gram matrix is dense
BLOCK = 1 << 17  # rows read at a time
SAY = {
    "groups": "is on in {share:.1%} of {target} and {share_rest:.1%} of {b}: odds ratio "
    "{odds_ratio:.3g} (95 % CI {odds_low:.3g} to {odds_high:.3g}), risk difference "
    "{risk_difference:+.1%}, Cliff's δ {cliffs_delta:+.2f}",
    "numeric": "goes with a difference of {effect:+.3g} in {target} (95 % CI {low:.3g} to "
    "{high:.3g}; r = {r:+.2f}; on in {n_active:,} texts)",
    "trend": "changes its odds by × {odds_ratio:.3g} per {unit} (95 % CI {odds_low:.3g} to "
    "{odds_high:.3g}; on in {n_active:,} texts)",
}


@dataclass(frozen=True)
class Options:
    """Say how to test; the keywords of `contrast`, `explain` and `over_time`.

    Attributes:
        covariates: Columns to hold equal, and "length" for the texts' length; None: the length if
            there are texts; `()`: nothing.
        groups: A column whose equal values are one source (an author, a thread): kept in one half
            and counted as one text.
        fdr: Share of false findings that is put up with.
        share: Share of rows to hold out.
        min_active: Independent texts of either half in which a feature must be on to be tested (and
            rows in which a class must occur).
        n_select: Most features in the joint model.
        labels: Names of features; None: those in the run's features.parquet.
        seed: Of the split.
    """

    covariates: Sequence[str] | None = None
    groups: str | None = None
    fdr: float = 0.05
    share: float = 0.5
    min_active: int = 10
    n_select: int = 10
    labels: Mapping[int, str] | None = None
    seed: int = 0


@dataclass
class Contrast:
    """Hold what was found.

    Attributes:
        kind: "groups" (two, or each class against the rest), "numeric" or "trend".
        table: One line per candidate, best first (by the end of its interval nearer to 0):
            `target, feature, label, n_active` (independent texts), `effect, low, high, p, r, q,
            p_select, found`; `odds_ratio, odds_low, odds_high` but for numbers; for groups `share,
            share_rest, risk_difference, cliffs_delta` (on strengths; of findings). `effect` is the
            log-odds ratio, the log-odds per unit of time or the difference of the target; `r` the
            correlation of being on with the target. All but `p_select` is of the held-out half.
        model: The features that explain each target together, chosen on the selection half and
            fitted on the other: `target, feature, label, coefficient, low, high, p, q`.
        scores: How well that model, fitted on the selection half, does on the other: `target,
            measure` ("auc" or "r2"), `covariates` (alone), `features` (with them), `n_features`.
        about: Options, counts of rows and of independent texts, and notes.
        shares: For trends, `feature, period, n, n_active, share, low, high` of each finding over
            all rows (Jeffreys' 95 % interval).
    """

    kind: str
    table: pd.DataFrame
    model: pd.DataFrame
    scores: pd.DataFrame
    about: dict[str, Any]
    shares: pd.DataFrame

    @property
    def findings(self) -> pd.DataFrame:
        """The lines of `table` that were found."""
        return self.table.loc[self.table["found"]]

    def sentences(self, n: int | None = None) -> list[str]:
        """Say each finding in a sentence, best first."""
        about = {"b": "the rest"} | self.about
        how = "held-out half: {n_held_out:,} rows, {n_independent:,} independent".format(**about)
        how += f"; at equal {', '.join(about['covariates'])}" if about["covariates"] else ""
        say = "“{label}” " + SAY[self.kind] + "; q = {q:.2g} ({how})."
        found = self.findings.iloc[:n].to_dict(orient="records")
        return [say.format(**{**about, "how": how, **row}) for row in found]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types (`RUN/contrasts/*.json`); of the table the findings."""
        tables = {"model": self.model, "scores": self.scores, "shares": self.shares}
        said = {"kind": self.kind, "about": self.about, "sentences": self.sentences()}
        return said | records(findings=self.findings, **tables)

    def _repr_html_(self) -> str:
        head = f"{len(self.findings)} findings among {self.about['n_tested']:,} tests"
        items = "".join(f"<li>{html.escape(s)}</li>" for s in self.sentences(20))
        notes = "".join(f"<p>{html.escape(s)}</p>" for s in self.about["notes"])
        return f"<p><b>{head}</b></p><ol>{items}</ol>{notes}{self.scores.to_html(index=False)}"


def contrast(
    codes: Codes, a: Any = None, b: Any = None, *, by: str | None = None, **options: Any
) -> Contrast:
    """Find the features that tell two groups of rows apart.

    Args:
        codes: The corpus.
        a: The first group: a value of the column `by` (or a list of them); without `by` a bool
            mask, an array of row numbers, a feature's rows (int), or a str for the rows whose text
            holds it.
        b: The second group, said in the same way; all other rows if None.
        by: A metadata column; with neither `a` nor `b`, its two values are compared, or each of
            its several values with the rest.
        **options: See `Options`.

    Raises:
        ValueError: If a group is empty, both share rows, or only the second is given.
    """
    if a is None and (b is not None or by is None):
        raise ValueError(f"a is missing, b={b}, by={by}: give the first group, or only a column.")
    if a is None:
        return explain(codes, by, kind="classes", **options)
    in_a, name_a = _members(codes, a, by)
    in_b, name_b = (~in_a, "the rest") if b is None else _members(codes, b, by)
    if b is None and by is not None:
        in_b &= ~st.is_missing(codes.column(by))
    if (in_a & in_b).any() or not in_a.any() or not in_b.any():
        sizes = f"{name_a} has {in_a.sum()} rows, {name_b} {in_b.sum()}"
        raise ValueError(f"{sizes}, both {(in_a & in_b).sum()}: they must be apart and not empty.")
    own = [int(x) for x in (a, b) if by is None and isinstance(x, int | np.integer)]
    about = {"column": by, "b": name_b, "left_out": own}
    target = sp.csr_array(in_a.astype(np.float64)[:, None])
    return _analyse(codes, "groups", target, in_a | in_b, [name_a], about, Options(**options))


def explain(
    codes: Codes, y: Any, *, kind: Literal["classes", "numeric"] | None = None, **options: Any
) -> Contrast:
    """Find the features that go with a target, one by one and together.

    Args:
        codes: The corpus.
        y: A metadata column, or one value per row; missing ones ("", None, NaN) are left out.
        kind: How to read it; None: numbers with more than two values are "numeric", the rest
            "classes". Several labels in a cell are joined by "|".
        **options: See `Options`.

    Raises:
        ValueError: If `y` has not one value per row, or fewer than two different ones.
    """
    values = st.one_per_row(codes, y)
    keep, numbers = ~st.is_missing(values), _numbers(values)
    names, target = st.label_matrix(values)
    if len(names) < 2:
        raise ValueError(f"the target has {len(names)} different values; it needs 2 or more.")
    about: dict[str, Any] = {"column": y if isinstance(y, str) else None}
    if kind == "numeric" or (kind is None and numbers is not None and len(names) > 2):
        if numbers is None:
            raise ValueError("kind='numeric' needs numbers, but the target holds other values.")
        numbers = np.clip(numbers, *np.nanquantile(numbers, [0.01, 0.99]))
        kind, names = "numeric", [about["column"] or "the target"]
        target = sp.csr_array(np.nan_to_num(numbers)[:, None])
    elif len(names) == 2 and target.sum() == keep.sum():
        names, target, about["b"] = names[1:], target[:, [1]], names[0]
    kind_of = "numeric" if kind == "numeric" else "groups"
    return _analyse(codes, kind_of, target, keep, names, about, Options(**options))


def over_time(codes: Codes, column: str, **options: Any) -> Contrast:
    """Find the features that become more or less frequent.

    Args:
        codes: The corpus.
        column: Numbers, or dates (ISO 8601), which are read as years. More than 36 different times
            are put into 36 periods of equal length (dates, first, into days, months or years).
        **options: See `Options`.

    Raises:
        ValueError: If the column holds neither numbers nor dates.
    """
    values = codes.column(column)
    keep, y = ~st.is_missing(values), np.zeros(codes.n_rows)
    y[keep], unit = _times(values[keep], column)
    about = {"column": column, "unit": unit}
    target = sp.csr_array(y[:, None])
    return _analyse(codes, "trend", target, keep, [column], about, Options(**options))


def _analyse(
    codes: Codes, kind: str, target: Any, keep: Any, names: list[str], about: dict, options: Options
) -> Contrast:
    """Select on one half and report on the other, for every column of `target`."""
    covariates, notes = options.covariates, []
    if covariates is None:
        covariates = ["length"] if codes.has_texts else []
        notes = [] if codes.has_texts else ["There are no texts: their length is not held equal."]
    rows = np.flatnonzero(keep)
    part = duplicate_groups(codes, groups=options.groups, rows=rows)
    cells, weight = _cells(codes, rows, covariates), 1 / np.bincount(part)[part]
    held = held_out(part, options.share, options.seed)
    select, check = (
        _Half(codes, rows[h], target[rows[h]], cells[h], weight[h], kind) for h in (~held, held)
    )
    fewest = np.minimum(select.smaller, check.smaller)
    large = (fewest >= options.min_active) | (kind != "groups")
    if small := [name for name, ok in zip(names, large, strict=True) if not ok]:
        notes.append(f"In too few rows of a half to be tested: {', '.join(small)}.")
    seen = np.minimum(select.active.sum(1), check.active.sum(1)) >= options.min_active
    seen[about.get("left_out", [])] = False
    tested = seen[:, None] & large
    # any bound is valid here, for q rests on the other half alone
    c, f = np.nonzero((tested & (np.abs(select.z) >= Z95)).T)

    labels = known_labels(codes) if options.labels is None else options.labels
    named = np.array([labels.get(j) or f"feature {j}" for j in range(codes.n_features)], object)
    table = pd.DataFrame({"target": np.array(names, object)[c], "feature": f, "label": named[f]})
    table["n_active"] = check.active[f].sum(1).round().astype(int)
    table = table.assign(**check.effects(f, c), r=check.r[f, c])
    table["q"] = st.false_discovery(table["p"])
    table["p_select"] = 2 * ndtr(-np.abs(select.z[f, c]))
    same_sign = np.sign(table["effect"]) == np.sign(select.z[f, c])
    table["found"] = (table["q"] <= options.fdr) & same_sign
    if kind == "groups":
        table["cliffs_delta"] = check.cliffs_delta(codes, f, c, table["found"].to_numpy())
    surely = np.maximum(0, np.maximum(table["low"], -table["high"]))
    table = table.iloc[np.lexsort((-surely, ~table["found"]))].reset_index(drop=True)

    columns = ["target", "feature", "label", "coefficient", "low", "high", "p", "q"]
    models: list[Any] = [pd.DataFrame(columns=columns)]
    scores = []
    for i in np.unique(c) if kind != "trend" else []:
        model, score = _together(codes, select, check, i, f[c == i], options.n_select)
        models.append(model.assign(target=names[i], label=named[model["feature"]])[columns])
        scores.append({"target": names[i]} | score)
    counts = {"n_rows": len(rows), "n_held_out": len(check.rows), "n_tested": int(tested.sum())}
    counts |= {"n_independent": round(check.n.sum()), "n_candidates": len(f), "notes": notes}
    about |= asdict(options) | {"covariates": list(covariates), "labels": None} | counts
    found = table.loc[table["found"], "feature"].to_numpy()
    shares = _shares(codes, rows, target, found) if kind == "trend" else pd.DataFrame()
    joint = pd.concat(models[1:] or models, ignore_index=True)
    return Contrast(kind, table, joint, pd.DataFrame(scores), about, shares)


class _Half:
    """Sums over some rows for all features F, cells S and targets C, and score tests.

    Tied rows together weigh 1. `z` (F, C) is the sum of the centred target where the feature is on,
    over its error when the rows of a cell are shuffled; `r` (F, C) is the correlation within cells.
    """

    def __init__(self, codes: Codes, rows: Any, y: Any, cells: Any, weight: Any, kind: str) -> None:
        self.rows, self.y, self.cells, self.weight, self.kind = rows, y, cells, weight, kind
        self.smaller = np.minimum(y.sum(0), len(rows) - y.sum(0))
        counted: Any = cells.multiply(weight[:, None]).tocsr()
        beside: Any = sp.hstack([counted, y.multiply(weight[:, None])], format="csr")
        sums = np.zeros((codes.n_features, beside.shape[1]))
        for at in range(0, len(rows), BLOCK):
            on: Any = codes.take(rows[at : at + BLOCK]).astype(bool).astype(np.float64)
            sums += (on.T @ beside[at : at + BLOCK]).toarray()
        self.active, self.total = sums[:, : cells.shape[1]], sums[:, cells.shape[1] :]
        self.n = np.maximum(counted.sum(0), 1e-9)
        self.sums = (counted.T @ y).toarray()
        means = self.sums / self.n[:, None]
        self.ss = np.maximum((counted.T @ y.power(2)).toarray() - self.sums * means, 0)
        self.spread = self.active * (self.n - self.active) / self.n  # squares of on/off, (F, S)
        self.u = self.total - self.active @ means
        variance = self.spread @ (self.ss / np.maximum(self.n - 1, 1)[:, None])
        self.z = self.u / np.sqrt(variance + 1e-300)
        self.r = self.u / np.sqrt(np.outer(self.spread.sum(1), self.ss.sum(0)) + 1e-300)

    def effects(self, f: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
        """Estimate each pair's effect, its 95 % interval and p."""
        active, total, more = self.active[f], self.total[f, c], {}
        if self.kind == "numeric":
            spread = self.spread[f].sum(1)
            effect = self.u[f, 0] / spread
            left = np.maximum(self.ss.sum() - effect * self.u[f, 0], 0)
            error = np.sqrt(left / max(self.n.sum() - len(self.n) - 1, 1) / spread)
            p = 2 * ndtr(-np.abs(effect) / error)
        else:
            z, n = np.array([0.0, 1.0]), np.stack([self.n[:, None] - self.sums, self.sums], -1)
            n = n[:, c].swapaxes(0, 1)
            if self.kind == "trend":
                z, level = np.unique(self.y.toarray()[:, 0], return_inverse=True)
                n = (self.cells.T @ st.one_hot(level).multiply(self.weight[:, None])).toarray()
            effect, error, ratio = _slopes(total, active, n, z)
            p = chdtrc(1, ratio)
        low, high = effect - Z95 * error, effect + Z95 * error
        if self.kind != "numeric":
            odds = np.exp(np.clip([effect, low, high], -500, 500))
            more = dict(zip(("odds_ratio", "odds_low", "odds_high"), odds, strict=True))
        if self.kind == "groups":
            n_a, on = self.sums.sum(0)[c], active.sum(1)
            share, rest = total / n_a, (on - total) / (self.n.sum() - n_a)
            more |= {"share": share, "share_rest": rest, "risk_difference": share - rest}
        return {"effect": effect, "low": low, "high": high, "p": p} | more

    def cliffs_delta(self, codes: Codes, f: Any, c: Any, found: np.ndarray) -> np.ndarray:
        """P(stronger in the group) − P(weaker), on strengths, for what was found."""
        delta = np.full(len(f), np.nan)
        for i in np.unique(c[found]):
            here = np.flatnonzero(found & (c == i))
            strengths = sp.csc_array(codes.features(f[here]).tocsr()[self.rows])
            delta[here] = 2 * st.pair_scores(strengths, self.y[:, [i]])[0][:, 0] - 1
        return delta


def _slopes(total: Any, active: Any, n: Any, z: np.ndarray) -> tuple[np.ndarray, ...]:
    """Fit log odds = α(cell) + β z to counts, for K features at once.

    Args:
        total: Σ z over the rows on which the feature is on, (K,).
        active: Rows on which it is on, (K, S).
        n: Rows, (K, S, L), or (S, L) for all alike.
        z: The levels, (L,).

    Returns:
        β and its error (half a text added to each count), and twice the log likelihood ratio
        against β = 0 (half a text moved towards it), each (K,).
    """
    middle, scale = z.mean(), max(z.std(), 1e-12)
    z, total = (z - middle) / scale, (total - middle * active.sum(1)) / scale
    cells = n.sum(-1)
    extra = cells / cells.sum(-1, keepdims=True)
    beta, information, _ = _newton(total, active + extra, n + 2 / len(z) * extra[..., None], z)
    expected = ((n @ z) / np.maximum(cells, 1e-9) * active).sum(1)
    gap = total - expected
    moved = np.maximum(np.abs(gap) - np.diff(z).min(initial=2) / 2, 0)
    ratio = _newton(expected + np.sign(gap) * moved, active, n, z)[2]
    return beta / scale, 1 / np.sqrt(information) / scale, ratio


def _newton(total: Any, active: Any, n: Any, z: np.ndarray) -> tuple[np.ndarray, ...]:
    """Maximise the likelihood; return β, its information, and twice the gain over β = 0."""

    def likelihood(alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
        fit = n * np.logaddexp(0, alpha[:, :, None] + beta[:, None, None] * z)
        return total * beta + (active * alpha).sum(1) - fit.sum((1, 2))

    alpha = logit(np.clip(active / np.maximum(n.sum(-1), 1e-9), 1e-12, 1 - 1e-12))
    beta = np.zeros(len(total))
    start, information = likelihood(alpha, beta), np.ones(len(total))
    for _ in range(50):
        p = expit(alpha[:, :, None] + beta[:, None, None] * z)
        w, short = n * p * (1 - p), active - (n * p).sum(2)
        own, cross = w.sum(2) + 1e-300, w @ z
        information = np.maximum((w @ z**2).sum(1) - (cross**2 / own).sum(1), 1e-12)
        slope = total - (n * p).sum(1) @ z - (cross * short / own).sum(1)
        step = np.clip(slope / information, -1, 1)
        beta += step
        alpha += np.clip((short - cross * step[:, None]) / own, -2, 2)
        if np.abs(step).max(initial=0) < 1e-9:
            break
    return beta, information, np.maximum(2 * (likelihood(alpha, beta) - start), 0)


def _together(
    codes: Codes, select: _Half, check: _Half, c: int, f: np.ndarray, n_select: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Choose features by an L1 path on one half; refit and score them on the other."""
    from sklearn.linear_model import lars_path_gram
    from sklearn.metrics import r2_score, roc_auc_score

    f = f[np.argsort(-np.abs(select.z[f, c]), kind="stable")[:MAX_PATH]]
    on: Any = codes.features(f).tocsr().astype(bool).astype(np.float64)
    x, within = on[select.rows], select.active[f] / np.sqrt(select.n)
    gram = (x.T @ x.multiply(select.weight[:, None])).toarray() - within @ within.T
    scale = np.sqrt(np.diag(gram))
    sides = select.u[f, c] / scale, gram / np.outer(scale, scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal features LARS drops one, and says so
        path = lars_path_gram(*sides, n_samples=1, max_iter=n_select, method="lasso")[-1]
    chosen = np.sort(np.flatnonzero(path[:, -1]))
    f, on, numeric = f[chosen], on[:, chosen], select.kind == "numeric"

    fit, report = (
        (sp.hstack([h.cells, on[h.rows]]).toarray(), h.y[:, [c]].toarray()[:, 0], h.weight)
        for h in (select, check)
    )
    n_cells, measure = select.cells.shape[1], r2_score if numeric else roc_auc_score
    score: dict[str, Any] = {"measure": "r2" if numeric else "auc", "n_features": len(f)}
    for name, width in (("covariates", n_cells), ("features", n_cells + len(f))):
        beta = st.regress(fit[0][:, :width], *fit[1:], linear=numeric)[0]
        score[name] = float(measure(report[1], report[0][:, :width] @ beta))
    beta, error = (v[n_cells:] for v in st.regress(*report, linear=numeric))
    p = 2 * ndtr(-np.abs(beta) / error)
    model = {"feature": f, "coefficient": beta, "low": beta - Z95 * error}
    model |= {"high": beta + Z95 * error, "p": p, "q": st.false_discovery(p)}
    return pd.DataFrame(model), score


def _members(codes: Codes, what: Any, by: str | None) -> tuple[np.ndarray, str]:
    """Return the rows that are meant, bool (n_rows,), and what to call them."""
    if by is not None:
        wanted = [str(w) for w in (what if isinstance(what, list) else [what])]
        values, name = codes.column(by), " or ".join(wanted)
        if values.dtype.kind in "iuf":  # 2019 is 2019.0 where a cell is empty
            try:
                return np.isin(values, np.array(wanted, np.float64)), name
            except ValueError:
                raise ValueError(f"{by} holds numbers, and {name!r} is none.") from None
        return np.isin(values.astype(str), wanted), name
    if isinstance(what, str):
        found = [what.lower() in text.lower() for text in codes.texts(marks="").tolist()]
        return np.array(found, dtype=bool), f"texts with “{what}”"
    mask, name = np.zeros(codes.n_rows, dtype=bool), "the chosen rows"
    if isinstance(what, int | np.integer):
        what, name = codes.feature(int(what))[0], f"rows of feature {what}"
    rows = np.asarray(what)
    if rows.dtype == bool and len(rows) != codes.n_rows:
        raise ValueError(f"the mask has {len(rows)} rows, the corpus {codes.n_rows}.")
    mask[rows] = True
    return mask, name


def _numbers(values: np.ndarray) -> np.ndarray | None:
    """Read values as numbers (missing ones as NaN), or return None."""
    try:
        return np.where(st.is_missing(values), "nan", values.astype(object)).astype(np.float64)
    except (TypeError, ValueError):
        return None


def _times(values: np.ndarray, column: str) -> tuple[np.ndarray, str]:
    """Read numbers or dates as at most 36 different times, and say their unit."""
    times, unit = None if values.dtype.kind == "M" else _numbers(values), f"unit of {column}"
    if times is None:
        try:
            dates = pd.to_datetime(pd.Series(values), format="ISO8601", utc=True)
        except (TypeError, ValueError) as e:
            raise ValueError(f"column {column!r} holds neither numbers nor dates: {e}") from e
        starts = [dates.dt.tz_localize(None).to_numpy().astype(f"M8[{step}]") for step in "DMY"]
        start = next((s for s in starts if len(np.unique(s)) <= MAX_PERIODS), starts[2])
        times, unit = 1970 + start.astype("M8[D]").astype(np.float64) / 365.2425, "year"
    if len(np.unique(times)) > MAX_PERIODS:
        first, width = times.min(), np.ptp(times) / MAX_PERIODS
        times = first + width * (np.minimum((times - first) // width, MAX_PERIODS - 1) + 0.5)
    return times, unit


def _cells(codes: Codes, rows: np.ndarray, covariates: Sequence[str]) -> sp.csr_array:
    """Put rows that are equal in all covariates into one cell, one-hot (len(rows), cells).

    Numbers are cut at quantiles: a single covariate into one bin per 100 rows, at least 5 and at
    most 50, several into 5 each. Everything else goes by its levels.
    """
    cell = np.zeros(len(rows), dtype=np.int64)
    bins = min(max(len(rows) // 100, 5), 50) if len(covariates) == 1 else 5
    for name in covariates:
        if name == "length" and name not in codes.columns:
            values = np.array([len(text) for text in codes.texts(rows).tolist()])
        else:
            values = codes.column(name, rows)
        numbers, level = _numbers(values), np.unique(values.astype(str), return_inverse=True)[1]
        if numbers is not None and level.max() > 10:
            edges = np.unique(np.nanquantile(numbers, np.arange(1, bins) / bins))
            level = np.searchsorted(edges, numbers, side="right") + np.isnan(numbers)
        cell = np.unique(cell * (level.max() + 1) + level, return_inverse=True)[1]
    return st.one_hot(cell)


def _shares(codes: Codes, rows: np.ndarray, y: Any, f: np.ndarray) -> pd.DataFrame:
    """Share of rows with each feature per period, and Jeffreys' 95 % interval."""
    periods, level = np.unique(y[rows].toarray()[:, 0], return_inverse=True)
    on: Any = codes.features(f).tocsr()[rows].astype(bool).astype(np.float64)
    active = (on.T @ st.one_hot(level)).toarray().ravel()
    n = np.tile(np.bincount(level), len(f))
    low, high = betaincinv(active + 0.5, n - active + 0.5, [[0.025], [0.975]])
    where = {"feature": np.repeat(f, len(periods)), "period": np.tile(periods, len(f)), "n": n}
    counts = {"n_active": active.astype(np.int64), "share": active / n}
    return pd.DataFrame(where | counts | {"low": low, "high": high})
