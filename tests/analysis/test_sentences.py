"""Findings in plain words, from hand-made comparisons."""

import pandas as pd
import pytest

from nanosae.analysis.sentences import COLUMNS, findings

STATISTICS = ("odds", "CI", "q =", "risk", "δ", "p =")


def compared(kind, lines, about=None, shares=()):
    numbers = {"effect": 1.0, "low": 0.5, "high": 1.5, "q": 0.01, "n_active": 40}
    return {
        "kind": kind,
        "about": {"column": "team"} | (about or {}),
        "findings": [numbers | {"label": "late parcels"} | line for line in lines],
        "shares": list(shares),
    }


def groups(target, share, rest, feature=1):
    shares = {"share": share, "share_rest": rest}
    effect = 1.0 if share > rest else -1.0
    return {"target": target, "feature": feature, "effect": effect} | shares


@pytest.mark.parametrize(
    ("line", "about", "sentence"),
    [
        (
            groups("Sales", 0.11, 0.002),
            {},
            "make up 11 % of Sales and 0.2 % of the rest.",
        ),
        (
            groups("Sales", 0, 0.5),
            {},
            "are rarer in Sales: 0 %, against 50 % elsewhere.",
        ),
        (
            groups("Ulm", 0.01, 0.5),
            {"b": "Köln"},
            "make up 50 % of Köln and 1 % of Ulm.",
        ),
        (
            groups(4, 0.5, 0.1),
            {"column": "stars", "b": 0},
            "make up 50 % of the texts where stars is 4 and 10 % of the texts where stars is 0.",
        ),
    ],
)
def test_groups_are_told_by_their_shares(line, about, sentence):
    table = findings([compared("groups", [line], about)])
    assert table["sentence"].tolist() == [f"Texts about “late parcels” {sentence}"]
    assert not any(word in table["sentence"][0] for word in STATISTICS)
    assert table.loc[0, ["share", "other_share"]].tolist() == [
        line["share"],
        line["share_rest"],
    ]


def test_a_doubtful_label_says_so():
    doubtful = {"label_doubtful": True}
    of_groups = compared("groups", [groups("Sales", 0.11, 0.002) | doubtful])
    of_numbers = compared(
        "numeric", [{"feature": 1, "target": "x", "r": 0.1} | doubtful]
    )
    for result in (of_groups, of_numbers):
        [sentence] = findings([result])["sentence"]
        assert "about “late parcels” (doubtful label)" in sentence


def test_shares_that_contradict_the_effect_are_not_told():
    line = groups("Sales", 0.11, 0.002)
    assert len(findings([compared("groups", [line])])) == 1
    at_equal_length = line | {"effect": -1.0}
    assert len(findings([compared("groups", [at_equal_length])])) == 0


def test_groups_of_several_columns_name_theirs():
    results = [
        compared("groups", [groups("mail", 0.5, 0.1)], {"column": column})
        for column in ("use", "field_of_work")
    ]
    assert [
        sentence.split("50 % of ")[1] for sentence in findings(results)["sentence"]
    ] == [
        "mail (use) and 10 % of the rest.",
        "mail (field of work) and 10 % of the rest.",
    ]


def test_trends_are_told_by_their_ends():
    shares = [
        {"feature": 1, "period": "2024-01", "n": 50, "share": 0.02},
        {"feature": 1, "period": "2024-06", "n": 50, "share": 0.09},
        {"feature": 1, "period": "2024-07", "n": 3, "share": 0.9},  # of too few texts
    ]
    line = {"feature": 1, "effect": 0.4, "target": "day"}
    (sentence,) = findings([compared("trend", [line], shares=shares)])["sentence"]
    assert sentence.endswith("rise from 2 % in 2024-01 to 9 % in 2024-06.")
    falling = compared("trend", [line | {"effect": -0.4}], shares=shares)
    assert len(findings([falling])) == 0  # its ends show the contrary


def test_numbers_are_told_by_their_difference():
    line = {"feature": 1, "target": "stars", "effect": -1.26, "r": -0.3}
    table = findings([compared("numeric", [line], {"column": None})])
    assert table["sentence"][0] == (
        "In texts about “late parcels”, stars is on average 1.3 lower than in other texts "
        "(40 texts)."
    )
    assert table["side"][0] == "lower"


def test_sides_take_turns_and_a_feature_is_said_once():
    lines = [groups("Sales", 0.9 - 0.1 * i, 0, feature=i) for i in range(4)]
    lines += [groups("Help", 0.5, 0, feature=8), groups("Help", 0.1, 0, feature=0)]
    table = findings([compared("groups", lines)])
    assert table["side"].tolist()[:3] == ["Sales", "Help", "Sales"]
    assert table["feature"].is_unique


def test_nothing_found_is_an_empty_table():
    assert findings([]).columns.tolist() == COLUMNS
    assert len(findings([compared("groups", [])])) == 0


def test_a_comparison_and_its_stored_form_say_the_same(compared_codes):
    from nanosae import contrast

    found = contrast(compared_codes, by=compared_codes.columns[0])
    pd.testing.assert_frame_equal(
        findings([found]), findings([found.to_dict()]), check_dtype=False
    )


def test_several_periods_are_pooled_where_single_ones_do_not_show_the_trend():
    share = (0.05, 0.01, 0.09, 0.04)
    shares = [
        {
            "feature": 1,
            "period": i,
            "name": f"Q{i + 1} 2024",
            "n": 50 * (i + 1),
            "share": s,
        }
        for i, s in enumerate(share)
    ]
    line = {"feature": 1, "effect": 0.4, "target": "day"}
    (sentence,) = findings([compared("trend", [line], shares=shares)])["sentence"]
    first, last = (0.05 * 50 + 0.01 * 100) / 150, (0.09 * 150 + 0.04 * 200) / 350
    assert sentence.endswith(
        f"rise from {100 * first:.1f} % between Q1 2024 and Q2 2024 to "
        f"{100 * last:.1f} % between Q3 2024 and Q4 2024."
    )
    on_days = compared("trend", [line], {"unit": "day"}, shares[1:3])
    assert "in Q2 2024" not in findings([on_days])["sentence"][0]
    assert "on Q2 2024" in findings([on_days])["sentence"][0]
