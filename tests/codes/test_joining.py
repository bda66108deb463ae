"""One corpus of several."""

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.codes import Codes, CodesWriter, join_codes, write_codes
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
