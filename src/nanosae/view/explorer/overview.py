"""What a run contains, what it lacks, and what is being built."""

from __future__ import annotations

import numpy as np

from nanosae.analysis.search.text_index import has_index
from nanosae.errors import command_line
from nanosae.runs import annotations
from nanosae.view.explorer.corpus import Answer, OpenCorpus
from nanosae.view.explorer.prepare import Jobs


def overview(corpus: OpenCorpus, jobs: Jobs) -> Answer:
    """Return what the run contains, and the commands that add what it lacks."""
    codes = corpus.codes
    return {
        "id": corpus.id,
        "run": corpus.run.resolve().name,
        "corpus": codes.name,
        "rows": codes.n_rows,
        "features": int(np.count_nonzero(codes.counts)),
        "texts": codes.has_texts,
        "steer": corpus.model is not None,
        "colors": [name for name in ("topic", "family") if corpus.groups(name)],
        "columns": codes.columns,
        "adds": _missing(corpus),
        "tags": annotations.tags(corpus.run, codes.name, codes.data),
        "map": _map_facts(corpus),
        "index": has_index(codes) if codes.has_texts else None,
        "stale": corpus.stale(),
        "jobs": jobs.states(),
        "progress": jobs.progress(),
    }


def _map_facts(corpus: OpenCorpus) -> Answer:
    """Return facts about the map; `id` differs between maps."""
    stored = corpus.stored_map
    method = "first" if stored is None else stored["method"].item()
    return {
        "id": f"{method}-{corpus.codes.checksum}",
        "method": "PCA" if stored is None else method,
        "first": stored is None,
    }


def _missing(corpus: OpenCorpus) -> dict[str, str]:
    """Return what the run lacks, with the command that adds it."""
    codes, table, run = corpus.codes, corpus.table, corpus.run
    commands = {}
    if not codes.has_texts:
        commands["texts"] = command_line("encode", run, "DATA", "--texts", "FILE")
    if corpus.model is None:
        commands["steering"] = command_line("train", "DATA", "-o", run)
    stale = table.attrs.get("stale", {})
    if codes.has_texts and ("label" not in table or "label" in stale):
        commands["labels"] = command_line("label", run)
    if "family" not in table or "family" in stale:
        commands["families"] = command_line("families", run)
    if codes.has_vectors and "near_misses" not in table:
        commands["near misses"] = command_line("describe", run)
    return commands
