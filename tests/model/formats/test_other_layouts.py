"""sparsify, HypotheSAEs, OpenAI, Gemma Scope and Llama Scope against their formulas."""

import json
import pickle

import numpy as np
import pytest
import torch

import foreign_files as written
import sae_formulas as formulas
from nanosae.errors import DamagedFileError, DataError, MissingError
from nanosae.model.files import has_model
from nanosae.model.formats import sparsify
from nanosae.model.sae import SAEModel
from sae_formulas import D, assert_equal


def skip_matrix():
    return np.random.default_rng(5).normal(size=(D, D)).astype(np.float32)


@pytest.mark.parametrize("transcode", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_sparsify_both_ways(transcode, skip, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    matrix = skip_matrix() if skip else None
    written.sparsify(tmp_path / "in", p, matrix, transcode=transcode)
    acts = formulas.topk(p, x, centred=not transcode)
    recon = formulas.decode(p, acts)
    if matrix is not None:
        recon = recon + x @ matrix.astype(np.float64).T
    model = SAEModel.load(tmp_path / "in")
    assert_equal(model, x, acts, recon)
    arrays = {name: tensor.numpy() for name, tensor in model.tensors().items()}
    sparsify.save(model.cfg, arrays, tmp_path / "out")
    assert_equal(SAEModel.load(tmp_path / "out"), x, acts, recon)
    facts = json.loads((tmp_path / "out" / "cfg.json").read_text())
    assert facts["transcode"] is transcode


def test_sparsify_gets_a_bias_moved_where_rows_are_not_centred(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    cfg = {"architecture": "topk", "k": 3, "apply_b_dec_to_input": False}
    written.sae_lens(tmp_path / "in", cfg, written.sae_lens_tensors(p))
    model = SAEModel.load(tmp_path / "in")
    arrays = {name: tensor.numpy() for name, tensor in model.tensors().items()}
    sparsify.save(model.cfg, arrays, tmp_path / "out")
    acts = formulas.topk(p, x, centred=False)
    assert_equal(SAEModel.load(tmp_path / "out"), x, acts, formulas.decode(p, acts))


@pytest.mark.parametrize("cfg", [{"activation": "groupmax"}, {"signed": True}])
def test_sparsify_s_other_selections_are_refused(cfg, tmp_path):
    written.sparsify(tmp_path, formulas.parameters(), **cfg)
    with pytest.raises(DataError, match=next(iter(cfg))):
        SAEModel.load(tmp_path)


def test_sparsify_holds_topk_alone(tmp_path):
    p = formulas.parameters()
    written.sae_lens(
        tmp_path, {"architecture": "jumprelu"}, written.sae_lens_tensors(p, "jumprelu")
    )
    model = SAEModel.load(tmp_path)
    arrays = {name: tensor.numpy() for name, tensor in model.tensors().items()}
    with pytest.raises(DataError, match="jumprelu"):
        sparsify.save(model.cfg, arrays, tmp_path / "out")


@pytest.mark.parametrize("batch", [False, True])
def test_hypothesaes(batch, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    file = tmp_path / "SAE_M=8_K=3.pt"
    written.hypothesaes(file, p, threshold=0.4, use_batch_topk=batch)
    acts = formulas.jumprelu(p, x, threshold=0.4) if batch else formulas.topk(p, x)
    for place in (file, tmp_path):
        assert_equal(SAEModel.load(place), x, acts, formulas.decode(p, acts))


def test_openai_relu(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    file = written.openai(tmp_path / "5.pt", p, "ReLU")
    acts = formulas.standard(p, x)
    assert_equal(SAEModel.load(file), x, acts, formulas.decode(p, acts))


@pytest.mark.parametrize("scale", [1, 1e-3])  # the 1e-5 is felt in small rows
def test_openai_topk_standardises_rows(tmp_path, scale):
    p, x = formulas.parameters(), np.float32(scale) * (3 * formulas.rows() + 2)
    file = written.openai(tmp_path / "5.pt", p)
    standardised, mean, deviation = formulas.standardised(x)
    acts = formulas.topk(p, standardised)
    recon = formulas.decode(p, acts) * deviation + mean
    model = SAEModel.load(file)
    assert_equal(model, x, acts, recon)
    found = model(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(found, recon, rtol=1e-5, atol=1e-5 * scale)


def test_openai_s_other_activations_are_refused(tmp_path):
    p = formulas.parameters()
    file = written.openai(tmp_path / "5.pt", p, "TopK", postact_fn="Identity")
    with pytest.raises(DataError, match="Identity"):
        SAEModel.load(file)


def test_gemma_scope(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    folder = written.gemma_scope(tmp_path / "layer_3", p)
    acts = formulas.jumprelu(p, x, centred=False)
    for place in (folder, folder / "params.npz"):
        model = SAEModel.load(place)
        assert_equal(model, x, acts, formulas.decode(p, acts))
        assert model.cfg["architecture"] == "jumprelu"
    moved = written.gemma_scope(tmp_path / "transcoders" / "layer_3", p)
    assert SAEModel.load(moved).cfg["architecture"] == "jumprelu_transcoder"
    scaled = written.gemma_scope(tmp_path / "s", p, scaling_factor=np.full(8, 2.0))
    with pytest.raises(DataError, match="scaling_factor"):
        SAEModel.load(scaled)


def test_llama_scope_in_the_units_of_raw_rows(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    folder = written.llama_scope(tmp_path, p, norms=(2.0, 4.0), threshold=0.3)
    p = {name: torch.from_numpy(a).bfloat16().float().numpy() for name, a in p.items()}
    s_in, s_out = np.sqrt(D) / 2, np.sqrt(D) / 4
    z = formulas.linear(p, s_in * x, centred=False) + p["encoder_bias"]
    acts = formulas.above(z / s_in, 0.3)
    recon = formulas.decode(p, s_in * acts) / s_out
    assert_equal(SAEModel.load(folder), x, acts, recon)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("target", ["resid_post", "mlp_out"])
def test_llama_scope_with_thresholds_of_activation_times_norm(
    tmp_path, centred, target
):
    p, x = formulas.parameters(), formulas.rows()
    facts = {
        "sparsity_include_decoder_norm": True,
        "apply_decoder_bias_to_pre_encoder": centred,
        "hook_point_out": f"blocks.0.hook_{target}",
    }
    written.llama_scope(tmp_path / "a", p, norms=(2.0, 4.0), threshold=0.3, **facts)
    p = {name: torch.from_numpy(a).bfloat16().float().numpy() for name, a in p.items()}
    s_in, s_out = np.sqrt(D) / 2, np.sqrt(D) / 4
    # the library first takes the scales into the parameters, then the norms
    bias = p["decoder_bias"] / s_out
    decoder = p["decoder"].astype(np.float64) * s_in / s_out
    norm = np.linalg.norm(decoder, axis=1)
    z = (x - centred * bias) @ p["encoder"].astype(np.float64)
    z = (z + p["encoder_bias"] / s_in) * norm
    acts = formulas.above(z, 0.3)
    recon = acts @ (decoder / norm[:, None]) + bias
    assert not np.allclose(acts > 0, z / norm > 0.3)
    model = SAEModel.load(tmp_path / "a")
    assert_equal(model, x, acts, recon)
    model.save(tmp_path / "b")
    assert_equal(SAEModel.load(tmp_path / "b"), x, acts, recon)


@pytest.mark.parametrize(
    "more",
    [
        {"norm_activation": "token-wise"},
        {"use_glu_encoder": True},
        {"act_fn": "topk"},
    ],
)
def test_llama_scope_s_other_ways_are_refused(more, tmp_path):
    written.llama_scope(tmp_path, formulas.parameters(), **more)
    with pytest.raises(DataError, match=next(iter(more))):
        SAEModel.load(tmp_path)


class Payload:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_is_never_executed(tmp_path, capsys):
    file = tmp_path / "ae.pt"
    torch.save({"encoder.weight": Payload()}, file)
    with pytest.raises(DataError, match="only tensors and plain values"):
        SAEModel.load(file)
    file.write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises((DataError, DamagedFileError)):
        SAEModel.load(file)
    assert "executed" not in capsys.readouterr().out


def test_damaged_and_missing_files_are_named(tmp_path):
    file = tmp_path / "ae.pt"
    file.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises((DamagedFileError, DataError), match=r"ae\.pt"):
        SAEModel.load(file)
    written.sparsify(tmp_path / "s", formulas.parameters())
    (tmp_path / "s" / "cfg.json").unlink()
    with pytest.raises(MissingError, match=r"cfg\.json"):
        SAEModel.load(tmp_path / "s")
    (tmp_path / "s" / "sae.safetensors").write_bytes(b"junk")
    (tmp_path / "s" / "cfg.json").write_text("{}")
    with pytest.raises(DamagedFileError, match=r"sae\.safetensors"):
        SAEModel.load(tmp_path / "s")
    with pytest.raises(MissingError, match="no saved model"):
        SAEModel.load(tmp_path / "nothing here")


@pytest.mark.parametrize("k", [0, -1, None])
def test_a_k_below_one_is_damage(k, tmp_path):
    written.sparsify(tmp_path, formulas.parameters())
    facts = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps(facts | {"k": k}))
    with pytest.raises(DamagedFileError, match=rf"k is {k}\. Copy it again"):
        SAEModel.load(tmp_path)


def test_a_pickle_that_is_no_checkpoint_is_no_model(tmp_path):
    torch.save({"ae": 3}, tmp_path / "ae.pt")
    with pytest.raises(MissingError, match="no saved model"):
        SAEModel.load(tmp_path)


def test_damage_to_files_of_other_libraries_asks_for_a_copy(tmp_path):
    p = formulas.parameters()
    written.sparsify(tmp_path, p | {"decoder": p["decoder"][:-1]})
    with pytest.raises(DamagedFileError, match=r"W_dec is .*on disk.*Copy it again"):
        SAEModel.load(tmp_path)


def test_settings_that_are_missing_are_named(tmp_path):
    p = formulas.parameters()
    written.hypothesaes(tmp_path / "sae.pt", p, k_active_neurons=3)
    content = torch.load(tmp_path / "sae.pt", weights_only=True)
    del content["config"]["k_active_neurons"]
    torch.save(content, tmp_path / "sae.pt")
    with pytest.raises(DataError, match="does not say k_active_neurons"):
        SAEModel.load(tmp_path / "sae.pt")


def test_a_pickled_model_says_how_it_is_read(tmp_path):
    p = formulas.parameters()
    written.sparsify(tmp_path / "in", p, None, transcode=False)
    torch.save(SAEModel.load(tmp_path / "in"), tmp_path / "sae.pt")
    with pytest.raises(DataError, match=r"holds a SAEModel.*with torch\.load"):
        SAEModel.load(tmp_path / "sae.pt")


def test_a_file_of_torch_that_is_no_model_is_none(tmp_path):
    torch.save([1, 2], tmp_path / "notes.pt")
    assert not has_model(tmp_path)
    written.hypothesaes(tmp_path / "notes.pt", formulas.parameters())
    assert has_model(tmp_path)
