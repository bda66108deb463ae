"""The model card of an SAE: what it is, what it was trained on, how good it is, how to use it."""

from __future__ import annotations

from typing import Any

FRONT = """---
library_name: nanosae
tags:
- sparse-autoencoder
- sae-lens
- interpretability
---
"""
USE = """## Use

```python
from nanosae import SAEModel

sae = SAEModel.load("{name}")
features = sae.features(rows)  # raw rows, (n, {input_size})
```
"""
USE_IN_SAELENS = """
SAELens reads the same files: `SAE.load_from_disk(folder)`.
"""
DESCRIBED = {
    "activation": "Activation",
    "k": "Active features per row (k)",
    "l1_coefficient": "L1 coefficient",
    "matryoshka": "Matryoshka prefixes",
    "embedder": "Trained on embeddings of",
    "model_name": "Trained on activations of",
    "hook_name": "Layer",
    "columns": "Vector columns",
    "seed": "Seed",
    "nanosae_version": "Trained by nanoSAE",
}
MAX_LISTED = 10  # longest list that is written out
MEASURED = {
    "fvu": "Fraction of variance unexplained, held-out rows",
    "train_fvu": "Fraction of variance unexplained, training rows",
    "l0": "Active features per row, held-out rows",
    "dead": "Share of dead features",
    "rows_measured": "Held-out rows",
}


def model_card(
    config: dict[str, Any],
    name: str,
    metrics: dict[str, Any] | None = None,
    *,
    in_sae_lens: bool = True,
) -> str:
    """Return a card in Markdown, with the header that the Hugging Face hub reads.

    Args:
        config: `SAEModel.config`.
        name: Name of the folder, or `owner/name` or `owner/name/subfolder` on the hub.
        metrics: Final metrics of the training.
        in_sae_lens: Whether SAELens has the architecture.
    """
    size = f"{config['input_size']:,} → {config['hidden_size']:,}"
    title = f"# {name}\n\nA sparse autoencoder, {size}.\n"
    parts = [FRONT, title, "## What it is\n", *_lines(DESCRIBED, config)]
    if metrics:
        parts += ["\n## How good it is\n", *_lines(MEASURED, metrics)]
    use = USE.format(name=name, input_size=config["input_size"])
    if in_sae_lens:
        use += USE_IN_SAELENS
    return "\n".join([*parts, f"\n{use}"])


def _lines(names: dict[str, str], facts: dict[str, Any]) -> list[str]:
    lines = []
    for key, words in names.items():
        value = facts.get(key)
        if value is None or value in ("", []):
            continue
        one_line = " ".join(_shown(value).split())
        lines.append(f"- {words}: {one_line}")
    return lines


def _shown(value: Any) -> str:
    """Format a value; shorten a long list, such as 384 column names, to its ends and length."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if not isinstance(value, list | tuple):
        return str(value)
    names = [str(name) for name in value]
    if len(names) <= MAX_LISTED:
        return ", ".join(names)
    shown = ", ".join([*names[:2], "…", names[-1]])
    return f"{shown} ({len(names):,} in all)"
