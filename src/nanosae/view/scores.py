"""The scores of the labels that pages show."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from nanosae.runs.tables import LABELS

SCORES = ("label_auc", "llm_f1")  # of each of LABELS


def label_scores(table: pd.DataFrame, named: Collection[int]) -> pd.Series:
    """Return the score of the label shown for each line of a feature table, NaN if it has none.

    A label from words has an AUC, one by a language model an F1, and a name by a person no score.
    Stale scores are left out.

    Args:
        table: The feature table, from `load_features`.
        named: Features that were named by people.

    Example:
        >>> table = pd.DataFrame({"feature": [0, 1], "label": ["a", "b"], "label_auc": [0.9, 0.8]})
        >>> label_scores(table, named=[0]).tolist()
        [nan, 0.8]
    """
    stale = table.attrs.get("stale", {})
    shown = pd.Series(np.nan, table.index)
    for label, score in zip(LABELS, SCORES, strict=True):
        if label not in table:
            continue
        is_labelled = table[label].fillna("") != ""
        is_known = score in table and score not in stale
        scores = table[score].astype(float) if is_known else np.nan
        shown = shown.mask(is_labelled, scores)
    return shown.mask(table["feature"].isin(list(named)))
