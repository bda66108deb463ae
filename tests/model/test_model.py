"""SAEModel: hand-computed cases, folding, files, pickles."""

import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from agreement import assert_agree, decisions_of
from nanosae.errors import ConfigError, DataError, DataTypeError
from nanosae.model.folding import fold
from nanosae.model.sae import SAEModel
from nanosae.model.weights import Weights

ARCHITECTURES = {
    "relu": "standard",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "gated": "gated",
}


def tensors(activation, width=5, hidden=9, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = {
        "W_enc": torch.randn(width, hidden, generator=g),
        "W_dec": torch.randn(hidden, width, generator=g),
        "b_dec": torch.randn(width, generator=g),
    }
    names = ["b_gate", "r_mag", "b_mag"] if activation == "gated" else ["b_enc"]
    names += ["threshold"] if activation == "jumprelu" else []
    made |= {name: 0.3 * torch.randn(hidden, generator=g) for name in names}
    if "threshold" in made:
        made["threshold"] = made["threshold"].abs()
    return made


def model(activation, **options):
    t = tensors(activation, **options)
    width, hidden = t["W_enc"].shape
    cfg = {"architecture": ARCHITECTURES[activation], "d_in": width, "d_sae": hidden}
    cfg |= {"k": 3} if activation == "topk" else {}
    fixed = {"dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True}
    fixed |= {"normalize_activations": "none", "reshape_activations": "none"}
    facts = {"activation": activation, "columns": None, "sae_lens_version": "6.0.0"}
    return SAEModel(cfg | fixed | {"metadata": facts}, t)


def test_two_latents_by_hand():
    sae = SAEModel(
        {"architecture": "standard", "d_in": 2, "d_sae": 2},
        {
            "W_enc": torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
            "b_enc": torch.tensor([0.0, -1.0]),
            "W_dec": torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
            "b_dec": torch.tensor([1.0, 1.0]),
        },
    )
    acts = sae.encode(torch.tensor([[3.0, 2.0], [0.0, 0.0]]))
    assert acts.tolist() == [[2.0, 1.0], [0.0, 0.0]]
    assert sae(torch.tensor([[3.0, 2.0]])).tolist() == [[2.0, 3.0]]


@pytest.mark.parametrize("activation", ARCHITECTURES)
def test_sparse_features_dense_encode_and_numpy_weights_agree(activation, tmp_path):
    sae = model(activation)
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        dense = sae.encode(x).numpy()
    sae.save(tmp_path)
    in_numpy = Weights.load(tmp_path)
    decisions = decisions_of(sae, x)
    assert_agree(sae.features(x), dense, decisions)
    assert_agree(in_numpy.encode(x.numpy()), dense, decisions)
    assert_agree(in_numpy.encode(x.numpy()), sae.features(x), decisions)
    assert 0 < (dense > 0).mean() < 1


@pytest.mark.parametrize("activation", ARCHITECTURES)
def test_latents_turned_off_by_an_infinite_bias_are_inactive(activation):
    sae = model(activation)
    x = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    bias = sae.b_gate if activation == "gated" else sae.b_enc
    with torch.no_grad():
        wanted = sae.encode(x)
        bias[2] = -np.inf
        found = sae.encode(x)
    assert wanted[:, 2].any()
    assert not found[:, 2].any()
    sparse = sae.features(x.numpy()).toarray()
    np.testing.assert_allclose(found.numpy(), sparse, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ARCHITECTURES)
def test_folding_changes_no_reconstruction_and_scales_activations(activation):
    t = tensors(activation)
    if activation != "topk":  # by rank, rows of other lengths would compete differently
        t["W_dec"][4] = 0
    else:
        t["W_dec"] /= t["W_dec"].norm(dim=1, keepdim=True)
    mean, scale = np.linspace(-1, 1, 5).astype(np.float32), 2.5
    raw = torch.randn(50, 5, generator=torch.Generator().manual_seed(2))
    rows = (raw - torch.from_numpy(mean)) * scale
    cfg = {"architecture": ARCHITECTURES[activation], "d_in": 5, "d_sae": 9, "k": 3}
    # before folding: pre-activations of the rows as they are
    unfolded = SAEModel(cfg, t | {"b_dec": torch.zeros(5)})
    acts = unfolded.encode(rows)
    want = (acts @ t["W_dec"] + t["b_dec"]) / scale + torch.from_numpy(mean)
    folded = SAEModel(cfg, fold(t, mean, scale))
    decided = decisions_of(folded, raw).decided_rows(factor=4)  # folding rounds, too
    assert decided.sum() > 40
    raw, acts, want = raw[decided], acts[decided], want[decided]
    torch.testing.assert_close(folded(raw), want, rtol=1e-4, atol=1e-5)
    norm = t["W_dec"].norm(dim=1)
    unit = torch.where(norm > 0, norm, 1.0)
    torch.testing.assert_close(
        folded.encode(raw), acts * unit / scale, rtol=1e-4, atol=1e-5
    )
    lengths = folded.W_dec.norm(dim=1)
    torch.testing.assert_close(lengths, (norm > 0).float(), rtol=1e-5, atol=0)


def test_the_folding_check_can_fail():
    t = tensors("relu")
    folded = fold(t, np.ones(5, np.float32), 2.0)
    forgot = fold(t, np.zeros(5, np.float32), 2.0)
    assert not torch.allclose(folded["b_dec"], forgot["b_dec"])


@pytest.mark.parametrize("activation", ARCHITECTURES)
def test_saved_and_pickled_models_are_bitwise_the_same(activation, tmp_path):
    sae = model(activation)
    sae.save(tmp_path / "model")
    torch.save(sae, tmp_path / "sae.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = torch.load(tmp_path / "sae.pt")
    for other in (
        SAEModel.load(tmp_path),
        SAEModel.from_pretrained(tmp_path / "model"),
        again,
    ):
        assert other.config == sae.config
        for name, tensor in sae.tensors().items():
            assert torch.equal(other.tensors()[name], tensor)


@pytest.mark.slow
def test_a_pickle_loads_in_another_process_without_a_warning(tmp_path):
    torch.save(model("relu"), tmp_path / "sae.pt")
    code = "import torch; from nanosae import SAEModel; print(torch.load('sae.pt'))"
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stderr
    assert "SAEModel(relu, 5 → 9" in out.stdout
    assert not out.stderr


def test_a_pickle_of_the_first_version_loads():
    """Written by nanosae 0.1.0 with torch.save: it names `nanosae.model.rebuild`."""
    file = Path(__file__).parent / "sae-0.1.0.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sae = torch.load(file)
    assert isinstance(sae, SAEModel)
    assert sae.config["activation"] == "batchtopk"
    acts = sae.encode(torch.tensor([[3.0, 2.0], [0.0, 0.0]]))
    expected = [[2.0, 1.0, 0.75], [0.0, 0.0, 0.25]]
    torch.testing.assert_close(acts, torch.tensor(expected))


def test_a_pickle_without_the_class_known_is_refused(tmp_path):
    torch.save(model("relu"), tmp_path / "sae.pt")
    with torch.serialization.safe_globals([]):
        before = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            with pytest.raises(Exception, match="rebuild"):
                torch.load(tmp_path / "sae.pt")
        finally:
            torch.serialization.add_safe_globals(before)


def test_errors_say_both_widths_and_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"x has width 4.*input_size=5"):
        model("relu").encode(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"(?s)7.*5|5.*7"):
        model("relu").features(np.zeros((2, 7), np.float32))
    with pytest.raises(FileNotFoundError, match=r"cfg\.json"):
        SAEModel.load(tmp_path)


def test_encode_refuses_what_is_no_tensor():
    with pytest.raises(TypeError, match="encode takes a torch tensor, not ndarray"):
        model("relu").encode(np.zeros((2, 5)))
    for acts in (np.zeros((2, 8)), sp.csr_array((2, 8))):
        with pytest.raises(
            TypeError, match=r"decode takes a torch tensor, .*reconstruct"
        ):
            model("relu").decode(acts)
    with pytest.raises(DataError, match="x has width none, but this SAE expects"):
        model("relu").encode(torch.tensor(1.0))


def test_a_corpus_is_encoded_with_its_texts_resumed_and_added_to(tmp_path, monkeypatch):
    sae = model("jumprelu")
    x = torch.randn(90, 5, generator=torch.Generator().manual_seed(5)).numpy()
    frame = pd.DataFrame(x, columns=[f"e{i}" for i in range(5)]).assign(
        text=[f"t{i}" for i in range(90)]
    )
    monkeypatch.setattr("nanosae.model.corpus.BLOCK_ROWS", 32)
    codes = sae.encode_corpus(frame, tmp_path / "codes")
    assert_agree(codes.rows(0, 90), sae.features(x), decisions_of(sae, x), rtol=2e-3)
    assert codes.texts([0, 89]).tolist() == ["t0", "t89"]
    np.testing.assert_allclose(codes.vectors([3]), x[[3]], rtol=1e-3, atol=1e-3)
    with pytest.raises(FileExistsError, match=r"--append.*--force"):
        sae.encode_corpus(frame[:8], tmp_path / "codes")
    # it is there already
    assert sae.encode_corpus(frame, tmp_path / "codes").n_rows == 90
    assert sae.encode_corpus(frame, tmp_path / "codes", resume=True).n_rows == 90
    assert sae.encode_corpus(frame[:7], tmp_path / "codes", append=True).n_rows == 97
    assert sae.encode_corpus(frame[:7], tmp_path / "codes", append=True).n_rows == 97
    with pytest.raises(ValueError, match="3 texts for 90 rows"):
        sae.encode_corpus(x, tmp_path / "other", metadata=["a", "b", "c"])


def test_no_row_changes_another_row_s_features():
    sae = model("jumprelu")
    x = torch.randn(64, 5, generator=torch.Generator().manual_seed(3))
    whole, single = sae.features(x), sae.features(x[10:11])
    assert_agree(whole[[10]], single, decisions_of(sae, x[10:11]))


def test_the_order_of_the_parameters_is_always_the_same():
    names = ["W_dec", "b_dec", "b_enc", "threshold"]
    given = tensors("jumprelu")
    cfg = model("jumprelu").cfg
    for order in itertools.permutations(["W_enc", *names]):
        sae = SAEModel(cfg, {name: given[name] for name in order})
        # optimisers know parameters by their places
        assert [name for name, _ in sae.named_parameters()] == ["_encoder", *names]


def test_the_state_dict_has_the_names_of_files():
    sae = model("jumprelu")
    state = sae.state_dict()
    assert state.keys() == tensors("jumprelu").keys()
    torch.testing.assert_close(state["W_enc"], sae.W_enc)
    other = model("jumprelu", seed=1)
    assert not torch.equal(other.W_enc, sae.W_enc)
    other.load_state_dict(state)
    x = torch.randn(4, 5)
    torch.testing.assert_close(other.encode(x), sae.encode(x))
    both = torch.nn.ModuleDict({"a": sae, "b": other})
    assert "a.W_enc" in both.state_dict()
    both.load_state_dict(both.state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_device_and_type_are_those_of_the_tensors(dtype):
    sae = model("jumprelu").to(dtype)
    assert (sae.device, sae.dtype) == (torch.device("cpu"), dtype)
    assert sae.to("meta").device == torch.device("meta")


def test_encode_is_differentiable():
    x = torch.randn(4, 5, requires_grad=True)
    model("gated")(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("activation", ARCHITECTURES)
def test_sae_lens_loads_the_folder_and_encodes_the_same(activation, tmp_path):
    sae_lens = pytest.importorskip("sae_lens", reason="needs the extra 'peers'")
    sae = model(activation)
    sae.save(tmp_path)
    other = sae_lens.SAE.load_from_disk(str(tmp_path))
    x = torch.randn(30, 5, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        decisions = decisions_of(sae, x)
        assert_agree(other.encode(x), sae.encode(x), decisions)
        x = x[decisions.decided_rows()]
        assert len(x) > 20
        torch.testing.assert_close(
            other.decode(other.encode(x)), sae(x), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("activation", ARCHITECTURES)
def test_a_model_of_another_type_is_the_float32_model_of_its_weights(
    activation, dtype, tmp_path
):
    theirs = model(activation).to(dtype)
    rounded = {name: tensor.float() for name, tensor in theirs.tensors().items()}
    ours = SAEModel(theirs.cfg, rounded)
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    expected = ours.features(x)
    found = theirs.features(x)
    assert found.dtype == np.float32
    # differences of biases round in float64, not in float32
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-5)
    np.testing.assert_array_equal(
        theirs.reconstruct(expected), ours.reconstruct(expected)
    )
    assert theirs.checksum == ours.checksum
    theirs.save(tmp_path)
    np.testing.assert_array_equal(
        SAEModel.load(tmp_path).features(x).toarray(), expected.toarray()
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("centres", [True, False])
def test_rows_of_any_type_are_encoded_in_the_type_of_the_model(dtype, centres):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    sae = model("jumprelu")
    sae.cfg |= {"apply_b_dec_to_input": centres}
    sae.W_skip = torch.nn.Parameter(torch.ones(5, 5))
    torch.testing.assert_close(sae.encode(x), sae.encode(x.float()), rtol=0, atol=0)
    torch.testing.assert_close(sae(x), sae(x.float()), rtol=0, atol=0)
    half = sae.to(torch.bfloat16)
    assert half.encode(x).dtype == half(x).dtype == torch.bfloat16


def test_a_tensor_with_gradient_is_reconstructed():
    sae, acts = model("relu"), torch.eye(2, 9, requires_grad=True)
    expected = sae.decode(acts).detach().numpy()
    np.testing.assert_allclose(sae.reconstruct(acts), expected, atol=1e-6)


def test_a_list_of_activations_is_reconstructed():
    sae, acts = model("relu"), np.eye(2, 9, dtype=np.float32)
    np.testing.assert_array_equal(sae.reconstruct(acts.tolist()), sae.reconstruct(acts))
    with pytest.raises(
        DataError, match=r"activations are \(1, 1\); needed: \(n_rows, 9\)"
    ):
        sae.reconstruct([[1.0]])


def test_sparse_tensors_are_reconstructed_and_words_are_not(monkeypatch):
    sae, acts = model("relu"), torch.eye(2, 9)
    wanted = sae.reconstruct(acts)
    # rows × features may not fit into memory
    monkeypatch.setattr(torch.Tensor, "to_dense", None, raising=False)
    for sparse in (acts.to_sparse(), acts.to_sparse().double()):
        np.testing.assert_array_equal(sae.reconstruct(sparse), wanted)
    with pytest.raises(DataError, match=r"activations are \(9,\); needed"):
        sae.reconstruct(acts[0].to_sparse())
    with pytest.raises(DataTypeError, match="of type <U1; needed: real numbers"):
        sae.reconstruct([["a"] * 9])


def test_a_format_that_does_not_exist_is_not_taken_for_another(tmp_path):
    model = SAEModel({"architecture": "standard"}, tensors("relu"))
    with pytest.raises(ConfigError, match="format='saelens' must be one of sae_lens, "):
        model.save(tmp_path / "out", format="saelens")
    assert not (tmp_path / "out").exists()
