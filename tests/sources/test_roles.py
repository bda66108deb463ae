"""What each column of a table is taken for."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nanosae.errors import DataError
from nanosae.sources.categories import Column
from nanosae.sources.column_role import column_role
from nanosae.sources.dates import parse_dates
from nanosae.sources.embedded import read_vectors, vector_columns_beside
from nanosae.sources.frames import table_of_texts
from nanosae.sources.roles import column_roles, likely_text, with_roles
from nanosae.sources.typed import with_types
from nanosae.sources.vector_text import with_vectors_parsed

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
        (["03/2024", "11/2023", "1/2024", None] * 50, "date"),
        (["2024/03", "2023/11", "2024/12", None] * 50, "date"),
        (["03/2024", "13/2023", "21/2024", None] * 50, "category"),
        ([20231231, 20240101, 20240229, None] * 50, "date"),
        ([20231231, 20240101, 20240230, None] * 50, "number"),
        (list(range(10**18, 10**18 + N)), "id"),
        ([f"user{i}" for i in range(N)], "id"),
        ([["x", "y"], []] * 100, "tags"),
        ([["x"], []] * 100, "unused"),
        (["x|y", "x", "z; x", "y|z"] * 50, "tags"),
        (["Paris, France", "Lyon, France"] * 100, "category"),
        (
            ["Mon Apr 06 22:19:45 PDT 2009", "Tue Apr 07 01:02:03 PDT 2009"] * 100,
            "date",
        ),
        (
            ["Wed Oct 10 20:19:24 +0000 2018", "Thu Oct 11 1:0:0 +0000 2018"] * 100,
            "date",
        ),
        ([f"value {i % 60}" for i in range(N)], "unused"),
        (["same"] * N, "unused"),
        ([1.0, None] * 100, "unused"),
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
    early = list(range(1580, 1780))
    assert role_of(early, "Year") == "date"
    assert role_of(early, "clicks") == "id"
    assert role_of([4, *early[1:]], "year") == "id"
    ids = [17, 18, 19, 20] * 50
    assert role_of(ids, "author_id") == "id"
    assert role_of(ids, "stars") == "number"
    long_ids = [str(10**9 + i // 2) for i in range(N)]
    assert role_of(long_ids, "author_id") == "id"
    assert role_of(long_ids, "followers") == "number"

    assert role_of([1_700_000_000 + i for i in range(N)], "created_at") == "date"
    assert role_of([1_700_000_000 + i for i in range(N)], "views") == "id"
    assert role_of(ids, "user.id") == role_of(ids, "postId") == "id"
    assert role_of(ids, "paid") == "number"
    assert role_of([10_115, 10_117, 80_331, 20_095] * 50, "zip") == "id"
    assert role_of([10_115, 10_117, 80_331, 20_095] * 50, "price") == "number"
    assert role_of([f"a, {'bc'[i % 2]}" for i in range(N)], "genres") == "tags"


@pytest.mark.parametrize(
    ("values", "name", "first"),
    [
        (["1706778000.5", "1706779000"], "ts", "2024-02-01T09:00:00.500000"),
        ([1.706778e12, 1.706779e12], "epoch_ms", "2024-02-01T09:00:00"),
        ([1_706_778_000, 1_706_779_000], "createdAt", "2024-02-01T09:00:00"),
        ([1_706_778_000, 1_706_779_000], "sent_when", "2024-02-01T09:00:00"),
        ([45_323, 45_400, 45_666], "Date received", "2024-02-01T00:00:00"),
    ],
)
def test_counts_of_seconds_and_days_are_times(values, name, first):
    table = pa.table({"the text": TEXTS, name: (values * N)[:N]})
    roles = column_roles(table)
    typed = with_types(table, roles)
    assert roles[1].role == "date"
    assert typed[name][0].as_py().isoformat() == first
    without_a_name = pa.table({"the text": TEXTS, "amount": (values * N)[:N]})
    assert column_roles(without_a_name)[1].role != "date"


@pytest.mark.parametrize(
    ("form", "step", "unit"),
    [
        ("%Y%m", "MS", "months"),
        ("%Y%m%d", "D", "days"),
        ("%Y%m%d%H", "7h", "hours"),
        ("%Y%m%d%H%M", "7h5min", "minutes"),
        ("%Y%m%d%H%M%S", "7h5min3s", "seconds"),
        ("%Y%m%dT%H%M%S", "7h5min3s", None),
    ],
)
@pytest.mark.parametrize("kind", [str, int])
def test_times_written_as_digits_are_those_times(form, step, unit, kind):
    """Not counts since 1970: 202401310915 milliseconds would be in 1976."""
    times = pd.date_range("2024-01-01", periods=N, freq=step)
    kind = str if unit is None else kind
    written = [kind(text) for text in times.strftime(form)]
    table = pa.table({"the text": TEXTS, "timestamp": [*written[:-1], None]})
    columns = column_roles(table)
    assert columns[1].role == "date"
    assert unit is None or columns[1].reason == f"{unit} written like {written[0]}"
    typed = with_types(table, columns)["timestamp"].to_pylist()
    assert typed == [*times[:-1].to_pydatetime(), None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", [str, int, float])
def test_counts_in_any_unit_are_times(unit, kind):
    """Nanoseconds are integers beyond those that floats hold."""
    times = pd.date_range("2024-01-31 09:15:30", periods=N, freq="7h5min")
    counts = [kind(int(n)) for n in times.as_unit(unit).astype("int64")]
    table = pa.table({"the text": TEXTS, "ts": [*counts[:-1], None]})
    columns = column_roles(table)
    assert columns[1].role == "date"
    typed = with_types(table, columns)["ts"].to_pylist()
    assert typed == [*times[:-1].to_pydatetime(), None]


def test_whole_numbers_with_gaps_are_whole_numbers():
    """Where a cell is empty, pandas stores them as fractions."""
    assert role_of([1999.0, 2004.0, 2010.0, None] * 50, "published") == "date"
    assert role_of([float(i) for i in range(N - 1)] + [None]) == "id"
    assert role_of([i * 317.0 for i in range(N - 1)] + [None]) == "number"
    table = pa.table({"the text": TEXTS, "year": [1999.0, None] * 100})
    typed = with_types(table, [Column("year", "date", "")])
    assert typed["year"].to_pylist()[:2] == [1999, None]


def test_a_code_beside_its_name_is_compared_once():
    names = ["Rome", "Oslo", None, "Rome"] * 50
    codes = pd.Categorical(["IT", "NO", None, "IT"] * 50, ["NO", "IT"])
    table = pa.table({"the text": TEXTS, "city": names, "land": pa.array(codes)})
    assert [c.role for c in column_roles(table)] == ["text", "category", "unused"]
    assert column_roles(table)[2].reason == "groups the rows exactly as city does"
    others = pa.table({"the text": TEXTS, "city": names, "hall": [*names[1:], "Oslo"]})
    assert column_roles(others)[2].role == "category"


def test_what_may_be_the_text_is_named():
    queries = pa.array([f"query {i}" for i in range(N)])
    table = pa.table({"kind": ["a", "b"] * 100, "n": range(N), "the query": queries})
    columns = column_roles(table)
    assert likely_text(table, columns) is None  # each row has a value of its own: an id
    table = pa.table(
        {"kind": ["a", "b"] * 100, "the query": queries.take([*range(70), 0] * 3)[:N]}
    )
    assert likely_text(table, column_roles(table)) == "the query"
    same = pa.table({"text": ["the same in each row"] * N, "n": range(N)})
    assert likely_text(same, column_roles(same)) is None


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        (pd.date_range("2020", periods=N), "opened", "holds dates"),
        (
            [1_700_000_000 + i for i in range(N)],
            "created",
            "seconds since 1970",
        ),
        (
            [1_700_000_000_000 + i for i in range(N)],
            "created",
            "milliseconds since 1970",
        ),
        ([f"t3_{i // 3}" for i in range(N)], "link_id", "named like an identifier"),
        (["2020-01-01"] * 196 + ["?"] * 4, "day", "98 % of the values are dates"),
    ],
)
def test_reasons_are_true_and_in_plain_words(values, name, reason):
    table = pa.table({"the text": TEXTS, name: pa.array(values)})
    assert column_roles(table)[1].reason == reason


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
        DataError,
        match=r"'first' \(11 words.*'second' \(11\).*text='first' or text='second' \(--text",
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


def test_columns_become_what_their_roles_say():
    table = pa.table(
        {
            "seen": ["Mon Apr 06 22:19:45 PDT 2009", "31.12.2010"],
            "ms": pa.array([1_700_000_000_000, None]),
            "day": pa.array([20231231, None]),
            "year": [2001, 2002],
            "price": ["1,5", "x"],
            "tags": ["a | b", None],
        }
    )
    roles = {
        "seen": "date",
        "ms": "date",
        "day": "date",
        "year": "date",
        "price": "number",
        "tags": "tags",
    }
    typed = with_types(table, [Column(name, role, "") for name, role in roles.items()])
    assert [str(day.date()) for day in typed["seen"].to_pylist()] == [
        "2009-04-06",
        "2010-12-31",
    ]
    assert str(typed["ms"][0].as_py()) == "2023-11-14 22:13:20"
    assert str(typed["day"][0].as_py()) == "2023-12-31 00:00:00"
    assert typed["year"].to_pylist() == [2001, 2002]
    assert typed["price"].to_pylist()[0] == 1.5
    assert typed["tags"].to_pylist() == [["a", "b"], None]


def test_vectors_beside_texts_are_found():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, 16)).astype(np.float32)
    numbered = pa.table({f"e{i}": rows[:, i] for i in range(16)})
    lists = pa.table(
        {"v": rows.tolist(), "place": [[48.1, 11.5]] * 5, "text": list("abcde")}
    )
    survey = pa.table({f"q{i}": [1, 2, 3, 4, 5] for i in range(20)})
    assert vector_columns_beside(numbered) == numbered.column_names
    assert vector_columns_beside(lists) == ["v"]
    assert vector_columns_beside(survey) == []
    np.testing.assert_allclose(read_vectors(lists, ["v"]), rows, rtol=1e-6)
    both = numbered.append_column("v", lists["v"])
    with pytest.raises(DataError, match="Which are the vectors: v or e0"):
        vector_columns_beside(both)


def test_vectors_as_text_are_parsed():
    table = pa.table(
        {
            "v": ["[1, -2.5e-1]", "[3 4.0]"],
            "w": ["[ 1.\n  2.]", None],
            "t": ["[x, y]", "[1]"],
        }
    )
    parsed = with_vectors_parsed(table)
    assert parsed["v"].to_pylist() == [[1.0, -0.25], [3.0, 4.0]]
    assert parsed["w"].to_pylist() == [[1.0, 2.0], None]
    assert parsed["t"].to_pylist() == ["[x, y]", "[1]"]
    with pytest.raises(DataError, match=r"row 1 \(0-based\), column v holds 'none'"):
        with_vectors_parsed(pa.table({"v": ["[1, 2]", "none"]}))


def test_a_column_that_a_user_names_gets_the_role_it_is_named_for():
    table = pa.table(
        {
            "shop": [f"shop {i % 90}" for i in range(N)],
            "marks": [f"m{i % 70}|m{i % 90}" for i in range(N)],
            "kind": ["a, b" if i % 2 else "a" for i in range(N)],
            "size": pa.array(range(N)),
        }
    )
    found = column_roles(table)
    assert [column.role for column in found][:2] == ["unused", "id"]
    named = {"shop": "category", "marks": "category", "size": "number"}
    by_name = {c.name: c for c in with_roles(found, table, named)}
    assert [by_name[name].role for name in named] == ["category", "tags", "number"]
    assert {by_name[name].reason for name in named} == {"as requested"}
    assert by_name["kind"] in found


def test_a_column_of_too_many_frequent_values_can_be_compared_by_name():
    n = 2000
    table = pa.table(
        {
            "shop": [f"shop {i % 90}" for i in range(n)],
            "marks": [f"m{i % 70}|m{i % 90}" for i in range(n)],
            "rare": [f"r{i // 2}" for i in range(n)],
        }
    )
    reasons = {column.name: column.reason for column in column_roles(table)}
    assert reasons["shop"].endswith(
        "more than 50; use by='shop' (--by shop) to compare them"
    )
    assert (
        reasons["marks"]
        == "90 distinct tags, more than 50; use by='marks' (--by marks) to compare them"
    )
    assert "by=" not in reasons["rare"]


def test_answers_with_gaps_are_no_vectors():
    answers = [1.0, None, 3.0, 5.0, 2.0]
    survey = pa.table({f"Q{i}": answers for i in range(1, 21)})
    assert vector_columns_beside(survey) == []
    halves = [0.5, None, 3.0, 5.0, 2.0]
    fractions = survey.set_column(0, "Q1", pa.array(halves))
    assert vector_columns_beside(fractions) == survey.column_names


def test_texts_are_texts_even_if_most_people_say_nothing():
    grades = ["a", "b"] * 500

    def role_of_answers(texts):
        answers = [texts[i] if i % 10 == 0 else "no comment" for i in range(1000)]
        return column_roles(pa.table({"grade": grades, "answer": answers}))[1].role

    different = [f"a longer text about the boat number {i}" for i in range(1000)]
    assert role_of_answers(different) == "text"
    names = [f"place {i % 600}" for i in range(1000)]  # different, but no texts
    assert role_of_answers(names) == "unused"
    some = [different[i % 200] for i in range(1000)]  # each of 20 five times
    assert role_of_answers(some) == "category"


@pytest.mark.parametrize(
    ("values", "name", "role"),
    [
        (["Phone", None] * 100, "Which channels?", "category"),  # boxes
        ([True, None] * 100, "agreed", "category"),
        (["Phone"] * 195 + [None] * 5, "Which channels?", "unused"),
        (["34 years", "1 year", "70 years", "18 years"] * 50, "age", "number"),
        (["12 months", "24 months"] * 100, "contract", "category"),
        ([f"{i}k" for i in range(N)], "followers", "number"),
        ([f"${i},000 - ${i + 9},500 a year" for i in range(10, 210)], "pay", "number"),
        (["0-2 years", "3-5 years"] * 100, "experience", "category"),
        ([f"555-{i:04d}" for i in range(1000, 1200)], "contact", "id"),
        ([f"0:{i % 60:02}:{i % 59:02}" for i in range(N)], "call duration", "number"),
        ([f"0:{i % 60:02}:00" for i in range(N)], "began", "unused"),
        ([0.5 + i for i in range(N)], "lat", "unused"),
        ([1950 + i % 50 for i in range(N)], "year of birth", "number"),
        ([1950 + i % 50 for i in range(N)], "first year", "date"),
        ([17000 + i % 150 for i in range(N)], "Kundennummer", "id"),
        ([17000 + i % 150 for i in range(N)], "MRN", "id"),
        (["cs.LG stat.ML", "cs.LG", "stat.ML", "cs.LG"] * 50, "categories", "tags"),
        (["Home Garden", "Garden Tools", "Garden"] * 66, "categories", "category"),
        (["cs.LG stat.ML", "cs.LG", "stat.ML", "cs.LG"] * 50, "field", "category"),
        (["Email, Chat", "Chat"] * 100, "Channels (tick all that apply)", "tags"),
        (pd.Categorical([3, 5, 7, 9] * 50), "level", "category"),
        (["⭐⭐", "⭐️⭐️⭐️"] * 100, "stars", "number"),
        (["₹1,23,456", "₹95,000", "₹7,000"] * 50, "price", "number"),
    ],
)
def test_columns_of_forms_and_exports(values, name, role):
    n = len(values)
    texts = [f"a longer text about the river and the boat number {i}" for i in range(n)]
    table = pa.table({"the text": texts, name: pa.array(values)})
    assert column_roles(table)[1].role == role


def test_boxes_units_and_ranges_become_values():
    table = pa.table(
        {
            "box": ["Phone", None] * 10,
            "pay": ["$10 - $20 an hour", "from $30 to $40"] * 10,
            "wait": ["1:30:00", "2:30"] * 10,
            "tags": ["Email;Phone;", "Chat;"] * 10,
        }
    )
    roles = ("category", "number", "number", "tags")
    columns = [
        Column(name, role, "")
        for name, role in zip(table.column_names, roles, strict=True)
    ]
    first, second = with_types(table, columns).slice(0, 2).to_pylist()
    assert first == {"box": "Phone", "pay": 15, "wait": 90, "tags": ["Email", "Phone"]}
    assert second == {"box": "(empty)", "pay": 35, "wait": 2.5, "tags": ["Chat"]}


def test_nanoseconds_of_dates_are_dropped():
    table = pa.table({"at": ["2024-01-01T00:00:00.123456789Z", "2024-01-02T00:00:00Z"]})
    typed = with_types(table, [Column("at", "date", "")])
    first, second = pd.to_datetime(typed["at"].to_pandas())
    assert (first, second) == (
        pd.Timestamp("2024-01-01T00:00:00.123456"),
        pd.Timestamp("2024-01-02"),
    )


@pytest.mark.parametrize(
    ("values", "role", "first"),
    [
        ([f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(N)], "date", "2024"),
        ([f"{i},5" for i in range(N)], "number", "0.5"),
        (list(pd.date_range("2024-01-01", periods=N)), "date", "2024"),
        ([i / 8 for i in range(N)], "number", "0.0"),
        ([1706692530 + 10**5 * i for i in range(N)], "date", "2024"),
    ],
)
def test_categories_of_pandas_have_the_types_of_their_values(values, role, first):
    name = "created"
    for column in (values, pd.Categorical(values)):
        table = table_of_texts(pd.DataFrame({"the text": TEXTS, name: column}))
        columns = column_roles(table)
        assert columns[1].role == role
        typed = with_types(table, columns)[name]
        assert not pa.types.is_dictionary(typed.type)
        assert str(typed[0].as_py()).startswith(first)


@pytest.mark.parametrize(
    "values",
    [
        [["a", "b"], ["c"]],
        [True, False],
        [{"a": 1}, {"a": 2}],
        [b"a", b"\xff"],
        [datetime.time(1), datetime.time(2)],
    ],
)
@pytest.mark.parametrize("role", ["date", "number"])
def test_columns_that_cannot_have_a_requested_role_keep_their_type(values, role):
    table = pa.table({"the text": TEXTS, "x": values * (N // 2)})
    assert with_types(table, [Column("x", role, "")])["x"].equals(table["x"])


def test_rows_of_a_sorted_file_count_however_late_they_come():
    n, early = 30_000, 25_000
    late = n - early
    columns = {
        "note": [f"the river and the boat number {i}" for i in range(n)],
        "part": ["old"] * early + ["new"] * late,
        "book": [f"book {i // 600}" for i in range(n)],
        "city": (["Rome", "Oslo"] * n)[:n],
        "code": ["1a", "2b"] * (early // 2) + ["1a"] * late,
        "seen": [None] * early + ["2024-05-06", "2024-06-07"] * (late // 2),
        "price": [""] * early + ["1,5", "2,25"] * (late // 2),
        "topics": [None] * early + ["a|b", "b|c"] * (late // 2),
        "word": [f"k{i}" for i in range(early)] + [f"k{i}" for i in range(late)],
        "much": ["ja"] * (n - 200) + [f"{i} ja" for i in range(200)],
    }
    found = {column.name: column for column in column_roles(pa.table(columns))}
    roles = {name: column.role for name, column in found.items()}
    assert roles == {
        "note": "text",
        "part": "category",
        "book": "category",
        "city": "category",
        "code": "category",  # groups the rows as city does only in the first part
        "seen": "date",
        "price": "number",
        "topics": "tags",
        "word": "unused",  # unique only in the first part
        "much": "unused",
    }
    assert found["book"].reason == "50 distinct values"
    assert found["word"].reason.startswith("its 25,000 distinct values")
    assert found["much"].reason.startswith("201 distinct values")


def test_a_value_that_a_sample_misses_is_counted():
    n = 100_000
    marks = np.full(n, "yes", object)
    marks[777] = "no"
    numbers = np.full(n, "1", object)
    numbers[778:798] = "2"
    table = pa.table({"text": TEXTS * (n // N), "mark": marks, "number": numbers})
    reasons = {column.name: column.reason for column in column_roles(table)}
    assert reasons["mark"] == "2 distinct values"
    assert reasons["number"] == "100 % of the values are numbers"


def test_only_all_of_the_values_are_100_percent():
    days = [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(300)]
    assert column_role("day", pa.chunked_array([days])).reason.startswith(
        "100 % of the values"
    )
    found = column_role("day", pa.chunked_array([[*days[1:], "unknown"]]))
    assert (found.role, found.reason) == ("date", "99 % of the values are dates")
