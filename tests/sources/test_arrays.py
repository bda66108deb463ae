"""Arrays that are not quite numpy arrays: masked, sparse, of small floats."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from containers import X
from nanosae.errors import DataError, DataTypeError
from nanosae.sources import open_rows


def test_masked_entries_are_refused_by_place():
    masked = np.ma.masked_greater(np.where(X[7, 2] == X, 1e36, X), 1e30)
    with pytest.raises(
        DataError, match=r"row 7 \(0-based\), column 2 is masked, one of 1"
    ) as error:
        open_rows(masked)
    assert (error.value.row, error.value.column) == (7, 2)
    assert np.array_equal(open_rows(np.ma.masked_greater(X, 1e30)).read(0, 50), X)


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta:UserWarning")
@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr"])
def test_sparse_tensors_are_read(layout):
    x = torch.from_numpy(np.where(X > 0, X, 0))
    sparse = {
        "coo": x.to_sparse(),
        "csr": x.to_sparse_csr(),
        "csc": x.to_sparse_csc(),
        "bsr": x.to_sparse_bsr((5, 3)),
    }[layout]
    rows = open_rows(sparse)
    assert np.array_equal(rows.read(0, 50), x.numpy())
    assert np.array_equal(rows.take(np.array([3, 17])), x.numpy()[[3, 17]])


def test_sparse_tensors_of_other_shapes_are_refused():
    with pytest.raises(
        DataError, match="has 2 dimensions, 1 of them sparse; 2 and 2 are needed"
    ):
        open_rows(torch.from_numpy(X).to_sparse(1))
    with pytest.raises(DataError, match="has 1 dimensions"):
        open_rows(torch.ones(3).to_sparse())


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16]
)
def test_tensors_of_small_floats_are_read_exactly(dtype):
    x = torch.from_numpy(X).to(dtype)
    rows = open_rows(x)
    assert np.array_equal(rows.read(0, 50), x.float().numpy())
    assert np.array_equal(rows.take(np.array([3, 17])), x.float().numpy()[[3, 17]])


def test_a_sparse_tensor_in_a_file_is_read(tmp_path):
    torch.save(torch.from_numpy(X).to_sparse(), tmp_path / "x.pt")
    assert np.array_equal(open_rows(tmp_path / "x.pt").read(0, 50), X)


def test_a_whole_module_is_not_read(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"needs code to be executed.*tensor alone"):
        open_rows(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", ["datetime64[s]", "timedelta64[D]"])
def test_times_are_no_vectors(dtype):
    with pytest.raises(TypeError, match="which are dates or lengths of time"):
        open_rows(np.zeros((3, 2), dtype))


def test_tensors_without_values_that_numpy_has_are_refused():
    x = torch.view_as_complex(torch.ones(3, 2, 2)).conj().imag  # negative bit set
    assert np.array_equal(open_rows(x).read(0, 3), np.full((3, 2), -1))
    for unreadable in (torch.ones(3, 2, device="meta"), torch.ones(3, 2).to_mkldnn()):
        with pytest.raises(
            TypeError, match=r"torch\.float32, which cannot be converted"
        ):
            open_rows(unreadable)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn"])
def test_numpy_s_small_floats_are_read_exactly(name):
    kinds = pytest.importorskip("ml_dtypes", reason="JAX's types, which need ml_dtypes")
    rows = X.astype(getattr(kinds, name))
    expected = torch.from_numpy(X).to(getattr(torch, name)).float().numpy()
    found = open_rows(rows).read(0, len(rows))
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(DataError):  # twin: two bytes without a type
        open_rows(rows.view(f"V{rows.itemsize}"))


def test_sparse_frames_are_read():
    x = np.where(X > 0, X, 0)
    columns = {f"e{i}": pd.arrays.SparseArray(x[:, i]) for i in range(x.shape[1])}
    assert np.array_equal(open_rows(pd.DataFrame(columns)).read(0, 50), x)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (np.array(5.0), DataError),
        ([[1.0, 2.0], ["a"]], DataError),
        ([[1, 2], [3, {"a": 1}]], DataTypeError),
        ([[1.0], [None]], DataError),
        ([None, 2.0], DataError),
        ([object(), object()], DataTypeError),
        (pd.DataFrame(index=range(3)), DataError),
    ],
)
def test_what_is_no_vector_is_an_error_of_ours(data, kind):
    with pytest.raises(kind):
        next(open_rows(data).blocks())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_one_of_several_arrays_is_chosen_by_its_name(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    arrays = {
        "first": np.eye(3, dtype=np.float32),
        "second": np.ones((4, 2), np.float32),
    }
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        tensors = {name: torch.tensor(array) for name, array in arrays.items()}
        save = save_file if suffix == ".safetensors" else torch.save
        save(tensors, path)
    with pytest.raises(
        DataError,
        match=r"first, second\. Choose one: columns=\['first'\] \(--columns first\)",
    ):
        open_rows(path)
    with pytest.raises(DataError, match="it holds 2 2-d arrays"):
        open_rows(path, columns=["third"])
    rows = open_rows(path, columns=["second"])
    assert (rows.n_rows, rows.width, rows.columns) == (4, 2, ["second"])
