"""Cached activations: the stream on disk, whole shards, exact continuation, and on to features."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from language_models import (
    alone,
    close,
    model_of,
    run,
    texts_of,
    tokenizer_of,
)
from nanosae.cli import main
from nanosae.codes import Codes
from nanosae.errors import BusyError, ConfigError, DamagedFileError, DataError
from nanosae.lock import Lock
from nanosae.sources import open_rows
from nanosae.text import activation_cache as module
from nanosae.text.activation_cache import cache_activations
from needs import needs

pytestmark = needs("transformers", extra="activations")


def shards(folder, name):
    rows = np.concatenate([np.load(p) for p in sorted((folder / name).glob("*.npy"))])
    table = pq.read_table(folder / "tokens").to_pandas()
    assert len(rows) == len(table)
    return rows, table


@pytest.mark.slow
def test_the_cache_holds_the_stream(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_BLOCKS", 2)
    model, tokenizer = llama
    texts, names, options = (
        texts_of(400),
        ["layers.0", "layers.1"],
        {"batch_tokens": 64},
    )
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
    assert (
        cache_activations(model, names, texts, tmp_path, tokenizer=tokenizer, **options)
        == n
    )
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")} == before


@pytest.mark.slow
def test_a_continued_cache_numbers_its_texts_from_the_first(
    llama, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "SHARD_BLOCKS", 1)
    model, tokenizer = llama
    texts, options = texts_of(400), {"tokenizer": tokenizer, "batch_tokens": 64}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    cache_activations(model, "layers.1", texts, whole, **options)
    cache_activations(model, "layers.1", texts, cut, **options)
    last = sorted((cut / "tokens").glob("*.parquet"))[2:]
    assert len(last) > 1
    for path in last:  # as if it was interrupted after two shards
        path.unlink()
    cache_activations(model, "layers.1", texts, cut, **options)
    rows, table = shards(cut, "layers.1")
    expected_rows, expected_table = shards(whole, "layers.1")
    np.testing.assert_array_equal(rows, expected_rows)
    assert table.equals(expected_table)
    assert table["text"].tolist() == [texts[number] for number in table["text_index"]]


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
        ("layers.1", ["another", *texts[1:]], {}),
        ("layers.1", [texts[1], texts[0], *texts[2:]], {}),
        ("layers.1", [*texts, "one more"], {}),
    ):
        with pytest.raises(
            ValueError, match="Use the same texts and settings, or another"
        ):
            cache_activations(
                model, layers, some, tmp_path, tokenizer=tokenizer, **more
            )


def test_values_beyond_float16_are_refused(tmp_path, llama):
    model = model_of("llama")
    with torch.no_grad():
        model.embed_tokens.weight *= 1e6
    given = (model, "embed_tokens", ["old tree"], tmp_path)
    with pytest.raises(
        ValueError, match="embed_tokens has values that are too large for float16"
    ):
        cache_activations(*given, tokenizer=llama[1])
    assert cache_activations(*given, tokenizer=llama[1], dtype="float32") > 0


def test_blocks_without_rows_make_no_shards(llama, tmp_path, monkeypatch):
    """A model that overflows on some texts, such as one in half precision."""
    monkeypatch.setattr(module, "SHARD_BLOCKS", 1)
    model, tokenizer = model_of("llama"), llama[1]
    options = {"tokenizer": tokenizer, "batch_tokens": 64, "bos": False}
    overflowing = tokenizer("river")["input_ids"]
    with torch.no_grad():
        model.embed_tokens.weight[overflowing] = torch.nan
    texts = [*texts_of(64), *["river"] * 640, *texts_of(64)]
    texts = [text.replace("river", "dog") for text in texts[:64]] + texts[64:]
    with pytest.warns(UserWarning, match="NaN or infinite are skipped"):
        n = cache_activations(model, "layers.1", texts, tmp_path / "some", **options)
    rows, table = shards(tmp_path / "some", "layers.1")
    assert len(rows) == n > 0
    assert {number // 64 for number in table["text_index"]} == {0, 11}
    assert all(texts[i] == text for i, text in table[["text_index", "text"]].to_numpy())
    with (
        pytest.warns(UserWarning, match="NaN or infinite are skipped"),
        pytest.raises(DataError, match="No token of these texts has a row"),
    ):
        cache_activations(model, "layers.1", ["river"], tmp_path / "none", **options)


def test_a_missing_text_is_refused_before_the_model_runs(llama, tmp_path):
    texts = [*texts_of(500), float("nan")]
    with pytest.raises(DataError, match="A text is nan"):
        cache_activations(llama[0], "layers.1", texts, tmp_path, tokenizer=llama[1])
    assert not any(tmp_path.iterdir())


def test_a_damaged_shard_is_named(llama, tmp_path):
    given = (llama[0], "layers.1", texts_of(9), tmp_path)
    n = cache_activations(*given, tokenizer=llama[1])
    shard = tmp_path / "tokens" / "00000.parquet"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(DamagedFileError, match=f"{shard} is damaged.*Delete {shard}"):
        cache_activations(*given, tokenizer=llama[1])
    shard.unlink()
    assert cache_activations(*given, tokenizer=llama[1]) == n


KILLED = """
import sys
sys.path.insert(0, {tests!r})
import time
import language_models as t
from nanosae import atomic
from nanosae.text import activation_cache as module
module.SHARD_BLOCKS = 1
plain = atomic.write_file
def put(path, write):
    time.sleep(0.05)
    plain(path, write)
    print(path.name, flush=True)
atomic.write_file = module.write_file = put
module.cache_activations(t.model_of("llama"), ["layers.0", "layers.1"], t.texts_of(500),
    {folder!r}, tokenizer=t.tokenizer_of("llama"), batch_tokens=64)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [5, 6, 7])  # two files say where rows are from
def test_a_killed_cache_is_valid_and_goes_on(llama, tmp_path, after, monkeypatch):
    folder = tmp_path / "killed"
    code = KILLED.format(tests=str(Path(__file__).parents[1]), folder=str(folder))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
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
        assert all(
            len(np.load(folder / n / f"{stem}.npy")) == len(table) for n in names
        )
    monkeypatch.setattr(module, "SHARD_BLOCKS", 1)
    given = (llama[0], names, texts_of(500))
    options = {"tokenizer": llama[1], "batch_tokens": 64}
    n = cache_activations(*given, folder, **options)
    assert n == cache_activations(*given, tmp_path / "whole", **options)
    for name in names:
        rows, table = shards(folder, name)
        expected, beside = shards(tmp_path / "whole", name)
        np.testing.assert_array_equal(rows, expected)
        assert table.equals(beside)
    assert not list(folder.rglob(".*"))


@pytest.mark.slow
def test_from_texts_to_features_with_tokens_in_context(llama, tmp_path, capsys):
    for part in llama:
        part.save_pretrained(tmp_path / "model")
    texts = [*texts_of(200, longest=16), ""]
    lines = [json.dumps({"id": i, "body": text}) for i, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    source, out, trained = (str(tmp_path / x) for x in ("texts.jsonl", "acts", "run"))
    named = [source, "--text", "body"]
    flags = ["--layers", "layers.0", "layers.1", "-o", out]
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


def test_an_sae_says_what_its_rows_were_made_of(llama, tmp_path):
    from nanosae import SAEModel, SAETrainer, TrainConfig

    model, tokenizer = llama
    rules = {"bos": False, "max_norm": float("inf"), "max_length": 20}
    folder, run = tmp_path / "rows", tmp_path / "run"
    cache_activations(
        model, ["layers.1"], texts_of(80), folder, tokenizer=tokenizer, **rules
    )
    config = TrainConfig(hidden_size=16, k=3, steps=2, batch_size=32)
    SAETrainer(config, run=run).train(folder / "layers.1", progress=False)
    written = json.loads((run / "model" / "cfg.json").read_text())["metadata"]
    wanted = {
        "hook_name": "model.layers.1",
        "model_class_name": "AutoModelForCausalLM",
        "prepend_bos": False,
        "exclude_special_tokens": True,
        "context_size": 20,
        "max_norm": None,
        "pooling": None,
    }
    assert wanted.items() <= written.items()
    assert wanted.items() <= SAEModel.load(run).config.items()
    # a stream says it, too
    stream = module.activations(model, "layers.1", texts_of(80), tokenizer=tokenizer)
    streamed = SAETrainer(config).train(stream, progress=False)
    assert streamed.config["hook_name"] == "model.layers.1"
    assert streamed.config["max_norm"] == 10.0
    plain = SAETrainer(config).train(
        np.random.default_rng(0).normal(size=(99, 5)), progress=False
    )
    assert "hook_name" not in plain.config


def test_a_model_s_folder_is_named_without_its_place(llama, tmp_path):
    import transformers

    from nanosae.text.provenance import model_name

    model, _ = llama
    model.save_pretrained(tmp_path / "Tiny")
    loaded = transformers.AutoModel.from_pretrained(tmp_path / "Tiny")
    assert model_name(loaded) == "Tiny"


def test_the_command_line_takes_all_options(llama, tmp_path):
    for part in llama:
        part.save_pretrained(tmp_path / "model")
    texts = texts_of(60)
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    words = [
        str(tmp_path / "model"),
        str(tmp_path / "texts.txt"),
        "--layers",
        "layers.1",
    ]
    flags = ["--no-bos", "--special-tokens", "--max-norm", "inf", "--max-length", "9"]
    flags += ["--batch-tokens", "64", "--dtype", "float32"]
    out = tmp_path / "rows"
    assert main(["activations", *words, "-o", str(out), *flags]) == 0
    rules = {"bos": False, "special_tokens": True, "max_norm": float("inf")}
    wanted, _ = run(llama, "layers.1", texts, max_length=9, batch_tokens=64, **rules)
    rows, _ = shards(out, "layers.1")
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, wanted, atol=1e-6)
    known = json.loads((out / "layers.1" / "provenance.json").read_text())
    assert (known["prepend_bos"], known["context_size"]) == (False, 9)


def test_chats_packed_and_layers_side_by_side_on_the_command_line(
    llama, tmp_path, capsys
):
    from nanosae import SAEModel, splice

    model, tokenizer = llama[0], tokenizer_of("llama")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['content'] }} and {% endfor %}"
    )
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    texts = texts_of(60)
    chats = [[{"role": "user", "content": text}] for text in texts]
    lines = [json.dumps({"messages": chat}) for chat in chats]
    (tmp_path / "chats.jsonl").write_text("\n".join(lines))
    out, trained = tmp_path / "acts", tmp_path / "run"
    words = ["activations", str(tmp_path / "model"), str(tmp_path / "chats.jsonl")]
    words += ["--text", "messages", "--chat", "--pack", "--concat"]
    words += ["--layers", "layers.0", "layers.1", "--max-length", "12", "-o", str(out)]
    assert main(words) == 0
    assert f"nanosae train {out}/layers.0+layers.1 -o RUN" in capsys.readouterr().out
    rows, table = shards(out, "layers.0+layers.1")
    written = [f"{text} and " for text in texts]
    expected, beside = run(
        (model, tokenizer),
        ["layers.0", "layers.1"],
        written,
        pack=True,
        concat=True,
        max_length=12,
    )
    close(rows, expected, 1e-3)
    assert (table["text"].to_numpy() == beside["text"]).all()
    done = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert main(words) == 0
    assert done == {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    flags = ["--hidden-size", "32", "--k", "3", "--steps", "6"]
    data = str(out / "layers.0+layers.1")
    assert main(["train", data, "-o", str(trained), *flags]) == 0
    sae = SAEModel.load(trained)
    assert sae.config["hook_name"] == "model.layers.0+model.layers.1"
    assert sae.config["disable_concat_sequences"] is False
    with (
        pytest.raises(ConfigError, match="concatenated layers"),
        splice(model, None, sae),
    ):
        pass


@pytest.mark.parametrize("kind", ["generator", "series", "arrow", "array"])
def test_texts_of_any_kind_are_cached_and_resumed(llama, tmp_path, kind):
    texts = texts_of(5)
    made = {
        "generator": lambda: (text for text in texts),
        "series": lambda: pd.Series(texts, index=range(7, 12)),
        "arrow": lambda: pa.array(texts),
        "array": lambda: np.array(texts),
    }[kind]
    options = {"tokenizer": llama[1], "batch_tokens": np.int64(64)}
    for _ in range(2):
        cache_activations(llama[0], "layers.1", made(), tmp_path, **options)
    _, table = shards(tmp_path, "layers.1")
    assert list(dict.fromkeys(table["text"])) == texts


@pytest.mark.parametrize("dtype", ["int8", "float64", "bfloat16", np.float16])
def test_other_types_of_rows_are_refused_before_the_model_runs(llama, tmp_path, dtype):
    with pytest.raises(ConfigError, match="must be one of float16, float32"):
        cache_activations(
            llama[0], "layers.1", ["a"], tmp_path, tokenizer=llama[1], dtype=dtype
        )
    assert not any(tmp_path.iterdir())


def test_two_calls_do_not_write_one_cache_at_once(llama, tmp_path):
    given = (llama[0], "layers.1", texts_of(9), tmp_path)
    tmp_path.mkdir(exist_ok=True)
    with (
        Lock(tmp_path / module.LOCK),
        pytest.raises(BusyError, match="is being written by process"),
    ):
        cache_activations(*given, tokenizer=llama[1])
    assert not list(tmp_path.iterdir())
    assert cache_activations(*given, tokenizer=llama[1]) > 0
    assert not (tmp_path / module.LOCK).exists()
