"""The result of a comparison: its tables, and one sentence per finding."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.comparisons.effects import Kind
from nanosae.errors import counted
from nanosae.runs.export import records

GROUPS_SENTENCE = (
    "{is_in} {share:.1%} of {target} and {share_rest:.1%} of {b}: odds ratio {odds_ratio:.3g}"
    " (95 % CI {odds_low:.3g} to {odds_high:.3g}), risk difference {risk_difference:+.1%},"
    " Cliff's δ {cliffs_delta:+.2f}"
)
NUMERIC_SENTENCE = (
    "is associated with a difference of {effect:+.3g} in {target}"
    " (95 % CI {low:.3g} to {high:.3g};"
    " r = {r:+.2f}; {n_active:,} texts)"
)
TREND_SENTENCE = (
    "has its odds multiplied by {odds_ratio:.3g} per {unit}"
    " (95 % CI {odds_low:.3g} to {odds_high:.3g}; {n_active:,} texts)"
)
TEMPLATES: dict[Kind, str] = {
    "groups": GROUPS_SENTENCE,
    "numeric": NUMERIC_SENTENCE,
    "trend": TREND_SENTENCE,
}
FALSE_DISCOVERY_RATE = 0.05  # of the findings
SHOWN = 20  # findings in a notebook


@dataclass(repr=False)
class Contrast:
    """The features and topics that differ between groups, with a number, or over time.

    Attributes:
        kind: "groups" (two, or each class against the rest), "numeric" or "trend".
        table: One row per candidate (p ≤ 0.05 in a score test), findings first, in decreasing order
            of the difference in shares, their change over time, or the correlation with the number.
            Columns: `target`; `feature`, or -1 if the row is about a topic; `topic`, or -1 (for a
            feature among the findings, a topic that shares at least half of the texts of either);
            `label`; `n_active` (independent texts); `effect, low, high, raw_effect, error, p, q, r,
            found, label_doubtful`; except for numbers `odds_ratio, odds_low, odds_high`; for groups
            `share, share_rest, risk_difference, cliffs_delta` (of activations; findings only); for
            trends `share_change` (on a fitted line, from first to last time). `effect` is the
            log-odds ratio, the log odds per unit of time or the difference in means, and `low` to
            `high` its 95 % interval, both conditional on selection (see `selection`); `raw_effect`
            and its standard error `error` are not corrected for selection. `r` is the correlation
            of the feature's indicator with the target.
        model: The features that jointly explain each target, selected on all rows: `target,
            feature, label, coefficient, stability` (see `joint_model`).
        scores: Held-out scores of models selected and fitted in the same way on the training rows:
            `target, measure` ("auc" or "r2"), `covariates` (with covariates alone), `features`
            (with the features as well), `n_features`.
        about: Options, counts of rows and of independent texts, and notes.
        shares: For trends, `feature, topic, period, name, n, n_active, share, low, high` of each
            finding (95 % Jeffreys intervals), each duplicate group counted once.
    """

    kind: Kind
    table: pd.DataFrame
    model: pd.DataFrame
    scores: pd.DataFrame
    about: dict[str, Any]
    shares: pd.DataFrame

    @property
    def findings(self) -> pd.DataFrame:
        """The rows of `table` with q ≤ 0.05."""
        return self.table.loc[self.table["found"]]

    @property
    def sides(self) -> dict[str, pd.DataFrame]:
        """The findings by side: the group that has more of them, "rises", "lower" and so on."""
        findings = self.findings
        groups = set(findings["target"])
        lines = findings.to_dict(orient="records")
        sides = [_side_of(self.kind, line, self.about, groups) for line in lines]
        grouped = findings.groupby(np.array(sides, dtype=object), sort=False)
        return {str(side): table for side, table in grouped}

    def sentences(
        self, n: int | None = None, *, lines: pd.DataFrame | None = None
    ) -> list[str]:
        """Return one sentence with statistics per finding, in the order of `table`.

        `nanosae.analysis.comparisons.summary.findings` writes them in plain words.

        Args:
            n: Maximum number of sentences; None: all.
            lines: Rows of `table` to use; None: the findings.
        """
        lines = self.findings if lines is None else lines
        wanted = lines.iloc[:n].to_dict(orient="records")
        return [_sentence(self.kind, line, self.about) for line in wanted]

    def model_sentences(self) -> list[str]:
        """Return one sentence on the joint model of each target: its score and its features."""
        lines = self.scores.to_dict(orient="records")
        return [self._model_sentence(line) for line in lines]

    def _model_sentence(self, line: Mapping[str, Any]) -> str:
        from nanosae.analysis.comparisons.sentences import column_words, group_words

        target = line["target"]
        if self.kind == "numeric":
            predicted = column_words(target)
        else:
            includes = bool(self.about.get("lists"))
            predicted = group_words(target, self.about.get("column"), includes=includes)
        if np.isnan(line["features"]):
            return (
                f"How well features predict {predicted} is unknown: it is the same for all "
                "texts in one part of the split."
            )
        measure = "R²" if line["measure"] == "r2" else "AUC"
        with_features = f"{measure} {line['features']:.2f}"
        without = f"{line['covariates']:.2f}"
        if line["features"] <= line["covariates"]:
            return (
                f"Features do not help to predict {predicted}: {with_features} on held-out "
                f"texts ({without} without them)."
            )
        labels = self.model.loc[self.model["target"] == target, "label"]
        names = ", ".join(f"“{label}”" for label in labels)
        return (
            f"Together, {line['n_features']} features predict {predicted} with {with_features} "
            f"on held-out texts ({without} without them): {names}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types (`RUN/contrasts/*.json`); of `table` only the findings."""
        return {
            "kind": self.kind,
            "about": self.about,
            "sentences": self.sentences(),
            "model_sentences": self.model_sentences(),
            "findings": records(self.findings),
            "model": records(self.model),
            "scores": records(self.scores),
            "shares": records(self.shares),
        }

    def _head(self) -> str:
        n_found = counted(len(self.findings), "finding")
        n_tested = self.about["n_tested"]
        return f"{n_found} among {n_tested:,} tests"

    def _plain_sentences(self) -> list[str]:
        """Return the first findings in plain words, and how many are left out."""
        from nanosae.analysis.comparisons.summary import ADJUSTED_ONLY, findings

        sentences = findings([self])["sentence"].tolist()
        if len(self.findings) and not sentences:
            return [f"{ADJUSTED_ONLY}; `sentences()` describes them."]
        n_further = len(sentences) - SHOWN
        further = [f"… and {n_further:,} more"] if n_further > 0 else []
        return sentences[:SHOWN] + further

    def _notes(self) -> list[str]:
        return [*self.model_sentences(), *self.about["notes"]]

    def __repr__(self) -> str:
        items = [f"  • {sentence}" for sentence in self._plain_sentences()]
        return "\n".join([self._head(), *items, *self._notes()])

    def _repr_html_(self) -> str:
        sentences = map(html.escape, self._plain_sentences())
        items = "".join(f"<li>{sentence}</li>" for sentence in sentences)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        return f"<p><b>{self._head()}</b></p><ol>{items}</ol>{notes}"


def is_about_topic(line: Mapping[str, Any]) -> bool:
    """Return whether a row of a comparison's table is about a topic rather than a feature."""
    return line["feature"] < 0


def shares_of(shares: pd.DataFrame, line: Mapping[str, Any]) -> pd.DataFrame:
    """Return the shares by period of the feature or topic of a row of a comparison's table."""
    is_same: Any = shares["feature"] == line["feature"]
    if is_about_topic(line):
        is_same &= shares["topic"] == line["topic"]
    return shares.loc[is_same]


def rest_of(group: str, groups: Collection[str]) -> str:
    """Name all texts outside a group: "not A", with quotation marks if that is a group itself.

    Example:
        >>> rest_of("spam", ["spam", "ham"]), rest_of("spam", ["spam", "not spam"])
        ('not spam', 'not “spam”')
    """
    name = f"not {group}"
    return f"not “{group}”" if name in groups else name


def _side_of(
    kind: Kind, line: dict[str, Any], about: dict[str, Any], groups: Collection[str]
) -> str:
    """Return the group that has more of a finding, or its direction."""
    is_positive = line["effect"] > 0
    if kind == "trend":
        return "rises" if is_positive else "falls"
    if kind == "numeric":
        return "higher" if is_positive else "lower"
    if is_positive:
        return str(line["target"])
    other_group = about.get("b")
    if other_group in (None, "the rest"):
        return rest_of(line["target"], groups)
    return str(other_group)


def _sentence(kind: Kind, line: dict[str, Any], about: dict[str, Any]) -> str:
    """Write one finding: its effect, interval and q, and the rows that it rests on."""
    is_in = "makes up" if is_about_topic(line) else "is active in"
    values = {"b": "the rest", "is_in": is_in} | about | line
    effect = TEMPLATES[kind].format(**values)
    n_rows = about["n_rows"]
    n_independent = about["n_independent"]
    basis = f"{n_rows:,} rows, {n_independent:,} independent"
    if about["covariates"]:
        held_equal = ", ".join(about["covariates"])
        basis += f"; at equal {held_equal}"
    the_topic = "The topic " if is_about_topic(line) else ""
    doubt = " (doubtful label)" if line.get("label_doubtful") else ""
    subject = f"{the_topic}“{line['label']}”{doubt}"
    q = line["q"]
    return f"{subject} {effect}; q = {q:.2g} ({basis})."
