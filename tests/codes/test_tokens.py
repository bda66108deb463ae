"""Rows that are tokens, shown in their context."""

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from nanosae.codes import Codes, CodesWriter, shard_files, writer
from nanosae.codes import tokens as tokens_module


def tokens(path, texts, spans, **names):
    """A corpus whose rows are tokens: spans are (number of the text, start, end)."""
    numbers, starts, ends = (list(x) for x in zip(*spans, strict=True))
    given = pa.array(texts).dictionary_encode().take(pa.array(numbers))
    table = pa.table(
        {"text": given, "text_index": numbers, "start": starts, "end": ends}
    )
    table = table.rename_columns([names.get(c, c) for c in table.column_names])
    with CodesWriter(path, n_features=2) as opened:
        opened.append(sp.csr_array(np.ones((len(spans), 2), np.float32)), table=table)
    return Codes(path)


def test_tokens_are_shown_in_their_context(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens_module, "CONTEXT", 10)
    monkeypatch.setattr("nanosae.codes.reader.TEXT_BLOCK", 2)
    texts = [
        "the cat sat",
        "a long tale of one cat that ran away from home",
        "antidisestablishment",
    ]
    spans = [(0, 3, 7), (1, 18, 22), (2, 11, 14), (0, 0, 3), (1, 0, 1), (0, 8, 11)]
    codes = tokens(tmp_path / "a", texts, spans)
    shown = [
        "the «cat» sat",
        "…of one «cat» that ran…",
        "…ntidisesta«bli»shment",
        "«the» cat sat",
    ]
    shown += ["«a» long…", "the cat «sat»"]
    assert codes.has_tokens
    assert codes.texts().tolist() == shown
    assert codes.texts([5, 1, 1]).tolist() == [shown[5], shown[1], shown[1]]
    assert codes.texts(np.arange(6) == 2).tolist() == [shown[2]]
    assert codes.texts(range(2), "").tolist() == [
        "the cat sat",
        "…of one cat that ran…",
    ]
    assert codes.texts(marks="[]")[0] == "the [cat] sat"
    assert codes.texts([]).tolist() == []
    # the whole texts
    assert codes.column("text").tolist() == [texts[t] for t, *_ in spans]


def test_rows_with_a_start_and_an_end_of_another_kind_are_no_tokens(tmp_path):
    codes = tokens(tmp_path, ["the cat sat"], [(0, 4, 7)], text_index="shelf")
    assert not codes.has_tokens
    assert codes.texts().tolist() == ["the cat sat"]


def test_the_texts_of_tokens_take_little_room(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SHARD_ROWS", 2000)
    monkeypatch.setattr(shard_files, "ROW_GROUP", 1000)
    rng = np.random.default_rng(0)
    texts = [rng.bytes(300).hex() for _ in range(100)]
    spans = [(t, 4 * i, 4 * i + 4) for t in range(100) for i in range(30)]
    tokens(tmp_path, texts, spans)
    size = sum(path.stat().st_size for path in tmp_path.rglob("rows.parquet"))
    assert size < 1.3 * sum(map(len, texts))  # each text about once, not 30 times
