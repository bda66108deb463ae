"""What embedding the texts of a plan takes, before anything is sent."""

from __future__ import annotations

from pathlib import Path

from nanosae.pipeline.plan import Plan
from nanosae.runs.embeddings import Embeddings

CHARACTERS_PER_TOKEN = 4  # of English; other languages take more tokens


def embedding_cost(plan: Plan, run: Path, price: float | None) -> str:
    """Say how many texts are to be embedded, and what that costs.

    Args:
        plan: What a run is going to do.
        run: Its folder; texts that are embedded there cost nothing.
        price: Of a million tokens, in any currency.
    """
    if plan.encoder is None:
        return "nothing is to be embedded: the vectors are given"
    texts = plan.table["text"].to_pylist()
    if (run / "embeddings").exists():
        new = Embeddings(run / "embeddings", plan.encoder.identity).missing(texts)
    else:
        new = list(set(texts))
    n_tokens = sum(map(len, new)) // CHARACTERS_PER_TOKEN
    said = f"{len(new):,} texts are to be embedded, about {n_tokens:,} tokens"
    if price is None:
        return said
    return f"{said}, which cost about {n_tokens * price / 1e6:.2f}"
