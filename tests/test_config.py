"""TrainConfig: what is refused, what is derived, JSON."""

import dataclasses
import json

import pytest
from sklearn.base import clone

from nanosae.config import TrainConfig


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"k": 0}, "k=0 must be a positive"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"k": 90, "hidden_size": 64}, "k=90 must be at most hidden_size=64"),
        ({"activation": "elu"}, "'elu'; choose one of relu"),
        ({"l1_coefficient": 0.1, "k": 8}, "l1_coefficient=0.1 and k=8"),
        ({"l1_coefficient": 0.1, "activation": "topk"}, "has no effect with activation='topk'"),
        ({"steps": 5, "epochs": 2}, "steps=5 or epochs=2, not both"),
        ({"matryoshka": (8, 4)}, r"matryoshka=\(8, 4\) must grow"),
        ({"matryoshka": (8, 16), "hidden_size": 32}, "is 16, not hidden_size=32"),
        ({"matryoshka": (8, 16), "activation": "relu"}, "not on relu"),
        ({"decay": 1.0}, "decay=1.0 must be at least 0 and below 1"),
    ],
)
def test_contradictions_are_refused_with_both_values(fields, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(**fields)


def test_the_activation_follows_from_what_is_given():
    assert TrainConfig().chosen_activation == "batchtopk"
    assert TrainConfig(l1_coefficient=0.001).chosen_activation == "relu"
    assert TrainConfig(l1_coefficient=0.001, activation="gated").chosen_activation == "gated"


def test_everything_derived_is_filled_in():
    full = TrainConfig(steps=10).resolved(36_000, 384)
    missing = [f.name for f in dataclasses.fields(full) if getattr(full, f.name) is None]
    # 36,000 rows × 32 ÷ 30 allow more than 8 × 384 features; the power of two below that is 2,048
    assert full.hidden_size == 2048
    assert (full.input_size, full.k, full.k_aux) == (384, 32, 64)
    assert set(missing) == {
        *("l1_coefficient", "matryoshka", "epochs", "columns", "encoder", "eval_every", "wandb")
    }


def test_a_batch_is_never_larger_than_the_data():
    assert TrainConfig(batch_size=512, hidden_size=8, k=2).resolved(100, 4).batch_size == 100


def test_another_width_is_an_error_with_both_numbers():
    with pytest.raises(ValueError, match="384 wide, but input_size=1024"):
        TrainConfig(input_size=1024).resolved(100, 384)


def test_json_round_trip_and_unknown_names(tmp_path):
    config = TrainConfig(matryoshka=(4, 8), columns=("a", "b"), lr=1e-3)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert TrainConfig.load(path) == config
    path.write_text(json.dumps({"config": config.to_dict(), "format": 1}))
    assert TrainConfig.load(path) == config
    with pytest.raises(ValueError, match="unknown field 'kk'"):
        TrainConfig.from_dict({"kk": 1})


def test_scikit_learn_sets_and_clones_it():
    config = TrainConfig(k=8)
    assert clone(config) == config
    assert config.set_params(k=16).k == 16
    with pytest.raises(ValueError, match="k=-1"):
        config.set_params(k=-1)
