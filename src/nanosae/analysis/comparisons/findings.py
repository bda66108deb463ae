"""What a comparison found: its tables, and one sentence per finding."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.comparisons.effects import Kind
from nanosae.runs.export import records

GROUPS_SENTENCE = (
    "{is_in} {share:.1%} of {target} and {share_rest:.1%} of {b}: odds ratio {odds_ratio:.3g}"
    " (95 % CI {odds_low:.3g} to {odds_high:.3g}), risk difference {risk_difference:+.1%},"
    " Cliff's δ {cliffs_delta:+.2f}"
)
NUMERIC_SENTENCE = (
    "goes with a difference of {effect:+.3g} in {target} (95 % CI {low:.3g} to {high:.3g};"
    " r = {r:+.2f}; {n_active:,} texts)"
)
TREND_SENTENCE = (
    "changes its odds by × {odds_ratio:.3g} per {unit} (95 % CI {odds_low:.3g} to {odds_high:.3g};"
    " {n_active:,} texts)"
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
        table: One line per candidate (p ≤ 0.05 in a score test), findings first, by falling
            difference of shares, of shares over time, or by correlation with the number:
            `target, feature` (-1: the line is about a topic), `topic` (of such a line; of a
            found feature the one with half of its texts, or half of whose texts it has, else -1),
            `label,
            n_active` (independent texts), `effect, low, high, raw_effect, error, p, q, r, found,
            label_doubtful`; `odds_ratio, odds_low, odds_high` but for numbers; for groups
            `share, share_rest, risk_difference, cliffs_delta` (on activations; of findings), for
            trends `share_change` (on a line through the shares, first to last time). `effect` is
            the log-odds ratio, the log-odds per unit of time or the difference of the target's
            mean, and `low` to `high` its 95 % interval, both as they are given that the line was
            selected (see `selection`); `raw_effect` and its standard error are not put right for
            that. `r` is the correlation of being active with the target.
        model: The features that explain each target together, chosen on all rows: `target, feature,
            label, coefficient, stability` (see `joint_model`).
        scores: How well a model that was chosen in the same way on the training rows does on the
            held-out ones: `target, measure` ("auc" or "r2"), `covariates` (alone), `features` (with
            them), `n_features`.
        about: Options, counts of rows and of independent texts, and notes.
        shares: For trends, `feature, topic, period, name, n, n_active, share, low, high` of each
            finding (Jeffreys' 95 % interval).
    """

    kind: Kind
    table: pd.DataFrame
    model: pd.DataFrame
    scores: pd.DataFrame
    about: dict[str, Any]
    shares: pd.DataFrame

    @property
    def findings(self) -> pd.DataFrame:
        """The lines of `table` with q ≤ 0.05."""
        return self.table.loc[self.table["found"]]

    @property
    def sides(self) -> dict[str, pd.DataFrame]:
        """The findings of each side: groups with more of them, "rises", "lower" and so on."""
        findings = self.findings
        lines = findings.to_dict(orient="records")
        side = [_side_of(self.kind, line, self.about) for line in lines]
        side_column = np.array(side, dtype=object)
        grouped = findings.groupby(side_column, sort=False)
        return {str(name): of_side for name, of_side in grouped}

    def sentences(
        self, n: int | None = None, *, lines: pd.DataFrame | None = None
    ) -> list[str]:
        """Return one sentence per finding with its statistics, in the order of `table`.

        In plain words they are in `nanosae.analysis.comparisons.sentences.findings`.

        Args:
            n: How many; all if None.
            lines: Only these lines of `table`; the findings if None.
        """
        lines = self.findings if lines is None else lines
        wanted = lines.iloc[:n].to_dict(orient="records")
        return [_sentence(self.kind, line, self.about) for line in wanted]

    def model_sentences(self) -> list[str]:
        """Say how well a few features explain each target together, and which they are."""
        sentences = []
        for line in self.scores.to_dict(orient="records"):
            target = line["target"]
            is_of_target = self.model["target"] == target
            labels = self.model["label"][is_of_target]
            names = ", ".join(f"“{label}”" for label in labels)
            measure = "R²" if line["measure"] == "r2" else "AUC"
            with_features = f"{measure} {line['features']:.2f}"
            without = f"{line['covariates']:.2f}"
            sentences.append(
                f"Together, {line['n_features']} features explain {target} with "
                f"{with_features} on texts that chose nothing (without them "
                f"{without}): {names}."
            )
        return sentences

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types (`RUN/contrasts/*.json`); of the table the findings."""
        header = {
            "kind": self.kind,
            "about": self.about,
            "sentences": self.sentences(),
            "model_sentences": self.model_sentences(),
        }
        tables = records(
            findings=self.findings,
            model=self.model,
            scores=self.scores,
            shares=self.shares,
        )
        return header | tables

    def _head(self) -> str:
        n_found = len(self.findings)
        n_tested = self.about["n_tested"]
        return f"{n_found:,} findings among {n_tested:,} tests"

    def _plain_sentences(self) -> list[str]:
        """Return the first findings in plain words."""
        from nanosae.analysis.comparisons.sentences import findings

        return findings([self])["sentence"].head(SHOWN).tolist()

    def _notes(self) -> list[str]:
        return [*self.model_sentences(), *self.about["notes"]]

    def __repr__(self) -> str:
        items = [f"  • {sentence}" for sentence in self._plain_sentences()]
        return "\n".join([self._head(), *items, *self._notes()])

    def _repr_html_(self) -> str:
        items = ""
        for sentence in self._plain_sentences():
            items += f"<li>{html.escape(sentence)}</li>"
        notes = ""
        for note in self._notes():
            notes += f"<p>{html.escape(note)}</p>"
        return f"<p><b>{self._head()}</b></p><ol>{items}</ol>{notes}"


def is_about_topic(line: Mapping[str, Any]) -> bool:
    """Return whether a line of a comparison's table is about a topic, not a feature."""
    return line["feature"] < 0


def shares_of(shares: pd.DataFrame, line: Mapping[str, Any]) -> pd.DataFrame:
    """Return the shares by period of what a line of a comparison's table is about."""
    is_same: Any = shares["feature"] == line["feature"]
    if is_about_topic(line):
        is_same &= shares["topic"] == line["topic"]
    return shares.loc[is_same]


def _side_of(kind: Kind, line: dict[str, Any], about: dict[str, Any]) -> str:
    """Return the group with more of a finding ("not A" if the rest), or its direction."""
    is_more = line["effect"] > 0
    if kind == "trend":
        return "rises" if is_more else "falls"
    if kind == "numeric":
        return "higher" if is_more else "lower"
    if is_more:
        return str(line["target"])
    other_group = about.get("b")
    if other_group in (None, "the rest"):
        return f"not {line['target']}"
    return str(other_group)


def _sentence(kind: Kind, line: dict[str, Any], about: dict[str, Any]) -> str:
    """Tell one finding: effect, interval, q, and what it rests on."""
    is_in = "makes up" if is_about_topic(line) else "is active in"
    values = {"b": "the rest", "is_in": is_in} | about | line
    effect = TEMPLATES[kind].format(**values)
    n_rows = about["n_rows"]
    n_independent = about["n_independent"]
    basis = f"{n_rows:,} rows, {n_independent:,} independent"
    if about["covariates"]:
        held_equal = ", ".join(about["covariates"])
        basis += f"; at equal {held_equal}"
    label = line["label"]
    of_topic = "The topic " if is_about_topic(line) else ""
    doubt = " (doubtful label)" if line.get("label_doubtful") else ""
    q = line["q"]
    return f"{of_topic}“{label}”{doubt} {effect}; q = {q:.2g} ({basis})."
