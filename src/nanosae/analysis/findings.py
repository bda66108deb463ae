"""What a comparison found: its tables, and one sentence per finding."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nanosae.analysis.effects import Kind
from nanosae.runs.tables import records

GROUPS_SENTENCE = (
    "is on in {share:.1%} of {target} and {share_rest:.1%} of {b}: odds ratio {odds_ratio:.3g}"
    " (95 % CI {odds_low:.3g} to {odds_high:.3g}), risk difference {risk_difference:+.1%},"
    " Cliff's δ {cliffs_delta:+.2f}"
)
NUMERIC_SENTENCE = (
    "goes with a difference of {effect:+.3g} in {target} (95 % CI {low:.3g} to {high:.3g};"
    " r = {r:+.2f}; on in {n_active:,} texts)"
)
TREND_SENTENCE = (
    "changes its odds by × {odds_ratio:.3g} per {unit} (95 % CI {odds_low:.3g} to"
    " {odds_high:.3g}; on in {n_active:,} texts)"
)


@dataclass
class Contrast:
    """The features that differ between groups, with a number, or over time.

    Attributes:
        kind: "groups" (two, or each class against the rest), "numeric" or "trend".
        table: One line per candidate, best first (by the end of its interval nearer to 0):
            `target, feature, label, n_active` (independent texts), `effect, low, high, p, r, q,
            p_select, found`; `odds_ratio, odds_low, odds_high` but for numbers; for groups `share,
            share_rest, risk_difference, cliffs_delta` (on activations; of findings). `effect` is
            the log-odds ratio, the log-odds per unit of time or the difference of the target; `r`
            the correlation of being active with the target. All but `p_select` is computed on the
            held-out rows.
        model: The features that explain each target together, chosen on the training rows and
            fitted on the held-out ones: `target, feature, label, coefficient, low, high, p, q`.
        scores: How well that model, fitted on the training rows, does on the held-out ones:
            `target, measure` ("auc" or "r2"), `covariates` (alone), `features` (with them),
            `n_features`.
        about: Options, counts of rows and of independent texts, and notes.
        shares: For trends, `feature, period, n, n_active, share, low, high` of each finding over
            all rows (Jeffreys' 95 % interval).
    """

    kind: Kind
    table: pd.DataFrame
    model: pd.DataFrame
    scores: pd.DataFrame
    about: dict[str, Any]
    shares: pd.DataFrame

    @property
    def findings(self) -> pd.DataFrame:
        """The lines of `table` with q ≤ `fdr` and the sign that the training rows showed."""
        return self.table.loc[self.table["found"]]

    def sentences(self, n: int | None = None) -> list[str]:
        """Return one sentence per finding, best first.

        Args:
            n: How many; all if None.
        """
        lines = self.findings.iloc[:n].to_dict(orient="records")
        return [_sentence(self.kind, line, self.about) for line in lines]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types (`RUN/contrasts/*.json`); of the table the findings."""
        header = {"kind": self.kind, "about": self.about, "sentences": self.sentences()}
        tables = records(
            findings=self.findings,
            model=self.model,
            scores=self.scores,
            shares=self.shares,
        )
        return header | tables

    def _repr_html_(self) -> str:
        head = f"{len(self.findings)} findings among {self.about['n_tested']:,} tests"
        items = [f"<li>{html.escape(sentence)}</li>" for sentence in self.sentences(20)]
        notes = [f"<p>{html.escape(note)}</p>" for note in self.about["notes"]]
        scores = self.scores.to_html(index=False)
        return f"<p><b>{head}</b></p><ol>{''.join(items)}</ol>{''.join(notes)}{scores}"


def _sentence(kind: Kind, line: dict[str, Any], about: dict[str, Any]) -> str:
    """Tell one finding: effect, interval, q, and what it rests on."""
    if kind == "groups":
        template = GROUPS_SENTENCE
    elif kind == "numeric":
        template = NUMERIC_SENTENCE
    else:
        template = TREND_SENTENCE
    values = {"b": "the rest"} | about | line
    effect = template.format(**values)
    basis = "held-out half: {n_held_out:,} rows, {n_independent:,} independent".format(
        **about
    )
    if about["covariates"]:
        basis += f"; at equal {', '.join(about['covariates'])}"
    return f"“{line['label']}” {effect}; q = {line['q']:.2g} ({basis})."
