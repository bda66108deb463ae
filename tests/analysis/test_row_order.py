"""Values of rows in the order of the corpus, against pandas' own alignment."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from nanosae.analysis.columns import class_matrix, one_per_row
from nanosae.analysis.comparisons.contrast import _members, contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.codes import write_codes
from nanosae.errors import DataError

N = 300
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": RNG.normal(size=N),
        "day": pd.date_range("2024-01-01", periods=N, tz="Europe/Berlin"),
    }
)
INDICES = {
    "numbers": pd.Index(RNG.permutation(N)),
    "gaps": pd.Index(RNG.permutation(5 * N)[:N]),
    "strings": pd.Index([f"text {i}" for i in RNG.permutation(N)]),
    "named": pd.Index(RNG.permutation(N), name="id"),
    "levels": pd.MultiIndex.from_product([range(N // 3), ["x", "y", "z"]]),
}


def corpus(path, frame):
    active = (RNG.random((len(frame), 12)) < 0.4).astype(np.float32)
    as_reset = frame.reset_index() if frame.index.name != "row number" else frame
    metadata = as_reset.assign(day=as_reset["day"].dt.tz_convert(None))
    return write_codes(path / "codes", active, metadata=metadata)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_a_series_is_matched_by_its_index(tmp_path, index):
    frame = FRAME.set_index(index)
    codes = corpus(tmp_path, frame.iloc[:-20])  # the last rows had no text
    for given in (frame, frame.sample(frac=1, random_state=0)):
        cells = one_per_row(codes, given["size"])
        assert cells.tolist() == codes.column("size").tolist()
        cells = one_per_row(codes, given["day"])
        assert (cells == codes.column("day")).all()
        members, _ = _members(codes, given["size"] > 0, None)
        assert (members == (codes.column("size") > 0)).all()


HOURS = pd.date_range("2024-01-01", periods=N, freq="h", tz="Europe/Berlin")


@pytest.mark.parametrize(
    "index",
    [
        HOURS.rename("hour"),
        pd.period_range("2000-01", periods=N, freq="M", name="month"),
        pd.Index(list(pd.date_range("2024-01-01", periods=N).date), name="date"),
        pd.MultiIndex.from_arrays([HOURS, range(N)], names=["hour", "number"]),
    ],
    ids=["zone", "periods", "dates", "levels"],
)
def test_a_series_is_matched_by_times(tmp_path, index):
    size = FRAME["size"].set_axis(index)
    active = (RNG.random((N, 12)) < 0.4).astype(np.float32)
    codes = write_codes(tmp_path / "codes", active, metadata=size.to_frame())
    for given in (size, size.sample(frac=1, random_state=0)):
        assert one_per_row(codes, given).tolist() == size.tolist()


def test_a_series_is_matched_by_the_starts_of_its_periods(tmp_path):
    months = pd.period_range("2000-01", periods=N, freq="M", name="month")
    size = FRAME["size"].set_axis(months)
    starts = size.to_frame().set_axis(months.to_timestamp())  # as of encode_corpus
    active = (RNG.random((N, 12)) < 0.4).astype(np.float32)
    codes = write_codes(tmp_path / "codes", active, metadata=starts)
    given = size.sample(frac=1, random_state=0)
    assert one_per_row(codes, given).tolist() == size.tolist()


def test_a_series_with_row_numbers_is_in_their_order(tmp_path):
    codes = corpus(tmp_path, FRAME.set_index(pd.RangeIndex(N, name="row number")))
    for given in (FRAME, FRAME.sample(frac=1, random_state=0)):
        cells = one_per_row(codes, given["size"])
        assert cells.tolist() == FRAME["size"].tolist()
    with pytest.raises(DataError, match=f"got {N - 1} values for the {N} rows"):
        one_per_row(codes, FRAME["size"].iloc[1:])


@pytest.mark.parametrize("other", [[f"text {i}" for i in range(N)], [7] * N])
def test_a_series_with_other_labels_is_in_the_order_of_the_rows(tmp_path, other):
    codes = corpus(tmp_path, FRAME.set_index(INDICES["gaps"]))
    given = FRAME["size"].set_axis(other)
    assert one_per_row(codes, given).tolist() == codes.column("size").tolist()
    in_order = pd.Series(codes.column("size"))
    assert one_per_row(codes, in_order).tolist() == in_order.tolist()


def test_numbers_that_may_be_labels_or_places_are_an_error(tmp_path):
    codes = corpus(tmp_path, FRAME.set_index(INDICES["numbers"]))
    with pytest.raises(DataError, match="may mean the numbers of the rows"):
        contrast(codes, pd.Series(codes.column("size")) > 0)
    labels = codes.column("index")
    values = FRAME["size"].set_axis(INDICES["numbers"]).sort_index()
    assert one_per_row(codes, values.loc[labels]).tolist() == (
        codes.column("size").tolist()
    )


def test_a_mask_may_have_missing_values(tmp_path):
    codes = corpus(tmp_path, FRAME.set_index(INDICES["gaps"]))
    frame = FRAME.set_index(INDICES["gaps"])
    wanted = codes.column("size") > 0
    for dtype in ("boolean", "bool[pyarrow]"):
        mask = (frame["size"] > 0).astype(dtype)
        members, _ = _members(codes, mask.where(mask), None)
        assert (members == wanted).all()


@pytest.mark.parametrize(
    "make",
    [list, pd.Series, pl.Series, lambda cells: np.array(cells, object)],
    ids=["list", "pandas", "polars", "array"],
)
def test_a_mask_of_objects_may_have_missing_values(tmp_path, make):
    codes = corpus(tmp_path, FRAME)
    size = codes.column("size")
    cells = [None if value < 0 else bool(value > 1) for value in size]
    members, _ = _members(codes, make(cells), None)
    assert (members == (size > 1)).all()


def test_a_mask_of_numbers_is_not_read_as_the_first_two_rows(tmp_path):
    codes = corpus(tmp_path, FRAME)
    mask = codes.column("size") > 0
    for dtype in (int, float, np.uint8):
        with pytest.raises(DataError, match="300 numbers, all 0 or 1"):
            contrast(codes, mask.astype(dtype))
    members, _ = _members(codes, [0, 1, 1], None)
    assert np.flatnonzero(members).tolist() == [0, 1]
    with pytest.raises(DataError, match="a mask of rows has length 1; needed: 300"):
        contrast(codes, True)


NUMBERS = pd.Series(RNG.integers(0, 5, N))
TYPES = {
    "float": NUMBERS.astype(float),
    "float32": NUMBERS.astype("float32"),
    "gaps": NUMBERS.astype(float).where(NUMBERS > 0),
    "Int64": NUMBERS.astype("Int64").where(NUMBERS > 0),
    "Float64": NUMBERS.astype("Float64").where(NUMBERS > 0),
    "arrow": NUMBERS.astype("int64[pyarrow]").where(NUMBERS > 0),
    "categories": NUMBERS.astype("category"),
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_number_names_the_same_rows_in_a_column_and_in_values(tmp_path, kind):
    values = TYPES[kind]
    act = (RNG.random((N, 3)) < 0.4).astype(np.float32)
    codes = write_codes(tmp_path / "codes", act, metadata={"column": values})
    wanted = (NUMBERS == 3).to_numpy()
    for by in ("column", values):
        for three in (3, np.int32(3), "3", 3.0):
            members, _ = _members(codes, three, by)
            assert (members == wanted).all()
    names = [class_matrix(one_per_row(codes, by))[0] for by in ("column", values)]
    assert names[0] == names[1]
    with pytest.raises(DataError, match=f"got {N - 1} values for the {N} rows"):
        one_per_row(codes, values.iloc[1:])


def test_lengths_of_time_are_minutes(tmp_path):
    hours = NUMBERS.astype(float).where(NUMBERS > 0)
    given = pd.to_timedelta(hours, "h")
    act = (RNG.random((N, 3)) < 0.4).astype(np.float32)
    codes = write_codes(tmp_path / "codes", act, metadata={"waited": given})
    minutes = (hours * 60).tolist()
    in_polars = pl.from_pandas(given)
    for values in ("waited", given, given.dt.as_unit("s"), in_polars):
        assert one_per_row(codes, values).tolist() == pytest.approx(
            minutes, nan_ok=True
        )


def test_values_give_the_same_result_as_their_column(tmp_path):
    frame = FRAME.set_index(INDICES["gaps"]).assign(
        kind=np.where(FRAME["size"].to_numpy() > 0, "a", "b")
    )
    codes = corpus(tmp_path, frame)
    shuffled = frame.sample(frac=1, random_state=1)
    for verb, column in ((explain, "size"), (explain, "kind"), (over_time, "day")):
        by_column = verb(codes, column)
        by_values = verb(codes, shuffled[column])
        assert by_values.to_dict() == by_column.to_dict()
    by_column = contrast(codes, "a", by="kind").to_dict()
    assert contrast(codes, "a", by=shuffled["kind"]).to_dict() == by_column
    assert contrast(codes, by=shuffled["kind"]).to_dict() == (
        contrast(codes, by="kind").to_dict()
    )
