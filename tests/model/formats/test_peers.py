"""Files that the libraries' own code writes and reads (extra `peers`), both ways."""

import json

import numpy as np
import pytest
import torch

import sae_formulas as formulas
from nanosae.model.formats import dictionary_learning, sparsify
from nanosae.model.sae import SAEModel
from sae_formulas import D, F, K, assert_equal

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
SAE_LENS = ["standard", "topk", "jumprelu", "gated"]
TRAINING = [
    "batchtopk",
    "matryoshka_batchtopk",
    "topk",
    "jumprelu",
    "gated",
    "standard",
]


def filled(module, seed=0):
    """Give every parameter of a library's module random values; thresholds positive ones."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.named_parameters():
        tensor.data = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        if "threshold" in name:
            tensor.data = 0.2 * tensor.data.abs()
    return module.eval()


def computed(module, x):
    with torch.no_grad():
        acts = module.encode(torch.from_numpy(x))
        return acts.numpy(), module.decode(acts).numpy()


def arrays(model):
    return {name: tensor.numpy() for name, tensor in model.tensors().items()}


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("kind", SAE_LENS)
def test_sae_lens_models(kind, centred, tmp_path):
    sae_lens = pytest.importorskip("sae_lens", reason="needs the extra 'peers'")
    classes = {
        "standard": (sae_lens.StandardSAE, sae_lens.StandardSAEConfig),
        "topk": (sae_lens.TopKSAE, sae_lens.TopKSAEConfig),
        "jumprelu": (sae_lens.JumpReLUSAE, sae_lens.JumpReLUSAEConfig),
        "gated": (sae_lens.GatedSAE, sae_lens.GatedSAEConfig),
    }
    module, config = classes[kind]
    options = {"k": K} if kind == "topk" else {}
    theirs = filled(
        module(config(d_in=D, d_sae=F, apply_b_dec_to_input=centred, **options))
    )
    theirs.save_model(tmp_path / "theirs")
    x = formulas.rows()
    acts, recon = computed(theirs, x)
    ours = SAEModel.load(tmp_path / "theirs")
    assert_equal(ours, x, acts, recon)
    ours.save(tmp_path / "ours")
    back = sae_lens.SAE.load_from_disk(str(tmp_path / "ours"))
    np.testing.assert_allclose(computed(back, x)[0], acts, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(computed(back, x)[1], recon, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", TRAINING)
def test_sae_lens_training_checkpoints(kind, dtype, tmp_path):
    """What SAELens itself would save for inference is the oracle."""
    pytest.importorskip("sae_lens", reason="needs the extra 'peers'")
    from sae_lens import SAE
    from sae_lens.registry import get_sae_training_class

    module, config = get_sae_training_class(kind)
    options = {"k": K} if "topk" in kind else {}
    if kind == "matryoshka_batchtopk":
        options["matryoshka_widths"] = [2, F]
    theirs = module(config(d_in=D, d_sae=F, dtype=dtype, **options))
    filled(theirs)
    if "batchtopk" in kind:
        theirs.topk_threshold = torch.tensor(0.8, dtype=torch.float64)
    theirs.save_model(tmp_path / "checkpoint")
    theirs.float()  # what was rounded to bfloat16 is then folded precisely
    theirs.dtype, theirs.cfg.dtype = torch.float32, "float32"
    theirs.save_inference_model(tmp_path / "inference")
    x = formulas.rows()
    acts, recon = computed(SAE.load_from_disk(str(tmp_path / "inference")), x)
    for saved in ("checkpoint", "inference"):
        assert_equal(SAEModel.load(tmp_path / saved), x, acts, recon)


@pytest.mark.parametrize("dict_class", dictionary_learning.NAMES)
def test_dictionary_learning(dict_class, tmp_path):
    pytest.importorskip("dictionary_learning", reason="needs the extra 'peers'")
    from dictionary_learning import dictionary
    from dictionary_learning.trainers import (
        batch_top_k,
        matryoshka_batch_top_k,
        top_k,
    )
    from dictionary_learning.utils import load_dictionary

    homes = {
        "AutoEncoderTopK": top_k,
        "BatchTopKSAE": batch_top_k,
        "MatryoshkaBatchTopKSAE": matryoshka_batch_top_k,
    }
    options = {"k": K} if "TopK" in dict_class else {}
    if "Matryoshka" in dict_class:
        options["group_sizes"] = [2, F - 2]
    module = getattr(homes.get(dict_class, dictionary), dict_class)(D, F, **options)
    filled(module)
    if "TopK" in dict_class:
        module.threshold = torch.tensor(0.6)
    (tmp_path / "theirs").mkdir()
    torch.save(module.state_dict(), tmp_path / "theirs" / "ae.pt")
    facts = {"trainer": {"dict_class": dict_class, **options}}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(facts))
    loaded, _ = load_dictionary(str(tmp_path / "theirs"), "cpu")
    x = formulas.rows()
    acts, recon = computed(loaded, x)
    ours = SAEModel.load(tmp_path / "theirs")
    assert_equal(ours, x, acts, recon)
    dictionary_learning.save(ours.cfg, arrays(ours), tmp_path / "ours")
    back, _ = load_dictionary(str(tmp_path / "ours"), "cpu")
    np.testing.assert_allclose(computed(back, x)[0], acts, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(computed(back, x)[1], recon, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transcode", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_sparsify(transcode, skip, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARSIFY_DISABLE_TRITON", "1")  # read when it is imported
    pytest.importorskip("sparsify", reason="needs the extra 'peers'")
    from sparsify import SparseCoder
    from sparsify.config import SparseCoderConfig

    config = SparseCoderConfig(
        num_latents=F, k=K, transcode=transcode, skip_connection=skip
    )
    theirs = filled(SparseCoder(D, config))
    theirs.save_to_disk(tmp_path / "theirs")
    x = formulas.rows()
    ours = SAEModel.load(tmp_path / "theirs")
    sparsify.save(ours.cfg, arrays(ours), tmp_path / "ours")
    for coder in (theirs, SparseCoder.load_from_disk(tmp_path / "ours")):
        with torch.no_grad():
            out = coder(torch.from_numpy(x))
            values, places, _ = coder.encode(torch.from_numpy(x))
        acts = torch.zeros(len(x), F).scatter(1, places, values).numpy()
        assert_equal(ours, x, acts, out.sae_out.numpy())


@pytest.mark.parametrize("batch", [False, True])
def test_hypothesaes(batch, tmp_path):
    sae = pytest.importorskip("hypothesaes.sae", reason="needs the extra 'peers'")
    theirs = filled(sae.SparseAutoencoder(D, F, K, use_batch_topk=batch, device="cpu"))
    theirs.threshold = torch.tensor(0.5)
    theirs.save(str(tmp_path / "made" / "SAE.pt"))
    x = formulas.rows()
    acts = theirs.get_activations(x, show_progress=False)
    with torch.no_grad():
        recon, _ = theirs(torch.from_numpy(x))
    assert_equal(SAEModel.load(tmp_path / "made" / "SAE.pt"), x, acts, recon.numpy())
