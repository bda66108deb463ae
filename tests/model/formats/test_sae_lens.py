"""SAELens' files: every architecture, training checkpoints, old versions, against formulas."""

import json

import numpy as np
import pytest
import torch

import foreign_files as written
import sae_formulas as formulas
from nanosae.errors import DataError
from nanosae.model.sae import SAEModel
from sae_formulas import D, F, K, assert_equal

CALCULATED = {
    "standard": formulas.standard,
    "topk": formulas.topk,
    "jumprelu": formulas.jumprelu,
    "gated": formulas.gated,
}


def half(p, dtype):
    """Parameters as a type of half precision stores them."""
    return {
        name: torch.from_numpy(a).to(dtype).float().numpy() for name, a in p.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", CALCULATED)
def test_every_architecture_in_every_precision(kind, dtype, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    cfg = {"architecture": kind} | ({"k": K} if kind == "topk" else {})
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p, kind), dtype)
    model = SAEModel.load(tmp_path)
    p = half(p, dtype)
    acts = CALCULATED[kind](p, x)
    assert_equal(model, x, acts, formulas.decode(p, acts))
    assert model.cfg["dtype"] == "float32"
    model.save(tmp_path / "again")
    again = SAEModel.load(tmp_path / "again")
    assert_equal(again, x, acts, formulas.decode(p, acts))


def test_b_dec_may_stay_out_of_the_encoder(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    cfg = {"architecture": "standard", "apply_b_dec_to_input": False}
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p))
    acts = formulas.standard(p, x, centred=False)
    model = SAEModel.load(tmp_path)
    assert "k=" not in repr(model)
    assert_equal(model, x, acts, formulas.decode(p, acts))
    assert not np.allclose(acts, formulas.standard(p, x), atol=0.1)


def rescaled_topk(p, x):
    """Pre-activations × ‖W_dec‖ are ordered and kept; decoding divides by the norms."""
    z = formulas.linear(p, x, centred=True) + p["encoder_bias"]
    acts = formulas.relu(formulas.keep_topk(z * formulas.norms(p)))
    return acts, formulas.decode(p, acts / formulas.norms(p))


def test_topk_by_decoder_norm_is_folded(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    cfg = {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": True}
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p))
    model = SAEModel.load(tmp_path)
    acts, recon = rescaled_topk(p, x)
    assert_equal(model, x, acts, recon)
    assert model.cfg["rescale_acts_by_decoder_norm"] is False
    assert model.config["k"] == K
    assert f"k={K}" in repr(model)
    wrong = formulas.topk(p, x)  # what it would be without the norms
    assert np.abs(formulas.decode(p, wrong) - recon).max() > 0.5


@pytest.mark.parametrize("kind", ["batchtopk", "matryoshka_batchtopk"])
@pytest.mark.parametrize("by_norm", [False, True])
def test_a_training_checkpoint_of_batchtopk(kind, by_norm, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    tensors = written.sae_lens_tensors(p)
    cfg = {"architecture": kind, "k": K, "rescale_acts_by_decoder_norm": by_norm}
    written.sae_lens(tmp_path, cfg, tensors)
    from safetensors.torch import load_file, save_file

    file = tmp_path / "sae_weights.safetensors"
    shared = torch.tensor(0.7, dtype=torch.float64)
    save_file(load_file(file) | {"topk_threshold": shared}, file)
    z = formulas.linear(p, x, centred=True) + p["encoder_bias"]
    norms = formulas.norms(p) if by_norm else np.ones(F)
    acts = formulas.above(z * norms, 0.7)
    assert_equal(SAEModel.load(tmp_path), x, acts, formulas.decode(p, acts / norms))


def test_rows_scaled_in_training_are_folded(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    cfg = {
        "architecture": "standard",
        "normalize_activations": "expected_average_only_in",
    }
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p))
    with pytest.raises(DataError, match=r"expected_average_only_in.*activation_scaler"):
        SAEModel.load(tmp_path)
    scaler = {"scaling_factor": 2.5, "has_whitening": False}
    (tmp_path / "activation_scaler.json").write_text(json.dumps(scaler))
    acts = formulas.standard(p, np.float32(2.5) * x)
    recon = formulas.decode(p, acts) / 2.5
    assert_equal(SAEModel.load(tmp_path), x, acts, recon)


def test_standardised_rows(tmp_path):
    p, x = formulas.parameters(), 3 * formulas.rows() + 2
    cfg = {"architecture": "topk", "k": K, "normalize_activations": "layer_norm"}
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p))
    standardised, mean, deviation = formulas.standardised(x)
    acts = formulas.topk(p, standardised)
    recon = formulas.decode(p, acts) * deviation + mean
    model = SAEModel.load(tmp_path)
    assert_equal(model, x, acts, recon)
    model.save(tmp_path / "again")
    assert_equal(SAEModel.load(tmp_path / "again"), x, acts, recon)


def test_a_transcoder_of_standardised_rows_keeps_the_units_of_its_targets(tmp_path):
    p, x = formulas.parameters(), 3 * formulas.rows() + 2
    cfg = {
        "architecture": "transcoder",
        "d_out": D,
        "normalize_activations": "layer_norm",
        "apply_b_dec_to_input": False,
    }
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p))
    standardised, *_ = formulas.standardised(x)
    acts = formulas.standard(p, standardised, centred=False)
    assert_equal(SAEModel.load(tmp_path), x, acts, formulas.decode(p, acts))


@pytest.mark.parametrize("facts", [{"apply_b_dec_to_input": True}, {}])
def test_transcoders_never_subtract_the_bias_of_their_targets(tmp_path, facts):
    p, x = formulas.parameters(), formulas.rows()
    cfg = {"architecture": "transcoder", "d_out": D}
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p))
    path = tmp_path / "cfg.json"
    settings = json.loads(path.read_text())
    settings.pop("apply_b_dec_to_input", None)
    path.write_text(json.dumps(settings | facts))
    acts = formulas.standard(p, x, centred=False)
    model = SAEModel.load(tmp_path)
    assert_equal(model, x, acts, formulas.decode(p, acts))
    assert model.cfg["apply_b_dec_to_input"] is False


def test_log_thresholds_of_older_checkpoints(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    tensors = written.sae_lens_tensors(p)
    tensors["log_threshold"] = np.log(p["threshold"])
    written.sae_lens(tmp_path, {"architecture": "jumprelu"}, tensors)
    acts = formulas.jumprelu(p, x)
    assert_equal(SAEModel.load(tmp_path), x, acts, formulas.decode(p, acts))


@pytest.mark.parametrize("kind", ["standard", "topk"])
def test_flat_settings_of_versions_before_6(kind, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    written.sae_lens(tmp_path, {}, written.sae_lens_tensors(p))
    flat = {
        "d_in": D,
        "d_sae": F,
        "dtype": "torch.float32",
        "hook_point": "blocks.3.hook_resid_pre",
        "model_name": "gpt2-small",
        "activation_fn_str": "relu" if kind == "standard" else "topk",
        "activation_fn_kwargs": {} if kind == "standard" else {"k": K},
        "normalize_activations": False,
    }
    (tmp_path / "cfg.json").write_text(json.dumps(flat))
    model = SAEModel.load(tmp_path)
    acts = CALCULATED[kind](p, x)
    assert_equal(model, x, acts, formulas.decode(p, acts))
    assert model.config["hook_name"] == "blocks.3.hook_resid_pre"
    assert model.config["prepend_bos"] is True


REFUSED = {
    "abstopk": {"architecture": "abstopk", "k": K},
    "temporal": {"architecture": "temporal"},
    "constant_norm_rescale": {
        "architecture": "standard",
        "normalize_activations": "constant_norm_rescale",
    },
    "covariance_whitening": {
        "architecture": "standard",
        "normalize_activations": "covariance_whitening",
    },
    "finetuning_scaling_factor": {
        "architecture": "standard",
        "finetuning_scaling_factor": True,
    },
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_equal_is_refused_by_name(what, tmp_path):
    p = formulas.parameters()
    written.sae_lens(tmp_path, REFUSED[what], written.sae_lens_tensors(p))
    with pytest.raises(DataError, match=what):
        SAEModel.load(tmp_path)
