"""An SAE as a module of sentence-transformers: texts in, sparse vectors of features out.

`SparseEncoder(folder, trust_remote_code=True)` loads a saved one wherever nanosae is installed;
the library requires that argument to import modules other than its own. `FeatureEncoder` does the
same, and its `decode` returns names of features instead of tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from nanosae.atomic import write_text
from nanosae.errors import DataError
from nanosae.extras import extra
from nanosae.model.sae import SAEModel
from nanosae.runs.tables import known_labels

Module = extra(
    "embed", "sentence_transformers.base.modules.module", "SparseEncoder"
).Module
SparseEncoder = extra("embed", "sentence_transformers", "SparseEncoder").SparseEncoder

NAMES = "feature_names.json"


class SAEFeatures(Module):
    """Replaces the embeddings of texts by their feature activations.

    Args:
        sae: An SAE that was trained on embeddings of this embedder.
        names: Names of features, by number.
    """

    def __init__(self, sae: SAEModel, names: dict[int, str] | None = None) -> None:
        super().__init__()
        self.sae = sae
        self.names = dict(names or {})

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Replace `sentence_embedding`, (texts, input_size), by activations."""
        embeddings = features["sentence_embedding"].float()
        features["sentence_embedding"] = self.sae.encode(embeddings)
        return features

    def get_embedding_dimension(self) -> int:
        """Return the number of features."""
        return self.sae.cfg["d_sae"]

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the files of the SAE and the names."""
        folder = Path(output_path)
        self.sae.save(folder)
        text = json.dumps(self.names, ensure_ascii=False, indent=0)
        write_text(folder / NAMES, text)

    @classmethod
    def load(
        cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any
    ) -> SAEFeatures:
        """Load a saved module from a folder or the hub."""
        known = ("token", "cache_folder", "revision", "local_files_only")
        options = {name: kwargs[name] for name in known if name in kwargs}
        where = cls.load_dir_path(model_name_or_path, subfolder=subfolder, **options)
        folder = Path(str(where))
        return cls(SAEModel.load(folder), _read_names(folder / NAMES))


class FeatureEncoder(SparseEncoder):
    """A SparseEncoder whose `decode` returns names of features."""

    def decode(self, embeddings: torch.Tensor, top_k: int | None = None) -> Any:
        """Return (name, activation) pairs for each vector, strongest first; see SparseEncoder."""
        *_, module = self
        assert isinstance(module, SAEFeatures)
        return _decoded(embeddings, module.names, top_k)


def sparse_encoder(run: str | Path, embedder: Any) -> FeatureEncoder:
    """Return a SparseEncoder from texts to the features of a run, with cosine similarity.

    In measurements, cosines found texts of the same kind slightly more often than dot products, by
    which vector stores rank unless vectors are normalised (`docs/log.md`). Texts are embedded with
    the prompt of the run's texts, and queries (`encode_query`) with that of its queries.

    Args:
        run: The run folder.
        embedder: The sentence-transformers model whose embeddings the SAE was trained on, or its
            name or folder.

    Raises:
        DataError: If its embeddings have another width; it is a ValueError.
    """
    if isinstance(embedder, str | Path):
        library = extra("embed", "sentence_transformers", "SparseEncoder")
        embedder = library.SentenceTransformer(str(embedder))
    sae = SAEModel.load(run)
    _check_width(sae, embedder)
    prompts, default = dict(embedder.prompts), embedder.default_prompt_name
    if sae.config.get("prompt") or sae.config.get("query_prompt"):
        prompts["document"] = sae.config.get("prompt") or ""
        prompts["query"] = sae.config.get("query_prompt") or ""
        default = "document"
    return FeatureEncoder(
        modules=[*embedder, SAEFeatures(sae, known_labels(Path(run)))],
        prompts=prompts,
        default_prompt_name=default,
        similarity_fn_name="cosine",
    )


def _check_width(sae: SAEModel, embedder: Any) -> None:
    """Raise a DataError if an embedder's rows have another width than those of the training."""
    width, needed = embedder.get_embedding_dimension(), sae.cfg["d_in"]
    if width is not None and width != needed:
        raise DataError(
            f"The embedder's vectors have width {width}; the SAE was trained on width {needed}.",
            remedy="Give the embedder whose vectors it was trained on.",
        )


def _read_names(file: Path) -> dict[int, str]:
    """Return the names of features, by number; empty if there is no such file."""
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    names = {}
    for feature, name in json.loads(text).items():
        names[int(feature)] = name
    return names


def _decoded(embeddings: torch.Tensor, names: dict[int, str], top_k: int | None) -> Any:
    if isinstance(embeddings, list) or embeddings.ndim == 2:
        return [_decoded(row, names, top_k) for row in embeddings]
    dense = embeddings.to_dense()
    active = dense.nonzero()[:, 0]
    order = dense[active].argsort(descending=True, stable=True)
    strongest = active[order].tolist()
    pairs = []
    for feature in strongest[:top_k]:
        name = names.get(feature) or f"feature {feature}"
        activation = float(dense[feature])
        pairs.append((name, activation))
    return pairs
