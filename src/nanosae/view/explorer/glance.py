"""The corpus at a glance: its size, its largest topics, its latest findings."""

from __future__ import annotations

import numpy as np

from nanosae.analysis.comparisons.summary import of_comparisons
from nanosae.analysis.groups.topic_rows import topic_name
from nanosae.runs.export import records
from nanosae.runs.results import fresh_value, load_contrasts
from nanosae.view.explorer.corpus import Answer, OpenCorpus

TOPICS = 100  # the largest
FINDINGS = 6
SENTENCES = 8  # about one feature or topic


def glance(corpus: OpenCorpus) -> Answer:
    """Return an overview of the corpus from the results of the run.

    Returns:
        `counts` (name and number), `topics` (number, name and rows) and `findings` (sentence, and
        the feature or topic that it is about). The latter two are empty if there are no fresh ones.
    """
    return {
        "counts": _counts(corpus),
        "topics": _topics(corpus),
        "findings": _findings(corpus),
    }


def _counts(corpus: OpenCorpus) -> list[list]:
    codes = corpus.codes
    counts = codes.counts
    labelled = np.array(list(corpus.labels), np.int64)
    noun = "text" if codes.has_texts else "row"
    return [
        [f"{noun}s", codes.n_rows],
        ["features", int(np.count_nonzero(counts))],
        ["features with a label", int(np.count_nonzero(counts[labelled]))],
        [f"features per {noun}", codes.nnz / max(codes.n_rows, 1)],
    ]


def _topics(corpus: OpenCorpus) -> list[Answer]:
    table = fresh_value(corpus.run, "topics.parquet", corpus.codes)
    if table is None:
        return []
    largest = table.nlargest(TOPICS, "Count")
    return [
        {
            "topic": int(line.Topic),
            "name": topic_name(line.Representation),
            "rows": int(line.Count),
        }
        for line in largest.itertuples()
        if len(line.Representation)
    ]


def _findings(corpus: OpenCorpus) -> list[Answer]:
    """Return the findings of the run, or else those of its latest comparisons."""
    found = fresh_value(corpus.run, "findings.parquet", corpus.codes)
    if found is not None:
        is_topic = found["side"] == "topic"  # these are listed above
        columns = ["sentence", "feature", "topic", "label"]
        first = found.loc[~is_topic, columns].head(FINDINGS)
        return records(first)
    newest_first = sorted(
        load_contrasts(corpus.run, corpus.codes),
        key=lambda found: -(corpus.run / found.name).stat().st_mtime_ns,
    )
    sentences = []
    for contrast in newest_first:
        if contrast.fresh:
            sentences += contrast.value.get("sentences", [])
    return [{"sentence": sentence} for sentence in sentences[:FINDINGS]]


def sentences_about(corpus: OpenCorpus, what: str, number: int) -> list[str]:
    """Return the findings about a "feature" or "topic", the most informative first."""
    table = fresh_value(corpus.run, "findings.parquet", corpus.codes)
    if table is None:
        return []
    found = of_comparisons(table)
    is_about_it = (found[what] == number).fillna(False)
    return found.loc[is_about_it, "sentence"].head(SENTENCES).tolist()
