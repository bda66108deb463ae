"""A saved SAE in numpy against a naive float64 encoder, one row and one latent at a time."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from safetensors.numpy import save_file

from agreement import assert_agree, decisions_of
from nanosae.model import weights
from nanosae.model.weights import Weights

ARCHITECTURES = ["standard", "topk", "jumprelu", "gated"]


def save_model(folder, architecture, *, n=6, m=11, k=3, seed=0, **cfg):
    rng = np.random.default_rng(seed)
    tensors = {"W_enc": (n, m), "W_dec": (m, n), "b_dec": (n,), "b_enc": (m,)}
    if architecture == "jumprelu":
        tensors["threshold"] = (m,)
    if architecture == "gated":
        del tensors["b_enc"]
        tensors |= dict.fromkeys(("b_gate", "r_mag", "b_mag"), (m,))
    arrays = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in tensors.items()
    }
    if architecture == "jumprelu":
        arrays["threshold"] = np.abs(arrays["threshold"])
    arrays["W_dec"][m - 1] = 0  # a dead latent
    folder.mkdir(parents=True, exist_ok=True)
    save_file(arrays, folder / "sae_weights.safetensors")
    facts = {
        "architecture": architecture,
        "d_in": n,
        "d_sae": m,
        "apply_b_dec_to_input": True,
    }
    facts |= {"k": k} if architecture == "topk" else {}
    facts |= {
        "normalize_activations": "none",
        "metadata": {"k": k, "embedder": None},
    } | cfg
    (folder / "cfg.json").write_text(json.dumps(facts))
    return arrays


def naive(x, t, architecture, k=3, subtract=True):
    """Encode with Python loops over float64 scalars."""
    n, m = t["W_enc"].shape
    out = np.zeros((len(x), m))
    for i in range(len(x)):
        for j in range(m):
            p = math.fsum(
                (float(x[i, a]) - subtract * float(t["b_dec"][a]))
                * float(t["W_enc"][a, j])
                for a in range(n)
            )
            if architecture == "gated":
                mag = p * math.exp(float(t["r_mag"][j])) + float(t["b_mag"][j])
                out[i, j] = max(mag, 0) if p + float(t["b_gate"][j]) > 0 else 0
                continue
            pre = p + float(t["b_enc"][j])
            if architecture == "jumprelu":
                out[i, j] = pre if pre > float(t["threshold"][j]) else 0
            else:
                out[i, j] = pre
        if architecture == "topk":
            order = sorted(range(m), key=lambda j: (-out[i, j], j))
            out[i, order[k:]] = 0
    return np.maximum(out, 0)


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(17, 6)).astype(np.float32)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_encode_agrees_with_the_naive_encoder(tmp_path, x, architecture):
    tensors = save_model(tmp_path / "model", architecture)
    model = Weights.load(tmp_path)
    found = model.encode(x)
    assert isinstance(found, sp.csr_array)
    assert found.dtype == np.float32
    assert (found.data > 0).all()
    assert_agree(found, naive(x, tensors, architecture), decisions_of(model, x))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_check_rejects_other_rules(tmp_path, x, architecture):
    tensors = save_model(tmp_path, architecture)
    found = Weights.load(tmp_path).encode(x).toarray()
    wrong = [naive(x, tensors, architecture, subtract=False)]
    if architecture == "topk":
        wrong += [naive(x, tensors, "standard"), naive(x, tensors, "topk", k=4)]
    if architecture == "jumprelu":  # a soft threshold, and none
        none = naive(x, tensors, "standard")
        wrong += [none, np.maximum(none - tensors["threshold"], 0)]
    if architecture == "gated":  # without the scale of the magnitudes
        wrong += [naive(x, tensors | {"r_mag": np.zeros(11)}, "gated")]
    for other in wrong:
        assert np.abs(found - other).max() > 0.01


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decode_sums_the_active_rows_of_the_decoder(tmp_path, x, architecture):
    tensors = save_model(tmp_path, architecture)
    model = Weights.load(tmp_path)
    acts = model.encode(x)
    found = model.decode(acts)
    for i in range(len(x)):
        expected = tensors["b_dec"].astype(np.float64)
        size = np.abs(expected)
        for j in range(model.hidden_size):
            term = acts[i, j] * tensors["W_dec"][j].astype(np.float64)
            expected = expected + term
            size = size + np.abs(term)
        assert (np.abs(found[i] - expected) <= 1e-6 * size).all()
        assert (
            np.abs(model.decode(acts[[i]].toarray()) - expected) <= 1e-6 * size
        ).all()
    assert found.dtype == np.float32


def test_blocks_of_rows_change_nothing(tmp_path, x, monkeypatch):
    save_model(tmp_path, "topk")
    model = Weights.load(tmp_path)
    whole = model.encode(x)
    monkeypatch.setattr(weights, "BLOCK", 5 * model.hidden_size)
    seen = []
    monkeypatch.setattr(
        Weights,
        "_encode",
        lambda self, rows, plain=Weights._encode: (
            seen.append(len(rows)) or plain(self, rows)
        ),
    )
    blocked = model.encode(x)
    assert seen == [5, 5, 5, 2]
    assert_agree(blocked, whole, decisions_of(model, x))


def test_equal_pre_activations_keep_the_lower_index():
    p = np.array(
        [[1, 3, 3, 3, 2], [0, 0, 0, 0, 0], [5, 4, 3, 2, 1], [2, 2, 9, 2, 2]], float
    )
    expected = [[0, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 1, 0, 0]]
    assert weights._is_among_largest(p, 2).astype(int).tolist() == expected
    last = np.argsort(p, axis=1, kind="stable")[:, -2:]  # the other way round
    assert sorted(last[0].tolist()) != [1, 2]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_copy_has_the_same_tensors_and_settings(tmp_path, architecture):
    tensors = save_model(tmp_path / "a", architecture)
    model = Weights.load(tmp_path / "a")
    model.save(tmp_path / "b")
    again = Weights.load(tmp_path / "b")
    assert again.cfg == model.cfg
    assert set(again.tensors()) == set(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(again.tensors()[name], array)


def test_directions_have_length_one_and_dead_ones_stay_zero(tmp_path):
    save_model(tmp_path, "standard")
    model = Weights.load(tmp_path)
    norms = np.linalg.norm(model.directions(), axis=1)
    np.testing.assert_allclose(norms[:-1], 1, atol=1e-6)
    assert norms[-1] == 0
    assert not np.allclose(np.linalg.norm(model.W_dec, axis=1)[:-1], 1)


def test_edges_no_rows_one_row_and_a_memory_map(tmp_path, x):
    save_model(tmp_path / "model", "jumprelu")
    model = Weights.load(tmp_path)
    assert model.encode(np.empty((0, 6))).shape == (0, 11)
    assert model.encode(x[3]).shape == (1, 11)
    np.save(tmp_path / "x.npy", x.astype(np.float16))
    mapped = model.encode(np.load(tmp_path / "x.npy", mmap_mode="r"))
    again = model.encode(x.astype(np.float16).astype(np.float32))
    assert_agree(mapped, again, decisions_of(model, x.astype(np.float16)))
    assert model.decode(sp.csr_array((0, 11))).shape == (0, 6)
    assert model.metadata["embedder"] is None
    assert (model.input_size, model.hidden_size) == (6, 11)


def test_k_larger_than_the_model_keeps_all_positive(tmp_path, x):
    tensors = save_model(tmp_path, "topk", k=50)
    model = Weights.load(tmp_path)
    assert_agree(model.encode(x), naive(x, tensors, "standard"), decisions_of(model, x))


def test_input_bias_is_optional(tmp_path, x):
    tensors = save_model(tmp_path, "standard", apply_b_dec_to_input=False)
    model = Weights.load(tmp_path)
    expected = naive(x, tensors, "standard", subtract=False)
    assert_agree(model.encode(x), expected, decisions_of(model, x))


def test_errors_name_both_sides(tmp_path, x):
    with pytest.raises(
        FileNotFoundError, match=r"no saved model in .*cfg\.json is missing"
    ):
        Weights.load(tmp_path)
    save_model(tmp_path, "topk")
    with pytest.raises(ValueError, match="width 5, but this SAE expects 6"):
        Weights.load(tmp_path).encode(x[:, :5])
    with pytest.raises(ValueError, match=r"shape \(1, \d+, 6\); needed: \(n, 6\)"):
        Weights.load(tmp_path).encode(x[None])
    for value in (np.nan, np.inf):
        spoilt = np.where(np.arange(6) == 3, value, x)
        with pytest.raises(ValueError, match="x has values that are NaN or infinite"):
            Weights.load(tmp_path).encode(spoilt)
    save_model(tmp_path, "topk", d_sae=12)
    with pytest.raises(
        ValueError, match=r"W_enc is \(6, 11\) on disk, cfg.json needs \(6, 12\)"
    ):
        Weights.load(tmp_path)
    facts = json.loads((tmp_path / "cfg.json").read_text()) | {"d_sae": 11}
    (tmp_path / "cfg.json").write_text(json.dumps(facts | {"architecture": "jumprelu"}))
    with pytest.raises(ValueError, match="threshold is missing on disk"):
        Weights.load(tmp_path)
    (tmp_path / "cfg.json").write_text(
        json.dumps(facts | {"architecture": "crosscoder"})
    )
    with pytest.raises(ValueError, match="architecture 'crosscoder' and the scaling"):
        Weights.load(tmp_path)
    save_model(tmp_path, "topk", normalize_activations="constant_norm_rescale")
    with pytest.raises(ValueError, match="scaling 'constant_norm_rescale'"):
        Weights.load(tmp_path)


def test_no_torch_is_imported():
    code = "import nanosae.model.weights, nanosae.codes, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    code = "import sys; sys.modules['torch'] = 1; sys.exit('torch' in sys.modules)"  # it can fail
    assert subprocess.run([sys.executable, "-c", code]).returncode == 1
