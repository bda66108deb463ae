"""How much two trainings on the same rows differ.

    python bench/stability.py DIR [--corpora NAME ...] [--json] [--save]

DIR, `fvu` and the excluded tenth of the rows are those of `concepts.py`. Pairs of trainings by the
default recipe:

    draws      differ in `seed`: initial noise, prefix lengths
    rows       differ in `data_seed`: held-out rows, order
    both       differ in both
    grown      differ in both, and one is trained on half of the rows

For each pair, means over both directions:

    found      share of features whose decoder row has a cosine above 0.7 with one of the other
    weighted   the same, features weighted by the rows that they are active on
    first, last  `found` among the first and the last eighth of the features
    span       share of the features not found that have a cosine above 0.7 with the span of two
               features of the other: sums of two, or parts of one that was split
    fvu        of the second training
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from concepts import SIMILAR, Corpus, arguments, load, reported
from nanosae import SAEModel, SAETrainer, TrainConfig
from nanosae.analysis.statistics import unit


class Trained(NamedTuple):
    """A model, how many rows each feature is active on, and the error on unseen rows."""

    model: SAEModel
    active_rows: np.ndarray
    fvu: float


def train(
    corpus: Corpus,
    args: argparse.Namespace,
    seed: int = 0,
    data_seed: int = 0,
    share: float = 1.0,
) -> Trained:
    """Train on a share of the seen rows, and measure on the unseen ones."""
    config = TrainConfig(
        hidden_size=args.hidden_size,
        k=args.k,
        noise=0.0,
        steps=args.steps,
        batch_size=args.batch_size,
        seed=seed,
        data_seed=data_seed,
    )
    seen = corpus.rows[~corpus.unseen]
    is_used = np.random.default_rng(11).random(len(seen)) < share
    model = SAETrainer(config).train(seen[is_used], progress=False)
    unseen = corpus.rows[corpus.unseen]
    features = model.features(unseen)
    decoder, bias = model.W_dec.detach().numpy(), model.b_dec.detach().numpy()
    error = np.square(unseen - features @ decoder - bias).sum()
    variance = np.square(unseen - seen.mean(0)).sum()
    active_rows = np.bincount(features.indices, minlength=args.hidden_size)
    return Trained(model, active_rows, float(error / variance))


def compare(one: Trained, other: Trained) -> dict[str, float]:
    """Return the measures of a pair."""
    there, back = _found_again(one, other), _found_again(other, one)
    means = {name: (there[name] + back[name]) / 2 for name in there}
    return means | {"fvu": other.fvu}


def _found_again(one: Trained, other: Trained) -> dict[str, float]:
    """Return how many features of one model have a match in another."""
    own = unit(one.model.W_dec.detach().numpy())
    others = unit(other.model.W_dec.detach().numpy())
    is_found = (own @ others.T).max(1) > SIMILAR
    eighth = len(own) // 8
    in_span = [cosine_with_span(each, others) > SIMILAR for each in own[~is_found]]
    return {
        "found": is_found.mean(),
        "weighted": np.average(is_found, weights=one.active_rows),
        "first": is_found[:eighth].mean(),
        "last": is_found[-eighth:].mean(),
        "span": sum(in_span) / max(1, len(in_span)),
    }


def cosine_with_span(direction: np.ndarray, others: np.ndarray) -> float:
    """Return the cosine with the span of two others: the nearest, and the next by the residual."""
    nearest = np.argmax(others @ direction)
    first = others[nearest]
    rest = np.delete(others, nearest, axis=0)
    across = unit(rest - np.outer(rest @ first, first))
    second = np.max(np.abs(across @ direction))
    return float(np.hypot(first @ direction, second))


def pairs_of(corpus: Corpus, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train, and compare pair by pair."""
    first = train(corpus, args)
    both = train(corpus, args, seed=1, data_seed=1)
    pairs = {
        "draws": (first, train(corpus, args, seed=1)),
        "rows": (first, train(corpus, args, data_seed=1)),
        "both": (first, both),
        "grown": (train(corpus, args, share=0.5), both),
    }
    return [{"pair": name} | compare(*pair) for name, pair in pairs.items()]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run from the command line."""
    args = arguments(__doc__).parse_args(argv)
    lines = []
    for name in args.corpora:
        found = pairs_of(load(args.folder, name), args)
        lines += [{"corpus": name} | line for line in found]
        if not args.json:
            table = pd.DataFrame(lines[-len(found) :])
            print(table.round(3).to_string(index=False), flush=True)
    return reported("stability", lines, args)


if __name__ == "__main__":
    main()
