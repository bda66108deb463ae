"""Features for Neuronpedia: one batch in SAEDashboard's JSON format.

Fields on the logits and neurons of a language model are empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nanosae.atomic import write_text
from nanosae.codes import Codes
from nanosae.runs.tables import known_labels

EXAMPLES = 20  # texts per feature
BINS = 50  # bins of the histogram of activations
MARKS = "\ue000\ue001"  # private-use characters around a token in its context
EMPTY = (
    *("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    *("correlated_neurons_indices", "correlated_neurons_pearson"),
    *("correlated_neurons_l1", "correlated_features_indices"),
    *("correlated_features_pearson", "correlated_features_l1"),
    *("neg_str", "neg_values", "pos_str", "pos_values"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values"),
)
LAYER = re.compile(r"\.(\d+)(\.|$)")


def write_neuronpedia(codes: Codes, output: str | Path, sae_set: str) -> int:
    """Write the features that are active on any row to a JSON file; return their number.

    Each has its strongest texts (tokens with their context), the histogram of its activations, its
    density and, if the run has a model, its decoder row. SAEDashboard's features have no names, so
    labels are written to FILE.explanations.jsonl: one object per line, with the fields of
    Neuronpedia's explanations except for the author, which Neuronpedia adds.

    Args:
        codes: The corpus.
        output: The file.
        sae_set: Name of the SAE on Neuronpedia.
    """
    metadata = codes.weights().metadata if codes.has_model else {}
    layer = LAYER.search(metadata.get("hook_name") or "")
    features = list(_features(codes))
    batch = {
        "model_id": metadata.get("model_name") or metadata.get("embedder") or "",
        "layer": 0 if layer is None else int(layer[1]),
        "sae_set": sae_set,
        "sae_id_suffix": None,
        "features": features,
    }
    path = Path(output)
    batch_text = json.dumps(batch, ensure_ascii=False, allow_nan=False)
    write_text(path, batch_text)
    shown = {found["feature_index"] for found in features}
    place = {"modelId": batch["model_id"], "layer": f"{batch['layer']}-{sae_set}"}
    lines = _explanations(known_labels(codes), shown, place)
    write_text(path.with_name(f"{path.name}.explanations.jsonl"), lines)
    return len(features)


def _explanations(
    labels: dict[int, str], shown: set[int], place: dict[str, Any]
) -> str:
    """Return one line of JSON for each labelled feature among those shown."""
    lines = []
    for feature in sorted(shown & labels.keys()):
        explanation = {"index": str(feature), "description": labels[feature]}
        line = json.dumps(place | explanation, ensure_ascii=False)
        lines.append(f"{line}\n")
    return "".join(lines)


def _features(codes: Codes) -> Iterator[dict[str, Any]]:
    density = codes.density
    decoder = codes.weights().W_dec if codes.has_model else None
    for feature in np.flatnonzero(codes.counts).tolist():
        _, activations = codes.feature(feature)
        heights, edges = np.histogram(activations, BINS)
        found: dict[str, Any] = {name: [] for name in EMPTY}
        found |= {
            "feature_index": feature,
            "frac_nonzero": float(density[feature]),
            "freq_hist_data_bar_heights": heights.tolist(),
            "freq_hist_data_bar_values": ((edges[:-1] + edges[1:]) / 2).tolist(),
            "decoder_weights_dist": [],
            "activations": _examples(codes, feature),
            "n_prompts_total": codes.n_rows,
        }
        if decoder is not None:
            found["vector"] = decoder[feature].tolist()
        yield found


def _examples(codes: Codes, feature: int) -> list[dict[str, Any]]:
    """Return the strongest texts, each as pieces with the activation of the marked piece."""
    if not codes.has_texts:
        return []
    rows, activations = codes.top(feature, EXAMPLES)
    examples = []
    for text, activation in zip(
        codes.texts(rows, MARKS), activations.tolist(), strict=True
    ):
        pieces, place = [text], 0
        if codes.has_tokens:
            before, _, rest = text.partition(MARKS[0])
            token, _, after = rest.partition(MARKS[1])
            pieces, place = [before, token, after], 1
        values = [0.0] * len(pieces)
        values[place] = activation
        example = {"tokens": pieces, "values": values, "qualifying_token_index": place}
        # −1 in these three fields marks the strongest examples
        examples.append(
            example | dict.fromkeys(("bin_min", "bin_max", "bin_contains"), -1)
        )
    return examples
