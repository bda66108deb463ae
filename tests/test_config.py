"""TrainConfig and ResolvedConfig: what is refused, what is derived, JSON."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.base import clone

from nanosae.config import ResolvedConfig, TrainConfig
from nanosae.errors import ConfigError, MissingError


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"k": 0}, "k=0 must be a positive"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"k": 90, "hidden_size": 64}, "k=90 must be at most hidden_size=64"),
        (
            {"activation": "elu"},
            "activation='elu' must be one of relu, topk, batchtopk, jumprelu, gated",
        ),
        ({"l1_coefficient": 0.1, "k": 8}, "l1_coefficient=0.1 and k=8"),
        (
            {"l1_coefficient": 0.1, "activation": "topk"},
            "has no effect with activation='topk'",
        ),
        ({"steps": 5, "epochs": 2}, "steps=5 or epochs=2.0, not both"),
        ({"matryoshka": (8, 4)}, r"matryoshka=\(8, 4\) must be a list of increasing"),
        (
            {"matryoshka": (8, 16), "hidden_size": 32},
            r"matryoshka=\(8, 16\) must end in hidden_size=32",
        ),
        ({"matryoshka": (8, 16), "activation": "relu"}, "not on relu"),
        ({"decay": 1.0}, "decay=1.0 must be at least 0 and below 1"),
        ({"matryoshka": ()}, r"matryoshka=\(\) must be a list of increasing"),
        ({"nested": True, "activation": "gated"}, "nested works .* not on gated"),
        ({"nested": True, "matryoshka": (8, 16)}, r"not with matryoshka=\(8, 16\)"),
    ],
)
def test_contradictions_are_refused_with_both_values(fields, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"jumprelu_penalty": "Tanh"},
            "jumprelu_penalty='Tanh' must be one of l0, tanh",
        ),
        ({"parallel": "latent"}, "parallel='latent' must be one of rows, latents"),
        (
            {"precision": "bf16"},
            "precision='bf16' must be one of float32, tf32, bfloat16",
        ),
        (
            {"backend": "nope"},
            "backend='nope' must be one of auto, cpu, cuda, reference",
        ),
        ({"device": "nope"}, "device='nope' must be one of auto, cpu, cuda, mps, xpu"),
        ({"device": "cuda:x"}, "device='cuda:x' must be"),
        ({"steps": 1.5}, "steps=1.5 must be a positive integer"),
        ({"k": 2.5}, "k=2.5 must be a positive integer"),
        ({"k": np.float64(2.5)}, r"k=np.float64\(2.5\) must be a positive integer"),
        ({"k": "8"}, "k='8' must be a positive integer"),
        ({"k": True}, "k=True must be a positive integer"),
        ({"lr": "0.1"}, "lr='0.1' must be a positive number"),
        ({"lr": True}, "lr=True must be a positive number"),
        ({"lr": float("inf")}, "lr=inf must be a positive number"),
        ({"noise": -0.1}, "noise=-0.1 must be zero or a positive number"),
        ({"skip": 1}, "skip=1 must be True or False"),
        ({"skip": "yes"}, "skip='yes' must be True or False"),
        ({"skip": np.int64(1)}, r"skip=np.int64\(1\) must be True or False"),
        ({"k": np.True_}, r"k=np.True_ must be a positive integer"),
        ({"lr": np.True_}, r"lr=np.True_ must be a positive number"),
        ({"lr": np.float32("nan")}, r"lr=np.float32\(nan\) must be a positive number"),
        ({"embedder": np.bytes_(b"e")}, r"embedder=np.bytes_\(b'e'\) must be a string"),
        ({"steps": np.datetime64("2020-01-01")}, "must be a positive integer"),
        ({"seed": -1}, "seed=-1 must be an integer from 0"),
        ({"seed": 2**32}, "seed=4294967296 must be an integer from 0"),
        ({"seed": None}, "seed=None must be an integer"),
        ({"columns": "ab"}, "columns='ab' must be a list, and each element a string"),
        (
            {"columns": (1,)},
            r"columns=\(1,\) must be a list, and each element a string",
        ),
        ({"matryoshka": (4, 8.0)}, "each element a positive integer"),
        ({"embedder": 3}, "embedder=3 must be a string"),
    ],
)
def test_values_of_another_type_or_choice_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**fields)


def test_every_field_is_checked():
    for field in dataclasses.fields(TrainConfig):
        with pytest.raises(ConfigError, match=f"{field.name}="):
            TrainConfig(**{field.name: object()})


@pytest.mark.parametrize(
    ("name", "given", "plain"),
    [
        ("k", np.int64(8), 8),
        ("lr", np.float32(0.5), 0.5),
        ("lr", np.longdouble(0.5), 0.5),
        ("epochs", np.int32(2), 2.0),
        ("skip", np.True_, True),
        ("nested", np.False_, False),
        ("embedder", np.str_("minilm"), "minilm"),
        ("activation", np.str_("topk"), "topk"),
    ],
)
def test_scalars_of_numpy_become_python_s(name, given, plain):
    config = TrainConfig(**{name: given})
    assert type(getattr(config, name)) is type(plain)
    assert config == TrainConfig(**{name: plain})
    assert json.dumps(config.to_dict())
    assert clone(config) is not config


def test_scalars_of_numpy_in_lists_become_python_s():
    config = TrainConfig(matryoshka=(np.int8(4), 8), columns=[np.str_("a")])
    assert config == TrainConfig(matryoshka=(4, 8), columns=("a",))
    assert [type(item) for item in config.matryoshka] == [int, int]
    assert type(config.columns[0]) is str
    of_arrays = TrainConfig(matryoshka=np.array([4, 8]), columns=np.array(["a"]))  # pyright: ignore
    assert of_arrays == config
    assert json.dumps(of_arrays.to_dict())


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_devices_are_accepted_by_name_and_number(device):
    assert TrainConfig(device=device).device == device


def test_the_activation_follows_from_what_is_given():
    assert TrainConfig().chosen_activation == "batchtopk"
    assert TrainConfig(l1_coefficient=0.001).chosen_activation == "relu"
    assert (
        TrainConfig(l1_coefficient=0.001, activation="gated").chosen_activation
        == "gated"
    )


def test_everything_derived_is_filled_in():
    full = TrainConfig(steps=10).resolved(36_000, 384)
    missing = {
        f.name for f in dataclasses.fields(full) if getattr(full, f.name) is None
    }
    # 36,000 rows × 32 ÷ 30 allow more than 8 × 384 features; the power of two below that is 2,048
    assert full.hidden_size == 2048
    assert (full.input_size, full.k, full.k_aux) == (384, 32, 64)
    # 100 times the 2,048 ÷ 32 rows after which an average feature is active
    assert full.dead_after == 6400
    # √(8 × 36,000) = 537; lr 6e-3 at 512 rows
    assert (full.batch_size, full.lr) == (512, 6e-3)
    assert (full.steps, full.stops_early, full.eval_every, full.noise) == (
        10,
        False,
        1,
        0.0,
    )
    assert missing == {"l1_coefficient", "matryoshka", "columns", "embedder", "wandb"}


def test_steps_follow_from_epochs_or_their_cap():
    few = TrainConfig(epochs=1.5, batch_size=100).resolved(1000, 8)
    assert (few.steps, few.stops_early) == (15, False)
    # at most 40 passes over the data, and 2²⁴ rows of large data, but one pass at least
    for n_rows, epochs in ((1000, 40), (2**20, 16), (2**25, 1)):
        cap = TrainConfig(batch_size=500).resolved(n_rows, 8)
        assert (cap.steps, cap.stops_early) == (-(-n_rows * epochs // 500), True)


def test_few_rows_get_noise():
    noise = [TrainConfig().resolved(n_rows, 8).noise for n_rows in (14_999, 15_000)]
    assert noise == [0.5, 0.0]


def test_a_constant_coefficient_leaves_no_target():
    full = TrainConfig(l1_coefficient=0.1).resolved(1000, 8)
    assert (full.k, full.expected_l0, full.k_aux) == (None, 32, 64)


def test_k_must_fit_into_the_derived_size():
    with pytest.raises(ConfigError, match="k=32 must be at most hidden_size=16"):
        TrainConfig(matryoshka=(8, 16)).resolved(1000, 8)


def test_a_batch_is_never_larger_than_the_data():
    assert (
        TrainConfig(batch_size=512, hidden_size=8, k=2).resolved(100, 4).batch_size
        == 100
    )


def test_another_width_is_an_error_with_both_numbers():
    with pytest.raises(ValueError, match="width 384, but input_size=1024"):
        TrainConfig(input_size=1024).resolved(100, 384)


def test_json_round_trip_and_unknown_names(tmp_path):
    config = TrainConfig(k=2, matryoshka=(4, 8), columns=("a", "b"), lr=1e-3)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    assert TrainConfig.load(path) == config
    resolved = config.resolved(1000, 4)
    run = {"requested": config.to_dict(), "config": resolved.to_dict(), "format": 1}
    path.write_text(json.dumps(run))
    assert TrainConfig.load(path) == config
    assert ResolvedConfig.from_dict(json.loads(path.read_text())["config"]) == resolved
    with pytest.raises(ConfigError, match="unknown field 'kk'"):
        TrainConfig.from_dict({"kk": 1})


@pytest.mark.parametrize("content", ["", "[]", '{"k": ', '{"k": 0}', '{"kk": 1}', "\0"])
def test_a_file_without_settings_is_named(content, tmp_path):
    path = tmp_path / "some.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"some\.json does not hold settings"):
        TrainConfig.load(path)
    with pytest.raises(MissingError, match=r"none\.json does not exist"):
        TrainConfig.load(tmp_path / "none.json")


def test_scikit_learn_sets_and_clones_it():
    config = TrainConfig(k=np.int64(8), matryoshka=[16, 64], columns=["a"], lr=1)
    assert clone(config) == config
    assert config.set_params(k=16).k == 16
    with pytest.raises(ValueError, match="k=-1"):
        config.set_params(k=-1)
