"""Codes on disk against the arrays that were written."""

import copy
import pickle
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from nanosae.atomic import move_folder
from nanosae.codes import Codes, CodesWriter, indices, write_codes
from nanosae.errors import DataError
from written_codes import M, N, rebuilt


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
    # the check can fail
    assert np.abs(codes.take(some).toarray() - dense[np.sort(some)]).max() > 1
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
    assert rows[np.argsort(acts, kind="stable")[::-1]][:5].tolist() == [
        229,
        228,
        227,
        226,
        225,
    ]


def test_a_copy_in_another_process_reads_the_same_corpus(corpus, dense):
    codes, *_ = corpus
    codes.take([0])  # files are open
    for again in (pickle.loads(pickle.dumps(codes)), copy.deepcopy(codes)):
        np.testing.assert_array_equal(rebuilt(again), dense)


def test_long_table(corpus, dense):
    codes, *_ = corpus
    frame = codes.to_frame()
    assert frame.columns.tolist() == ["row", "feature", "activation"]
    back = sp.coo_array(
        (frame.activation, (frame.row, frame.feature)), shape=(N, M)
    ).toarray()
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
    with pytest.raises(ValueError, match="no column 'date'; there are group, year"):
        codes.column("date")


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
            tmp_path / "c",
            n_features=M,
            source=tmp_path / "x.npy",
            append=part.start > 0,
        ) as writer:
            writer.append(sp.csr_array(dense[part]))
    codes = Codes(tmp_path / "c")
    assert not (tmp_path / "c" / "00000" / "vectors.npy").exists()
    np.testing.assert_array_equal(codes.vectors([200, 3, 91]), vectors[[200, 3, 91]])
    np.save(tmp_path / "x.npy", vectors + 1)
    with pytest.raises(
        ValueError, match=r"x\.npy cannot be read: it has changed since"
    ):
        Codes(tmp_path / "c").vectors([1])
    (tmp_path / "x.npy").unlink()
    with pytest.raises(ValueError, match=r"x\.npy cannot be read"):
        Codes(tmp_path / "c").vectors([1])


def test_open_finds_the_corpus_of_a_run(corpus, dense):
    codes, *_ = corpus
    run = codes.path.parent.parent
    assert codes.run == run
    assert Codes.open(run).name == "news"
    assert Codes.open(codes.path).run == run
    write_codes(run / "codes" / "second", sp.csr_array(dense))
    with pytest.raises(
        FileNotFoundError, match=r"no codes 'default'.*it has news, second"
    ):
        Codes.open(run)
    assert Codes.open(run, "second").has_texts is False
    write_codes(run / "codes" / "default", sp.csr_array(dense))
    assert Codes.open(run).name == "default"
    with pytest.raises(FileNotFoundError, match="no codes 'other'"):
        Codes.open(run, "other")
    with pytest.raises(
        ValueError, match=f"needs a model with {M} features; there is none"
    ):
        codes.weights()


def test_missing_parts_are_said(tmp_path, dense):
    codes = write_codes(tmp_path, sp.csr_array(dense))
    assert (codes.has_texts, codes.has_vectors, codes.columns) == (False, False, [])
    with pytest.raises(ValueError, match="no column 'text'"):
        codes.texts()
    with pytest.raises(ValueError, match="has no embeddings"):
        codes.vectors()
    for bad in ([N], [-1], [0, N + 3]):
        with pytest.raises(ValueError, match=f"there are 0 … {N - 1}"):
            codes.take(bad)
    with pytest.raises(
        ValueError, match=f"feature {M} is out of range: there are 0 … {M - 1}"
    ):
        codes.feature(M)


def test_scanning_yields_all_embeddings_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 7)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    codes = write_codes(tmp_path / "c", sp.csr_array(np.ones((20, 2))), vectors=x)
    found = list(codes.scan(6))
    assert [start for start, _ in found] == [0, 6, 12, 18]
    np.testing.assert_array_equal(
        np.concatenate([part for _, part in found]), codes.vectors()
    )


def test_a_scan_does_not_mix_a_corpus_with_the_one_that_replaces_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("nanosae.codes.reader.SCAN_ROWS", 10)
    acts, x = sp.csr_array(np.ones((20, 2))), np.ones((20, 3), np.float32)
    codes = write_codes(tmp_path / "c", acts, vectors=x)
    write_codes(tmp_path / "other", acts, vectors=1.5 * x)
    found = codes.scan(10)
    next(found)
    move_folder(tmp_path / "other", tmp_path / "c")
    with pytest.raises(ValueError, match="damaged"):
        next(found)


def test_places_are_integers_or_a_mask_of_all(corpus):
    codes, *_ = corpus
    for rows, message in (
        ([True, False], f"a mask of rows has length 2; needed: {N}"),
        ([0.0, 1.5], "row 1.5 is not an integer"),
        ([np.nan], "row nan is not an integer"),
        (["a"], "A row is given by its number, not by 'a'"),
        (["1"], "A row is given by its number, not by '1'"),
        ([N], f"there are 0 … {N - 1}"),
    ):
        with pytest.raises(DataError, match=message):
            codes.take(rows)
    np.testing.assert_array_equal(
        codes.take([2.0, 5.0]).toarray(), codes.take([2, 5]).toarray()
    )


def test_a_run_folder_is_not_to_be_deleted(corpus, tmp_path):
    run = tmp_path / "a run"
    (run / "codes").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"Codes\.open\(RUN\)") as failure:
        Codes(run)
    assert "Delete" not in str(failure.value)


BERLIN = pa.timestamp("us", "Europe/Berlin")
EXACT = {
    "integers": pa.array([2**60 + 1, None, 7]),
    "small integers": pa.array([255, None, 7], pa.uint8()),
    "booleans": pa.array([True, None, False]),
    "numbers": pa.array([0.1, None, 1e-300]),
    "zoned times": pa.array(
        [datetime(2024, 5, 1, 12), None, datetime(2024, 1, 1)], BERLIN
    ),
    "days": pa.array([date(2024, 5, 1), None, date(1500, 1, 1)]),
    "decimals": pa.array([Decimal("0.10"), None, Decimal("12345678901234567890.12")]),
    "lists": pa.array([["a"], None, []]),
}


@pytest.mark.parametrize("cells", EXACT.values(), ids=EXACT.keys())
def test_a_series_holds_the_values_that_were_given(cells, tmp_path, monkeypatch):
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 2)
    table = pa.table({"c": cells})
    codes = write_codes(tmp_path / "c", sp.csr_array(np.eye(3)), metadata=table)
    found = codes.series("c", [2, 0, 1])
    assert found.index.tolist() == [0, 1, 2]
    wanted = cells.take(pa.array([2, 0, 1]))
    assert pa.array(found, wanted.type, from_pandas=True).equals(wanted)
    assert len(codes.series("c", [])) == 0


def test_a_long_selection_that_is_none_is_cut_in_the_message():
    with pytest.raises(DataError) as error:
        indices(set(range(1000)), 2000, "row")
    assert len(str(error.value)) < 120


def test_activations_are_a_matrix(tmp_path):
    for bad in (np.ones(3), [1.0, 2.0], 5):
        with pytest.raises(DataError, match=r"needed: \(n_rows, n_features\)"):
            write_codes(tmp_path / "codes", bad)
    assert not (tmp_path / "codes").exists()
    rows = [[0.0, 1.0], [2.0, 0.0]]
    assert write_codes(tmp_path / "codes", rows).take(None).toarray().tolist() == rows


def test_a_mask_of_objects_is_a_mask():
    mask = np.array([True, False, True], dtype=object)
    assert indices(mask, 3, "row").tolist() == [0, 2]
    assert indices(np.array([2, 0], dtype=object), 3, "row").tolist() == [2, 0]
    with pytest.raises(DataError, match="a mask of rows has length 2; needed: 3"):
        indices(mask[:2], 3, "row")
    for cells in ([True, None, False], [None], [2**70]):
        with pytest.raises(DataError, match="A row is given by its number, not by"):
            indices(np.array(cells, dtype=object), 3, "row")
