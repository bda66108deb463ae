"""Training that starts from a saved SAE: the same function at first, better afterwards."""

import numpy as np
import pytest
import torch

import foreign_files as written
import sae_formulas as formulas
from nanosae import SAEModel, SAETrainer, TrainConfig
from nanosae.cli import main
from nanosae.data.dataset import Dataset
from nanosae.errors import ConfigError
from nanosae.runs.training import TrainingRun
from nanosae.sources import open_rows
from nanosae.train.state import TrainingState
from nanosae.trainable.fine_tuning import fine_tuned_parameters, starting_point
from sae_formulas import D, F, K

CALCULATED = {
    "standard": formulas.standard,
    "topk": formulas.topk,
    "jumprelu": formulas.jumprelu,
    "gated": formulas.gated,
}
SHORT = {"steps": 6, "batch_size": 32, "log_every": 1, "checkpoint_every": 2}
SHORT |= {"eval_every": 2, "noise": 0.0}


def parameters(kind):
    """Of topk with decoder rows of one length, as training keeps them."""
    p = formulas.parameters()
    if kind == "topk":
        p["decoder"] /= np.linalg.norm(p["decoder"], axis=1, keepdims=True)
    return p


def saved(folder, kind, centred=True, **cfg):
    p = parameters(kind)
    facts = {"architecture": kind, "k": K, "apply_b_dec_to_input": centred} | cfg
    return written.sae_lens(folder, facts, written.sae_lens_tensors(p, kind))


def far_rows(n=300):
    """Rows whose mean and scale are not those of the SAE."""
    return (3 * formulas.rows(n) + 2).astype(np.float32)


def activations_of(kind, params, z):
    """What a training computes from normalised rows, in float64."""
    w = {name: tensor.detach().double().numpy() for name, tensor in params.items()}
    projected = z.astype(np.float64) @ w["W_enc"].T
    if kind == "gated":
        magnitude = formulas.relu(projected * np.exp(w["r_mag"]) + w["b_mag"])
        return magnitude * (projected + w["b_gate"] > 0), w
    pre_acts = projected + w["b_enc"]
    if kind == "topk":
        return formulas.relu(formulas.keep_topk(pre_acts)), w
    if kind == "jumprelu":
        return formulas.above(pre_acts, np.exp(w["log_threshold"])), w
    return formulas.relu(pre_acts), w


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("kind", CALCULATED)
def test_a_training_starts_as_the_function_that_the_sae_is(kind, centred, tmp_path):
    if kind == "gated" and not centred:
        pytest.skip("gated ones subtract the bias")
    x, p = far_rows(), parameters(kind)
    config, sae = starting_point(saved(tmp_path, kind, centred), TrainConfig(k=K))
    data = Dataset(open_rows(x), seed=0)
    resolved = config.resolved(data.n_train, data.width)
    state = TrainingState(resolved, data)
    state.start_from(sae, data)
    acts, w = activations_of(kind, state.params, (x - data.mean) * data.scale)
    recon = (acts @ w["W_dec"] + w["b_dec"]) / data.scale + data.mean
    options = {} if kind == "gated" else {"centred": centred}
    wanted = CALCULATED[kind](p, x, **options)
    np.testing.assert_allclose(recon, formulas.decode(p, wanted), atol=1e-4)
    in_units = acts / data.scale / formulas.norms(p)
    np.testing.assert_allclose(in_units, wanted, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(w["W_dec"], axis=1), 1, rtol=1e-6)


def test_without_the_mean_of_the_rows_it_would_be_another_function(tmp_path):
    x = far_rows()
    config, sae = starting_point(saved(tmp_path, "topk"), None)
    data = Dataset(open_rows(x), seed=0)
    resolved = config.resolved(data.n_train, data.width)
    data.mean = 0 * data.mean
    params = fine_tuned_parameters(sae, resolved, data)
    acts, _ = activations_of("topk", params, (x - x.mean(axis=0)) * data.scale)
    wanted = formulas.topk(parameters("topk"), x)
    assert (
        np.abs(acts / data.scale / formulas.norms(formulas.parameters()) - wanted).max()
        > 0.1
    )


def test_topk_with_rows_of_other_lengths_begins_with_a_warning(tmp_path):
    p = formulas.parameters()
    tensors = written.sae_lens_tensors(p, "topk")
    folder = written.sae_lens(tmp_path, {"architecture": "topk", "k": K}, tensors)
    with pytest.warns(UserWarning, match="norms of the SAE's decoder rows range from"):
        one_step(folder, far_rows())


def one_step(sae, x, **settings):
    """Train a step that is too small to change anything."""
    trainer = SAETrainer(
        TrainConfig(steps=1, lr=1e-12, warmup=0.0, noise=0.0, **settings)
    )
    return trainer.train(x, init=sae, progress=False)


def test_a_step_of_no_length_gives_the_same_sae(tmp_path):
    x = far_rows()
    before = SAEModel.load(saved(tmp_path / "theirs", "topk"))
    after = one_step(tmp_path / "theirs", x)
    recon = before(torch.from_numpy(x)).detach()
    torch.testing.assert_close(
        after(torch.from_numpy(x)).detach(), recon, rtol=0, atol=1e-3
    )
    assert not np.allclose(
        one_step(None, x, hidden_size=F, k=K).b_dec.detach(),
        after.b_dec.detach(),
        atol=1e-2,
    )
    # thresholds are calibrated on the same held-out rows again
    settings = {"hidden_size": 16, "k": 3, "nested": False}
    ours = SAETrainer(TrainConfig(**settings, **SHORT)).train(x, progress=False)
    again = one_step(ours, x)
    assert again.config["activation"] == ours.config["activation"] == "batchtopk"
    assert (again.config["k"], again.config["hidden_size"]) == (3, 16)
    torch.testing.assert_close(again.threshold, ours.threshold, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(again.W_enc, ours.W_enc, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(again.b_enc, ours.b_enc, rtol=1e-3, atol=1e-3)


def test_each_latent_keeps_its_threshold_beyond_the_warm_up(tmp_path):
    x = far_rows()
    settings = {"lr": 1e-12, "noise": 0.0, "steps": 6, "warmup": 0.4, "k": K}
    theirs = SAEModel.load(saved(tmp_path, "jumprelu"))
    tuned = SAETrainer(TrainConfig(**settings)).train(x, init=theirs, progress=False)
    wanted = theirs.threshold * theirs.W_dec.norm(dim=1)
    # all are calibrated by the same factor
    factors = (tuned.threshold / wanted).detach().numpy()
    assert factors == pytest.approx(np.full(F, factors[0]), rel=1e-4)
    assert np.ptp(wanted.detach().numpy()) > 1


def test_training_further_lowers_the_error(tmp_path):
    x = far_rows(2000)
    sae = SAEModel.load(saved(tmp_path, "topk"))
    trainer = SAETrainer(TrainConfig(steps=200, batch_size=128, noise=0.0))
    trained = trainer.train(x, init=sae, progress=False)
    rows = torch.from_numpy(x)
    errors = [
        float((sae_(rows).detach() - rows).square().mean()) for sae_ in (sae, trained)
    ]
    assert errors[1] < errors[0] / 4


class Stop(Exception):
    pass


def test_a_run_that_started_from_an_sae_resumes_bit_for_bit(tmp_path, monkeypatch):
    x, sae = far_rows(), SAEModel.load(saved(tmp_path / "sae", "jumprelu"))

    def train(run, init=sae, **more):
        trainer = SAETrainer(TrainConfig(k=2, **SHORT), run=tmp_path / run)
        return trainer.train(x, init=init, progress=False, **more)

    append = TrainingRun.append_metrics

    def stops(self, line):
        if line["step"] == 5:
            raise Stop
        append(self, line)

    monkeypatch.setattr(TrainingRun, "append_metrics", stops)
    with pytest.raises(Stop):
        train("stopped")
    monkeypatch.undo()
    other = saved(tmp_path / "other", "jumprelu")
    different = SAEModel.load(other)
    different.W_dec.data *= 2
    for init in (different, None):
        with (
            pytest.raises(ConfigError, match="started from another SAE")
            if init
            else pytest.raises(ConfigError)
        ):
            train("stopped", init, resume=True)
    resumed, straight = train("stopped", resume=True), train("straight")
    for name, tensor in straight.tensors().items():
        assert torch.equal(resumed.tensors()[name], tensor), name


@pytest.mark.parametrize("kind", ["standard", "jumprelu", "gated"])
def test_a_sparsity_that_the_sae_does_not_record_is_said(kind, tmp_path):
    sae = SAEModel.load(saved(tmp_path, kind))
    with pytest.warns(UserWarning, match=r"trained to k=32\. Give k or l1_coefficient"):
        config, _ = starting_point(sae, None)
    assert (config.k, config.l1_coefficient) == (None, None)
    for given in ({"k": 3}, {"l1_coefficient": 0.1}):
        config, _ = starting_point(sae, TrainConfig(**given))
        assert {name: getattr(config, name) for name in given} == given


def test_a_config_of_another_type_is_refused():
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    for config in ({"hidden_size": 8}, rows):
        with pytest.raises(ConfigError, match="config must be a TrainConfig, not"):
            SAETrainer(config).train(rows, progress=False)


def test_what_does_not_fit_is_named(tmp_path):
    sae = SAEModel.load(saved(tmp_path / "sae", "topk"))
    trainer = SAETrainer(TrainConfig(**SHORT))
    wide = np.zeros((50, D + 2), np.float32)
    with pytest.raises((ConfigError, ValueError), match=rf"{D + 2}.*{D}"):
        trainer.train(wide, init=sae, progress=False)
    with pytest.raises(ConfigError, match=rf"hidden_size=99, but .* has {F}"):
        SAETrainer(hidden_size=99).train(far_rows(), init=sae)
    with pytest.raises(ConfigError, match="activation='relu'"):
        SAETrainer(activation="relu").train(far_rows(), init=sae)
    with pytest.raises(ConfigError, match="Leave out the targets"):
        trainer.train(far_rows(), far_rows(), init=sae, progress=False)
    scaled = saved(tmp_path / "scaled", "topk", normalize_activations="layer_norm")
    with pytest.raises(ConfigError, match="standardises each row"):
        trainer.train(far_rows(), init=scaled)
    transcoder = SAEModel(sae.cfg | {"architecture": "topk_transcoder"}, sae.tensors())
    with pytest.raises(ConfigError, match="transcoder cannot be trained further"):
        trainer.train(far_rows(), init=transcoder)


def test_the_command_line_trains_further(tmp_path, capsys):
    np.save(tmp_path / "rows.npy", far_rows())
    sae = str(saved(tmp_path / "sae", "topk"))
    words = ["train", str(tmp_path / "rows.npy"), "-o", str(tmp_path / "run")]
    flags = ["--steps", "3", "--batch-size", "32"]
    assert main([*words, "--init", sae, *flags]) == 0
    assert SAEModel.load(tmp_path / "run").config["hidden_size"] == F
    assert main([*words, "--force", "--init", sae, *flags, "--seed", "0,1"]) == 2
    assert "these settings define 2" in capsys.readouterr().err
    assert main([*words, "--force", "--init", str(tmp_path / "none"), *flags]) == 2
