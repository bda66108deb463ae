"""Numbers as people write them."""

import numpy as np
import pyarrow as pa
import pytest

from nanosae.sources.categories import Column
from nanosae.sources.csv_files import read_csv
from nanosae.sources.number_text import (
    are_padded,
    decimal_sign,
    parse_numbers,
    parse_ratings,
    read_numbers,
)
from nanosae.sources.roles import column_roles
from nanosae.sources.typed import with_types

TEXTS = [f"a longer text about the river and the boat number {i}" for i in range(200)]


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["$1,200", "$95", "-$3.50"], [1200, 95, -3.5]),
        (["$1,200", "$950,000"], [1200, 950_000]),
        (["1.234,50 €", "80 €", "free"], [1234.5, 80, None]),
        (["1.200 €", "12.000 €"], [1200, 12_000]),
        (["EUR 12.5", "EUR 8"], [12.5, 8]),
        (["45 %", "3.5 %", "-2%"], [45, 3.5, -2]),
        (["1,5", "2,75"], [1.5, 2.75]),
        (["$1.2B", "$800M", "45k", "$3"], [1.2e9, 8e8, 45_000, 3]),
        (["0,125", "1,250"], [0.125, 1.25]),
        (["1,234,567", "89"], [1_234_567, 89]),
        (["1.234.567", "1.000.000"], [1_234_567, 1_000_000]),
        (["1.200", "3.125"], [1.2, 3.125]),
        (["12 500", "1 000 000,25"], [12_500, 1_000_000.25]),
        (["12'500.5", "7"], [12_500.5, 7]),
        (["−4", "1e3", " 5 "], [-4, 1000, 5]),
        (["(12.50)", "$(1,234.00)", "($5)", "12.50"], [-12.5, -1234, -5, 12.5]),
        (["1.234,56 €", "(1.000,00 €)", "4,50-", "€ -3"], [1234.56, -1000, -4.5, -3]),
        (["1e-3", "2-3", "(5", "-(5)"], [0.001, None, None, None]),
        (["1.2.3", "4-5", "3 out of 5", "", None], [None] * 5),
    ],
)
def test_numbers_are_read_as_they_are_meant(cells, numbers):
    assert parse_numbers(pa.array(cells, pa.string())).to_pylist() == numbers


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["45k", "50k", "7.5k"], [45_000, 50_000, 7500]),
        (["$45K", "$50K", "$70K"], [45_000, 50_000, 70_000]),
        (["1.2M", "3M", "4M"], [1.2e6, 3e6, 4e6]),
        (["45 K", "50 K", "70 K"], [45, 50, 70]),  # kelvins
        (["45 m", "50 m", "70 m"], [45, 50, 70]),
        (["45 years", "1 year", "7 years"], [45, 1, 7]),
    ],
)
def test_a_letter_that_all_numbers_share_multiplies_them_or_is_a_unit(cells, numbers):
    assert read_numbers(pa.array(cells)).to_pylist() == numbers


def test_the_last_of_two_signs_is_the_decimal_one():
    assert decimal_sign(pa.array(["1,234.5", "1,000"])) == "."
    assert decimal_sign(pa.array(["1.234,5", "1.000"])) == ","
    assert decimal_sign(pa.array([], pa.string())) == "."


@pytest.mark.parametrize(
    ("cells", "role"),
    [
        (["$1,200", "$95", "$870.10"], "number"),
        (["45 %", "7 %", "12.5 %"], "number"),
        (["00501", "10115", "94103"], "unused"),  # codes
        (["1.2.3", "1.2.4", "1.10.0"], "category"),  # versions, no days
        (["192.168.0.1", "10.0.0.1", "10.0.0.7"], "category"),
        (["2024-05", "2024-06", "2023-12"], "date"),
        (["(12.50)", "1,200.00", "-3"], "number"),
        (["★★★★☆", "★★★★★", "★☆☆☆☆"], "number"),
        (["3/10", "10/10", "7.5/10"], "number"),
        (["4 out of 5", "5 out of 5", "1 out of 5"], "number"),
        (["3/4", "1/12", "2/7"], "category"),  # fractions, or days without a year
    ],
)
def test_roles_follow_how_numbers_are_written(cells, role):
    if role == "unused":
        cells = [f"{i:05d}" for i in range(200)][::2] * 2
    values = (cells * 200)[:200]
    table = pa.table({"text": TEXTS, "column": values})
    assert column_roles(table)[1].role == role


@pytest.mark.parametrize(
    ("cells", "ratings"),
    [
        (["★★★★☆", "★★★★★", "", None], [4, 5, None, None]),
        ([" 4 out of 5", "3,5 von 5", "5 de 5"], [4, 3.5, 5]),
        (["10/10", "7/10", "seven"], [10, 7, None]),
    ],
)
def test_ratings_are_their_numbers(cells, ratings):
    cells = pa.array(cells, pa.string())
    assert parse_ratings(cells).to_pylist() == ratings
    table = pa.table({"stars": pa.chunked_array([cells.take([0, 1] * 20)])})
    typed = with_types(table, [Column("stars", "number", "")])
    assert typed["stars"].to_pylist() == ratings[:2] * 20


def test_codes_are_told_by_leading_zeros():
    assert are_padded(pa.array(["10115", "00501"]))
    assert not are_padded(pa.array(["0.5", "0", "10"]))
    assert not are_padded(pa.array([*map(str, range(99)), "05", None]))
    assert are_padded(pa.array([*map(str, range(10_000, 10_099)), "00501", None]))
    assert are_padded(pa.array(["01", "02", "3"]))


def test_thousands_in_a_csv_are_no_fractions(tmp_path):
    rng = np.random.default_rng(0)
    people = rng.integers(500, 10**7, len(TEXTS))
    lines = [f'{text},"{n:,}"' for text, n in zip(TEXTS, people, strict=True)]
    path = tmp_path / "towns.csv"
    path.write_text("text,people\n" + "\n".join(lines) + "\n")
    table = read_csv(path)
    read = with_types(table, column_roles(table))
    assert read["people"].to_pylist() == people.tolist()


def test_fractions_with_commas_between_semicolons_stay(tmp_path):
    path = tmp_path / "metres.csv"
    path.write_text("text;metres\nfar;1,200\nnear;0,125\n")
    assert read_csv(path)["metres"].to_pylist() == [1.2, 0.125]
