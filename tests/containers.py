"""Containers that hold the same vectors: frames, tables, arrays, files, shards."""

from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch
from safetensors.torch import save_file

from nanosae.sources import open_rows
from numbered import numbered, vectors

WIDTH, N = 12, 50


def frame(x, prefix="e"):
    """A frame as users have it: vector columns in the wrong order, between a text and an id."""
    names = [f"{prefix}{i}" for i in range(x.shape[1])]
    vector = pd.DataFrame(x, columns=names)[names[::-1]]
    text = pd.Series([f"text é {i}\nline two" for i in range(len(x))], name="text")
    return pd.concat(
        [text, vector, pd.Series(np.arange(len(x)) + 7, name="id")], axis=1
    )


def write(path, table):
    """Write an Arrow stream file, as Hugging Face does."""
    with pa.ipc.new_stream(path, table.schema) as out:
        out.write_table(table, max_chunksize=9)
    return path


def write_row_groups(path, sizes, width=3):
    """Write a Parquet file with row groups of these sizes."""
    frame = pd.DataFrame(
        numbered(sum(sizes), width), columns=[f"e{i}" for i in range(width)]
    )
    table = pa.Table.from_pandas(frame)
    with pq.ParquetWriter(path, table.schema) as out:
        for start, stop in pairwise(np.cumsum([0, *sizes])):
            out.write_table(table[start:stop])
    return path


def shards(folder, save):
    """Write five shards whose names sort wrongly as text."""
    folder.mkdir()
    for i in range(5):
        save(folder / f"part-{8 + i}", slice(10 * i, 10 * i + 10))
    return folder


def saved(path, save):
    """Save and give the path back."""
    save(path)
    return path


X = vectors()
LISTS = pd.DataFrame({"text": [f"t{i}" for i in range(N)], "vector": list(X)})
ARRAYS = {
    "float32": lambda _: X,
    "float16": lambda _: X.astype(np.float16),
    "float64 columns first": lambda _: np.asfortranarray(X.astype(float)),
    "strided": lambda _: np.repeat(X, 2, axis=0)[::2],
    "objects": lambda _: X.astype(object),
    "array of arrays": lambda _: LISTS.vector.to_numpy(),
    "list of lists": lambda _: X.tolist(),
    "list of arrays": lambda _: list(X),
    "list of tensors": lambda _: list(torch.from_numpy(X)),
    "tensor": lambda _: torch.from_numpy(X),
    "tensor with gradient": lambda _: torch.from_numpy(X).double().requires_grad_(),
    "transposed tensor": lambda _: torch.from_numpy(X.T.copy()).T,
    "sparse": lambda _: sp.csr_array(X),
    "npy": lambda d: saved(d / "x.npy", lambda p: np.save(p, X.astype(np.float16))),
    "npz": lambda d: saved(d / "x.npz", lambda p: np.savez(p, x=X, y=np.arange(N))),
    "safetensors": lambda d: saved(
        d / "x.safetensors", lambda p: save_file({"x": torch.from_numpy(X)}, p)
    ),
    "pt": lambda d: saved(
        d / "x.pt", lambda p: torch.save(torch.from_numpy(X).half(), p)
    ),
    "pt dict": lambda d: saved(
        d / "x.pt", lambda p: torch.save({"x": torch.from_numpy(X), "n": 3}, p)
    ),
    "memmap": lambda d: np.load(ARRAYS["npy"](d), mmap_mode="r"),
    "npy shards": lambda d: shards(
        d / "s", lambda p, s: np.save(p.with_suffix(".npy"), X[s])
    ),
    "glob": lambda d: str(ARRAYS["npy shards"](d) / "part-*.npy"),
}
TABLES = {
    "pandas": lambda _: frame(X),
    "pandas float16": lambda _: frame(X.astype(np.float16)),
    "polars": lambda _: pl.from_pandas(frame(X)),
    "arrow": lambda _: pa.Table.from_pandas(frame(X)),
    "chunked arrow": lambda _: pa.concat_tables(
        pa.Table.from_pandas(frame(X)[i : i + 9]) for i in range(0, N, 9)
    ),
    "csv": lambda d: saved(d / "x.csv", lambda p: frame(X).to_csv(p, index=False)),
    "tsv": lambda d: str(
        saved(d / "x.tsv", lambda p: frame(X).to_csv(p, index=False, sep="\t"))
    ),
    "parquet": lambda d: saved(
        d / "x.parquet", lambda p: frame(X).to_parquet(p, row_group_size=7)
    ),
    "feather": lambda d: saved(d / "x.feather", lambda p: frame(X).to_feather(p)),
    "arrow file": lambda d: saved(
        d / "x.arrow", lambda p: pl.from_pandas(frame(X)).write_ipc(p)
    ),
    "arrow stream": lambda d: write(d / "x.arrow", pa.Table.from_pandas(frame(X))),
    "parquet shards": lambda d: shards(
        d / "s", lambda p, s: frame(X)[s].to_parquet(p.with_suffix(".parquet"))
    ),
    "csv shards": lambda d: shards(
        d / "s", lambda p, s: frame(X)[s].to_csv(p.with_suffix(".csv"), index=False)
    ),
}


def hugging_face(table):
    import datasets

    return datasets.Dataset.from_pandas(table)


LISTED = {
    "pandas": lambda _: LISTS,
    "polars": lambda _: pl.from_pandas(LISTS),
    "polars arrays": lambda _: pl.from_pandas(LISTS).with_columns(
        pl.col("vector").cast(pl.Array(pl.Float32, WIDTH))
    ),
    "parquet": lambda d: saved(
        d / "x.parquet", lambda p: LISTS.to_parquet(p, row_group_size=7)
    ),
    "half lists": lambda _: pa.table(
        {"text": LISTS.text, "vector": pa.array(list(X.astype(np.float16)))}
    ),
    "Hugging Face": lambda _: hugging_face(LISTS),
    "Hugging Face selection": lambda _: hugging_face(LISTS.iloc[::-1]).select(
        range(N)[::-1]
    ),
}


def assert_holds(rows, expected):
    """Compare reads of all kinds with the expected array."""
    picks = np.array([0, 3, 4, 17, len(expected) - 1])
    assert (rows.n_rows, rows.width) == expected.shape
    assert np.array_equal(rows.read(0, rows.n_rows), expected)
    assert np.array_equal(rows.read(5, 9), expected[5:9])
    assert np.array_equal(rows.take(picks), expected[picks])
    assert np.array_equal(np.concatenate([*rows.blocks(13)]), expected)
    assert rows.read(0, 2).dtype == np.float32
    assert rows.fingerprint() == open_rows(expected).fingerprint()
    assert rows.digest() == open_rows(expected).digest()
