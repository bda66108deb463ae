"""An SAE inside a language model, against hooks written by hand and finite differences."""

import numpy as np
import pytest
import torch

from language_models import texts_of, tokenizer_of
from nanosae import SAEModel, attribution, loss_recovered, splice
from nanosae.errors import ConfigError, DataError, DataTypeError
from nanosae.text.splice import Passes
from needs import needs

pytestmark = needs("transformers", extra="activations")

WIDTH, LATENTS = 16, 40
IDS = torch.tensor([[4, 9, 12, 7, 20, 31], [4, 15, 8, 8, 40, 11]])  # 4 begins texts
LAYER = {"llama": "model.layers.1", "gpt2": "transformer.h.1"}


def causal(kind):
    import transformers

    torch.manual_seed(0)
    if kind == "gpt2":
        sizes = {"n_embd": WIDTH, "n_layer": 3, "n_head": 2, "vocab_size": 99}
        special = {"bos_token_id": 4, "eos_token_id": 4, "initializer_range": 0.3}
        config = transformers.GPT2Config(**sizes, **special)
        return transformers.GPT2LMHeadModel(config).eval()
    sizes = {"hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 99}
    special = {"bos_token_id": 4, "eos_token_id": 5, "pad_token_id": 0}
    config = transformers.LlamaConfig(**sizes, **special, initializer_range=0.3)
    return transformers.LlamaForCausalLM(config).eval()


def autoencoder(**metadata):
    g = torch.Generator().manual_seed(1)
    tensors = {
        "W_enc": torch.randn(WIDTH, LATENTS, generator=g),
        "W_dec": torch.randn(LATENTS, WIDTH, generator=g) / 4,
        "b_enc": torch.randn(LATENTS, generator=g),
        "b_dec": torch.randn(WIDTH, generator=g),
    }
    cfg = {"architecture": "topk", "k": 5, "d_in": WIDTH, "d_sae": LATENTS}
    return SAEModel(cfg | {"metadata": metadata}, tensors)


def by_hand(model, layer, change, ids=IDS):
    """Logits of a model in which a plain hook changes the layer's output."""

    def hook(_module, _inputs, output):
        x = output if torch.is_tensor(output) else output[0]
        y = change(x)
        return y if torch.is_tensor(output) else (y, *output[1:])

    handle = model.get_submodule(layer).register_forward_hook(hook)
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    handle.remove()
    return logits


def spliced(model, *args, ids=IDS, **options):
    with torch.no_grad(), splice(model, *args, **options):
        return model(input_ids=ids).logits


def beyond_first(x, y):
    """The changed vectors, but that of the begin-of-text token."""
    return torch.cat([x[:, :1], y[:, 1:]], dim=1)


@pytest.mark.parametrize("kind", LAYER)
def test_the_output_becomes_the_reconstruction_but_for_the_first_token(kind):
    model, sae = causal(kind), autoencoder()
    found = spliced(model, LAYER[kind], sae)
    wanted = by_hand(model, LAYER[kind], lambda x: beyond_first(x, sae(x)))
    torch.testing.assert_close(found, wanted)
    short = LAYER[kind].split(".", 1)[1]  # as the model without its head calls it
    torch.testing.assert_close(spliced(model, short, sae), wanted)
    everywhere = by_hand(model, LAYER[kind], sae)
    assert (everywhere - wanted).abs().max() > 0.01
    torch.testing.assert_close(spliced(model, short, sae, leave_out=()), everywhere)


def test_an_sae_that_was_trained_on_special_tokens_replaces_them():
    model, sae = causal("llama"), autoencoder(exclude_special_tokens=False)
    wanted = by_hand(model, LAYER["llama"], sae)
    torch.testing.assert_close(spliced(model, LAYER["llama"], sae), wanted)


def test_vectors_of_unusual_length_stay():
    model, sae = causal("llama"), autoencoder()
    embedding = model.model.embed_tokens.weight.data
    embedding[31] *= 1000

    def change(x):
        y = beyond_first(x, sae(x))
        y[0, 5] = x[0, 5]
        return y

    wanted = by_hand(model, LAYER["llama"], change)
    torch.testing.assert_close(spliced(model, LAYER["llama"], sae), wanted)
    other = spliced(model, LAYER["llama"], sae, max_norm=float("inf"))
    assert (other - wanted).abs().max() > 0.01


def test_steering_adds_decoder_rows_and_ablation_takes_them_away():
    model, sae = causal("gpt2"), autoencoder()
    decoder = sae.W_dec.detach()

    def steer(x):
        return beyond_first(x, x + 3.0 * decoder[7] - 1.0 * decoder[2])

    def ablate(x):
        acts = sae.encode(x).detach()
        return beyond_first(x, x - acts[..., [11]] @ decoder[[11]])

    wanted = by_hand(model, LAYER["gpt2"], steer)
    found = spliced(model, LAYER["gpt2"], sae, add={7: 3.0, 2: -1.0})
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    wanted = by_hand(model, LAYER["gpt2"], ablate)
    found = spliced(model, LAYER["gpt2"], sae, ablate=[11])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_rules_of_the_training_are_those_of_its_metadata():
    model = causal("llama")
    model.model.embed_tokens.weight.data[31] *= 1000

    def with_rules(limit, **metadata):
        sae = autoencoder(hook_name=LAYER["llama"], **metadata)
        found = spliced(model, None, sae)
        return found, spliced(model, LAYER["llama"], sae, max_norm=limit)

    short, by_hand = with_rules(3.0, max_norm=3.0)
    torch.testing.assert_close(short, by_hand)
    long, by_hand = with_rules(float("inf"), max_norm=None)
    torch.testing.assert_close(long, by_hand)
    assert (short - long).abs().max() > 0.01
    listed = autoencoder(exclude_special_tokens=[9])
    wanted = spliced(model, "layers.1", autoencoder(), leave_out=[9])
    torch.testing.assert_close(spliced(model, "layers.1", listed), wanted)


def test_a_whole_model_without_its_head_is_a_layer():
    model, sae = causal("llama"), autoencoder()
    found = spliced(model, "model", sae)
    wanted = by_hand(model, "model.norm", lambda x: beyond_first(x, sae(x)))
    torch.testing.assert_close(found, wanted)
    of_both = [attribution(model, name, sae, IDS[0], 3) for name in ("model", "norm")]
    torch.testing.assert_close(*of_both)


@pytest.mark.parametrize("kind", LAYER)
def test_transformer_lens_names_of_layers_are_known(kind):
    model, sae = causal(kind), autoencoder(hook_name="blocks.1.hook_resid_post")
    wanted = spliced(model, LAYER[kind], autoencoder())
    torch.testing.assert_close(spliced(model, None, sae), wanted)


def test_another_layer_or_model_than_that_of_the_training_is_said():
    model = causal("llama")
    sae = autoencoder(hook_name="model.layers.0", model_name="someone/tiny")
    with pytest.warns(
        UserWarning, match=r"layer model\.layers\.0; this is model\.layers\.1"
    ):
        spliced(model, "layers.1", sae)
    model.name_or_path = "another/tiny"  # the same name of another owner
    spliced(model, None, sae)
    model.name_or_path = "someone/large"
    with pytest.warns(UserWarning, match="model tiny; this is large"):
        spliced(model, None, sae)
    with pytest.raises(ConfigError, match="does not record the layer"):
        spliced(model, None, autoencoder())
    with pytest.raises(ConfigError, match="one row per text"):
        spliced(model, "layers.1", autoencoder(pooling="mean"))


def test_hooks_go_when_the_block_ends_even_by_an_error():
    model, sae = causal("llama"), autoencoder()
    with torch.no_grad():
        before = model(input_ids=IDS).logits
    with (
        pytest.raises(RuntimeError, match="stop"),
        splice(model, "layers.1", sae),
    ):
        raise RuntimeError("stop")
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=IDS).logits, before)


def test_generation_is_steered():
    model, sae = causal("llama"), autoencoder()
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    plain = model.generate(IDS[:1], attention_mask=torch.ones(1, 6), **options)
    with splice(model, "layers.1", sae, add={3: 30.0}):
        steered = model.generate(IDS[:1], attention_mask=torch.ones(1, 6), **options)
    assert steered.shape[1] > 6
    assert steered.tolist() != plain.tolist()


@pytest.mark.parametrize("kind", LAYER)
def test_attribution_is_the_slope_of_the_logit(kind):
    model, sae = causal(kind).double(), autoencoder()
    ids, token = IDS[0], 17
    found = attribution(model, LAYER[kind], sae, ids, token)
    assert found.shape == (6, LATENTS)
    with torch.no_grad():
        states = []
        by_hand(model, LAYER[kind], lambda x: states.append(x) or x, ids[None])
        acts = sae.encode(states[0][0].float())
    decoder, step = sae.W_dec.detach().double(), 1e-4
    assert (found[0] == 0).all()  # training skips the begin-of-text token
    assert (found[1:] != 0).any(dim=1).all()
    for place, feature in acts.nonzero().tolist()[::5]:
        if place == 0:
            continue
        logits = []
        for sign in (1, -1):

            def nudge(x, by=sign * step, place=place, feature=feature):
                y = x.clone()
                y[0, place] += by * acts[place, feature] * decoder[feature]
                return y

            made = by_hand(model, LAYER[kind], nudge, ids[None])
            logits.append(made[0, -1, token])
        slope = (logits[0] - logits[1]) / (2 * step)
        assert float(found[place, feature]) == pytest.approx(float(slope), abs=1e-3)
    assert (found[acts == 0] == 0).all()


def test_attribution_is_zero_where_splicing_changes_nothing():
    model, sae = causal("llama"), autoencoder()
    model.model.embed_tokens.weight.data[20] *= 1000
    found = attribution(model, LAYER["llama"], sae, IDS[0], 17)
    assert (found != 0).any(dim=1).tolist() == [False, True, True, True, False, True]
    everywhere = autoencoder(exclude_special_tokens=False, max_norm=None)
    found = attribution(model, LAYER["llama"], everywhere, IDS[0], 17)
    assert (found != 0).any(dim=1).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_an_sae_of_another_type_is_spliced_and_attributed(dtype):
    model, sae = causal("llama"), autoencoder()
    other = autoencoder().to(dtype)
    for edits in ({}, {"add": {3: 2.0}, "ablate": [1]}):
        found = spliced(model, LAYER["llama"], other, **edits)
        assert found.dtype == torch.float32
        expected = spliced(model, LAYER["llama"], sae, **edits)
        close = (found - expected).norm() < 0.1 * expected.norm()
        assert close, (found - expected).norm() / expected.norm()
    found, expected = (
        attribution(model, LAYER["llama"], given, IDS[0], 17) for given in (other, sae)
    )
    assert (found - expected).norm() < 0.2 * expected.norm()


def test_loss_recovered_and_divergence_by_hand():
    model, sae, tokenizer = causal("llama"), autoencoder(), tokenizer_of("llama")
    texts = texts_of(6, seed=3, longest=8)
    found = loss_recovered(model, "layers.1", sae, [*texts, ""], tokenizer=tokenizer)
    losses, divergences = {"as it is": [], "sae": [], "zeros": []}, []
    for text in texts:
        ids = torch.tensor([[4, *tokenizer(text)["input_ids"]]])
        changes = {
            "as it is": lambda x: x,
            "sae": lambda x: beyond_first(x, sae(x)),
            "zeros": lambda x: 0 * x,
        }
        logs = {}
        for name, change in changes.items():
            logits = (
                by_hand(model, LAYER["llama"], change, ids)[0, :-1].double().numpy()
            )
            largest = logits.max(axis=1, keepdims=True)
            total = np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
            logs[name] = logits - largest - total
            right = ids[0, 1:].numpy()
            each = -logs[name][np.arange(len(right)), right]
            losses[name] += each[1:].tolist()  # not what begins the text
        p = np.exp(logs["as it is"])
        each = (p * (logs["as it is"] - logs["sae"])).sum(axis=1)
        divergences += each[1:].tolist()
    plain, with_sae, zeros = (np.mean(values) for values in losses.values())
    assert found.tokens == len(divergences)
    assert found.loss == pytest.approx(plain, rel=1e-5)
    assert found.loss_spliced == pytest.approx(with_sae, rel=1e-5)
    assert found.loss_zeroed == pytest.approx(zeros, rel=1e-5)
    assert found.kl == pytest.approx(np.mean(divergences), rel=1e-4)
    share = (zeros - with_sae) / (zeros - plain)
    assert found.loss_recovered == pytest.approx(share, rel=1e-4)
    headless = loss_recovered(
        model, "layers.1", autoencoder(prepend_bos=False), texts, tokenizer=tokenizer
    )
    n_alone = sum(len(tokenizer(text)["input_ids"]) - 1 for text in texts)
    assert headless.tokens == n_alone == found.tokens
    assert headless.loss != pytest.approx(found.loss, rel=1e-3)
    with pytest.raises(DataError, match="two tokens"):
        loss_recovered(model, "layers.1", sae, [""], tokenizer=tokenizer)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_sae_lens_own_evaluation_gives_the_same_losses(tmp_path):
    """Its model wrapper, its evaluation and its reading of the SAE that was saved here."""
    pytest.importorskip("sae_lens", reason="needs the extra 'peers'")
    from types import SimpleNamespace

    from sae_lens import SAE
    from sae_lens.evals import get_downstream_reconstruction_metrics
    from sae_lens.load_model import HookedProxyLM

    model, tokenizer = causal("llama"), tokenizer_of("llama")
    sae = autoencoder(hook_name=LAYER["llama"], max_norm=None, sae_lens_version="6.0.0")
    sae.cfg |= {"dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True}
    sae.cfg |= {"rescale_acts_by_decoder_norm": False, "normalize_activations": "none"}
    sae.save(tmp_path)
    texts = texts_of(6, seed=3, longest=8)
    found = loss_recovered(model, None, sae, texts, tokenizer=tokenizer)
    theirs = SAE.load_from_disk(str(tmp_path))
    hook = theirs.cfg.metadata.hook_name
    batches = (torch.tensor([[4, *tokenizer(text)["input_ids"]]]) for text in texts)
    rows_as_they_are = SimpleNamespace(scale=lambda x: x, unscale=lambda x: x)
    with torch.no_grad():
        measured = get_downstream_reconstruction_metrics(
            theirs,
            HookedProxyLM(model, tokenizer, hook_names=[hook]),
            SimpleNamespace(get_batch_tokens=lambda _n: next(batches)),
            rows_as_they_are,
            compute_kl=False,
            compute_ce_loss=True,
            n_batches=len(texts),
            eval_batch_size_prompts=1,
            ignore_tokens=[4, 5, 0],
        )
    names = {
        "loss": "ce_loss_without_sae",
        "loss_spliced": "ce_loss_with_sae",
        "loss_zeroed": "ce_loss_with_ablation",
        "loss_recovered": "ce_loss_score",
    }
    for ours, name in names.items():
        assert getattr(found, ours) == pytest.approx(measured[name], rel=1e-3), ours


def test_a_transcoder_is_neither_spliced_nor_attributed():
    model, sae = causal("llama"), autoencoder()
    sae.cfg["architecture"] = "transcoder"
    with (
        pytest.raises(ConfigError, match="A transcoder cannot be spliced"),
        splice(model, "layers.1", sae),
    ):
        pass
    with pytest.raises(ConfigError, match="A transcoder cannot be spliced"):
        attribution(model, "layers.1", sae, IDS[0], token=3)


def test_mistakes_are_named():
    model, sae = causal("llama"), autoencoder()
    with (
        pytest.raises(ConfigError, match="no feature 40; this SAE has 40"),
        splice(model, "layers.1", sae, add={40: 1.0}),
    ):
        pass
    with (
        pytest.raises(ConfigError, match=r"no layer 'layers.9'.*similar"),
        splice(model, "layers.9", sae),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"add": {"7": 1.0}}, "feature='7' must be a whole number"),
        ({"add": {-1: 1.0}}, "feature=-1 must be at least 0"),
        ({"add": {7: "much"}}, "amount='much' must be a number"),
        ({"add": [7]}, r"add=\[7\] must map features to amounts"),
        ({"ablate": [40]}, "no feature 40"),
        ({"ablate": 1.5}, r"feature=1\.5 must be a whole number"),
        ({"max_norm": 0}, "max_norm=0 must be a positive number"),
        ({"max_norm": float("nan")}, "max_norm=nan must be"),
    ],
)
def test_wrong_edits_are_named(options, said):
    model, sae = causal("llama"), autoencoder()
    with (
        pytest.raises(ConfigError, match=said),
        splice(model, "layers.1", sae, **options),
    ):
        pass


def test_features_of_any_kind_are_ablated():
    model, sae = causal("llama"), autoencoder()
    wanted = spliced(model, "layers.1", sae, ablate=[11])
    for features in (11, {11}, np.array([11]), torch.tensor([11])):
        found = spliced(model, "layers.1", sae, ablate=features)
        torch.testing.assert_close(found, wanted)


def test_what_is_no_model_layer_or_sae_is_named():
    model, sae, tokenizer = causal("llama"), autoencoder(), tokenizer_of("llama")
    with pytest.raises(ConfigError, match=r"no layer 'model.layers'.*model\.layers\.0"):
        attribution(model, "layers", sae, IDS[0], 3)
    with pytest.raises(DataTypeError, match="sae is 'run/'; needed: an SAEModel"):
        attribution(model, "layers.1", "run/", IDS[0], 3)
    with pytest.raises(DataTypeError, match="sae is 'run/'; needed: an SAEModel"):
        loss_recovered(model, "layers.1", "run/", ["a"], tokenizer=tokenizer)
    with pytest.raises(DataTypeError, match="model is 'gpt2'; needed: a loaded"):
        spliced("gpt2", "layers.1", sae)
    headless = model.model
    with pytest.raises(ConfigError, match="LlamaModel does not predict tokens"):
        attribution(headless, "layers.1", sae, IDS[0], 3)
    with pytest.raises(ConfigError, match="AutoModelForCausalLM"):
        loss_recovered(headless, "layers.1", sae, ["old tree"], tokenizer=tokenizer)


def saved(model, folder):
    model.save_pretrained(folder)
    tokenizer_of("llama").save_pretrained(folder)
    return str(folder)


def test_a_folder_without_the_head_is_refused_rather_than_given_a_random_one(tmp_path):
    model, sae = causal("llama"), autoencoder()
    whole = saved(model, tmp_path / "whole")
    headless = saved(model.model, tmp_path / "headless")
    found = loss_recovered(whole, "layers.1", sae, ["old tree"])
    wanted = loss_recovered(
        model, "layers.1", sae, ["old tree"], tokenizer=tokenizer_of("llama")
    )
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
    with pytest.raises(DataError, match=r"lacks the weights lm_head\.weight, which"):
        loss_recovered(headless, "layers.1", sae, ["old tree"])


def test_a_head_that_is_the_tied_embedding_is_there(tmp_path):
    model, sae = causal("gpt2"), autoencoder()
    folder = saved(model.transformer, tmp_path)
    found = loss_recovered(folder, "h.1", sae, ["old tree"])
    wanted = loss_recovered(
        model, "h.1", sae, ["old tree"], tokenizer=tokenizer_of("llama")
    )
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5)


def test_predictions_that_do_not_exist_are_not_attributed():
    model, sae = causal("llama"), autoencoder()
    for token in (99, -1):
        with pytest.raises(ConfigError, match=f"no token {token}; this model has 99"):
            attribution(model, "layers.1", sae, IDS[0], token)
    for position in (6, -7):
        with pytest.raises(ConfigError, match="outside the text, which has 6 tokens"):
            attribution(model, "layers.1", sae, IDS[0], 3, position)
    with pytest.raises(DataError, match=r"\(2, 6\).*Give ids\[0\]"):
        attribution(model, "layers.1", sae, IDS, 3)
    with pytest.raises(DataError, match=r"\(0,\); needed: those of one text"):
        attribution(model, "layers.1", sae, [], 3)
    from_list = attribution(model, "layers.1", sae, IDS[0].tolist(), 3)
    torch.testing.assert_close(
        from_list, attribution(model, "layers.1", sae, IDS[0], 3)
    )


def test_the_share_is_undefined_where_zeros_cost_nothing():
    model, sae, tokenizer = causal("llama"), autoencoder(), tokenizer_of("llama")
    model.model.layers[1].mlp.down_proj.weight.data.zero_()
    found = loss_recovered(
        model, "layers.1.mlp", sae, texts_of(2, seed=3), tokenizer=tokenizer
    )
    assert found.loss_zeroed == found.loss != found.loss_spliced
    assert np.isnan(found.loss_recovered)
    with pytest.raises(DataError, match="A text is nan"):
        loss_recovered(model, "layers.1", sae, [float("nan")], tokenizer=tokenizer)
    with pytest.raises(DataTypeError, match="texts is a dict; needed: a list of texts"):
        loss_recovered(model, "layers.1", sae, {"text": ["a"]}, tokenizer=tokenizer)
    with pytest.raises(ConfigError, match="needs its tokenizer"):
        loss_recovered(model, "layers.1", sae, ["a"], tokenizer="gpt2")


def test_a_vector_that_overflows_does_not_exempt_the_others():
    x = torch.ones(1, 4, 3)
    x[0, 1] = torch.nan
    x[0, 3] = 100
    resembles = Passes(()).trained_on(x, 10.0)
    assert resembles.tolist() == [[True, False, True, False]]


def test_an_sae_is_used_on_the_device_of_the_layer(monkeypatch):
    # operations on `meta` refuse tensors of another device, as those on a GPU do
    sae, layer = autoencoder(), torch.nn.Identity()
    like = torch.nn.ModuleDict({"layer": layer})
    monkeypatch.setattr(like, "config", None, raising=False)
    monkeypatch.setattr(
        Passes, "trained_on", lambda _, x, _limit: torch.ones_like(x[..., 0]).bool()
    )
    x = torch.randn(2, 3, WIDTH)
    with splice(like, "layer", sae, leave_out=()):
        there, here = layer(x.to("meta")), layer(x)
    assert there.device.type == "meta"
    torch.testing.assert_close(here, sae(x))
    assert sae.device.type == "cpu"


def test_loss_recovered_of_a_single_text_and_of_too_short_ones():
    model, sae, tokenizer = causal("llama"), autoencoder(), tokenizer_of("llama")
    (text,) = texts_of(1, seed=3, longest=8)
    single, listed = (
        loss_recovered(model, "layers.1", sae, texts, tokenizer=tokenizer)
        for texts in (text, [text])
    )
    assert single == listed
    for length in (1, 0, 2.5):
        with pytest.raises(ConfigError, match=f"max_length={length} must be"):
            loss_recovered(
                model, "layers.1", sae, text, tokenizer=tokenizer, max_length=length
            )
