"""Bad files are one error line on the command line, and leave no run."""

import numpy as np
import pandas as pd
import pytest

from containers import WIDTH, frame, shards
from nanosae.cli import main
from numbered import vectors


def spoiled(folder, kind):  # noqa: C901 (a list of cases)
    """Write a file that cannot be trained on; return it and what its error line must say."""
    x = vectors(300)
    table, path = frame(x), folder / "x.csv"
    if kind == "bad cell":
        table = table.astype(object)
        table.loc[17, "e3"] = "n/a"
        table.to_csv(path, index=False)
        return path, "x.csv, row 17 (0-based; line ", "column e3 holds 'n/a'"
    if kind == "nan in a shard":
        shards(
            folder / "s", lambda p, s: table[s].to_parquet(p.with_suffix(".parquet"))
        )
        table.loc[3, "e1"] = np.nan
        table[:10].to_parquet(folder / "s" / "part-9.parquet")
        return folder / "s", "part-9.parquet, row 3 (0-based), column e1 holds nan"
    if kind == "infinite":
        x[9, 2] = np.inf
        np.save(folder / "x.npy", x)
        return folder / "x.npy", "x.npy, row 9 (0-based), column 2 holds inf"
    if kind == "ragged":
        pd.DataFrame({"v": [*x[:30], x[0][:2]]}).to_parquet(folder / "x.parquet")
        return (
            folder / "x.parquet",
            "x.parquet, row 30 (0-based) has a vector of length 2",
        )
    if kind == "widths":
        shards(
            folder / "s",
            lambda p, s: np.save(p.with_suffix(".npy"), x[s, : 13 - s.start // 10]),
        )
        return folder / "s", "part-10.npy", "width 11, expected 12"
    if kind == "no rows":
        table[:0].to_parquet(folder / "x.parquet")
        return folder / "x.parquet", "x.parquet", "The data has no rows"
    if kind == "equal":
        np.save(folder / "x.npy", np.ones((50, 6)))
        return folder / "x.npy", "All 50 rows read are equal"
    if kind == "another name":
        np.save(folder / "x.npy", x)
        return (folder / "x.npy").rename(path), "Cannot read", "x.csv as a .csv file"
    if kind == "same names":
        path.write_text("e0,e0,e1\n1,2,3\n4,5,6\n")
        return path, "Several columns are named 'e0'"
    if kind == "complex":  # the reader's own message has many lines
        np.save(folder / "x.npy", x + 1j)
        return folder / "x.npy", "Complex data not supported"
    table[["text", "id"]].to_csv(path, index=False)
    return path, "Found no vectors", "--columns"


KINDS = [
    "bad cell",
    "nan in a shard",
    "infinite",
    "ragged",
    "widths",
    "no rows",
    "equal",
]
KINDS += ["another name", "same names", "complex", "no vectors"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_one_error_line_and_leave_no_run(kind, tmp_path, capsys):
    path, *words = spoiled(tmp_path, kind)
    before = sorted(tmp_path.iterdir())
    assert main(["train", str(path), "-o", str(tmp_path / "run"), "--steps", "3"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert [word for word in words if word not in err] == []
    assert sorted(tmp_path.iterdir()) == before


def test_few_rows_train_with_a_note(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.concatenate([vectors(20), np.zeros((2, WIDTH))]))
    run = [
        "-o",
        str(tmp_path / "run"),
        "--steps",
        "3",
        "--hidden-size",
        "8",
        "--k",
        "2",
    ]
    assert main(["train", str(tmp_path / "x.npy"), *run]) == 0
    out = capsys.readouterr().out
    assert "note: There are only 22 rows, fewer than a usual batch of 1,024." in out
    assert "note: 2 of 22 rows are all zero." in out
    assert "note: 1 of 22 rows are duplicates of others." in out
