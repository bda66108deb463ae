"""Transcoders: another vector predicted from each row, against dense formulas and planted maps."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from agreement import assert_agree, decisions_batchtopk, decisions_of
from nanosae import SAEModel, SAETrainer, TrainConfig
from nanosae.data.dataset import Dataset
from nanosae.model.folding import fold
from nanosae.model.weights import Weights
from nanosae.sources import open_rows
from nanosae.train.forward import sparse_losses
from nanosae.train.state import TrainingState

FIELDS = {"hidden_size": 40, "k": 4, "batch_size": 64, "steps": 10, "noise": 0.0}


def planted(n=3000, seed=0):
    """Rows that are sparse sums of directions; targets, by the same code, of other directions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(32, 24)) / 24**0.5
    others = rng.normal(size=(32, 10)) / 10**0.5
    strength = np.where(rng.random((n, 32)) < 0.1, rng.uniform(1, 2, (n, 32)), 0)
    x, y = strength @ directions + 3.0, strength @ others - 1.0
    return x.astype(np.float32), y.astype(np.float32), others


def training(seed, **fields):
    x, y, _ = planted(200, seed)
    data = Dataset(open_rows(x, targets=y), seed=0)
    config = TrainConfig(**FIELDS | fields).resolved(data.n_train, data.width)
    made = TrainingState(config, data)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in made.params.values():
            param += 0.05 * torch.randn(param.shape, generator=generator)
    return made, torch.from_numpy(data.sample(64, seed=1))


def decided_training(**fields):
    """Draw rows until no entry lies within rounding of the smallest kept one."""
    for seed in itertools.count():
        made, batch = training(seed, **fields)
        encoder, bias = made.params["W_enc"], made.params["b_enc"]
        decisions = decisions_batchtopk(
            batch[:, :24], encoder, bias, made.config.k * len(batch)
        )
        if decisions.decided_rows(factor=4).all():
            return made, batch


def dense(made, x, y, forget_skip=False):
    """The loss in float64, over the whole matrix of pre-activations."""
    p = {n: t.detach().double().requires_grad_() for n, t in made.params.items()}
    z = x.double() @ p["W_enc"].T + p["b_enc"]
    level = z.flatten().topk(made.config.k * len(x)).values[-1]
    out = torch.where(z >= level, torch.relu(z), 0.0) @ p["W_dec"] + p["b_dec"]
    if "W_skip" in p and not forget_skip:
        out = out + x.double() @ p["W_skip"].T
    return ((out - y.double()) ** 2).mean(), p


@pytest.mark.parametrize("skip", [False, True])
def test_loss_and_gradients_equal_the_dense_formula(skip):
    made, batch = decided_training(skip=skip)
    x, y = batch[:, :24].contiguous(), batch[:, 24:].contiguous()
    loss, _, _ = sparse_losses(made, batch, y.numel())
    loss.parts["mse"].backward()
    want, p = dense(made, x, y)
    want.backward()
    got = loss.parts["mse"].item()
    assert got == pytest.approx(want.item(), rel=1e-5)
    for name, param in made.params.items():
        torch.testing.assert_close(
            param.grad.double(), p[name].grad, rtol=1e-3, atol=1e-6
        )
    if skip:
        assert dense(made, x, y, forget_skip=True)[0].item() != pytest.approx(
            got, rel=1e-3
        )


@pytest.mark.slow
def test_a_planted_map_is_found():
    x, y, others = planted()
    plain = {"activation": "batchtopk", "noise": 0.0}  # as the map has no hierarchy
    config = TrainConfig(
        hidden_size=64, k=4, steps=1200, batch_size=256, lr=4e-3, **plain
    )
    trainer = SAETrainer(config)
    model = trainer.train(x, y, progress=False)
    assert trainer.metrics_["fvu"] < 0.15
    unit = others / np.linalg.norm(others, axis=1, keepdims=True)
    cosine = unit @ model.W_dec.detach().numpy().T
    assert np.mean(cosine.max(1) > 0.95) > 0.8, np.sort(cosine.max(1))
    shuffled = SAETrainer(config).train(x, y[::-1].copy(), progress=False)
    error = ((shuffled(torch.from_numpy(x)).detach().numpy() - y) ** 2).mean() / y.var(
        0
    ).mean()
    assert error > 0.7  # the check can fail


@pytest.mark.slow
def test_the_skip_connection_takes_what_is_linear():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 12)).astype(np.float32) + 2
    y = (x @ rng.normal(size=(12, 5)) - 7).astype(np.float32)
    config = TrainConfig(
        activation="topk", hidden_size=16, k=1, steps=200, batch_size=256, lr=1e-2
    )
    trainer = SAETrainer(replace(config, skip=True))
    model = trainer.train(x, y, progress=False)
    assert trainer.metrics_["fvu"] < 0.06
    plain = SAETrainer(config)
    plain.train(x, y, progress=False)
    assert plain.metrics_["fvu"] > 0.12
    recon = model(torch.from_numpy(x)).detach().numpy()
    assert ((recon - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum() < 0.06


@pytest.mark.parametrize("forget", [None, "mean", "target_scale"])
def test_folding_changes_no_prediction(forget):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    t = {
        "W_enc": normal(6, 9),
        "b_enc": normal(9),
        "W_dec": normal(9, 4),
        "b_dec": normal(4),
    }
    t["W_skip"] = normal(4, 6)
    mean, target_mean = normal(6).numpy(), normal(4).numpy()
    scale, target_scale, x = 1.7, 0.6, normal(20, 6) * 2
    z = (x - torch.from_numpy(mean)) * scale
    out = (
        torch.relu(z @ t["W_enc"] + t["b_enc"]) @ t["W_dec"]
        + t["b_dec"]
        + z @ t["W_skip"].T
    )
    want = out / target_scale + torch.from_numpy(target_mean)
    given = {"mean": mean, "target_scale": target_scale}
    given |= {forget: given[forget] * 0 + 1} if forget else {}
    folded = fold(t, given["mean"], scale, target_mean, given["target_scale"])
    cfg = {"architecture": "skip_transcoder", "d_in": 6, "d_out": 4, "d_sae": 9}
    got = SAEModel(cfg | {"apply_b_dec_to_input": False}, folded)(x)
    assert torch.allclose(got, want, rtol=1e-3, atol=1e-4) == (forget is None)


@pytest.mark.parametrize("activation", ["relu", "topk", "batchtopk", "jumprelu"])
@pytest.mark.parametrize("skip", [False, True])
def test_files_hold_a_transcoder(activation, skip, tmp_path):
    x, y, _ = planted(400)
    fields = FIELDS | {"activation": activation, "skip": skip}
    model = SAETrainer(TrainConfig(**fields), run=tmp_path).train(x, y, progress=False)
    loaded, numpy = SAEModel.load(tmp_path), Weights.load(tmp_path)
    assert torch.equal(loaded(torch.from_numpy(x)), model(torch.from_numpy(x)))
    assert_agree(numpy.encode(x), model.features(x), decisions_of(numpy, x))
    assert numpy.directions().shape == (40, 24)
    cfg = json.loads((tmp_path / "model" / "cfg.json").read_text())
    assert cfg["d_out"] == 10
    assert ("skip" in cfg["architecture"]) == skip


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "batchtopk"])
@pytest.mark.parametrize("skip", [False, True])
def test_sae_lens_loads_a_transcoder_and_predicts_the_same(activation, skip, tmp_path):
    sae_lens = pytest.importorskip("sae_lens", reason="needs the peers extra")
    x, y, _ = planted(400)
    fields = FIELDS | {"activation": activation, "skip": skip}
    model = SAETrainer(TrainConfig(**fields), run=tmp_path).train(x, y, progress=False)
    theirs = sae_lens.SAE.load_from_disk(str(tmp_path / "model"))
    with torch.no_grad():
        rows, decisions = torch.from_numpy(x), decisions_of(model, x)
        assert_agree(theirs.encode(rows), model.encode(rows), decisions)
        rows = rows[decisions.decided_rows()]
        assert len(rows) > 350
        torch.testing.assert_close(theirs(rows), model(rows), rtol=1e-4, atol=1e-5)


def test_mistakes_are_named():
    x, y, _ = planted(100)
    with pytest.raises(ValueError, match="skip=True is for transcoders"):
        SAETrainer(TrainConfig(**FIELDS, skip=True)).train(x)
    with pytest.raises(ValueError, match="cannot be gated"):
        SAETrainer(TrainConfig(**FIELDS, activation="gated")).train(x, y)
    with pytest.raises(ValueError, match="99 targets for 100 rows"):
        SAETrainer(TrainConfig(**FIELDS)).train(x, y[:99])
