"""Findings in plain words, from hand-made comparisons."""

import numpy as np
import pandas as pd
import pytest

from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.comparisons.sentences import COLUMNS, percent
from nanosae.analysis.comparisons.summary import findings, findings_of_each, lines

STATISTICS = ("odds", "CI", "q =", "risk", "δ", "p =")

LONG_QUESTION = (
    "How satisfied are you overall with the headphones that\nyou bought from us?"
)


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
    label = {} if feature == 1 else {"label": f"word{feature}"}
    return {"target": target, "feature": feature, "effect": effect} | shares | label


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
            "make up 50 % of the texts where stars is 4 and 10 % of those where it is 0.",
        ),
        (
            groups("Yes, it is", 0.5, 0.1),
            {"column": "Would you buy it again?", "b": "No"},
            "make up 50 % of Yes, it is and 10 % of the texts where “Would you buy it again?” is "
            "“No”.",
        ),
        (
            groups("ja", 0.5, 0.1),
            {"column": LONG_QUESTION, "b": "nein"},
            "make up 50 % of the texts where “How satisfied are you overall with the headphones "
            "that you …” is “ja” and 10 % of those where it is “nein”.",
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
    result = compared("groups", [at_equal_length])
    assert len(findings([result])) == 0
    table = pd.DataFrame(result["findings"]).assign(found=True)
    nothing = pd.DataFrame()
    about = result["about"] | {"notes": ["A note."]}
    found = Contrast("groups", table, nothing, nothing, about, nothing)
    assert lines(found, 10) == [
        "Differences appear only at equal covariates; --stats shows them.",
        "A note.",
    ]


def test_groups_of_several_columns_name_theirs():
    results = [
        compared("groups", [groups("mail", 0.5, 0.1)], {"column": column})
        for column in ("use", "field_of_work")
    ]
    assert [
        sentence.split("50 % of ")[1] for sentence in findings(results)["sentence"]
    ] == [
        "the texts where use is mail and 10 % of the rest.",
        "the texts where field_of_work is mail and 10 % of the rest.",
    ]


def test_groups_of_lists_include_their_value():
    """A text has several tags: it "is" none of them."""
    about = {"column": "tags", "lists": True}
    more = compared("groups", [groups("de", 0.5, 0.1)], about)
    other = compared("groups", [groups("A", 0.4, 0.1)], {"column": "site"})
    sentences = findings([more, other])["sentence"].tolist()
    assert any("the texts where tags include de" in text for text in sentences)
    assert any("the texts where site is A" in text for text in sentences)


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


def test_an_uncertain_difference_has_no_size():
    """Right given that it was found, it may be next to nothing: "0.0089 lower" says too much."""
    line = {
        "feature": 1,
        "target": "stars",
        "effect": -0.0089,
        "low": -0.6,
        "high": 0.2,
    }
    table = findings([compared("numeric", [line | {"r": -0.1}], {"column": "stars"})])
    assert table["sentence"][0] == (
        "In texts about “late parcels”, stars is on average lower than in other texts "
        "(40 texts; by how much is uncertain)."
    )


def test_sides_take_turns_and_a_feature_is_said_once():
    lines = [groups("Sales", 0.9 - 0.1 * i, 0, feature=i) for i in range(4)]
    lines += [groups("Help", 0.5, 0, feature=8), groups("Help", 0.1, 0, feature=0)]
    table = findings([compared("groups", lines)])
    assert table["side"].tolist()[:3] == ["Sales", "Help", "Sales"]
    assert table["feature"].is_unique


def test_two_features_with_one_label_are_said_once_on_each_side():
    lines = [groups("Sales", 0.9, 0, feature=i) | {"label": "tax"} for i in (2, 3)]
    lines += [groups("Help", 0.8, 0, feature=4) | {"label": "tax"}]
    table = findings([compared("groups", lines)])
    assert table["feature"].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("of_topic", "of_feature", "topic", "told"),
    [
        (0.5, 0.4, 3, ["topic"]),  # the feature is the larger part of it
        (0.4, 0.5, 3, ["feature"]),
        (0.5, 0.2, 3, ["topic", "feature"]),  # a small part, which is news
        (0.5, 0.4, -1, ["topic", "feature"]),  # about other texts
        (0.5, 0.4, 2, ["topic", "feature"]),
    ],
)
def test_a_topic_and_its_feature_are_told_once(of_topic, of_feature, topic, told):
    topic_line = groups("Sales", of_topic, 0, feature=-1) | {"topic": 3}
    feature_line = groups("Sales", of_feature, 0, feature=5) | {"topic": topic}
    table = findings([compared("groups", [topic_line, feature_line])])
    is_topic = table["feature"].isna()
    assert [["feature", "topic"][line] for line in is_topic] == told
    assert table["topic"].isna().tolist() == (~is_topic).tolist()
    others = [feature_line | {"target": "Help"}, topic_line]
    assert len(findings([compared("groups", others)])) == 2  # on two sides


def test_a_finding_on_a_topic_says_so():
    topic = {"target": "marks", "feature": -1, "topic": 0, "r": 0.2}
    (sentence,) = findings([compared("numeric", [topic])])["sentence"]
    assert sentence.startswith("In texts of the topic “late parcels”, team is on ")
    (sentence,) = findings(
        [compared("groups", [groups("Sales", 0.3, 0.1) | {"feature": -1, "topic": 0}])]
    )["sentence"]
    expected = "Texts of the topic “late parcels” make up 30 % of Sales and 10 % of "
    assert sentence == expected + "the rest."


def told_by_brute_force(lines):
    """Order lines anew after each one that is said; the oracle of the merged lists."""
    said, left = [], [dict(line) for line in lines]
    while left:
        best, most = None, -1.0
        for line in left:
            told = abs(line["strength"])
            for other in said:
                is_same_column = other["column"] == line["column"]
                told *= 0.75 if is_same_column else 1
                told *= 0.5 if is_same_column and other["side"] == line["side"] else 1
                told *= 0.5 if other["feature"] == line["feature"] else 1
            if told > most:
                best, most = line, told
        said.append(best)
        left.remove(best)
    return [(line["column"], line["side"], line["feature"]) for line in said]


def test_no_column_side_or_feature_fills_the_page():
    rng = np.random.default_rng(0)
    results = []
    for column, scale in (("team", 1.0), ("year", 0.8), ("place", 0.3)):
        lines = [
            groups(side, scale * share, 0, feature=feature)
            for side in ("sales", "help", "lab")
            for feature, share in enumerate(rng.random(6))
        ]
        results.append(compared("groups", lines, {"column": column}))
    table = findings(results)
    order = [tuple(x) for x in table[["column", "side", "feature"]].to_numpy().tolist()]
    assert order == told_by_brute_force(table.to_dict("records"))
    by_strength = table.sort_values("strength", ascending=False)
    first, by_strength = table["column"].head(8), by_strength["column"].head(8)
    assert set(first) == {"team", "year", "place"}  # each column has its say
    assert set(by_strength) == {"team", "year"}


def test_a_difference_that_is_uncertain_comes_later():
    # 6 of 7 texts against 35 %: an odds ratio of 11 with an interval from 1.3 to 93
    few = {"effect": np.log(11), "low": np.log(1.3), "high": np.log(93)}
    many = {"effect": np.log(4.5), "low": np.log(4.2), "high": np.log(4.8)}
    found = findings(
        [
            compared("groups", [groups("Ulm", 0.86, 0.35, 2) | few]),
            compared("groups", [groups("Köln", 0.7, 0.35, 3) | many], {"column": "b"}),
        ]
    )
    assert found["side"].tolist() == ["Köln", "Ulm"]
    assert found["strength"].round(2).tolist() == [0.35, 0.51]
    # odds of 0.35 ÷ 0.65, times 1.3, are a share of 0.41: the weight is 0.06 ÷ 0.51 of that of
    # the estimate, and not a tenth, the least
    small = groups("Bonn", 0.41, 0.35, 4) | dict.fromkeys(few, np.log(1.3))
    larger = groups("Trier", 0.42, 0.35, 5) | dict.fromkeys(few, np.log(1.35))
    for other, first in ((small, "Ulm"), (larger, "Trier")):
        ends = [groups("Ulm", 0.86, 0.35, 2) | few, other]
        both = [compared("groups", [end], {"column": end["target"]}) for end in ends]
        assert findings(both)["side"][0] == first


@pytest.mark.parametrize(("share", "other_share"), [(0.4, 1.0), (0.4, 0.0)])
def test_differences_from_all_or_none_of_the_others_are_certain_to_a_degree(
    share, other_share
):
    """The odds of a share of 1 are infinite, and 0 ÷ 0 was the certainty."""
    sign = 1 if share > other_share else -1
    low, high = sorted([sign * 2.9, sign * 3.1])
    effect = {"effect": sign * 3.0, "low": low, "high": high}
    doubtful = {"effect": 0.5, "low": -0.5, "high": 1.5}
    lines = [
        groups("Ulm", share, other_share, 2) | effect,
        groups("Köln", 0.5, 0.4, 3) | doubtful,
    ]
    both = [compared("groups", [line], {"column": line["target"]}) for line in lines]
    found = findings(both)
    assert found["feature"].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("label", "begins"),
    [
        ("un-", "Texts with “un-” make up"),
        ("who", "Texts with “who” make up"),
        ("Not, no-", "Texts with “Not, no-” make up"),
        ("17, x", "Texts with “17, x” make up"),
        ("水", "Texts about “水” make up"),
        ("😀", "Texts about “😀” make up"),
        ("who, teacher", "Texts about “who, teacher” make up"),
        ("tax", "Texts about “tax” make up"),
    ],
)
def test_texts_are_about_subjects_but_have_forms(label, begins):
    line = groups("Sales", 0.9, 0.1, 2) | {"label": label}
    assert findings([compared("groups", [line])])["sentence"][0].startswith(begins)


def test_an_effect_that_may_be_0_comes_last():
    may_be_0 = {"effect": 2.0, "low": -0.1, "high": 4.0, "r": 0.5, "target": "price"}
    surely = {"effect": 0.5, "low": 0.4, "high": 0.6, "r": 0.2, "target": "price"}
    lines_of = [{"feature": 1} | may_be_0, {"feature": 2, "label": "two"} | surely]
    found = findings([compared("numeric", lines_of, {"column": "price"})])
    assert found["feature"].tolist() == [2, 1]


def test_a_label_that_only_repeats_the_name_of_its_group_comes_later():
    obvious = groups("mail_box", 0.9, 0, feature=1) | {"label": "mails, letters"}
    telling = groups("shop", 0.6, 0, feature=2) | {"label": "late parcels"}
    weak = groups("lab", 0.3, 0, feature=3) | {"label": "glass"}
    table = findings([compared("groups", [obvious, telling, weak])])
    assert table["feature"].tolist() == [2, 1, 3]
    renamed = obvious | {"label": "stamps"}
    table = findings([compared("groups", [renamed, telling, weak])])
    assert table["feature"].tolist() == [1, 2, 3]
    renamed["label_doubtful"] = True
    sure = [line | {"label_doubtful": False} for line in (telling, weak)]
    table = findings([compared("groups", [renamed, *sure])])
    assert table["feature"].tolist() == [2, 1, 3]


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


def test_features_without_a_label_are_told_only_where_none_has_one():
    unnamed = groups("Sales", 0.9, 0.1, feature=7) | {"label": "feature 7"}
    named = groups("Sales", 0.3, 0.2)
    of_both = findings([compared("groups", [unnamed, named])])
    assert of_both["feature"].tolist() == [1]
    alone = findings([compared("groups", [unnamed])])
    assert "“feature 7” make up 90 % of Sales" in alone["sentence"][0]


def test_many_comparisons_must_differ_more_than_one():
    """Of 8 comparisons 2 have findings: q must be a quarter of 0.05."""
    sure = compared("groups", [groups("Sales", 0.3, 0.2) | {"q": 0.012}])
    line = groups("Lab", 0.9, 0.1, feature=2) | {"q": 0.013}
    unsure = compared("groups", [line], about={"column": "room"})
    nothing = [compared("groups", [])] * 6
    assert findings([sure, unsure, *nothing])["column"].tolist() == ["team"]
    assert findings([sure, unsure])["column"].tolist() == ["room", "team"]
    assert findings(nothing).empty
    of_sure, of_unsure, *_ = findings_of_each([sure, unsure, *nothing])
    assert of_sure["sentence"].tolist() == findings([sure])["sentence"].tolist()
    assert of_unsure.empty  # beside so many others
    assert len(findings_of_each([unsure])[0]) == 1


def test_the_first_findings_of_each_comparison_are_those_of_all():
    strengths = (0.5, 0.9, 0.3, 0.7)
    lines = [
        groups("Sales", share, 0.1, feature=feature) | {"label": f"word{feature}"}
        for feature, share in enumerate(strengths)
    ]
    result = compared("groups", lines)
    (first_two,) = findings_of_each([result], 2)
    assert first_two["feature"].tolist() == [1, 3]
    (of_all,) = findings_of_each([result])
    assert of_all["feature"].tolist()[:2] == [1, 3]
    assert len(of_all) == 4


def test_only_none_is_0_percent_and_only_all_is_100():
    for share in np.linspace(0, 1, 20_001).tolist():
        told = percent(share)
        assert (told == "0 %") == (share == 0)
        assert (told == "100 %") == (share == 1)
        if told[0].isdigit():
            assert float(told.removesuffix(" %")) == pytest.approx(
                100 * share, abs=0.51
            )
