"""dictionary_learning's classes against its formulas, both ways."""

import gc
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import foreign_files as written
import sae_formulas as formulas
from nanosae.errors import DataError
from nanosae.model.formats import dictionary_learning
from nanosae.model.sae import SAEModel
from sae_formulas import F, assert_equal

SHARED = 0.4


def calculated(dict_class, p, x):
    if dict_class == "AutoEncoder":  # its loader scales activations by the norms
        acts = formulas.standard(p, x)
        return acts * formulas.norms(p), formulas.decode(p, acts)
    acts = {
        "AutoEncoderNew": lambda: formulas.standard(p, x, centred=False),
        "GatedAutoEncoder": lambda: formulas.gated(p, x),
        "AutoEncoderTopK": lambda: formulas.topk(p, x),
        "BatchTopKSAE": lambda: formulas.jumprelu(p, x, threshold=SHARED),
        "MatryoshkaBatchTopKSAE": lambda: formulas.jumprelu(p, x, threshold=SHARED),
        "JumpReluAutoEncoder": lambda: formulas.jumprelu(p, x, centred=False),
    }[dict_class]()
    return acts, formulas.decode(p, acts)


@pytest.mark.parametrize("dict_class", dictionary_learning.NAMES)
def test_every_class(dict_class, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    written.dictionary_learning(tmp_path, dict_class, p, SHARED, lm_name="gpt2")
    for place in (tmp_path, tmp_path / "ae.pt"):
        model = SAEModel.load(place)
        assert_equal(model, x, *calculated(dict_class, p, x))
    assert model.config["model_name"] == "gpt2"
    assert model.config["dictionary_learning"]["dict_class"] == dict_class


def held_bytes():
    """Bytes of all tensors that are alive."""
    gc.collect()
    alive = [x for x in gc.get_objects() if issubclass(type(x), torch.Tensor)]
    storages = {tensor.untyped_storage() for tensor in alive}
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    return sum(sizes.values())


@pytest.mark.slow
@pytest.mark.parametrize("dict_class", ["AutoEncoderNew", "JumpReluAutoEncoder"])
def test_nothing_of_the_file_stays_in_memory(dict_class, tmp_path):
    written.dictionary_learning(tmp_path, dict_class, formulas.parameters(), SHARED)
    before = held_bytes()
    model = SAEModel.load(tmp_path)
    own = sum(parameter.nbytes for parameter in model.parameters())
    assert held_bytes() - before == own


@pytest.mark.slow
def test_a_loaded_model_outlives_its_file(tmp_path):
    # a tensor that were still mapped to the file would end the process
    written.dictionary_learning(tmp_path, "JumpReluAutoEncoder", formulas.parameters())
    code = (
        "import os, sys, torch; from nanosae import SAEModel\n"
        "model = SAEModel.load(sys.argv[1]); os.truncate(sys.argv[1] + '/ae.pt', 0)\n"
        "model(torch.zeros(1, model.config['input_size']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert done.returncode == 0


def test_files_in_the_format_before_pytorch_1_6_are_read(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    written.dictionary_learning(tmp_path, "AutoEncoderNew", p)
    state = torch.load(tmp_path / "ae.pt", weights_only=True)
    torch.save(state, tmp_path / "ae.pt", _use_new_zipfile_serialization=False)
    acts = formulas.standard(p, x, centred=False)
    assert_equal(SAEModel.load(tmp_path), x, acts, formulas.decode(p, acts))


def test_a_threshold_that_was_never_set_keeps_all_positive_entries(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    written.dictionary_learning(tmp_path, "BatchTopKSAE", p, threshold=-1.0)
    acts = formulas.standard(p, x)
    assert_equal(SAEModel.load(tmp_path), x, acts, formulas.decode(p, acts))


def test_the_file_of_an_interrupted_training(tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    written.dictionary_learning(tmp_path, "JumpReluAutoEncoder", p)
    state = torch.load(tmp_path / "ae.pt", weights_only=True)
    content = {"step": 7, "ae": state, "optimizer": {}, "norm_factor": 2.0}
    torch.save(content, tmp_path / "ae.pt")
    biases = ("encoder_bias", "decoder_bias", "threshold")
    scaled = p | {name: 2 * p[name] for name in biases}
    acts = formulas.jumprelu(scaled, x, centred=False)
    assert_equal(SAEModel.load(tmp_path), x, acts, formulas.decode(scaled, acts))


@pytest.mark.parametrize("dict_class", dictionary_learning.NAMES)
def test_the_class_is_told_by_the_tensors_where_it_can_be(dict_class, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    written.dictionary_learning(tmp_path, dict_class, p, SHARED)
    (tmp_path / "config.json").unlink()
    if dict_class in ("AutoEncoderTopK", "BatchTopKSAE"):
        with pytest.raises(DataError, match=r"AutoEncoderTopK or a BatchTopKSAE"):
            SAEModel.load(tmp_path)
        return
    assert_equal(SAEModel.load(tmp_path), x, *calculated(dict_class, p, x))


def test_an_unknown_class_is_refused_by_name(tmp_path):
    written.dictionary_learning(tmp_path, "AutoEncoder", formulas.parameters())
    facts = {"trainer": {"dict_class": "CrossCoder"}}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="dict_class 'CrossCoder'"):
        SAEModel.load(tmp_path)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", ["standard", "topk", "jumprelu", "gated"])
def test_what_is_written_computes_the_same(kind, centred, unit, tmp_path):
    p, x = formulas.parameters(), formulas.rows()
    if unit:
        p["decoder"] /= np.linalg.norm(p["decoder"], axis=1, keepdims=True)
    else:
        p["decoder"][2] = 0  # which the library's loader would divide by
    cfg = {"architecture": kind, "apply_b_dec_to_input": centred}
    cfg |= {"k": 3} if kind == "topk" else {}
    written.sae_lens(tmp_path / "ours", cfg, written.sae_lens_tensors(p, kind))
    ours = SAEModel.load(tmp_path / "ours")
    arrays = {name: tensor.numpy() for name, tensor in ours.tensors().items()}
    dictionary_learning.save(ours.cfg, arrays, tmp_path / "theirs")
    theirs = SAEModel.load(tmp_path / "theirs")
    rows = torch.from_numpy(x)
    with torch.no_grad():
        acts, recon = ours.encode(rows).numpy(), ours(rows).numpy()
    assert_equal(theirs, x, acts, recon)
    state = torch.load(tmp_path / "theirs" / "ae.pt", weights_only=True)
    assert all(torch.isfinite(tensor.float()).all() for tensor in state.values())


def test_what_the_library_has_not_is_refused(tmp_path):
    p = formulas.parameters()
    cfg = {"architecture": "standard", "normalize_activations": "layer_norm"}
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p))
    model = SAEModel.load(tmp_path)
    arrays = {name: tensor.numpy() for name, tensor in model.tensors().items()}
    with pytest.raises(DataError, match="layer_norm"):
        dictionary_learning.save(model.cfg, arrays, tmp_path / "out")
    transcoder = model.cfg | {"architecture": "transcoder", "d_out": F}
    with pytest.raises(DataError, match="transcoder"):
        dictionary_learning.save(transcoder, arrays, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_lacks_its_threshold_or_k_is_named(tmp_path):
    p = formulas.parameters()
    written.dictionary_learning(tmp_path, "JumpReluAutoEncoder", p, SHARED)
    state = torch.load(tmp_path / "ae.pt", weights_only=True)
    del state["threshold"]
    torch.save(state, tmp_path / "ae.pt")
    for has_config in (True, False):
        if not has_config:
            (tmp_path / "config.json").unlink()
        with pytest.raises(DataError, match=r"lacks the tensors \['threshold'\]"):
            SAEModel.load(tmp_path)
    written.dictionary_learning(tmp_path, "AutoEncoderTopK", p, SHARED)
    state = torch.load(tmp_path / "ae.pt", weights_only=True)
    state.pop("k", None)
    torch.save(state, tmp_path / "ae.pt")
    facts = {"trainer": {"dict_class": "AutoEncoderTopK"}}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match="does not say k"):
        SAEModel.load(tmp_path)
