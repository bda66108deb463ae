"""Which features become more or less frequent (see `contrast`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from nanosae.analysis.columns import as_times, is_missing
from nanosae.analysis.findings import Contrast
from nanosae.analysis.hypotheses import Options, Question, answer
from nanosae.codes import Corpus, as_codes


def over_time(
    codes: Corpus,
    column: str,
    *,
    covariates: Sequence[str] | None = None,
    groups: str | None = None,
    fdr: float = 0.05,
    share: float = 0.5,
    min_active: int = 10,
    labels: Mapping[int, str] | None = None,
    seed: int = 0,
) -> Contrast:
    """Find the features that become more or less frequent.

    Args:
        codes: The corpus, or its run folder, or an `Analysis` of it.
        column: Numbers, or dates (ISO 8601), which are read as years. More than 36 different times
            are put into 36 periods of equal length (dates, first, into days, months or years).
        covariates: Columns to hold equal, and "length" for the texts' length; None: the length if
            there are texts; `()`: nothing.
        groups: A column whose equal values are one source (an author, a thread): kept on one side
            of the split and counted as one text.
        fdr: False discovery rate that is put up with.
        share: Share of the rows to hold out.
        min_active: Independent texts of either part on which a feature must be active to be tested.
        labels: Names of features; None: those of the run.
        seed: Seed of the split.

    Raises:
        DataError: If the column holds neither numbers nor dates.
    """
    codes = as_codes(codes)
    options = Options(
        covariates, groups, fdr, share, min_active, labels=labels, seed=seed
    )
    values = codes.column(column)
    rows = ~is_missing(values)
    times = np.zeros(codes.n_rows)
    times[rows], unit = as_times(values[rows], column)
    facts = {"column": column, "unit": unit}
    target = sp.csr_array(times[:, None])
    return answer(codes, Question("trend", target, rows, [column], facts), options)
