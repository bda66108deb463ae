"""What a comparison found: its tables, and one sentence per finding."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nanosae.analysis.effects import Kind
from nanosae.analysis.sentences import plain_sentence, side_of, statistics_sentence
from nanosae.runs.tables import records

SHOWN = 20  # findings in a notebook


@dataclass
class Contrast:
    """The features that differ between groups, with a number, or over time.

    Attributes:
        kind: "groups" (two, or each class against the rest), "numeric" or "trend".
        table: One line per candidate (p ≤ 0.05 in a score test), findings first, by falling
            difference of shares, of shares over time, or by correlation with the number:
            `target, feature, label, n_active` (independent texts), `effect, low, high, raw_effect,
            error, p, q, r, found`; `odds_ratio, odds_low, odds_high` but for numbers; for groups
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
        shares: For trends, `feature, period, name, n, n_active, share, low, high` of each finding
            (Jeffreys' 95 % interval).
    """

    kind: Kind
    table: pd.DataFrame
    model: pd.DataFrame
    scores: pd.DataFrame
    about: dict[str, Any]
    shares: pd.DataFrame

    @property
    def findings(self) -> pd.DataFrame:
        """The lines of `table` with q ≤ `fdr`."""
        return self.table.loc[self.table["found"]]

    @property
    def sides(self) -> dict[str, pd.DataFrame]:
        """The findings of each side: groups with more of them, "rises", "lower" and so on."""
        findings = self.findings
        lines = findings.to_dict(orient="records")
        side = [side_of(self.kind, line, self.about) for line in lines]
        grouped = findings.groupby(pd.array(side, dtype=object), sort=False)
        return {str(name): of_side for name, of_side in grouped}

    def sentences(self, n: int | None = None, *, statistics: bool = False) -> list[str]:
        """Return one sentence per finding, in the order of `table`.

        Args:
            n: How many; all if None.
            statistics: With effect, interval and q, instead of plainly.
        """
        return self.in_words(self.findings.iloc[:n], statistics=statistics)

    def in_words(self, lines: pd.DataFrame, *, statistics: bool = False) -> list[str]:
        """Return one sentence for each of the given lines of `table`."""
        sentences = []
        for line in lines.to_dict(orient="records"):
            if statistics:
                sentence = statistics_sentence(self.kind, line, self.about)
            else:
                sentence = plain_sentence(self.kind, line, self.about, self.shares)
            sentences.append(sentence)
        return sentences

    def model_sentences(self) -> list[str]:
        """Say how well a few features explain each target together, and which they are."""
        sentences = []
        for line in self.scores.to_dict(orient="records"):
            of_target = self.model[self.model["target"] == line["target"]]
            names = [f"“{label}”" for label in of_target["label"]]
            what = "R²" if line["measure"] == "r2" else "AUC"
            n_features, target = line["n_features"], line["target"]
            sentences.append(
                f"Together, {n_features} features explain {target} with {what} "
                f"{line['features']:.2f} on texts that chose nothing (without them "
                f"{line['covariates']:.2f}): {', '.join(names)}."
            )
        return sentences

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types (`RUN/contrasts/*.json`); of the table the findings."""
        header = {
            "kind": self.kind,
            "about": self.about,
            "sentences": self.sentences(),
            "statistics": self.sentences(statistics=True),
            "model_sentences": self.model_sentences(),
        }
        tables = records(
            findings=self.findings,
            model=self.model,
            scores=self.scores,
            shares=self.shares,
        )
        return header | tables

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(
        self, n: int = SHOWN, *, statistics: bool = False, model: bool = True
    ) -> list[str]:
        """Return the comparison as lines of text: joint model, each side's findings, notes.

        Args:
            n: Findings of each side; of more than two sides fewer.
            statistics: With effects, intervals and q.
            model: With the joint models.
        """
        most = n if len(self.sides) <= 2 else max(n // len(self.sides), 2)
        lines = []
        if model:
            models = self.model_sentences()
            lines += models[:n]
            if len(models) > n:
                lines.append(f"… and models of {len(models) - n:,} more")
        for side, findings in self.sides.items():
            lines.append(f"{_heading(self.kind, side, self.about)}:")
            shown = self.in_words(findings.iloc[:most], statistics=statistics)
            lines += [f"  {sentence}" for sentence in shown]
            if len(findings) > most:
                lines.append(f"  … and {len(findings) - most:,} more")
        if not self.sides:
            lines.append("Nothing differs by more than chance would.")
        return lines + self.about["notes"]

    def _repr_html_(self) -> str:
        head = f"{len(self.findings)} findings among {self.about['n_tested']:,} tests"
        items = [f"<li>{html.escape(text)}</li>" for text in self.sentences(SHOWN)]
        notes = [
            f"<p>{html.escape(note)}</p>"
            for note in [*self.model_sentences(), *self.about["notes"]]
        ]
        return f"<p><b>{head}</b></p><ol>{''.join(items)}</ol>{''.join(notes)}"


def _heading(kind: Kind, side: str, about: dict[str, Any]) -> str:
    """Return the heading of a side's list."""
    if kind == "trend":
        return "More frequent over time" if side == "rises" else "Less frequent"
    if kind == "numeric":
        return f"{side.capitalize()} {about['column'] or 'target'}"
    return f"More in {side}" if not side.startswith("not ") else f"Less in {side[4:]}"
