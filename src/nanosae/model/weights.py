"""Weights: a saved SAE in numpy. It encodes, decodes and hands out directions without torch.

With p = (x − b_dec) @ W_enc, the activations of a row x are

    standard   max(p + b_enc, 0)
    topk       the k largest of p + b_enc (ties: lower index), then max(·, 0)
    jumprelu   p + b_enc where that exceeds max(threshold, 0)
    gated      max(p · exp(r_mag) + b_mag, 0) where p + b_gate > 0

and the reconstruction is acts @ W_dec + b_dec. Transcoders, which make other vectors of the rows,
keep entries by the same rules, with p = x @ W_enc; `skip_` ones add x @ W_skip.T. BatchTopK models
are saved as jumprelu, so that rows never depend on each other. Training, and models that scale
their input, are not covered.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from nanosae.atomic import write_file
from nanosae.checked import BLANK, check_file, naming, read_json, seal
from nanosae.errors import DamagedFileError, DataError, MissingError

TENSORS = "sae_weights.safetensors"
AGAIN = "`nanosae train … --resume` remakes the model from the last checkpoint; or copy it anew."
BLOCK = 2**24  # pre-activations held at a time while encoding: 64 MiB


@dataclass(frozen=True)
class Weights:
    """Hold the tensors of a saved SAE.

    Attributes:
        W_enc: Encoder, (input_size, hidden_size) float32.
        W_dec: Decoder, (hidden_size, input_size) float32; row j is the direction of feature j.
        b_dec: Decoder bias, (input_size,).
        cfg: What `cfg.json` says; our scalars lie under `metadata`.
        b_enc: Encoder bias, (hidden_size,); None if gated, as the next is for all but jumprelu.
        threshold: What a pre-activation must exceed, (hidden_size,).
        b_gate: Gate bias of a gated model, (hidden_size,); likewise `r_mag` and `b_mag`.
        r_mag: Log of the magnitudes' scale.
        b_mag: Bias of the magnitudes.
        W_skip: A transcoder's linear path, (output_size, input_size).
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
            FileNotFoundError: If there is no saved model.
            ValueError: If tensors are missing, or do not have the shapes that cfg.json states.
        """
        from safetensors.numpy import load_file

        folder = model_folder(path)
        cfg = _read_cfg(folder)
        known = _take_checksums(cfg)
        file = folder / TENSORS
        if not file.exists():
            raise MissingError(f"{file} does not exist.", file=file, remedy=AGAIN)
        if "file" in known:
            check_file(file, known["file"], AGAIN)
        with naming(file, AGAIN):
            tensors = load_file(file)
        with naming(folder / "cfg.json", AGAIN):
            return cls._checked(folder, cfg, tensors)

    @classmethod
    def _checked(cls, folder: Path, cfg: dict[str, Any], tensors: dict[str, Any]) -> Weights:
        """Compare names and shapes with cfg.json."""
        extra = _EXTRA.get(rule(cfg["architecture"]))
        scaling = cfg.get("normalize_activations", "none")
        if extra is None or scaling != "none":
            what = f"{cfg['architecture']!r}, scaling {scaling!r}"
            raise DataError(
                f"{folder} is {what}; needed: one of {[*_EXTRA]}, scaling 'none'.",
                file=folder / "cfg.json",
            )
        n, m, out = cfg["d_in"], cfg["d_sae"], cfg.get("d_out", cfg["d_in"])
        shapes = {"W_enc": (n, m), "W_dec": (m, out), "b_dec": (out,)} | dict.fromkeys(extra, (m,))
        if "skip" in cfg["architecture"]:
            shapes["W_skip"] = (out, n)
        for name, shape in shapes.items():
            found = tensors[name].shape if name in tensors else None
            if found != shape:
                raise DamagedFileError(
                    f"{folder}: {name} is {found} on disk, cfg.json needs {shape}.",
                    file=folder / TENSORS,
                    remedy=AGAIN,
                )
        return cls(cfg=cfg, **{name: tensors[name] for name in shapes})

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the tensors by name, without those that this architecture has not."""
        names = ["W_enc", "W_dec", "b_dec", *_EXTRA[rule(self.cfg["architecture"])]]
        names += ["W_skip"] if "skip" in self.cfg["architecture"] else []
        return {name: getattr(self, name) for name in names}

    def save(self, folder: str | Path) -> None:
        """Write `sae_weights.safetensors` and `cfg.json`, as `load` and SAELens read them.

        Checksums stand in cfg.json, under `metadata`, so that damage is noticed.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: np.ascontiguousarray(t) for name, t in self.tensors().items()}
        data = save(tensors)
        checksums = {"model": checksum(self.W_dec), "file": f"{zlib.crc32(data):08x}"}
        metadata = self.metadata | {"checksums": checksums | {"cfg": BLANK}}
        text = json.dumps(self.cfg | {"metadata": metadata}, indent=1)
        write_file(folder / TENSORS, lambda stream: stream.write(data))
        write_file(folder / "cfg.json", lambda stream: stream.write(seal(text.encode())))

    @property
    def input_size(self) -> int:
        """Width of a row."""
        return self.W_enc.shape[0]

    @property
    def hidden_size(self) -> int:
        """Number of features."""
        return self.W_enc.shape[1]

    @property
    def metadata(self) -> dict[str, Any]:
        """Our scalars: activation, k, columns, matryoshka, encoder, seed."""
        return self.cfg.get("metadata", {})

    def encode(self, x: Any) -> sp.csr_array:
        """Encode rows into activations, some thousand rows at a time.

        Args:
            x: Raw rows, (n, input_size); a single row may be flat. Any array that slices, memory
                maps included.

        Returns:
            Activations, (n, hidden_size) float32, all positive.

        Raises:
            ValueError: If the width of `x` is not the model's.
        """
        x = x if np.ndim(x) == 2 else np.atleast_2d(x)
        if np.shape(x)[1] != self.input_size:
            given = f"x has width {np.shape(x)[1]}, but this SAE expects {self.input_size}"
            raise ValueError(f"{given}. Was it trained on another encoder?")
        step = max(1, BLOCK // self.hidden_size)
        parts = [self._encode(np.asarray(x[i : i + step])) for i in range(0, len(x), step)]
        parts = parts or [sp.csr_array((0, self.hidden_size), dtype=np.float32)]
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def decode(self, acts: Any) -> np.ndarray:
        """Reconstruct rows from activations, (n, hidden_size) sparse or dense; dense float32."""
        return np.asarray(acts @ self.W_dec + self.b_dec, np.float32)

    def directions(self) -> np.ndarray:
        """Return each feature's direction among the rows, (hidden_size, input_size).

        They are the decoder's rows at length 1 (zero rows stay zero); a transcoder's decoder lives
        in another space, so that its encoder's columns are taken.
        """
        transcodes = self.cfg["architecture"].endswith("transcoder")
        rows = np.ascontiguousarray(self.W_enc.T) if transcodes else self.W_dec
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms > 0, norms, 1)

    def _encode(self, x: np.ndarray) -> sp.csr_array:
        x = x.astype(np.float32)
        p = (x - self.b_dec if self.cfg.get("apply_b_dec_to_input", True) else x) @ self.W_enc
        architecture = rule(self.cfg["architecture"])
        if architecture == "gated":
            p = np.where(p + self.b_gate > 0, p * np.exp(self.r_mag) + self.b_mag, 0)
        else:
            p += self.b_enc
        if architecture == "topk":
            p[~_largest(p, min(self.cfg["k"], self.hidden_size))] = 0
        elif architecture == "jumprelu":
            p[p <= self.threshold] = 0
        return sp.csr_array(np.maximum(p, 0))


def model_folder(path: str | Path) -> Path:
    """Return the folder of a saved model: a run folder's `model`, or the folder itself.

    Raises:
        MissingError: If there is none.
    """
    folder = Path(path) / "model" if (Path(path) / "model").exists() else Path(path)
    if not (folder / "cfg.json").exists():
        raise MissingError(
            f"no saved model in {path}: cfg.json is missing.", file=folder / "cfg.json"
        )
    return folder


def saved_checksum(path: str | Path) -> str:
    """Return the `checksum` of a saved model, without reading its weights where it is noted.

    Args:
        path: A model folder, or a run folder that holds one.

    Raises:
        MissingError: If there is no saved model.
        DamagedFileError: If its files are not what was written.
    """
    known = _take_checksums(_read_cfg(model_folder(path)))
    return known["model"] if "model" in known else checksum(Weights.load(path).W_dec)


def _read_cfg(folder: Path) -> dict[str, Any]:
    return read_json(folder / "cfg.json", AGAIN)


def _take_checksums(cfg: dict[str, Any]) -> dict[str, str]:
    """Take the checksums out of what cfg.json says."""
    metadata = cfg.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    known = metadata.pop("checksums", {})
    if not metadata:
        del cfg["metadata"]
    return known


def checksum(W_dec: np.ndarray) -> str:
    """Return what tells this model from others: a checksum of its decoder."""
    return f"{zlib.crc32(np.ascontiguousarray(W_dec, np.float32).data):08x}"


_EXTRA = {
    "standard": ["b_enc"],
    "topk": ["b_enc"],
    "jumprelu": ["b_enc", "threshold"],
    "gated": ["b_gate", "r_mag", "b_mag"],
}


def rule(architecture: str) -> str:
    """Return what decides which entries a row keeps: standard, topk, jumprelu or gated.

    Example:
        >>> rule("jumprelu_skip_transcoder"), rule("transcoder"), rule("topk")
        ('jumprelu', 'standard', 'topk')
    """
    kind = architecture.removesuffix("transcoder").removesuffix("skip_").strip("_")
    return kind or "standard"


def _largest(p: np.ndarray, k: int) -> np.ndarray:
    """Mark the k largest entries of each row; of equal ones, those with the lower index."""
    bound = np.partition(p, -k, axis=1)[:, -k, None]
    keep = p >= bound
    for i in np.flatnonzero(keep.sum(axis=1) > k):  # ties at the bound
        tied = np.flatnonzero(p[i] == bound[i])
        keep[i, tied[k - np.count_nonzero(p[i] > bound[i]) :]] = False
    return keep
