"""What a nested step keeps, and what it does to the order of the features."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from nanosae import SAETrainer, TrainConfig
from nanosae.trainable.nesting import draw_nesting

CONFIG = TrainConfig(hidden_size=1024, k=32).resolved(20_000, 64)


def drawn(config=CONFIG, n=2000):
    return [draw_nesting(config, step) for step in range(n)]


def test_k_lies_between_a_quarter_and_twice_and_the_prefix_above_a_64th():
    ks, prefixes = zip(*drawn(), strict=True)
    assert (min(ks), max(ks)) == (8, 64)
    assert 16 <= min(prefixes) < 18
    assert 1000 < max(prefixes) <= 1024


@pytest.mark.parametrize(("part", "low", "high"), [(0, 8, 64), (1, 16, 1024)])
def test_both_are_log_uniform(part, low, high):
    values = np.log([each[part] for each in drawn()])
    wanted = stats.uniform(np.log(low), np.log(high / low)).cdf
    assert stats.kstest(values, wanted).statistic < 0.06  # k is rounded
    uniform = stats.uniform(low, high - low).cdf
    assert stats.kstest(np.exp(values), uniform).statistic > 0.2  # the check can fail


def test_both_are_functions_of_seed_and_step():
    assert drawn() == drawn()
    other = drawn(dataclasses.replace(CONFIG, seed=1))
    assert sum(a == b for a, b in zip(drawn(), other, strict=True)) < 20
    ks, prefixes = zip(*drawn(), strict=True)
    assert abs(np.corrcoef(ks, prefixes)[0, 1]) < 0.1


def test_small_dictionaries_keep_at_least_one_entry_of_one_latent():
    config = TrainConfig(hidden_size=2, k=1).resolved(1000, 4)
    for nesting in drawn(config, 50):
        assert nesting.k in (1, 2)
        assert nesting.prefix in (1, 2)


@pytest.mark.parametrize(
    ("fields", "is_nested"),
    [
        ({}, True),
        ({"k": 8, "hidden_size": 64}, True),
        ({"activation": "batchtopk"}, False),
        ({"activation": "topk", "nested": True}, True),
        ({"nested": False}, False),
        ({"matryoshka": (32, 64)}, False),
        ({"l1_coefficient": 0.001}, False),
    ],
)
def test_it_is_the_default_where_nothing_says_what_to_train(fields, is_nested):
    config = TrainConfig(**fields).resolved(5000, 16)
    assert config.nested is is_nested
    assert (draw_nesting(config, 3) is None) is not is_nested


def planted_groups(n=4000, width=32, groups=4, shades=8):
    """Rows of a group's direction and, weaker, of one of its shades."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(width, width)))[0]
    group = rng.integers(groups, size=n)
    shade = groups + (group * shades + rng.integers(shades, size=n)) % (width - groups)
    rows = axes[group] + 0.6 * axes[shade] + 0.1 * rng.normal(size=(n, width))
    return rows.astype(np.float32), group


def best_agreement(features, group):
    """Share of the rows of each group on which its best feature is active, and only there."""
    active = features.toarray() > 0
    scores = []
    for number in range(4):
        truth = (group == number)[:, None]
        f1 = 2 * (active & truth).sum(0) / (active.sum(0) + truth.sum())
        scores.append(f1.max())
    return np.mean(scores)


@pytest.mark.slow
def test_early_features_stand_for_what_is_common():
    rows, group = planted_groups()
    fields = {"hidden_size": 64, "k": 4, "steps": 600, "batch_size": 256}
    nested, plain = (
        SAETrainer(TrainConfig(**fields, nested=is_nested)).train(rows, progress=False)
        for is_nested in (True, False)
    )
    features = nested.features(rows)
    density = features.astype(bool).mean(0)
    assert density[:8].mean() > 2 * density[32:].mean()
    found = best_agreement(features, group)
    assert found > best_agreement(plain.features(rows), group)
