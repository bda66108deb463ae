"""Codes on disk against the arrays that were written; damage, interruption and edges."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanosae.codes import Codes, CodesWriter, join_codes, write_codes
from nanosae.codes import tokens as tokens_module
from nanosae.codes import writer as codes_module
from nanosae.codes.format import fingerprint

N, M = 230, 40


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(codes_module, "SHARD_ROWS", 64)
    monkeypatch.setattr(codes_module, "ROW_GROUP", 10)
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # slow, and nothing loses power here


@pytest.fixture
def dense():
    """Activations that are exact in float16, with empty rows and features that never fire."""
    rng = np.random.default_rng(0)
    acts = rng.integers(1, 1000, (N, M)) * (rng.random((N, M)) < 0.15) / 64
    acts[:, [3, M - 1]] = 0
    acts[[50, 100, N - 2]] = 0
    acts[:, 7] = 2.5  # a feature that fires everywhere, all ties
    acts[100] = 0
    return acts.astype(np.float32)


@pytest.fixture
def corpus(tmp_path, dense):
    texts = [None if i % 50 == 0 else f"text {i} — žluťoučký 猫" for i in range(N)]
    table = {"group": [f"g{i % 3}" for i in range(N)], "year": np.arange(N) + 1900}
    vectors = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    path = tmp_path / "run" / "codes" / "news"
    codes = write_codes(path, sp.csr_array(dense), texts=texts, metadata=table, vectors=vectors)
    return codes, texts, vectors


def rebuilt(codes):
    """Join the shards, both ways round."""
    by_row = np.zeros((codes.n_rows, codes.n_features))
    for first, block in codes.shards():
        by_row[first : first + block.shape[0]] = block.toarray()
    by_feature = codes.features(range(codes.n_features)).toarray()
    np.testing.assert_array_equal(by_row, by_feature)
    return by_row


# ── what was written comes back ──


def test_rows_and_features_are_those_written(corpus, dense):
    codes, *_ = corpus
    assert len(codes.manifest["shards"]) == 4
    np.testing.assert_array_equal(rebuilt(codes), dense)
    for i in (0, 1, 63, 64, 100, N - 1):
        features, acts = codes.row(i)
        np.testing.assert_array_equal(features, np.flatnonzero(dense[i]))
        np.testing.assert_array_equal(acts, dense[i][dense[i] > 0])
        assert (features.dtype, acts.dtype) == (np.int64, np.float32)
    for j in range(M):
        rows, acts = codes.feature(j)
        np.testing.assert_array_equal(rows, np.flatnonzero(dense[:, j]))
        np.testing.assert_array_equal(acts, dense[rows, j])
        assert (rows.dtype, acts.dtype) == (np.int64, np.float32)


def test_bounded_copies_keep_the_order_asked_for(corpus, dense):
    codes, *_ = corpus
    some = np.random.default_rng(2).integers(0, N, 300)  # unordered, with repeats
    np.testing.assert_array_equal(codes.take(some).toarray(), dense[some])
    assert np.abs(codes.take(some).toarray() - dense[np.sort(some)]).max() > 1  # the check can fail
    np.testing.assert_array_equal(codes.rows(60, 131).toarray(), dense[60:131])
    np.testing.assert_array_equal(
        codes.rows(60, 131).toarray(), codes.take(range(60, 131)).toarray()
    )
    assert codes.rows(50, 50).shape == (0, M)
    assert codes.rows(220, 999).shape == (10, M)
    found = codes.features([7, 3, 0, 7])
    assert isinstance(found, sp.csc_array)
    np.testing.assert_array_equal(found.toarray(), dense[:, [7, 3, 0, 7]])
    mask = dense[:, 0] > 0
    np.testing.assert_array_equal(codes.take(mask).toarray(), dense[mask])
    assert isinstance(codes.take([]), sp.csr_array)
    assert codes.features([]).shape == (N, 0)


def test_counts_and_density(corpus, dense):
    codes, *_ = corpus
    np.testing.assert_array_equal(codes.counts, (dense > 0).sum(axis=0))
    np.testing.assert_allclose(codes.density, (dense > 0).mean(axis=0))
    assert codes.nnz == (dense > 0).sum()
    assert (codes.n_rows, codes.n_features) == dense.shape


@pytest.mark.parametrize("n", [0, 1, 5, 20, N, 10 * N])
def test_top_is_strongest_first_and_ties_go_to_the_lower_row(corpus, dense, n):
    codes, *_ = corpus
    for j in (0, 3, 7):
        active = [i for i in range(N) if dense[i, j] > 0]
        expected = sorted(active, key=lambda i: (-dense[i, j], i))[:n]
        rows, acts = codes.top(j, n)
        assert rows.tolist() == expected
        np.testing.assert_array_equal(acts, dense[expected, j])


def test_the_check_of_ties_rejects_another_order(corpus):
    codes, *_ = corpus
    rows, acts = codes.feature(7)  # fires everywhere, always equally
    assert codes.top(7, 5)[0].tolist() == [0, 1, 2, 3, 4]
    assert rows[np.argsort(acts, kind="stable")[::-1]][:5].tolist() == [229, 228, 227, 226, 225]


def test_long_table(corpus, dense):
    codes, *_ = corpus
    frame = codes.to_frame()
    assert frame.columns.tolist() == ["row", "feature", "activation"]
    back = sp.coo_array((frame.activation, (frame.row, frame.feature)), shape=(N, M)).toarray()
    np.testing.assert_array_equal(back, dense)
    assert set(codes.to_arrow([200, 5]).column("row").to_pylist()) == {5, 200}


def test_texts_and_columns_in_any_order(corpus):
    codes, texts, _ = corpus
    some = np.random.default_rng(3).integers(0, N, 100)
    assert codes.has_texts
    assert codes.columns == ["group", "year"]
    assert codes.texts(some).tolist() == [texts[i] or "" for i in some]
    assert codes.texts().tolist() == [text or "" for text in texts]
    assert codes.texts().dtype == object
    assert codes.column("group", some).tolist() == [f"g{i % 3}" for i in some]
    years = codes.column("year")
    assert years.dtype.kind == "i"
    np.testing.assert_array_equal(years, np.arange(N) + 1900)
    assert codes.texts([]).tolist() == []
    with pytest.raises(ValueError, match=r"no column 'date', only \['group', 'year'\]"):
        codes.column("date")


def tokens(path, texts, spans, **names):
    """A corpus whose rows are tokens: spans are (number of the text, start, end)."""
    numbers, starts, ends = (list(x) for x in zip(*spans, strict=True))
    given = pa.array(texts).dictionary_encode().take(pa.array(numbers))
    table = pa.table({"text": given, "text_index": numbers, "start": starts, "end": ends})
    table = table.rename_columns([names.get(c, c) for c in table.column_names])
    with CodesWriter(path, n_features=2) as writer:
        writer.append(sp.csr_array(np.ones((len(spans), 2), np.float32)), table=table)
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
    shown = ["the «cat» sat", "…of one «cat» that ran…", "…ntidisesta«bli»shment", "«the» cat sat"]
    shown += ["«a» long…", "the cat «sat»"]
    assert codes.has_tokens
    assert codes.texts().tolist() == shown
    assert codes.texts([5, 1, 1]).tolist() == [shown[5], shown[1], shown[1]]
    assert codes.texts(np.arange(6) == 2).tolist() == [shown[2]]
    assert codes.texts(range(2), "").tolist() == ["the cat sat", "…of one cat that ran…"]
    assert codes.texts(marks="[]")[0] == "the [cat] sat"
    assert codes.texts([]).tolist() == []
    assert codes.column("text").tolist() == [texts[t] for t, *_ in spans]  # the whole texts


def test_rows_with_a_start_and_an_end_of_another_kind_are_no_tokens(tmp_path):
    codes = tokens(tmp_path, ["the cat sat"], [(0, 4, 7)], text_index="shelf")
    assert not codes.has_tokens
    assert codes.texts().tolist() == ["the cat sat"]


def test_the_texts_of_tokens_take_little_room(tmp_path):
    rng = np.random.default_rng(0)
    texts = [rng.bytes(300).hex() for _ in range(400)]
    spans = [(t, 4 * i, 4 * i + 4) for t in range(400) for i in range(30)]
    tokens(tmp_path, texts, spans)
    size = (tmp_path / "00000" / "rows.parquet").stat().st_size
    assert size < 1.3 * sum(map(len, texts))  # each text about once, not 30 times


def test_vectors_from_a_copy(corpus):
    codes, _, vectors = corpus
    some = [200, 3, 64, 3]
    assert codes.has_vectors
    np.testing.assert_allclose(codes.vectors(some), vectors[some], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(codes.vectors(), vectors, rtol=1e-3, atol=1e-3)
    assert codes.vectors([]).shape == (0, 5)
    assert codes.vectors().dtype == np.float32


def test_vectors_from_the_original_file(tmp_path, dense):
    vectors = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", vectors)
    for part in (slice(0, 90), slice(90, N)):  # two sessions go on in the same file
        with CodesWriter(
            tmp_path / "c", n_features=M, source=tmp_path / "x.npy", append=part.start > 0
        ) as writer:
            writer.append(sp.csr_array(dense[part]))
    codes = Codes(tmp_path / "c")
    assert not (tmp_path / "c" / "00000" / "vectors.npy").exists()
    np.testing.assert_array_equal(codes.vectors([200, 3, 91]), vectors[[200, 3, 91]])
    np.save(tmp_path / "x.npy", vectors + 1)
    with pytest.raises(ValueError, match=r"x\.npy cannot be read: it has changed since"):
        Codes(tmp_path / "c").vectors([1])
    (tmp_path / "x.npy").unlink()
    with pytest.raises(ValueError, match=r"x\.npy cannot be read"):
        Codes(tmp_path / "c").vectors([1])


def test_fingerprint_notices_size_head_and_tail(tmp_path):
    path = tmp_path / "f"
    seen = set()
    for content in (
        b"",
        b"a",
        b"aa",
        b"a" * 2**22,
        b"b" + b"a" * (2**22 - 1),
        b"a" * (2**22 - 1) + b"b",
    ):
        path.write_bytes(content)
        seen.add(fingerprint(path))
    assert len(seen) == 6


# ── values ──


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.floats(0, 2.0**127, width=32, allow_subnormal=True),
        min_size=1,
        max_size=30,
    )
)
def test_no_activation_is_lost_or_far_off(tmp_path_factory, values):
    row = np.array([values], np.float32)
    codes = write_codes(tmp_path_factory.mktemp("c"), sp.csr_array(row))
    back = codes.rows(0, 1).toarray()
    np.testing.assert_array_equal(back > 0, row > 0)
    miss = np.abs(back.astype(np.float64) - row)
    step = max(row.max() * 2.0**-38, 2.0**-149)  # of the smallest values beside the largest
    assert (miss <= np.maximum(row.astype(np.float64) * 2.0**-11, step)).all()


def test_plain_float16_would_lose_activations():
    values = np.array([1e-9, 1e6], np.float32)
    with np.errstate(over="ignore"):
        plain = values.astype(np.float16)
    assert plain.tolist() == [0.0, np.inf]


def test_wide_dictionaries_use_wide_columns(tmp_path):
    m = 2**16 + 5
    block = sp.csr_array(([1.0], ([0], [m - 1])), shape=(2, m))
    codes = write_codes(tmp_path / "wide", block)
    assert codes.row(0)[0].tolist() == [m - 1]
    assert np.load(tmp_path / "wide/00000/row_indices.npy").dtype == np.uint32
    narrow = write_codes(tmp_path / "narrow", sp.csr_array(([1.0], ([0], [2**16 - 1])), (2, 2**16)))
    assert narrow.row(0)[0].tolist() == [2**16 - 1]
    assert np.load(tmp_path / "narrow/00000/row_indices.npy").dtype == np.uint16


# ── writing in a stream ──


def test_embeddings_known_for_some_rows_only_are_not_claimed(tmp_path, dense):
    np.save(tmp_path / "x.npy", np.zeros((N, 5), np.float32))
    write_codes(tmp_path / "c", sp.csr_array(dense[:70]))
    with CodesWriter(
        tmp_path / "c", n_features=M, source=tmp_path / "x.npy", append=True
    ) as writer:
        writer.append(sp.csr_array(dense[70:]))
    assert Codes(tmp_path / "c").has_vectors is False


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 150), max_size=6), st.integers(0, 2**32 - 1))
def test_any_blocks_give_the_same_corpus(tmp_path_factory, sizes, seed):
    n = sum(sizes)
    block = sp.random_array((n, 9), density=0.3, rng=np.random.default_rng(seed), dtype=np.float32)
    block = sp.csr_array(block)
    path = tmp_path_factory.mktemp("c")
    start = 0
    with CodesWriter(path, n_features=9) as writer:
        for size in sizes:
            part = block[start : start + size]
            texts = [str(i) for i in range(start, start + size)]
            writer.append((part.data, part.indices, part.indptr), texts, np.full((size, 2), start))
            start += size
    codes = Codes(path)
    assert codes.n_rows == n
    assert all(shard["n_rows"] <= 64 for shard in codes.manifest["shards"])
    np.testing.assert_allclose(rebuilt(codes), block.toarray(), rtol=2**-11, atol=1e-9)
    if n:
        assert codes.texts().tolist() == [str(i) for i in range(n)]
        np.testing.assert_allclose(
            codes.vectors()[:, 0], np.repeat(np.cumsum([0, *sizes])[:-1], sizes)
        )


def test_blocks_are_copied_and_cut_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(codes_module, "SHARD_BYTES", 8 * 10)
    values = np.ones(4, np.float32)
    triple = (values, np.array([3, 2, 1, 0], np.int16), np.array([0, 2, 4]))
    with CodesWriter(tmp_path, n_features=4) as writer:
        for i in range(6):
            values[:] = i + 1  # the caller's buffer is used again
            writer.append(triple)
        assert triple[1].tolist() == [3, 2, 1, 0]
    codes = Codes(tmp_path)
    assert len(codes.manifest["shards"]) == 2
    assert codes.feature(3)[1].tolist() == [1, 2, 3, 4, 5, 6]


def test_duplicate_entries_add_up_and_explicit_zeros_vanish(tmp_path):
    triple = (np.array([1, 2, 0, 4.0]), np.array([1, 1, 0, 2]), np.array([0, 3, 4]))
    with CodesWriter(tmp_path, n_features=3) as writer:
        writer.append(triple)
    codes = Codes(tmp_path)
    assert codes.nnz == 2
    assert codes.rows(0, 2).toarray().tolist() == [[0, 3, 0], [0, 0, 4]]


def test_rows_are_added_to_an_existing_corpus(tmp_path, dense):
    write_codes(tmp_path / "c", sp.csr_array(dense), texts=["old"] * N)
    before = (tmp_path / "c/00000/row_values.npy").stat().st_mtime_ns
    with CodesWriter(tmp_path / "c", n_features=M, append=True) as writer:
        assert writer.n_rows == N
        writer.append(sp.csr_array(dense[:10] * 2), table=["new"] * 10)
    codes = Codes.open(tmp_path / "c")
    np.testing.assert_array_equal(rebuilt(codes), np.vstack([dense, dense[:10] * 2]))
    assert codes.texts([N - 1, N]).tolist() == ["old", "new"]
    assert (tmp_path / "c/00000/row_values.npy").stat().st_mtime_ns == before  # immutable


def test_a_writer_that_raises_leaves_its_finished_shards(tmp_path, dense):
    def interrupted():
        with CodesWriter(tmp_path / "c", n_features=M) as writer:
            writer.append(sp.csr_array(dense[:100]))
            writer.append(sp.csr_array(dense[:, :3]))

    with pytest.raises(ValueError, match="the rows have 3 features"):
        interrupted()
    with pytest.raises(FileNotFoundError, match="is not finished"):
        Codes(tmp_path / "c")
    with CodesWriter(tmp_path / "c", n_features=M, append=True) as writer:
        assert writer.n_rows == 64
        writer.append(sp.csr_array(dense[writer.n_rows :]))
    np.testing.assert_array_equal(rebuilt(Codes(tmp_path / "c")), dense)
    with pytest.raises(ValueError, match="is closed"):
        writer.append(sp.csr_array(dense))


# ── finding a corpus ──


def test_open_finds_the_corpus_of_a_run(corpus, dense):
    codes, *_ = corpus
    run = codes.path.parent.parent
    assert codes.run == run
    assert Codes.open(run).name == "news"
    assert Codes.open(codes.path).run == run
    write_codes(run / "codes" / "second", sp.csr_array(dense))
    with pytest.raises(FileNotFoundError, match=r"no codes 'default'.*it has news, second"):
        Codes.open(run)
    assert Codes.open(run, "second").has_texts is False
    write_codes(run / "codes" / "default", sp.csr_array(dense))
    assert Codes.open(run).name == "default"
    with pytest.raises(FileNotFoundError, match="no codes 'other'"):
        Codes.open(run, "other")
    with pytest.raises(ValueError, match=f"needs a model of {M} features; there is none"):
        codes.weights()


def test_missing_parts_are_said(tmp_path, dense):
    codes = write_codes(tmp_path, sp.csr_array(dense))
    assert (codes.has_texts, codes.has_vectors, codes.columns) == (False, False, [])
    with pytest.raises(ValueError, match="no column 'text'"):
        codes.texts()
    with pytest.raises(ValueError, match="knows no embeddings"):
        codes.vectors()
    for bad in ([N], [-1], [0, N + 3]):
        with pytest.raises(ValueError, match=f"there are 0 … {N - 1}"):
            codes.take(bad)
    with pytest.raises(ValueError, match=f"feature {M} … {M}: there are 0 … {M - 1}"):
        codes.feature(M)


# ── edges ──


def test_an_empty_corpus(tmp_path):
    with CodesWriter(tmp_path, n_features=4) as writer:
        writer.append(sp.csr_array((0, 4), dtype=np.float32))
    codes = Codes(tmp_path)
    assert (codes.n_rows, codes.nnz, codes.has_vectors) == (0, 0, False)
    assert codes.counts.tolist() == [0, 0, 0, 0]
    assert codes.density.tolist() == [0, 0, 0, 0]
    assert codes.take([]).shape == (0, 4)
    assert codes.features([0, 1]).shape == (0, 2)
    assert codes.top(0, 5)[0].tolist() == []
    assert list(codes.shards()) == []
    assert codes.to_frame().empty
    codes.verify()
    with CodesWriter(tmp_path, n_features=4, append=True) as writer:
        writer.append(sp.csr_array(np.eye(4)), table=list("abcd"))
    assert Codes(tmp_path).texts().tolist() == list("abcd")


def test_rows_without_activations(tmp_path):
    codes = write_codes(
        tmp_path, sp.csr_array((5, 4), dtype=np.float32), texts=["", None, "a", "b", "c"]
    )
    assert codes.n_rows == 5
    assert codes.row(2)[0].tolist() == []
    assert codes.texts().tolist() == ["", "", "a", "b", "c"]
    codes.verify()


def test_frames_with_an_index_and_late_types(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b", None], "n": [1.0, None, 3]}).iloc[[2, 0]]
    with CodesWriter(tmp_path, n_features=2) as writer:
        writer.append(sp.csr_array((2, 2)), table=frame)
        writer.flush()
        writer.append(sp.csr_array((1, 2)), table={"text": [None], "n": [7]})
    codes = Codes(tmp_path)
    assert codes.columns == ["n"]
    assert codes.texts().tolist() == ["", "a", ""]
    np.testing.assert_array_equal(codes.column("n"), [3, 1, 7])


# ── what cannot be right is refused ──


def test_wrong_widths_and_lengths(tmp_path, dense):
    block = sp.csr_array(dense)
    with CodesWriter(tmp_path, n_features=M) as writer:
        with pytest.raises(ValueError, match=f"the rows have {M - 1} features, the corpus {M}"):
            writer.append(block[:, :-1])
        with pytest.raises(ValueError, match=str(M)):
            writer.append(([1.0], [M], [0, 1]))
        with pytest.raises(ValueError, match="must be >= 0"):
            writer.append(([1.0], [-1], [0, 1]))
        with pytest.raises(ValueError, match=f"table: 2 rows, but the block has {N}"):
            writer.append(block, table=["a", "b"])
        with pytest.raises(ValueError, match=f"vectors: 3 rows, but the block has {N}"):
            writer.append(block, vectors=np.zeros((3, 4)))
        for bad in (-1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="finite and not negative"):
                writer.append(sp.csr_array([[bad] + [0.0] * (M - 1)]))
        writer.append(block, table=["x"] * N, vectors=np.zeros((N, 4)))
        with pytest.raises(ValueError, match=r"columns is \['text'\] in .*, not \[\]"):
            writer.append(block, vectors=np.zeros((N, 4)))
        with pytest.raises(ValueError, match=r"width is 4 in .*, not 5"):
            writer.append(block, table=["x"] * N, vectors=np.zeros((N, 5)))
    assert Codes(tmp_path).n_rows == N


def test_an_existing_corpus_is_not_overwritten_nor_mixed(tmp_path, dense):
    write_codes(tmp_path, sp.csr_array(dense), info={"model": "a"})
    with pytest.raises(FileExistsError, match="append=True"):
        write_codes(tmp_path, sp.csr_array(dense))
    with pytest.raises(ValueError, match=f"n_features is {M} in .*, not 3"):
        CodesWriter(tmp_path, n_features=3, append=True)
    with pytest.raises(ValueError, match=r"info is \{'model': 'a'\} in .*, not \{'model': 'b'\}"):
        CodesWriter(tmp_path, n_features=M, append=True, info={"model": "b"})


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path, dense, monkeypatch):
    monkeypatch.setattr(codes_module, "WAIT", 0.1)
    write_codes(tmp_path / "c", sp.csr_array(dense))
    with CodesWriter(tmp_path / "c", n_features=M, append=True) as one:
        one.append(sp.csr_array(dense[:7]))
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on"):
            CodesWriter(tmp_path / "c", n_features=M, append=True)
        assert Codes(tmp_path / "c").n_rows == N  # readers do not wait
    assert Codes(tmp_path / "c").n_rows == N + 7
    assert [path.name for path in tmp_path.iterdir()] == ["c"]  # the lock is gone


# ── damage ──


@pytest.mark.parametrize(
    "file", ["row_values.npy", "feature_indices.npy", "row_ptr.npy", "rows.parquet"]
)
@pytest.mark.parametrize("damage", ["truncate", "empty", "remove"])
def test_a_damaged_file_is_named(corpus, file, damage):
    codes, *_ = corpus
    path = codes.path / "00001" / file
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "truncate" else b"")
    again = Codes.open(codes.path)  # the other shards stay readable
    assert again.rows(0, 64).shape == (64, M)
    with pytest.raises(ValueError, match=f"00001/{file}"):
        again.texts() if file == "rows.parquet" else (
            list(again.shards()),
            again.features([0]),
        )
    with pytest.raises(ValueError, match=f"00001/{file} is damaged"):
        again.verify()


def test_verify_finds_a_single_flipped_bit(corpus):
    codes, *_ = corpus
    codes.verify()
    path = codes.path / "00002" / "feature_values.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"00002/feature_values\.npy is damaged"):
        Codes(codes.path).verify()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": 1}', '{"format": 99, "n_rows": 0, "shards": []}']
)
def test_a_damaged_manifest_is_named(corpus, content):
    codes, *_ = corpus
    (codes.path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        Codes.open(codes.path)


def test_a_manifest_that_disagrees_with_its_shards(corpus):
    codes, *_ = corpus
    manifest = codes.manifest | {"n_rows": N + 1}
    (codes.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        Codes.open(codes.path)


@pytest.mark.parametrize("at", [1, 4, 7, 8])
def test_a_full_disk_leaves_the_old_corpus(tmp_path, dense, monkeypatch, at):
    write_codes(tmp_path / "c", sp.csr_array(dense[:60]), texts=["a"] * 60)
    writer = CodesWriter(tmp_path / "c", n_features=M, append=True)
    writer.append(sp.csr_array(dense[60:90]), table=["b"] * 30)
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) == 2 * at - 1:  # the folder is synchronised after each file
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device; its first 60 rows are safe") as e:
        writer.flush()
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    assert e.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match="is closed"):
        writer.append(sp.csr_array(dense[60:90]), table=["b"] * 30)
    np.testing.assert_array_equal(rebuilt(Codes(tmp_path / "c")), dense[:60])
    with CodesWriter(tmp_path / "c", n_features=M, append=True) as writer:
        writer.append(sp.csr_array(dense[60:90]), table=["b"] * 30)
    codes = Codes(tmp_path / "c")
    codes.verify()
    np.testing.assert_array_equal(rebuilt(codes), dense[:90])
    assert sorted(p.name for p in codes.path.iterdir()) == ["00000", "00001", "manifest.json"]


WRITE_FOREVER = """
import sys, numpy as np, scipy.sparse as sp
import nanosae.codes.writer as c
c.SHARD_ROWS = 500
with c.CodesWriter(sys.argv[1], n_features=50, append=True) as w:
    while True:
        i = np.arange(w.n_rows, w.n_rows + 500)
        w.append((i % 7 + 1.0, i % 50, np.arange(501)), [str(j) for j in i])
"""


def drafted(path):
    """How many rows an unfinished corpus holds."""
    try:
        return json.loads((path / "manifest.json").read_text())["draft"]["n_rows"]
    except FileNotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is a POSIX signal")
def test_a_killed_writer_is_continued_after_its_last_shard(tmp_path):
    path = tmp_path / "c"
    seen = 0
    for wait in (0.05, 0.11, 0.17):
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, str(path)])
        while drafted(path) == seen:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert drafted(path) > seen
        seen = drafted(path)
    with CodesWriter(path, n_features=50, append=True) as writer:
        assert writer.n_rows == seen
    codes = Codes(path)
    codes.verify()
    i = np.arange(seen)
    assert codes.texts().tolist() == [str(j) for j in i]
    everything = codes.rows(0, seen)
    np.testing.assert_array_equal(everything.indices, i % 50)
    np.testing.assert_array_equal(everything.data, i % 7 + 1)
    assert len([*path.iterdir()]) == 1 + len(codes.manifest["shards"])


def test_a_limit_on_file_size_is_an_oserror(tmp_path):
    resource = pytest.importorskip("resource")
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, {resource.RLIM_INFINITY}))
import numpy as np, scipy.sparse as sp
from nanosae.codes import CodesWriter
try:
    with CodesWriter({str(tmp_path)!r}, n_features=10) as w:
        w.append(sp.csr_array(np.ones((10, 10))))
        w.flush()
        w.append(sp.csr_array(np.ones((9000, 10))))
except OSError as e:
    print(e)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write shard 00001" in done.stdout
    assert "its first 10 rows are safe" in done.stdout
    assert drafted(tmp_path) == 10


def test_joined_parts_are_the_whole_corpus(tmp_path, dense):
    whole, cuts = sp.csr_array(dense), (0, 70, 70, N)
    vectors = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", vectors)
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for part, a, b in zip(parts, cuts, cuts[1:], strict=False):
        with CodesWriter(part, n_features=M, source=tmp_path / "rows.npy", first=a) as writer:
            if b > a:
                writer.append(whole[a:b], table=[f"text {i}" for i in range(a, b)])
    joined = join_codes(parts, tmp_path / "joined")
    joined.verify()
    assert np.array_equal(joined.take(range(N)).toarray(), dense)
    assert joined.texts([0, 69, 70, N - 1]).tolist() == [f"text {i}" for i in (0, 69, 70, N - 1)]
    assert np.array_equal(joined.vectors(), vectors)
    assert not any(part.exists() for part in parts)
    with pytest.raises(FileExistsError, match="holds a corpus"):
        join_codes([], tmp_path / "joined")


def test_parts_that_do_not_fit_are_not_joined(tmp_path, dense):
    for name, width in (("a", M), ("b", M - 1)):
        write_codes(tmp_path / name, sp.csr_array(dense[:, :width]))
    with pytest.raises(ValueError, match=r"differ in n_features: 39 and 40"):
        join_codes([tmp_path / "a", tmp_path / "b"], tmp_path / "joined")
    assert Codes(tmp_path / "a").n_rows == N


def test_scanning_yields_all_embeddings_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 7)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    codes = write_codes(tmp_path / "c", sp.csr_array(np.ones((20, 2))), vectors=x)
    found = list(codes.scan(6))
    assert [start for start, _ in found] == [0, 6, 12, 18]
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), codes.vectors())
