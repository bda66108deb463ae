"""One corpus of several."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from nanosae.codes import Codes, CodesWriter, join_codes, joining, write_codes
from nanosae.errors import DataError
from written_codes import M, N


def test_joined_parts_are_the_whole_corpus(tmp_path, dense):
    whole, cuts = sp.csr_array(dense), (0, 70, 70, N)
    vectors = np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32)
    np.save(tmp_path / "rows.npy", vectors)
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for part, a, b in zip(parts, cuts, cuts[1:], strict=False):
        with CodesWriter(
            part, n_features=M, source=tmp_path / "rows.npy", first=a
        ) as writer:
            if b > a:
                writer.append(whole[a:b], table=[f"text {i}" for i in range(a, b)])
    joined = join_codes(parts, tmp_path / "joined")
    joined.verify()
    assert np.array_equal(joined.take(range(N)).toarray(), dense)
    assert joined.texts([0, 69, 70, N - 1]).tolist() == [
        f"text {i}" for i in (0, 69, 70, N - 1)
    ]
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


def parts_of(folder, *names):
    for factor, name in enumerate(names, 1):
        write_codes(folder / name, sp.csr_array(factor * np.eye(3)))
    return [folder / name for name in names]


def assert_unchanged(*parts):
    for factor, part in enumerate(parts, 1):
        codes = Codes(part)
        codes.verify()
        assert np.array_equal(codes.take(range(3)).toarray(), factor * np.eye(3))


def test_a_part_that_is_given_twice_stays(tmp_path):
    (part,) = parts_of(tmp_path, "a")
    with pytest.raises(ValueError, match="a is given twice"):
        join_codes([part, tmp_path / "." / "a"], tmp_path / "joined")
    assert_unchanged(part)
    assert not (tmp_path / "joined").exists()


def test_the_other_parts_stay_where_a_shard_is_missing(tmp_path):
    a, b = parts_of(tmp_path, "a", "b")
    (b / "00000").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"b/00000 is damaged: it is missing"):
        join_codes([a, b], tmp_path / "joined")
    assert_unchanged(a)
    (tmp_path / "elsewhere").rename(b / "00000")
    assert join_codes([a, b], tmp_path / "joined").n_rows == 6


def test_shards_that_an_interrupted_call_moved_are_not_mixed_with_others(tmp_path):
    a, b = parts_of(tmp_path, "a", "b")
    moved = tmp_path / ".joined.joining" / "00000"
    moved.parent.mkdir()
    (b / "00000").rename(moved)
    with pytest.raises(FileExistsError, match=r"joining holds shards of other parts"):
        join_codes([a], tmp_path / "joined")
    assert_unchanged(a)
    joined = join_codes([b], tmp_path / "joined")  # that call is completed
    joined.verify()
    assert np.array_equal(joined.take(range(3)).toarray(), 2 * np.eye(3))


@pytest.mark.parametrize("n_removed", [0, 1])
def test_a_call_that_ended_before_it_removed_the_parts_can_be_repeated(
    tmp_path, monkeypatch, n_removed
):
    parts = parts_of(tmp_path, "a", "b")
    (parts[1] / "map.npz").write_bytes(b"a result")

    def end(folders):
        for folder in folders[:n_removed]:
            shutil.rmtree(folder)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(joining, "remove_parts", end)
        with pytest.raises(KeyboardInterrupt):
            join_codes(parts, tmp_path / "joined")
    (other,) = parts_of(tmp_path, "c")
    with pytest.raises(FileExistsError, match="already holds a corpus"):
        join_codes([*parts, other], tmp_path / "joined")
    assert_unchanged(other)
    assert parts[1].exists()
    joined = join_codes(parts, tmp_path / "joined")
    joined.verify()
    assert np.array_equal(joined.take(range(3, 6)).toarray(), 2 * np.eye(3))
    assert not any(part.exists() for part in parts)
    with pytest.raises(FileExistsError, match="already holds a corpus"):
        join_codes([other], tmp_path / "joined")


def test_the_manifest_of_a_part_is_removed_last(tmp_path, monkeypatch):
    (part,) = parts_of(tmp_path, "a")
    left = []
    remove = joining.shutil.rmtree

    def observe(folder):
        left.append((folder.name, (part / "manifest.json").exists()))
        remove(folder)

    monkeypatch.setattr(joining.shutil, "rmtree", observe)
    joining.remove_parts([part])
    assert left == [("00000", True), ("a", True)]
    assert not part.exists()


def test_parts_whose_values_have_no_common_type_stay(tmp_path):
    for name, ids in (("a", pa.array([2**53 + 1, 1])), ("b", pa.array([0.5, None]))):
        acts = sp.csr_array(np.eye(2))
        write_codes(tmp_path / name, acts, metadata=pa.table({"id": ids}))
    parts = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(DataError, match="column 'id' is int64 in one shard and cannot"):
        join_codes(parts, tmp_path / "joined")
    assert Codes(parts[0]).series("id").tolist() == [2**53 + 1, 1]
    Codes(parts[1]).verify()
    assert not (tmp_path / "joined").exists()
