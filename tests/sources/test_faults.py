"""Values, shapes and files that cannot be used are named, with their place and a remedy."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from containers import LISTS, WIDTH, X, assert_holds, frame
from nanosae.sources import open_rows
from nanosae.sources.files import SUFFIXES
from numbered import vectors


def fails(data, *parts, kind: type[Exception] = ValueError, **options):
    """Open and read; expect an error that holds each part."""
    with pytest.raises(kind) as error:
        next(open_rows(data, **options).blocks())
    assert [part for part in parts if part not in str(error.value)] == []


def test_not_finite_values_are_named():
    x = vectors()
    x[7, 2], x[9, 1] = np.nan, -np.inf
    fails(x, "row 7 (0-based), column 2 holds nan, one of 2", "Drop those rows or fill")
    fails(frame(x), "row 7 (0-based), column e2 holds nan")
    fails(
        pl.from_pandas(frame(x[8:])), "row 1 (0-based), column e1 holds -inf, one of 1"
    )
    fails(LISTS.assign(vector=list(x)), "row 7 (0-based), column 2 holds nan")
    fails(np.full((3, 2), 1e300), "row 0 (0-based), column 0 holds inf")
    fails(
        pd.DataFrame({"e0": pd.array([1, None], "Int64"), "e1": [1, 2]}),
        "row 1",
        "column e0",
    )
    big = np.full((3, 2), 3e38, np.float32)  # twin: finite, though their sum is not
    assert np.array_equal(open_rows(big).read(0, 3), big)


@pytest.mark.parametrize("prefix", ["e", "col_x"])
@pytest.mark.parametrize("bad", ["n/a", "1,5", "NULL"])
def test_bad_cells_are_named(tmp_path, prefix, bad):
    table = frame(X, "e").drop(columns=["id", "text"]).astype(object)
    table.columns = [
        f"{prefix}{i}" if prefix == "e" else chr(97 + i) for i in range(WIDTH)
    ][::-1]
    name = table.columns[5]
    table.loc[13, name] = bad
    fails(table, f"row 13 (0-based), column {name} holds '{bad}'", "Correct it")
    table.to_csv(tmp_path / "x.csv", index=False)
    fails(
        tmp_path / "x.csv", "row 13 (0-based; line 15", f"column {name} holds '{bad}'"
    )
    with pytest.raises(AssertionError):  # twin: another row is not accepted
        fails(table, "row 12 (0-based)")


def test_text_and_label_columns_are_not_bad_cells():
    texts = frame(X).assign(score=["1"] * 49 + ["?"], mostly=["n"] * 40 + ["1"] * 10)
    assert_holds(open_rows(texts), X)


def test_ragged_vectors_are_named():
    fails(
        [[1, 2, 3], [1, 2, 3], [1, 2]],
        "row 2 (0-based) has a vector of length 2, but row 0 one of 3",
    )
    fails(
        pd.DataFrame({"v": [[1.0], [1.0, 2.0]]}),
        "row 1 (0-based)",
        "length 2, but row 0 one of 1",
    )
    for empty in (None, []):
        first = pd.DataFrame({"v": [empty, [1.0], [2.0]]})
        fails(first, "row 0 (0-based) has no vector. Drop the rows without one.")
        second = pd.DataFrame({"v": [[1.0], empty, [2.0]]})
        fails(second, "row 1 (0-based) has no vector. Drop the rows without one.")


def test_ragged_files_are_named(tmp_path):
    table = pa.table({"v": [[1.0, 2.0]] * 30 + [[1.0]] + [[3.0, 4.0]] * 9})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=8)
    fails(
        tmp_path / "x.parquet",
        "row 30 (0-based) has a vector of length 1, but row 0 one of 2",
    )
    (tmp_path / "y.csv").write_text("e0,e1\n1,2\n1\n")
    fails(tmp_path / "y.csv", "Cannot read", "Expected 2 columns, got 1")


def test_values_beyond_float32_are_told_from_infinite_ones():
    x = X.astype(np.float64)
    x[2, 1] = 1e300
    fails(x, "row 2 (0-based), column 1 holds inf", "infinite values (in float32)")


def test_wrong_shapes_and_types():
    import datasets

    fails(np.zeros(5), "Reshape your data")
    fails([1.0, 2.0], "Reshape your data")
    fails(torch.zeros(5), "Reshape your data")
    for tokens in (np.zeros((2, 5, 3)), torch.zeros(2, 5, 3), [torch.zeros(5, 3)] * 2):
        fails(tokens, "the shape (2, 5, 3); needed are rows", "x.reshape(-1, 3)")
    fails(X + 1j, "Complex data not supported: the vectors are complex", "real and")
    fails(torch.from_numpy(X + 1j), "Complex data not supported")
    fails(
        np.zeros((0, 3)), "0 sample(s) (shape=(0, 3)) while a minimum of 1 is required"
    )
    fails(np.zeros((3, 0)), "0 feature(s)", "a minimum of 1 is required")
    fails([], "Reshape your data")
    fails(frame(X)[:0], "no rows")
    fails(np.array([["a", "b"]]), "strings")
    fails([[1, 2], [3, "x"]], "'x'")
    fails(
        np.array([[1, {"a": 1}]], object), "a real number, not 'dict'", kind=TypeError
    )
    fails(
        np.array([["2020-01-01"]], "M8[D]"),
        "datetime64[D], which are dates",
        kind=TypeError,
    )
    for other in (5, {"a": X}, iter(X), datasets.DatasetDict(), pl.LazyFrame()):
        fails(other, type(other).__name__, kind=TypeError)


def test_widths_that_differ(tmp_path):
    fails(X, "width 12, expected 13 (input_size", "that width", input_size=13)
    fails(frame(X), "width 12, expected 11 (input_size", input_size=11)
    np.save(tmp_path / "a1.npy", X)
    np.save(tmp_path / "a2.npy", X[:, :5])
    fails(tmp_path, "a2.npy", "width 5, expected 12")


def test_paths_that_lead_nowhere(tmp_path):
    fails(
        tmp_path / "no.csv", "no.csv: found nothing", ".parquet", kind=FileNotFoundError
    )
    fails(tmp_path, "found nothing", kind=FileNotFoundError)
    fails(str(tmp_path / "*.npy"), "found nothing", kind=FileNotFoundError)
    (tmp_path / "x.xyz").write_text("?")
    fails(tmp_path / "x.xyz", "x.xyz", ".parquet")
    np.save(tmp_path / "x.npy", X)
    assert_holds(open_rows(tmp_path), X)  # other files in the folder do not disturb
    frame(X).to_parquet(tmp_path / "x.parquet")
    fails(tmp_path, "files of one of these types", "x.npy", "x.parquet")


def test_files_that_are_not_what_their_names_say(tmp_path):
    np.save(tmp_path / "good.npy", X)
    frame(X).to_parquet(tmp_path / "good.parquet")
    contents = {s: (tmp_path / f"good{s}").read_bytes() for s in (".npy", ".parquet")}
    contents[".csv"] = b"e0,e1\n1,2\n"
    for suffix in SUFFIXES:
        for actual, content in contents.items():
            is_delimited = actual == ".csv" and suffix in (".tsv", ".tab")
            if actual != suffix and not is_delimited:
                path = tmp_path / f"wrong{suffix}"
                path.write_bytes(content)
                fails(path, f"Cannot read {path} as a {suffix} file")
    (tmp_path / "cut.parquet").write_bytes(contents[".parquet"][:-20])
    fails(tmp_path / "cut.parquet", "Cannot read")
    (tmp_path / "empty.csv").touch()
    fails(tmp_path / "empty.csv", "is empty")


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    np.save(tmp_path / "x.npy", np.array([[Bomb()]], object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([[Bomb()]], object))
    torch.save(Bomb(), tmp_path / "x.pt")
    for suffix in (".npy", ".npz", ".pt"):
        fails(tmp_path / f"x{suffix}", "Cannot read")
    assert not (tmp_path / "exploded").exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)  # twin: the bomb works
    assert (tmp_path / "exploded").exists()


def test_a_folder_of_folders_names_one_to_choose(tmp_path):
    for layer in ("layers.0", "layers.1"):  # as `nanosae activations` writes them
        (tmp_path / layer).mkdir()
        np.save(tmp_path / layer / "00000.npy", X)
    remedy = f"Choose one of the folders, such as {tmp_path / 'layers.0'}."
    for given in (tmp_path, tmp_path / "*"):
        fails(given, remedy, kind=FileNotFoundError)
    assert_holds(open_rows(tmp_path / "layers.0"), X)


def test_files_with_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=X, b=X)
    fails(tmp_path / "x.npz", "it holds 2 2-d arrays, 1 is needed")
    np.savez(tmp_path / "x.npz", a=X, b=X[0])  # twin: only one is 2-d
    assert_holds(open_rows(tmp_path / "x.npz"), X)
    torch.save({"n": 3}, tmp_path / "x.pt")
    fails(tmp_path / "x.pt", "it holds no 2-d array")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors"])
def test_files_of_texts_by_tokens_say_how_to_make_rows(suffix, tmp_path):
    tokens = np.zeros((2, 5, 3), np.float32)
    file = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(file, tokens)
    elif suffix == ".npz":
        np.savez(file, acts=tokens)
    elif suffix == ".pt":
        torch.save({"acts": torch.from_numpy(tokens), "n": 3}, file)
    else:
        save_file({"acts": torch.from_numpy(tokens)}, file)
    fails(file, file.name, "the shape (2, 5, 3)", "x.reshape(-1, 3)")
