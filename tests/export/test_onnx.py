"""The exported graph in ONNX's runtime beside the model."""

import numpy as np
import pytest

import foreign_files as written
import sae_formulas as formulas
from nanosae import SAEModel
from nanosae.errors import DataError, DataTypeError
from nanosae.export import onnx
from nanosae.export.onnx import to_onnx
from nanosae.model.weights import Weights
from needs import needs
from sae_formulas import K

pytestmark = [needs("onnx", extra="onnx"), needs("onnxruntime", extra="onnx")]
CALCULATED = {
    "standard": formulas.standard,
    "topk": formulas.topk,
    "jumprelu": formulas.jumprelu,
    "gated": formulas.gated,
}


def run(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["activations", "reconstruction"], {"rows": x})


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("kind", CALCULATED)
def test_every_architecture(kind, centred, tmp_path):
    if kind == "gated" and not centred:
        pytest.skip("the formula is centred")
    p, x = formulas.parameters(), formulas.rows()
    cfg = {"architecture": kind, "k": K, "apply_b_dec_to_input": centred}
    written.sae_lens(tmp_path, cfg, written.sae_lens_tensors(p, kind))
    to_onnx(Weights.load(tmp_path), tmp_path / "sae.onnx")
    options = {} if kind == "gated" else {"centred": centred}
    wanted = CALCULATED[kind](p, x, **options)
    acts, recon = run(tmp_path / "sae.onnx", x)
    np.testing.assert_allclose(acts, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(recon, formulas.decode(p, wanted), rtol=1e-5, atol=1e-5)
    one_row, _ = run(tmp_path / "sae.onnx", x[:1])
    np.testing.assert_allclose(one_row, acts[:1], rtol=1e-6)


@pytest.mark.parametrize("scale", [1, 1e-3])
def test_standardised_rows_and_skip_connections(tmp_path, scale):
    p, x = formulas.parameters(), np.float32(scale) * (3 * formulas.rows() + 2)
    cfg = {"architecture": "topk", "k": K, "normalize_activations": "layer_norm"}
    written.sae_lens(tmp_path / "norm", cfg, written.sae_lens_tensors(p))
    to_onnx(Weights.load(tmp_path / "norm"), tmp_path / "norm.onnx")
    mean = x.astype(np.float64).mean(axis=1, keepdims=True)
    deviation = x.astype(np.float64).std(axis=1, ddof=1, keepdims=True)
    wanted = formulas.topk(p, (x - mean) / (deviation + 1e-5))
    acts, recon = run(tmp_path / "norm.onnx", x)
    np.testing.assert_allclose(acts, wanted, rtol=1e-4, atol=1e-5)
    whole = formulas.decode(p, wanted) * deviation + mean
    np.testing.assert_allclose(recon, whole, rtol=1e-4, atol=1e-4 * scale)
    transcoder = {"d_out": 5, "apply_b_dec_to_input": False}
    cfg |= transcoder | {"architecture": "topk_transcoder"}
    written.sae_lens(tmp_path / "other", cfg, written.sae_lens_tensors(p))
    to_onnx(Weights.load(tmp_path / "other"), tmp_path / "other.onnx")
    acts, recon = run(tmp_path / "other.onnx", x)
    np.testing.assert_allclose(recon, formulas.decode(p, acts), rtol=1e-4, atol=1e-4)
    matrix = np.random.default_rng(5).normal(size=(5, 5)).astype(np.float32)
    written.sparsify(tmp_path / "skip", p, matrix, transcode=True)
    to_onnx(Weights.load(tmp_path / "skip"), tmp_path / "skip.onnx")
    acts, recon = run(tmp_path / "skip.onnx", x)
    wanted = formulas.decode(p, formulas.topk(p, x, centred=False)) + x @ matrix.T
    np.testing.assert_allclose(recon, wanted, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    p = formulas.parameters()
    tensors = written.sae_lens_tensors(p)
    folder = written.sae_lens(tmp_path / "sae", {"architecture": "standard"}, tensors)
    with pytest.raises(DataTypeError, match=r"not SAEModel\. Give Weights\.load"):
        to_onnx(SAEModel.load(folder), tmp_path / "x.onnx")
    monkeypatch.setattr(onnx, "LARGEST", 100)
    with pytest.raises(DataError, match=r"an ONNX file holds at most 2 GB"):
        to_onnx(Weights.load(folder), tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
