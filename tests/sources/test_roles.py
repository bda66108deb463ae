"""What each column of a table is taken for."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nanosae.errors import DataError
from nanosae.sources.roles import column_roles, parse_dates

N = 200
TEXTS = [f"a longer text about the river and the boat number {i}" for i in range(N)]


def role_of(values, name="column"):
    table = pa.table({"the text": TEXTS, name: pa.array(values)})
    roles = {column.name: column for column in column_roles(table)}
    return roles[name].role


@pytest.mark.parametrize(
    ("values", "role"),
    [
        (["a", "b", None, "a"] * 50, "category"),
        ([True, False] * 100, "category"),
        ([0, 1] * 100, "category"),
        ([1, 2, 3, 4, 5] * 40, "number"),
        ([0.5, 1.5] * 100, "number"),
        (["1,5", "2,75", "-3"] * 66 + ["1", "2"], "number"),
        (["2021-03-04", "2022-01-31"] * 100, "date"),
        (["31/12/2021", "01/02/2022"] * 100, "date"),
        (["Mar 4, 2021", "5 Feb 2022"] * 100, "date"),
        (pd.date_range("2020", periods=N), "date"),
        ([1999, 2004, 2010, 2020] * 50, "date"),
        (list(range(10**18, 10**18 + N)), "id"),
        ([f"user{i}" for i in range(N)], "id"),
        ([["x", "y"], []] * 100, "tags"),
        ([f"value {i % 60}" for i in range(N)], "unused"),
        (["same"] * N, "unused"),
        ([None] * N, "unused"),
        ([""] * N, "unused"),
    ],
)
def test_a_column_gets_the_role_that_its_values_have(values, role):
    assert role_of(values) == role


def test_names_decide_where_values_do_not():
    years = [2001, 2002] * 100
    assert role_of(years, "year") == "date"
    assert role_of(years, "clicks") == "category"
    ids = [17, 18, 19, 20] * 50
    assert role_of(ids, "author_id") == "id"
    assert role_of(ids, "stars") == "number"


def test_a_rare_category_is_not_compared():
    assert role_of([f"v{i % 40}" for i in range(N)]) == "unused"
    assert role_of([f"v{i % 20}" for i in range(N)]) == "category"


def test_a_title_beside_a_body_is_not_the_text():
    table = pa.table(
        {"title": [f"the title {i} here" for i in range(N)], "body": TEXTS}
    )
    assert {c.name: c.role for c in column_roles(table)} == {
        "title": "unused",
        "body": "text",
    }


def test_two_equally_likely_texts_are_asked_about():
    table = pa.table({"first": TEXTS, "second": TEXTS[::-1]})
    with pytest.raises(
        DataError, match=r"'first' \(11 words.*'second' \(11\).*--text first"
    ):
        column_roles(table)
    table = pa.table({"first": TEXTS, "review": TEXTS[::-1]})
    assert [c.role for c in column_roles(table)] == ["unused", "text"]


def test_chinese_texts_are_texts():
    table = pa.table({"内容": [f"这是一篇关于河流和船的文章{i}" for i in range(N)]})
    assert column_roles(table)[0].role == "text"


def test_dates_are_read_day_first_where_a_day_shows_it():
    read = parse_dates(pd.Series(["03/04/2021", "25/12/2021"]))
    assert read.dt.month.tolist() == [4, 12]
    read = parse_dates(pd.Series(["03/04/2021", "12/25/2021"]))
    assert read.dt.month.tolist() == [3, 12]
    assert parse_dates(
        pd.Series(["2021-01-02T03:04:05Z", "nonsense"])
    ).isna().tolist() == [
        False,
        True,
    ]


def test_vectors_have_no_role():
    table = pa.table({"text": TEXTS, "v": pa.array(np.zeros((N, 3)).tolist())})
    assert [c.name for c in column_roles(table, skip=["v"])] == ["text"]
