"""Weights: a saved SAE in numpy, which encodes, decodes and has directions without torch.

With p = (x − b_dec) @ W_enc, the activations of a row x are

    standard   max(p + b_enc, 0)
    topk       the k largest of p + b_enc (ties: lower index), then max(·, 0)
    jumprelu   p + b_enc where that exceeds max(threshold, 0)
    gated      max(p · exp(r_mag) + b_mag, 0) where p + b_gate > 0

and the reconstruction is acts @ W_dec + b_dec. Transcoders, which predict targets, keep entries by
the same rules, with p = x @ W_enc; `skip_` ones add x @ W_skip.T. BatchTopK models are saved as
jumprelu, so that rows do not depend on each other. With `normalize_activations: layer_norm`, each
row is standardised first, and `decode` returns standardised rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.errors import DataError
from nanosae.lengths import unit
from nanosae.model.architectures import (
    ROW_EPSILON,
    is_transcoder,
    rule,
    standardises_rows,
    subtracts_bias,
    tensor_shapes,
)
from nanosae.model.files import read_model, write_model

BLOCK = 2**24  # pre-activations held at once: 64 MiB


@dataclass(frozen=True)
class Weights:
    """The tensors of a saved SAE.

    Attributes:
        W_enc: Encoder, (input_size, hidden_size) float32.
        W_dec: Decoder, (hidden_size, input_size) float32; row j is the direction of feature j.
        b_dec: Decoder bias, (input_size,).
        cfg: Content of `cfg.json`; nanoSAE's own settings are under `metadata`.
        b_enc: Encoder bias, (hidden_size,); None if gated.
        threshold: Threshold of the pre-activations, (hidden_size,); jumprelu only.
        b_gate: Gate bias, (hidden_size,); gated only, like `r_mag` and `b_mag`.
        r_mag: Logarithm of the magnitudes' scale, (hidden_size,).
        b_mag: Bias of the magnitudes, (hidden_size,).
        W_skip: Skip connection of a transcoder, (output_size, input_size).
    """

    W_enc: np.ndarray
    W_dec: np.ndarray
    b_dec: np.ndarray
    cfg: dict[str, Any]
    b_enc: Any = None
    threshold: Any = None
    b_gate: Any = None
    r_mag: Any = None
    b_mag: Any = None
    W_skip: Any = None

    @classmethod
    def load(cls, path: str | Path) -> Weights:
        """Load a model folder, or the one inside a run folder.

        Raises:
            MissingError: If there is no saved model.
            DamagedFileError: If a file was changed or damaged, or tensors are missing or have
                other shapes than cfg.json states.
            DataError: If its architecture is not supported.
        """
        cfg, tensors = read_model(path)
        return cls(cfg=cfg, **tensors)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the tensors of this architecture, by name."""
        return {name: getattr(self, name) for name in tensor_shapes(self.cfg)}

    def save(self, folder: str | Path) -> None:
        """Write `sae_weights.safetensors` and `cfg.json`, for `load` and for SAELens."""
        write_model(folder, self.cfg, self.tensors())

    @property
    def input_size(self) -> int:
        """Width of a row."""
        return self.W_enc.shape[0]

    @property
    def hidden_size(self) -> int:
        """Number of features."""
        return self.W_enc.shape[1]

    @property
    def is_transcoder(self) -> bool:
        """Whether it predicts targets instead of its inputs."""
        return is_transcoder(self.cfg["architecture"])

    @property
    def metadata(self) -> dict[str, Any]:
        """Settings that SAELens does not have: activation, k, columns, embedder, seed and so on."""
        return self.cfg.get("metadata", {})

    def encode(self, x: Any) -> sp.csr_array:
        """Encode rows into activations, a few thousand rows at a time.

        Args:
            x: Raw rows, (n, input_size), or a single row, (input_size,). Any array that can be
                sliced, such as a memory map.

        Returns:
            Activations, (n, hidden_size) float32, all positive.

        Raises:
            DataError: If the width of `x` is not `input_size`, or a value is NaN or infinite.
        """
        rows = np.atleast_2d(x) if np.ndim(x) < 2 else x
        if np.ndim(rows) > 2:
            raise DataError(
                f"x has the shape {np.shape(x)}; needed: (n, {self.input_size})."
            )
        width = np.shape(rows)[1]
        if width != self.input_size:
            raise DataError(
                f"x has width {width}, but this SAE expects {self.input_size}.",
                remedy="Was it trained on rows of another embedder?",
            )
        block_rows = max(1, BLOCK // self.hidden_size)
        blocks = [sp.csr_array((0, self.hidden_size), dtype=np.float32)]
        for start in range(0, len(rows), block_rows):
            block = np.asarray(rows[start : start + block_rows], np.float32)
            if not np.isfinite(block).all():
                raise DataError("x has values that are NaN or infinite.")
            blocks.append(self._encode(block))
        return sp.csr_array(sp.vstack(blocks, format="csr"))

    def decode(self, acts: Any) -> np.ndarray:
        """Reconstruct dense float32 rows from activations, (n, hidden_size), sparse or dense."""
        return np.asarray(acts @ self.W_dec + self.b_dec, np.float32)

    def skip(self, x: np.ndarray) -> np.ndarray | float:
        """Return the output of the skip connection for raw rows, or 0 if there is none."""
        return 0.0 if self.W_skip is None else x @ self.W_skip.T

    def directions(self) -> np.ndarray:
        """Return the unit-norm direction of each feature in the space of rows.

        These are the decoder rows; for a transcoder, whose decoder is in another space, they are
        the encoder columns. Zero rows stay zero. Shape (hidden_size, input_size).
        """
        rows = self.W_dec
        if self.is_transcoder:
            rows = np.ascontiguousarray(self.W_enc.T)
        return unit(rows)

    def _encode(self, x: np.ndarray) -> sp.csr_array:
        if standardises_rows(self.cfg):
            deviation = x.std(axis=1, ddof=1, keepdims=True)
            x = (x - x.mean(axis=1, keepdims=True)) / (deviation + ROW_EPSILON)
        if subtracts_bias(self.cfg):
            x = x - self.b_dec
        projected = x @ self.W_enc
        kind = rule(self.cfg["architecture"])
        if kind == "gated":
            magnitudes = projected * np.exp(self.r_mag) + self.b_mag
            acts = np.where(projected + self.b_gate > 0, magnitudes, 0)
            return sp.csr_array(np.maximum(acts, 0))
        acts = projected
        acts += self.b_enc
        if kind == "topk":
            k = min(self.cfg["k"], self.hidden_size)
            acts[~_is_among_largest(acts, k)] = 0
        elif kind == "jumprelu":
            acts[acts <= self.threshold] = 0
        return sp.csr_array(np.maximum(acts, 0))


def _is_among_largest(pre_acts: np.ndarray, k: int) -> np.ndarray:
    """Mark the k largest entries of each row; of equal entries, the first."""
    smallest_kept = np.partition(pre_acts, -k, axis=1)[:, -k, None]
    keep = pre_acts >= smallest_kept
    n_kept = keep.sum(axis=1)
    for i in np.flatnonzero(n_kept > k):
        n_larger = np.count_nonzero(pre_acts[i] > smallest_kept[i])
        ties = np.flatnonzero(pre_acts[i] == smallest_kept[i])
        keep[i, ties[k - n_larger :]] = False
    return keep
