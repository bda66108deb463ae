"""Codes that were written in any way are those that were given."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanosae.codes import Codes, CodesWriter, as_table, write_codes
from nanosae.codes import writer as codes_module
from nanosae.errors import DataError
from written_codes import M, N, rebuilt


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
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
    # of the smallest values beside the largest
    step = max(row.max() * 2.0**-38, 2.0**-149)
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
    narrow = write_codes(
        tmp_path / "narrow", sp.csr_array(([1.0], ([0], [2**16 - 1])), (2, 2**16))
    )
    assert narrow.row(0)[0].tolist() == [2**16 - 1]
    assert np.load(tmp_path / "narrow/00000/row_indices.npy").dtype == np.uint16


def test_embeddings_known_for_some_rows_only_are_not_claimed(tmp_path, dense):
    np.save(tmp_path / "x.npy", np.zeros((N, 5), np.float32))
    write_codes(tmp_path / "c", sp.csr_array(dense[:70]))
    with CodesWriter(
        tmp_path / "c", n_features=M, source=tmp_path / "x.npy", append=True
    ) as writer:
        writer.append(sp.csr_array(dense[70:]))
    assert Codes(tmp_path / "c").has_vectors is False


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 150), max_size=6), st.integers(0, 2**32 - 1))
def test_any_blocks_give_the_same_corpus(tmp_path_factory, sizes, seed):
    n = sum(sizes)
    block = sp.random_array(
        (n, 9), density=0.3, rng=np.random.default_rng(seed), dtype=np.float32
    )
    block = sp.csr_array(block)
    path = tmp_path_factory.mktemp("c")
    start = 0
    with CodesWriter(path, n_features=9) as writer:
        for size in sizes:
            part = block[start : start + size]
            texts = [str(i) for i in range(start, start + size)]
            writer.append(
                (part.data, part.indices, part.indptr), texts, np.full((size, 2), start)
            )
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
    # immutable
    assert (tmp_path / "c/00000/row_values.npy").stat().st_mtime_ns == before


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
        tmp_path,
        sp.csr_array((5, 4), dtype=np.float32),
        texts=["", None, "a", "b", "c"],
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


def test_wrong_widths_and_lengths(tmp_path, dense):
    block = sp.csr_array(dense)
    with CodesWriter(tmp_path, n_features=M) as writer:
        with pytest.raises(
            ValueError, match=f"the rows have {M - 1} features, the corpus {M}"
        ):
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
            with pytest.raises(ValueError, match="finite and non-negative"):
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
    with pytest.raises(
        ValueError, match=r"info is \{'model': 'a'\} in .*, not \{'model': 'b'\}"
    ):
        CodesWriter(tmp_path, n_features=M, append=True, info={"model": "b"})


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones(3), r"vectors are \(3,\); needed: \(n, input_size\)"),
        (np.full((3, 2), np.nan), "vectors must be finite"),
        ([[1.0], [2.0], ["x"]], "not an array of numbers"),
    ],
)
def test_embeddings_are_finite_rows(vectors, message, tmp_path):
    acts = sp.csr_array(np.eye(3, 5, dtype=np.float32))
    with pytest.raises(DataError, match=message):
        write_codes(tmp_path / "c", acts, vectors=vectors)
    assert not (tmp_path / "c").exists()
    codes = write_codes(tmp_path / "c", acts, vectors=[[1, 2], [3, 4], [5, 6]])
    assert codes.vectors().tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, pl.Series], ids=str)
def test_texts_may_be_an_array_or_a_series(kind):
    assert as_table(kind(["a", "b"])).to_pydict() == {"text": ["a", "b"]}


TWICE = pd.DataFrame([["a", "b"]], columns=["text", "text"])


@pytest.mark.parametrize("given", [[1, 2], "a text", 7, TWICE, ["\ud83d"]])
def test_what_is_neither_texts_nor_a_table_is_refused(given):
    with pytest.raises(DataError, match=r"must be texts or a table.*Give a list"):
        as_table(given)


def test_the_index_of_metadata_is_kept_and_appended_rows_may_count_on(tmp_path):
    acts = sp.csr_array(np.eye(6, dtype=np.float32))
    frame = pd.DataFrame({"text": list("abcdef"), "n": range(6)})
    named = frame.set_index(pd.Index(list("uvwxyz"), name="id"))
    for name, whole in (("plain", frame), ("named", named), ("gaps", frame[::-1])):
        for part in (slice(0, 4), slice(4, 6)):
            some = whole.iloc[part]
            write_codes(tmp_path / name, acts[part], metadata=some, append=True)
    codes = {name: Codes(tmp_path / name) for name in ("plain", "named", "gaps")}
    assert codes["plain"].columns == ["n"]
    assert list(codes["named"].column("id")) == list("uvwxyz")
    assert list(codes["gaps"].column("index")) == [5, 4, 3, 2, 1, 0]


COLUMNS = {
    "view of strings": pa.array(["a", None, "c"], pa.string_view()),
    "view of bytes": pa.array([b"a", None, b"c"], pa.binary_view()),
    "list of views": pa.array([["a"], None, []], pa.list_(pa.string_view())),
    "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
    "large strings": pa.array(["a", None, "c"], pa.large_string()),
}


@pytest.mark.parametrize("cells", COLUMNS.values(), ids=COLUMNS.keys())
def test_columns_of_every_string_type_are_read_by_row(cells, tmp_path):
    table = pa.table({"text": ["x", "y", "z"], "c": cells})
    codes = write_codes(
        tmp_path, sp.csr_array(np.ones((3, 2), np.float32)), metadata=table
    )
    first, _, last = cells.to_pylist()
    found = codes.column("c", [2, 0])
    assert [list(x) if isinstance(x, np.ndarray) else x for x in found] == [last, first]


def test_a_type_that_cannot_be_stored_is_refused_with_its_column(tmp_path):
    cells = pa.array([{}, {}, {}], pa.struct([]))
    table = pa.table({"text": ["x", "y", "z"], "c": cells})
    with pytest.raises(DataError, match=r"column 'c' has the type struct<>.*leave it"):
        write_codes(tmp_path, sp.csr_array(np.ones((3, 2), np.float32)), metadata=table)


@pytest.mark.parametrize("big_first", [True, False])
@pytest.mark.parametrize("is_published", [True, False])
def test_integers_that_are_no_float64_are_not_mixed_with_fractions(
    big_first, is_published, tmp_path
):
    big = pa.table({"id": pa.array([2**53 + 1, 1])})
    fractions = pa.table({"id": pa.array([0.5, None])})
    first, second = (big, fractions) if big_first else (fractions, big)
    rows = sp.csr_array(np.eye(2, dtype=np.float32))
    writer = CodesWriter(tmp_path / "c", n_features=2)
    writer.append(rows, table=first)
    if is_published:
        writer.close()
        writer = CodesWriter(tmp_path / "c", n_features=2, append=True)
    with pytest.raises(DataError, match="column 'id' is int64 in one shard and cannot"):
        writer.append(rows, table=second)
    writer.append(rows, table=first)
    writer.close()
    found = Codes(tmp_path / "c").series("id")
    assert found.dropna().tolist() == first["id"].drop_null().to_pylist() * 2


def test_an_interrupted_call_of_write_codes_leaves_no_rows_in_the_next(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(codes_module, "SHARD_ROWS", 2)
    acts = sp.csr_array(np.eye(6, dtype=np.float32))
    write_codes(tmp_path / "c", acts[:1], texts=["a"])
    write_shard = codes_module.write_shard
    calls = []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write_shard(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(codes_module, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            write_codes(tmp_path / "c", acts[1:], texts=list("uvwxy"), append=True)
    codes = write_codes(tmp_path / "c", acts[1:], texts=list("bcdef"), append=True)
    codes.verify()
    assert codes.texts().tolist() == list("abcdef")
    np.testing.assert_array_equal(codes.rows(0, 6).toarray(), np.eye(6))


def test_texts_that_do_not_go_with_the_metadata_are_refused(tmp_path):
    csr = sp.csr_array(np.eye(3, dtype=np.float32))
    texts = ["a", "b", "c"]
    with pytest.raises(DataError, match="and a column 'text' of metadata, too"):
        write_codes(tmp_path / "codes", csr, texts=texts, metadata={"text": texts})
    with pytest.raises(DataError, match="3 texts and 2 rows of metadata"):
        write_codes(tmp_path / "codes", csr, texts=texts, metadata={"year": [1, 2]})
    assert not (tmp_path / "codes").exists()
