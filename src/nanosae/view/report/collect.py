"""The content of a report: facts, the feature table, map, families, topics, figures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nanosae.analysis.comparisons.summary import (
    findings,
    findings_of_each,
    of_comparisons,
)
from nanosae.analysis.evaluation.evaluate import Evaluation
from nanosae.analysis.evaluation.verdict import verdict
from nanosae.analysis.groups.topic_rows import topic_name
from nanosae.analysis.reading import run_model
from nanosae.codes import Codes
from nanosae.runs import annotations
from nanosae.runs.export import records
from nanosae.runs.results import contrast_title
from nanosae.runs.tables import doubtful_labels, known_labels, load_features
from nanosae.view import maps, plots
from nanosae.view.files import read_json
from nanosae.view.history import training_state
from nanosae.view.report.cards import CARDS_PER_BLOCK, rounded, truncated
from nanosae.view.report.commands import StoredResults, missing_steps, past_commands
from nanosae.view.scores import label_scores

MAX_FEATURES = 20_000  # in the table and on the map
MAX_SENTENCES = 20  # of a contrast
MAX_FINDINGS_LISTED = 200  # sentences at the top
SENTENCE_COLUMNS = ["sentence", "label", "feature", "topic", "column"]
MAX_FINDINGS = 12  # in the figure of a contrast
TEXT_BYTES = 500  # of each typical text of a topic
LABEL_AREA = (1100, 520)  # pixels in which the map's labels are placed
FAR_SHARE = 0.005  # of the points, which may be outside the initial view at each side
FAR = 1.25  # ratio of widths with and without them above which they are left outside
COLUMNS = (
    "feature",
    "label",
    "doubtful",
    "keywords",
    "llm_explanation",
    "score",
    "n_active",
    "density",
    "max_activation",
    "monosemanticity",
    "family",
    "topic",
    "health",
)
FAMILY_FIELDS = ("family", "root", "members", "size", "label", "score")


def collect(run: Path, codes: Codes | None, table: pd.DataFrame) -> dict[str, Any]:
    """Return the data blocks of a report by name, except the cards.

    Args:
        run: The run folder.
        codes: The corpus, if there is one.
        table: The result of `feature_table`.
    """
    config = read_json(run / "config.json") or {}
    results = StoredResults(run, codes)
    contrasts = {
        contrast_title(result): result.value
        for result in results.contrasts
        if result.fresh
    }
    found = _findings(results, contrasts)
    facts = _facts(run, config, codes, results) | {
        "findings": len(of_comparisons(found))
    }
    return {
        "facts": facts,
        "training": training_state(run),
        "features": _columns(table),
        "map": _map(codes, table),
        "families": _families(results),
        "topics": _topics(results),
        "findings": _sentences(found),
        "contrasts": _contrasts(contrasts),
        "figures": _figures(codes, contrasts),
        "evaluation": _evaluation(results),
    }


def _facts(
    run: Path, config: dict[str, Any], codes: Codes | None, results: StoredResults
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "run": str(run),
        "name": run.absolute().name,
        "chunk": CARDS_PER_BLOCK,
        "config": config.get("config"),
        "versions": config.get("versions"),
        "threads": config.get("threads"),
        "data": config.get("data"),
        "fingerprint": config.get("data_fingerprint"),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commands": past_commands(run, config, codes, results),
        "missing": missing_steps(run, config, codes, results),
    }
    if codes is not None:
        facts["corpus"] = {
            "name": codes.name,
            "rows": codes.n_rows,
            "columns": codes.columns,
            "texts": codes.has_texts,
            "l0": codes.nnz / max(codes.n_rows, 1),
        }
    return facts


def feature_table(run: Path, codes: Codes | None) -> pd.DataFrame:
    """Return the feature table without stale columns, but with labels and their scores.

    It is ordered by the lower end of the label's AUC, then by rows, with dead features last.
    """
    features = load_features(run, codes)
    named = annotations.names(run, None if codes is None else codes.model)
    features["score"] = label_scores(features, named)
    table = features.drop(columns=features.attrs["stale"], errors="ignore")
    if codes is not None:
        counts = pd.DataFrame(
            {
                "feature": np.arange(codes.n_features),
                "n_active": codes.counts,
                "density": codes.density,
            }
        )
        described = table.drop(columns=["n_active", "density"], errors="ignore")
        table = counts.merge(described, "left")
    table["label"] = table["feature"].map(known_labels(codes or run).get)
    table["doubtful"] = table["feature"].isin(list(doubtful_labels(codes or run)))
    keys = table.reindex(columns=["label_auc_low", "n_active"])
    keys["alive"] = keys["n_active"] != 0
    order = ["alive", "label_auc_low", "n_active"]
    best_first = keys.sort_values(order, ascending=False).index
    return table.loc[best_first].reset_index(drop=True)


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the columns shown on the page."""
    first = table.head(MAX_FEATURES)
    columns = {}
    for name in COLUMNS:
        if name in table:
            columns[name] = [rounded(value) for value in first[name].tolist()]
    return columns


def _map(codes: Codes | None, table: pd.DataFrame) -> dict[str, Any] | None:
    """Lay out the features in the plane; `place` is the position of each point in the table."""
    model = None if codes is None else run_model(codes)
    if model is None:
        return None
    directions = model.directions()
    features = table["feature"].to_numpy()[:MAX_FEATURES]
    is_active = table["n_active"].to_numpy()[: len(features)] > 0
    has_direction = directions[features].any(1)
    place = np.flatnonzero(is_active & has_direction)
    points, method = maps.project(directions[features[place]])
    cluster = maps.clusters(points, method)
    known = table["label"].iloc[place].tolist()
    names = {i: label for i, label in enumerate(known) if isinstance(label, str)}
    low, high = shown_box(points)
    placed = maps.labels(np.clip(points, low, high), cluster, names, *LABEL_AREA)
    is_outside = ((points < low) | (points > high)).any(1)
    x, y = points.T.astype(np.float64).round(4)
    return {
        "place": place,
        "x": x,
        "y": y,
        "cluster": cluster,
        "labels": [{"text": text, "x": x, "y": y} for text, (x, y) in placed],
        "method": method,
        "whole": np.concatenate([low, high]).astype(np.float64),
        "outside": np.count_nonzero(is_outside),
    }


def shown_box(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper corners of the initial view of a map, each (2,).

    It shows the whole map, unless a few distant points would take much of the space.
    """
    if not len(points):
        return np.zeros(2), np.zeros(2)
    low, high = points.min(0), points.max(0)
    inner_low, inner_high = np.quantile(points, [FAR_SHARE, 1 - FAR_SHARE], axis=0)
    has_far = (high - low) > FAR * (inner_high - inner_low)
    return np.where(has_far, inner_low, low), np.where(has_far, inner_high, high)


def _families(results: StoredResults) -> list[dict[str, Any]] | None:
    result = results.fresh_value("families.json")
    if result is None:
        return None
    return [_rounded_fields(family) for family in result["families"]]


def _rounded_fields(family: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a family that the page shows."""
    return {field: rounded(family[field]) for field in FAMILY_FIELDS}


def _topics(results: StoredResults) -> list[dict[str, Any]] | None:
    """Return the topics with their most typical texts, the largest first."""
    table = results.fresh_value("topics.parquet")
    if table is None:
        return None
    largest_first = table.sort_values("Count", ascending=False, kind="stable")
    return [
        {
            "topic": line["Topic"],
            "rows": line["Count"],
            "name": topic_name(line["Representation"]),
            "texts": [
                truncated(text, TEXT_BYTES) for text in line["Representative_Docs"]
            ],
        }
        for line in largest_first.to_dict("records")
    ]


def _findings(results: StoredResults, contrasts: dict[str, Any]) -> pd.DataFrame:
    """Return the findings of all comparisons in plain words, the most informative first."""
    table = results.fresh_value("findings.parquet")
    return findings(contrasts.values()) if table is None else table


def _sentences(found: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the first findings, each with the feature or topic that it is about, if any."""
    first = found.filter(items=SENTENCE_COLUMNS).head(MAX_FINDINGS_LISTED)
    return records(first)


def _evaluation(results: StoredResults) -> dict[str, Any] | None:
    """Return the evaluation, with its verdict."""
    result = results.fresh_value("evaluation.json")
    if result is None:
        return None
    return result | {"verdict": verdict(Evaluation.from_dict(result))}


def _contrasts(contrasts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the findings of each comparison, in plain words and with statistics; empty last."""
    tables = findings_of_each(contrasts.values(), MAX_SENTENCES)
    in_words = [
        {
            "name": name,
            "sentences": table["sentence"].tolist(),
            "statistics": result["sentences"][:MAX_SENTENCES],
        }
        for (name, result), table in zip(contrasts.items(), tables, strict=True)
    ]
    return sorted(in_words, key=lambda contrast: not contrast["sentences"])


def _figures(codes: Codes | None, contrasts: dict[str, Any]) -> dict[str, Any]:
    """Draw the figures that the page does not draw itself; the page adds the template."""
    figures = {}
    for name, result in contrasts.items():
        if result["findings"]:
            is_trend = result["kind"] == "trend" and result.get("shares")
            draw = plots.over_time if is_trend else plots.contrast
            figures[name] = draw(result, n=MAX_FINDINGS)
    if codes is not None:
        figures["density"] = plots.density(codes)
        figures["l0"] = plots.l0(codes)
    for figure in figures.values():
        figure.update_layout(template=None)
    return figures
