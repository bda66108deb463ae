"""Conversion to mapped shards: rows and metadata survive, whole or not at all."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from pyarrow import feather

from nanosae.cli import main
from nanosae.data import cache as cache_module
from nanosae.errors import DataError
from nanosae.sources import arrow_files, csv_files, open_rows
from nanosae.sources import rows as rows_module
from numbered import numbered

quick = settings(max_examples=25, deadline=None)


def texts(n):
    """Columns that are no vectors, of kinds that must survive."""
    words = [f'text é {i}, "quoted"\nline two' if i % 3 else "" for i in range(n)]
    numbers = {
        "id": np.arange(n) * 10**12,
        "rating": np.arange(n) / 7,
        "group": [f"g{i % 5}" for i in range(n)],
    }
    return pd.DataFrame({"text": words, **numbers, "empty": [None] * n})


def with_texts(x, path):
    """Write vectors and texts as CSV, Parquet or compressed Feather."""
    vectors = pd.DataFrame(x, columns=[f"e{i}" for i in range(x.shape[1])])
    frame = pd.concat([vectors, texts(len(x))], axis=1)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else None
    frame.to_parquet(path, row_group_size=70) if path.suffix == ".parquet" else None
    feather.write_feather(
        frame, path, "lz4", chunksize=70
    ) if path.suffix == ".feather" else None
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", "large .csv"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_conversion_keeps_rows_and_texts(suffix, dtype, tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(500, 6)).astype(dtype)
    if suffix.startswith("large"):
        monkeypatch.setattr(csv_files, "LARGE", 0)
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 120)
    monkeypatch.setattr(rows_module, "BLOCK_ROWS", 50)
    monkeypatch.setattr(arrow_files, "BATCH_ROWS", 50)
    path = with_texts(x, tmp_path / f"x{suffix.split()[-1]}")
    assert cache_module.cache(path, tmp_path / "out", dtype=dtype) == 500
    shards = sorted((tmp_path / "out").glob("*.npy"))
    assert [np.load(shard).dtype for shard in shards] == [dtype] * 5
    rows = open_rows(tmp_path / "out")
    assert np.array_equal(rows.read(0, 500), x.astype(np.float32))
    beside = rows.metadata()
    assert beside is not None
    kept = beside.to_pandas()
    assert kept.drop(columns="empty").equals(texts(500).drop(columns="empty"))
    assert kept["empty"].replace("", None).isna().all()
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "out"}


def test_arrays_are_converted_without_columns(tmp_path):
    assert cache_module.cache(numbered(30), tmp_path / "out") == 30
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["00000.npy"]
    assert open_rows(tmp_path / "out").metadata() is None
    with pytest.raises(ValueError, match="dtype='int8' must be one of float32, float1"):
        cache_module.cache(numbered(30), tmp_path / "other", dtype="int8")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("problem", ["exists", "bad cell", "too large", "full disk"])
def test_conversion_is_whole_or_not_at_all(problem, tmp_path, monkeypatch):
    x, options, error = numbered(300), {}, ValueError
    if problem == "exists":
        (tmp_path / "out").mkdir()
        error = FileExistsError
    if problem == "bad cell":
        x[250, 1] = np.nan
    if problem == "too large":
        x[250, 1], options = 1e5, {"dtype": "float16"}
    if problem == "full disk":
        error, save, calls = OSError, np.save, []

        def fails(*args):
            calls.append(1)
            if len(calls) == 3:
                raise OSError(28, "No space left on device")
            save(*args)

        monkeypatch.setattr(np, "save", fails)
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 100)
    with pytest.raises(error, match=r"already exists\. Delete|row 250|No space left"):
        cache_module.cache(x, tmp_path / "out", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["out"] * (problem == "exists")


@pytest.mark.parametrize(
    ("scale", "mean", "said"),
    [
        (1.0, 0.0, None),
        (1e-3, 0.0, None),
        (1.0, 10.0, None),
        (1e-9, 0.0, r"by 1 of their standard deviation \(at most 0\.01\)"),
        (1e-6, 0.0, "rows 100 to 199"),
        (0.1, 1000.0, "far from 0. Use float32"),
    ],
)
def test_rows_that_float16_would_distort_are_refused(
    scale, mean, said, tmp_path, monkeypatch
):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 100)
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    x[100:] = scale * x[100:] + mean
    rounded = x.astype(np.float16).astype(np.float64)[100:]
    error = np.sqrt(np.mean((rounded - x[100:]) ** 2) / x[100:].var(axis=0).mean())
    assert (error > 0.01) == (said is not None)
    if said is None:
        assert cache_module.cache(x, tmp_path / "out", dtype="float16") == 200
        return
    with pytest.raises(DataError, match=said):
        cache_module.cache(x, tmp_path / "out", dtype="float16")
    assert not (tmp_path / "out").exists()
    cache_module.cache(x, tmp_path / "out")


@pytest.mark.parametrize("n_equal", [1, 50])
def test_rows_without_deviation_are_kept_in_float16(n_equal, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 100)
    x = np.random.default_rng(0).normal(size=(100 + n_equal, 4)).astype(np.float32)
    x[100:] = x[100]  # the last shard, perhaps of one row
    assert cache_module.cache(x, tmp_path / "out", dtype="float16") == len(x)
    assert cache_module.cache(x[100:101], tmp_path / "one", dtype="float16") == 1
    x[100:] *= np.float32(1e-9)
    with pytest.raises(DataError, match="rows 100 to"):
        cache_module.cache(x, tmp_path / "small", dtype="float16")


def test_a_large_csv_names_its_bad_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "LARGE", 0)
    path = tmp_path / "x.csv"
    good = "".join(f"{i},{i / 2},t{i}\n" for i in range(200))
    path.write_text("e0,e1,text\n" + good + "3,n/a,x\n")
    rows = open_rows(path)
    assert rows.n_rows == 201
    assert rows.read(0, 200)[:, 1].tolist() == [i / 2 for i in range(200)]
    with pytest.raises(ValueError, match=r"row 200 .*line 202.* column e1 holds 'n/a'"):
        rows.read(150, 201)
    path.write_text("e0,e1\n1,2\n1\n")
    with pytest.raises(ValueError, match="Expected 2 columns, got 1"):
        open_rows(path)


def test_numbers_that_turn_fractions_late_are_read_in_a_large_csv(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(csv_files, "LARGE", 0)
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 64)
    path = tmp_path / "x.csv"
    path.write_text("e0,e1\n" + "1, 2\n" * 40 + "0.5, 1e-3\n")
    assert open_rows(path).read(40, 41).tolist() == [[0.5, np.float32(1e-3)]]


def test_the_command_converts_trains_and_encodes_with_texts(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    path, out, run = (
        with_texts(x, tmp_path / "x.csv"),
        str(tmp_path / "out"),
        str(tmp_path / "run"),
    )
    assert main(["cache", str(path), "-o", out]) == 0
    assert "400 rows" in capsys.readouterr().out
    assert main(["cache", str(path), "-o", out]) == 2
    assert f"error: {out} already exists" in capsys.readouterr().err
    sizes = ["--hidden-size", "16", "--k", "3", "--steps", "4"]
    assert main(["train", out, "-o", run, *sizes]) == 0
    assert main(["encode", run, out]) == 0
    assert "no texts" not in capsys.readouterr().out
    from nanosae.codes import Codes

    assert Codes.open(run).texts([4]) == [texts(5).text[4]]
