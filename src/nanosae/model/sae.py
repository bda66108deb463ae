"""SAEModel: a trained sparse autoencoder that takes raw rows.

    pre = (x − b_dec) · W_enc + b_enc        acts = rule(pre)        x̂ = acts · W_dec + b_dec

Shapes: W_enc (input_size, hidden_size), b_enc (hidden_size,), W_dec (hidden_size, input_size) with
unit-norm rows, b_dec (input_size,). The centring and scaling of rows in training are folded into
these. `weights.py` is the same in numpy; `files.py` reads and writes the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from nanosae.atomic import write_text
from nanosae.errors import DataError, DataTypeError, require_choice
from nanosae.fields import as_list
from nanosae.kernels import Pairs, backend, own_defaults, without_padding
from nanosae.model import files
from nanosae.model.architectures import (
    ROW_EPSILON,
    in_sae_lens,
    is_transcoder,
    rule,
    standardises_rows,
    subtracts_bias,
)
from nanosae.model.card import model_card
from nanosae.model.formats import dictionary_learning, pickles, sparsify
from nanosae.model.tensors import float32
from nanosae.sources import Rows, open_rows

if TYPE_CHECKING:
    from nanosae.codes import Codes

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(/.+)?")
Format = Literal["sae_lens", "sparsify", "dictionary_learning"]
TENSOR_FILES: dict[Format, str] = {
    "sae_lens": files.TENSORS,
    "sparsify": sparsify.TENSORS,
    "dictionary_learning": pickles.TENSORS,
}
BLOCK_ROWS = 8192  # rows encoded at once by `features`


class SAEModel(nn.Module):
    """A sparse autoencoder on raw rows; made by `SAETrainer.train` and `load`.

    Args:
        cfg: Architecture, sizes and, under `metadata`, a description of the training; as in
            `cfg.json`.
        tensors: W_enc, W_dec, b_dec, and b_enc (with `threshold` for jumprelu) or, for gated SAEs,
            b_gate, r_mag and b_mag.
    """

    W_dec: Tensor
    b_dec: Tensor
    b_enc: Tensor
    b_gate: Tensor
    r_mag: Tensor
    b_mag: Tensor
    threshold: Tensor
    W_skip: Tensor

    def __init__(self, cfg: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.cfg = cfg
        # latent-major for the kernels; W_enc is a view of it
        self._encoder = nn.Parameter(tensors["W_enc"].detach().T.contiguous())
        for name in sorted(tensors.keys() - {"W_enc"}):
            setattr(self, name, nn.Parameter(tensors[name].detach().contiguous()))
        self.register_state_dict_post_hook(_name_encoder)
        self.register_load_state_dict_pre_hook(_take_encoder)

    @property
    def W_enc(self) -> Tensor:
        """Encoder, (input_size, hidden_size)."""
        return self._encoder.T

    @property
    def device(self) -> torch.device:
        """The device of the tensors, as in other PyTorch libraries."""
        return self.W_dec.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the tensors."""
        return self.W_dec.dtype

    @property
    def config(self) -> dict[str, Any]:
        """Sizes, activation, k and what else is known about the training."""
        facts = {
            "input_size": self.cfg["d_in"],
            "hidden_size": self.cfg["d_sae"],
            "activation": self.cfg["architecture"],
        }
        if "k" in self.cfg:
            facts["k"] = self.cfg["k"]
        return facts | self.cfg.get("metadata", {})

    @property
    def checksum(self) -> str:
        """Checksum of the decoder, by which codes and results refer to the model."""
        return files.checksum(float32(self.W_dec))

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by their names in files, detached and contiguous."""
        tensors = {"W_enc": self.W_enc.detach().contiguous()}
        for name, parameter in self.named_parameters():
            if name != "_encoder":
                tensors[name] = parameter.detach()
        return tensors

    def encode(self, x: Tensor) -> Tensor:
        """Return dense, differentiable activations, (B, hidden_size); `features` is sparse.

        Args:
            x: Raw rows, (B, input_size), of any floating type; converted to the type of the SAE.

        Raises:
            DataTypeError: If x is no tensor.
            DataError: If the width of x is not `input_size`.
        """
        _require_tensor(x, "encode", "features takes anything that holds rows")
        if x.shape[-1:] != (self.cfg["d_in"],):
            width = x.shape[-1] if x.ndim else "none"
            raise DataError(
                f"x has width {width}, but this SAE expects input_size={self.cfg['d_in']}.",
                remedy="Was it trained on rows of another embedder? See model.config.",
            )
        kind = rule(self.cfg["architecture"])
        projected = self._prepared(x.to(self.W_dec.dtype)) @ self.W_enc
        if kind == "gated":
            magnitude = torch.relu(projected * self.r_mag.exp() + self.b_mag)
            return magnitude * (projected + self.b_gate > 0)
        pre_acts = projected + self.b_enc
        if kind == "topk":
            k = min(self.cfg["k"], pre_acts.shape[-1])
            kept = pre_acts.topk(k, dim=-1)
            nothing = torch.zeros_like(pre_acts)
            return nothing.scatter(-1, kept.indices, torch.relu(kept.values))
        if kind == "jumprelu":
            # a product would be NaN where a latent is turned off by a bias of −∞
            pre_acts = pre_acts.where(pre_acts > self.threshold, 0)
        return torch.relu(pre_acts)

    def decode(self, acts: Tensor) -> Tensor:
        """Return the reconstruction, (B, input_size), from activations, (B, hidden_size).

        If rows are standardised (`layer_norm`), these are standardised rows, which `in_units_of`
        converts back.

        Raises:
            DataTypeError: If acts is no tensor.
        """
        _require_tensor(acts, "decode", "reconstruct takes matrices of activations")
        return acts @ self.W_dec + self.b_dec

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of raw rows, or the prediction of a transcoder."""
        return self.in_units_of(x, self.decode(self.encode(x))) + self.skip(x)

    def in_units_of(self, x: Tensor, recon: Tensor) -> Tensor:
        """Convert the output of `decode` for raw rows x to the units of these rows.

        The output of a transcoder is in the units of its targets already.
        """
        is_of_targets = is_transcoder(self.cfg["architecture"])
        if is_of_targets or not standardises_rows(self.cfg):
            return recon
        mean, deviation = _row_statistics(x)
        return recon * deviation + mean

    def skip(self, x: Tensor) -> Tensor | float:
        """Return the output of the skip connection for raw rows, or 0 if there is none."""
        if "W_skip" not in self._parameters:
            return 0.0
        return x.to(self.W_skip.dtype) @ self.W_skip.T

    def _prepared(self, x: Tensor) -> Tensor:
        """Return raw rows as W_enc expects them: standardised or less b_dec, as configured."""
        if standardises_rows(self.cfg):
            mean, deviation = _row_statistics(x)
            x = (x - mean) / (deviation + ROW_EPSILON)
        return x - self.b_dec if subtracts_bias(self.cfg) else x

    @own_defaults()
    @torch.no_grad()
    def pairs(self, x: Tensor) -> Pairs:
        """Return the active entries of raw rows, (B, input_size), in float32 without gradient."""
        kind = rule(self.cfg["architecture"])
        kernels = backend(x.device)
        x = self._prepared(x.float()).float().contiguous()
        weight = self._encoder.detach().float()
        bias = (self.b_gate if kind == "gated" else self.b_enc).detach().float()
        if kind == "topk":
            return without_padding(kernels.select_topk(x, weight, bias, self.cfg["k"]))
        thresholds = torch.zeros_like(bias)
        if kind == "jumprelu":
            thresholds = self.threshold.detach().float().clamp_min(0)
        pairs = kernels.select_above(x, weight, bias, thresholds)
        if kind == "gated":
            latents = pairs.cols.long()
            projected = pairs.values - bias[latents]
            scale = self.r_mag[latents].float().exp()
            magnitude = projected * scale + self.b_mag[latents]
            pairs = pairs._replace(values=torch.relu(magnitude).float())
        return pairs

    def open_rows(self, data: Any, columns: Iterable[str] | None = None) -> Rows:
        """Open data as rows for this model; arguments and errors as for `features`."""
        names = [] if columns is None else as_list(columns)
        if not names:
            names = self.config.get("columns")
        return open_rows(data, columns=names, input_size=self.cfg["d_in"])

    def sparse_features(self, block: np.ndarray) -> sp.csr_array:
        """Return the features of raw float32 rows, (n, input_size), without checking them."""
        pairs = self.pairs(torch.from_numpy(block).to(self.device))
        entries = tuple(part.cpu().numpy() for part in pairs)
        matrix = sp.csr_array(entries, shape=(len(block), self.cfg["d_sae"]))
        matrix.eliminate_zeros()
        return matrix

    def features(self, data: Any, columns: Iterable[str] | None = None) -> sp.csr_array:
        """Return the feature activations of every row, sparse, (n_rows, hidden_size) float32.

        Args:
            data: Anything `SAETrainer.train` takes except a stream; columns are matched by their
                names in training.
            columns: Names of the vector columns, if they differ from those in training.

        Raises:
            DataError: If rows are not `input_size` wide, or not finite.
        """
        rows = self.open_rows(data, columns)
        blocks = [self.sparse_features(block) for block in rows.blocks(BLOCK_ROWS)]
        return sp.csr_array(sp.vstack(blocks, format="csr"))

    def reconstruct(self, activations: Any) -> np.ndarray:
        """Reconstruct float32 rows, (n_rows, input_size), from feature activations.

        Args:
            activations: Sparse or dense, (n_rows, hidden_size), as `features` returns them.

        Raises:
            DataError: If they have another shape.
            DataTypeError: If they are not numbers.
        """
        shape, size = tuple(np.shape(activations)), self.cfg["d_sae"]
        if len(shape) != 2 or shape[1] != size:
            raise DataError(f"activations are {shape}; needed: (n_rows, {size}).")
        if isinstance(activations, Tensor):
            activations = _as_matrix(activations)
        if not sp.issparse(activations):
            activations = np.asarray(activations)
        if activations.dtype.kind not in "biuf":
            raise DataTypeError(
                f"activations are of type {activations.dtype}; needed: real numbers."
            )
        recon = activations @ float32(self.W_dec) + float32(self.b_dec)
        return np.asarray(recon, np.float32)

    def encode_corpus(
        self,
        data: Any,
        path: str | Path,
        *,
        metadata: Any = None,
        columns: Iterable[str] | None = None,
        resume: bool = False,
        append: bool = False,
        force: bool = False,
        part: tuple[int, int] = (0, 1),
        device: str = "auto",
    ) -> Codes:
        """Stream the features of a corpus to disk, with its texts and metadata.

        An interrupted call continues when repeated with the same data and model; data that the
        corpus already holds is not added again.

        Args:
            data: Anything `features` takes.
            path: Folder of the corpus, by convention `RUN/codes/NAME`.
            metadata: A list of texts, or records or a table with `text` and others, in the order of
                the rows; if None, the columns of `data` that are not vectors. The index of a pandas
                object is kept as columns, unless it has no name and merely numbers the rows.
            columns: Names of the vector columns, if they differ from those in training.
            resume: Require that an interrupted call be continued: other data is an error.
            append: Add the rows to an existing corpus.
            force: Replace an existing corpus once the new one is complete.
            part: (r, N) encodes the r-th of N equal parts of the rows, for N parallel processes;
                `join_codes` joins the parts.
            device: Where to compute; `auto` takes a GPU if PyTorch finds one, as in training. The
                model itself stays where it is.

        Raises:
            ConfigError: If there is no such device or part, `force` is combined with `append` or
                `resume`, or another model is to add rows.
            DataError: If rows and texts differ in number, if rows cannot be encoded, or if the
                call to resume had other data.
            ExistsError: If the folder holds a corpus of other data or by another model, and
                `append` is not set.
        """
        from nanosae.model.corpus import EncodeOptions, encode_corpus

        options = EncodeOptions(
            metadata=metadata,
            columns=None if columns is None else list(columns),
            resume=resume,
            append=append,
            force=force,
            part=part,
            device=device,
        )
        return encode_corpus(self, data, path, options)

    def save(
        self,
        folder: str | Path,
        format: Format = "sae_lens",
    ) -> None:
        """Write the model's files, in float32, each atomically.

        Args:
            folder: Created if it does not exist.
            format: The library whose files to write; those of SAELens, `sae_weights.safetensors`
                and `cfg.json`, are also nanoSAE's own.

        Raises:
            ConfigError: If there is no such format.
            DataError: If that library does not support such an SAE.
            ExistsError: If the folder holds a run, or an SAE in another format.
        """
        require_choice("format", format, get_args(Format))
        files.refuse_other_saes(folder, TENSOR_FILES[format])
        arrays = {name: float32(tensor) for name, tensor in self.tensors().items()}
        if format == "sae_lens":
            files.write_model(folder, self.cfg, arrays)
        elif format == "sparsify":
            sparsify.save(self.cfg, arrays, Path(folder))
        else:
            dictionary_learning.save(self.cfg, arrays, Path(folder))

    @classmethod
    def load(cls, path: str | Path) -> SAEModel:
        """Load a saved SAE from nanoSAE's or another library's files, or from the hub.

        Args:
            path: A model folder; a run folder that holds one; a folder or file of SAELens,
                dictionary_learning, sparsify, HypotheSAEs, OpenAI, Gemma Scope or Llama Scope;
                or, if there is no such path, `owner/name` or `owner/name/subfolder` on the
                Hugging Face hub.

        Raises:
            MissingError: If there is no saved model.
            DamagedFileError: If a file was changed or damaged, or the files do not fit together.
            DataError: If its architecture is not supported.
        """
        if not Path(path).exists() and HUB_NAME.fullmatch(str(path)):
            owner, name, *subfolder = str(path).split("/", 2)
            return cls.from_pretrained(
                f"{owner}/{name}", subfolder=subfolder[0] if subfolder else None
            )
        return cls._read(path)

    @classmethod
    def _read(cls, path: str | Path) -> SAEModel:
        cfg, arrays = files.read_model(path)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(cfg, tensors)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        subfolder: str | None = None,
    ) -> SAEModel:
        """Load an SAE from a folder or from the Hugging Face hub (extra `hub`).

        Args:
            name: A folder, or `owner/name` on the hub.
            revision: Branch, tag or commit; the head of the main branch by default.
            subfolder: Folder of the SAE in the folder or repository.

        Raises:
            MissingError: If there is neither such a folder nor such a repository, or no SAE in it.
        """
        folder = Path(name)
        if not folder.exists():
            from nanosae.model.hub import download

            folder = download(str(name), revision, subfolder)
        return cls._read(folder / subfolder if subfolder else folder)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        """Write the model's files and a model card, README.md.

        Args:
            folder: Created if it does not exist.
            name: Name of the model in the card; that of the folder by default.
            metrics: Metrics for the card, as in `SAETrainer.metrics_`.
        """
        self.save(folder)
        card = model_card(
            self.config,
            name or Path(folder).resolve().name,
            metrics,
            in_sae_lens=in_sae_lens(self.cfg["architecture"]),
        )
        write_text(Path(folder) / "README.md", card)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        subfolder: str | None = None,
        token: str | None = None,
        metrics: dict[str, Any] | None = None,
        message: str = "Upload a sparse autoencoder",
    ) -> str:
        """Upload the model and its card to the Hugging Face hub; return the URL of the commit.

        Args:
            name: `owner/name`; the repository is created if it does not exist.
            private: Whether a new repository is private; if None, the hub decides.
            revision: Branch, which is created if it does not exist; the main branch by default.
            subfolder: Folder in the repository.
            token: Access token; if None, the one stored by `hf auth login`.
            metrics: Metrics for the card, as in `SAETrainer.metrics_`.
            message: Commit message.

        Raises:
            ServerError: If the hub cannot be reached or refuses.
        """
        from nanosae.model.hub import upload

        address = str(PurePosixPath(name, subfolder or ""))

        def save(folder: Path) -> None:
            self.save_pretrained(folder, name=address, metrics=metrics)

        return upload(
            save,
            name,
            private=private,
            revision=revision,
            subfolder=subfolder,
            token=token,
            message=message,
        )

    def __reduce__(self):
        return rebuild, (self.cfg, self.tensors())

    def __repr__(self) -> str:
        """Show activation, sizes and k."""
        config = self.config
        facts = [
            config["activation"],
            f"{config['input_size']} → {config['hidden_size']}",
        ]
        if config.get("k") is not None:
            facts.append(f"k={config['k']}")
        return f"SAEModel({', '.join(facts)})"

    def _repr_html_(self) -> str:
        from nanosae.codes import facts_html

        shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors().items()}
        return facts_html("SAEModel", self.config | shapes)


def _name_encoder(_model: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Name the encoder W_enc in `state_dict`, as in files."""
    state[f"{prefix}W_enc"] = state.pop(f"{prefix}_encoder").T


def _take_encoder(_model: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Accept W_enc in `load_state_dict`."""
    if f"{prefix}W_enc" in state:
        state[f"{prefix}_encoder"] = state.pop(f"{prefix}W_enc").T


def _require_tensor(given: Any, method: str, other: str) -> None:
    if not isinstance(given, Tensor):
        raise DataTypeError(
            f"{method} takes a torch tensor, not {type(given).__name__}; {other}."
        )


def _as_matrix(activations: Tensor) -> np.ndarray | sp.csr_array:
    """Return a tensor as an array, or a sparse tensor as a sparse matrix, on the CPU."""
    if activations.layout == torch.strided:
        return float32(activations)
    stored = activations.detach().to_sparse_coo().coalesce()
    places = tuple(stored.indices().cpu().numpy())
    return sp.csr_array((float32(stored.values()), places), shape=tuple(stored.shape))


def _row_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's mean and its standard deviation, (B, 1) each."""
    return x.mean(dim=-1, keepdim=True), x.std(dim=-1, keepdim=True)


def rebuild(cfg: dict[str, Any], tensors: dict[str, Tensor]) -> SAEModel:
    """Rebuild a model from what `torch.save` wrote."""
    return SAEModel(cfg, tensors)


rebuild.__module__ = "nanosae.model"  # a name that stays valid if the code moves
torch.serialization.add_safe_globals([rebuild])
