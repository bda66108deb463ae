"""SAEModel: a trained sparse autoencoder that takes raw rows.

    pre = (x − b_dec) · W_enc + b_enc        acts = rule(pre)        x̂ = acts · W_dec + b_dec

Shapes: W_enc (input_size, hidden_size), b_enc (hidden_size,), W_dec (hidden_size, input_size) with
rows of length one, b_dec (input_size,). What training did to the rows (centring, scale) is already
folded into these. Files are those of SAELens. Not here: training, and analysis of what features mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from nanosae.data import open_rows
from nanosae.kernels import Pairs, backend

if TYPE_CHECKING:
    from nanosae.codes import Codes

BLOCK_ROWS = 8192  # rows encoded at once by `features`
_SAELENS = {"relu": "standard", "topk": "topk", "gated": "gated"}  # others: jumprelu
_EXTRA = {"jumprelu": ("threshold",), "batchtopk": ("threshold",), "gated": ("r_mag", "b_mag")}


class SAEModel(nn.Module):
    """A sparse autoencoder on raw rows.

    Args:
        config: `activation`, `k` and whatever describes the training (JSON types).
        tensors: W_enc, b_enc, W_dec, b_dec; `threshold` (hidden_size,) for batchtopk and jumprelu;
            `r_mag` and `b_mag` for gated, whose `b_enc` is the gates' bias.

    Raises:
        ValueError: If the shapes do not fit together.
    """

    def __init__(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.config = dict(config)
        input_size, hidden_size = tensors["W_enc"].shape
        shapes = {
            "b_enc": (hidden_size,),
            "W_dec": (hidden_size, input_size),
            "b_dec": (input_size,),
        }
        shapes |= {name: (hidden_size,) for name in _EXTRA.get(self.activation, ())}
        for name, shape in shapes.items():
            if name not in tensors or tuple(tensors[name].shape) != shape:
                found = tuple(tensors[name].shape) if name in tensors else "missing"
                raise ValueError(
                    f"{name} is {found}, but W_enc {(input_size, hidden_size)} needs {shape}."
                )
        self.config |= {"input_size": input_size, "hidden_size": hidden_size}
        # latent-major, as the kernels want it; W_enc is a view
        self._encoder = nn.Parameter(tensors["W_enc"].detach().T.contiguous())
        for name in shapes:
            setattr(self, name, nn.Parameter(tensors[name].detach().contiguous()))

    @property
    def W_enc(self) -> Tensor:  # noqa: N802
        """Encoder, (input_size, hidden_size)."""
        return self._encoder.T

    @property
    def activation(self) -> str:
        """The activation it was trained with."""
        return self.config["activation"]

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its name, detached, W_enc as (input_size, hidden_size)."""
        named = {"W_enc": self.W_enc.detach().contiguous()}
        return named | {n: p.detach() for n, p in self.named_parameters() if n != "_encoder"}

    def pre_acts(self, x: Tensor) -> Tensor:
        """Return the pre-activations (B, hidden_size) of rows (B, input_size)."""
        if x.shape[-1] != self.b_dec.shape[0]:
            raise ValueError(
                f"x is {x.shape[-1]} wide, but this SAE expects input_size={self.b_dec.shape[0]}. "
                "Was it trained on another encoder? See model.config."
            )
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def encode(self, x: Tensor) -> Tensor:
        """Return the activations (B, hidden_size), dense and differentiable; see also `features`.

        Args:
            x: Raw rows, (B, input_size).
        """
        pre = self.pre_acts(x)
        if self.activation == "topk":
            kept = pre.topk(min(self.config["k"], pre.shape[-1]), dim=-1)
            return torch.zeros_like(pre).scatter(-1, kept.indices, torch.relu(kept.values))
        if self.activation == "gated":
            magnitude = (pre - self.b_enc) * self.r_mag.exp() + self.b_mag
            return torch.relu(magnitude) * (pre > 0)
        if self.activation == "relu":
            return torch.relu(pre)
        return torch.relu(pre) * (pre > self.threshold)

    def decode(self, acts: Tensor) -> Tensor:
        """Return the reconstruction (B, input_size) of activations (B, hidden_size)."""
        return acts @ self.W_dec + self.b_dec

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of raw rows."""
        return self.decode(self.encode(x))

    def pairs(self, x: Tensor) -> Pairs:
        """Return the active entries of raw rows (B, input_size), sparse, without gradient."""
        kernels = backend(x.device)
        with torch.no_grad():
            x, bias = (x.float() - self.b_dec).contiguous(), self.b_enc.detach()
            weight = self._encoder.detach()
            if self.activation == "topk":
                return kernels.select_topk(x, weight, bias, self.config["k"])
            cut = torch.zeros_like(bias)
            if self.activation in ("jumprelu", "batchtopk"):
                cut = self.threshold.detach().clamp_min(0)
            pairs = kernels.select_above(x, weight, bias, cut)
            if self.activation == "gated":
                at = pairs.cols.long()
                values = (pairs.values - bias[at]) * self.r_mag[at].exp() + self.b_mag[at]
                pairs = pairs._replace(values=torch.relu(values))
            return pairs

    def blocks(self, data: Any, columns: Iterable[str] | None = None) -> Iterator[sp.csr_array]:
        """Yield the features of `data`, some thousand rows at a time, as `features` returns them."""
        columns = columns or self.config.get("columns")
        rows = open_rows(data, columns=columns, input_size=self.config["input_size"])
        for block in rows.blocks(BLOCK_ROWS):
            pairs = self.pairs(torch.from_numpy(block).to(self.b_dec.device))
            values, cols, row_ptr = (t.cpu().numpy() for t in pairs)
            matrix = sp.csr_array((values, cols, row_ptr), shape=(len(block), len(self.b_enc)))
            matrix.eliminate_zeros()
            yield matrix

    def features(self, data: Any, columns: Iterable[str] | None = None) -> sp.csr_array:
        """Return the feature activations of every row, (n_rows, hidden_size) float32, sparse.

        Args:
            data: Anything `SAETrainer.train` takes; columns are matched by the names seen in training.
            columns: Other names of the vector columns.

        Raises:
            ValueError: If the rows are not `input_size` wide, or not finite.

        Example:
            >>> model = SAEModel({"activation": "relu"}, {"W_enc": torch.eye(2), "b_enc": torch.zeros(2),
            ...                  "W_dec": torch.eye(2), "b_dec": torch.zeros(2)})
            >>> model.features([[1.0, -1.0]]).toarray()
            array([[1., 0.]], dtype=float32)
        """
        return sp.csr_array(sp.vstack(list(self.blocks(data, columns)), format="csr"))

    def encode_corpus(self, data: Any, path: str | Path, **options: Any) -> Codes:
        """Write the features of a corpus to disk; see `nanosae.codes.encode_corpus`."""
        from nanosae.codes import encode_corpus

        return encode_corpus(self, data, path, **options)

    def save(self, folder: str | Path) -> Path:
        """Write `sae_weights.safetensors` and `cfg.json`, which SAELens loads, too."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.cpu().contiguous() for name, t in self.tensors().items()}
        if self.activation == "gated":
            tensors["b_gate"] = tensors.pop("b_enc")
        cfg = {
            "architecture": _SAELENS.get(self.activation, "jumprelu"),
            "d_in": self.config["input_size"],
            "d_sae": self.config["hidden_size"],
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": self.config | {"sae_lens_version": "6.0.0"},
        }
        if self.activation == "topk":
            cfg |= {"k": self.config["k"], "rescale_acts_by_decoder_norm": False}
        save_file(tensors, folder / "sae_weights.safetensors")
        (folder / "cfg.json").write_text(json.dumps(cfg, indent=1), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> SAEModel:
        """Read a folder written by `save`, or a run folder that holds one as `model/`.

        Raises:
            FileNotFoundError: If there is no SAE.
            ValueError: If the files do not fit together.
        """
        from safetensors.torch import load_file

        folder = Path(folder)
        folder = folder / "model" if (folder / "model").is_dir() else folder
        path = folder / "cfg.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no SAE: it has no cfg.json. Give a run or model folder."
            )
        cfg = json.loads(path.read_text(encoding="utf-8"))
        architecture = cfg["architecture"]
        names = {v: k for k, v in _SAELENS.items()} | {"jumprelu": "jumprelu"}
        if architecture not in names:
            raise ValueError(
                f"{path}: architecture {architecture!r} is not one of {', '.join(names)}."
            )
        config = {"activation": names[architecture], "k": cfg.get("k")} | cfg.get("metadata", {})
        tensors = load_file(folder / "sae_weights.safetensors")
        if "b_gate" in tensors:
            tensors["b_enc"] = tensors.pop("b_gate")
        return cls(config, tensors)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> SAEModel:
        """Load a folder, or a repository of the Hugging Face hub (extra `hub`)."""
        if Path(name).exists():
            return cls.load(name)
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise ImportError(
                f'{name} is no folder here; to fetch it from the hub: pip install "nanosae[hub]".'
            ) from error
        return cls.load(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors"]))

    def __reduce__(self):
        return rebuild, (self.config, self.tensors())

    def __repr__(self) -> str:
        """Name the activation and the sizes."""
        sizes = f"{self.config['input_size']} → {self.config['hidden_size']}"
        return f"SAEModel({self.activation}, {sizes}, k={self.config.get('k')})"


def rebuild(config: dict[str, Any], tensors: dict[str, Tensor]) -> SAEModel:
    """Make a model again from what `torch.save` keeps of it."""
    return SAEModel(config, tensors)


def fold(
    config: dict[str, Any], tensors: dict[str, Tensor], mean: np.ndarray, scale: float
) -> SAEModel:
    """Return the model on raw rows of an SAE trained on (x − mean) · scale.

    Activations come out in raw units (divided by scale), decoder rows with length one; a latent
    whose decoder row is zero stays zero.

    Args:
        config: See `SAEModel`.
        tensors: As `SAEModel` takes them, on centred and scaled rows, with pre-activations of rows
            as they are (no `b_dec` subtracted).
        mean: (input_size,).
        scale: Of the rows.
    """
    with torch.no_grad():
        t = {name: tensor.double() for name, tensor in tensors.items()}
        norm = t["W_dec"].norm(dim=1)
        by = torch.where(norm > 0, norm, torch.ones_like(norm))  # activations are multiplied by it
        out = dict(t)
        out["W_dec"] = t["W_dec"] / by[:, None]
        out["b_dec"] = torch.from_numpy(mean).double().to(norm.device) + t["b_dec"] / scale
        out["W_enc"] = t["W_enc"] * by
        shift = t["b_dec"] @ t["W_enc"]  # z = scale · (x − b_dec') · W_enc + b_dec · W_enc + b_enc
        out["b_enc"] = (shift + t["b_enc"]) * by / scale
        if "threshold" in t:
            out["threshold"] = t["threshold"] * by / scale
        if "b_mag" in t:
            # magnitude = (z − b)·e^r + b_mag with z − b = scale·(x − b_dec')·W_enc + shift
            out["b_mag"] = (shift * t["r_mag"].exp() + t["b_mag"]) * by / scale
        return SAEModel(config, {name: tensor.float() for name, tensor in out.items()})


torch.serialization.add_safe_globals([rebuild])
