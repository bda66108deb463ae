"""SAEs that cannot be trained here are refused before anything is allocated for them."""

import numpy as np
import pytest
import torch

from nanosae import SAETrainer, TrainConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import Ranks
from nanosae.errors import ConfigError
from nanosae.sources import open_rows
from nanosae.sweep import grid, sweep
from nanosae.trainable import sizes
from nanosae.trainable.sizes import check_sizes

WIDTH, HIDDEN = 8, 100
# weights, gradients, both moments and the best weights: encoder and decoder in float32
NEEDED = 5 * 4 * HIDDEN * 2 * WIDTH


def rows(n=60, width=WIDTH):
    return np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)


def dataset(**options):
    return Dataset(open_rows(rows(), **options), seed=0)


def check(n_bytes, monkeypatch, data=None, ranks=None, **fields):
    monkeypatch.setattr(sizes, "memory_limit", lambda: n_bytes)
    configs = grid(TrainConfig(hidden_size=HIDDEN, k=4, device="cpu"), **fields)
    check_sizes(configs, data or dataset(), ranks or Ranks())


def test_a_training_needs_the_weights_five_times(monkeypatch):
    check(NEEDED, monkeypatch)
    with pytest.raises(ConfigError, match=r"hidden_size=100 needs .* at most 99\."):
        check(NEEDED - 1, monkeypatch)


def test_the_bytes_are_those_that_a_training_allocates():
    trainer = SAETrainer(TrainConfig(hidden_size=HIDDEN, k=4, steps=2, device="cpu"))
    model = trainer.train(rows(), progress=False)
    weights = [model.W_enc, model.W_dec]
    assert 5 * sum(w.numel() * w.element_size() for w in weights) == NEEDED


def test_targets_have_their_own_width(monkeypatch):
    data = dataset(targets=rows(width=3))
    check(5 * 4 * HIDDEN * (WIDTH + 3), monkeypatch, data)
    with pytest.raises(ConfigError):
        check(5 * 4 * HIDDEN * (WIDTH + 3) - 1, monkeypatch, data)


def test_saes_that_share_a_pass_share_the_memory(monkeypatch):
    check(3 * NEEDED, monkeypatch, seed=[0, 1, 2])
    with pytest.raises(
        ConfigError, match=r"training 3 SAEs of 300 features .* at most 299 features"
    ):
        check(3 * NEEDED - 1, monkeypatch, seed=[0, 1, 2])


def test_ranks_that_divide_the_latents_need_a_part_each(monkeypatch):
    for latents in (False, True):
        ranks = Ranks(1, 3, latents=latents)
        needed = NEEDED * 34 // 100 if latents else NEEDED
        check(needed, monkeypatch, ranks=ranks)
        with pytest.raises(ConfigError):
            check(needed - 1, monkeypatch, ranks=ranks)
    with pytest.raises(ConfigError, match=r"hidden_size=100 .* among 101 processes"):
        check(10**9, monkeypatch, ranks=Ranks(0, 101, latents=True))
    check(10**9, monkeypatch, ranks=Ranks(0, 101))


def test_on_a_gpu_its_memory_counts(monkeypatch):
    monkeypatch.setattr(sizes, "find_device", torch.device)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, NEEDED))
    monkeypatch.setattr(sizes, "memory_limit", lambda: 1)
    config = TrainConfig(hidden_size=HIDDEN, k=4, device="cuda")
    check_sizes([config], dataset(), Ranks())
    with pytest.raises(ConfigError, match="but the GPU has"):
        check_sizes([config, config], dataset(), Ranks())


def test_a_training_that_cannot_fit_leaves_nothing_behind(tmp_path):
    huge = TrainConfig(hidden_size=2**44, k=4)
    with pytest.raises(ConfigError, match=r"hidden_size=17,592,186,044,416 needs"):
        SAETrainer(huge, run=tmp_path / "run").train(rows(), progress=False)
    with pytest.raises(ConfigError, match="training 2 SAEs of"):
        sweep(grid(huge, seed=[0, 1]), rows(), tmp_path / "sweep", progress=False)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("sweep/*"))
