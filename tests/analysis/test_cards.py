"""Cards of features: examples, plain values, text and HTML."""

import html
import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from nanosae.analysis.cards import card
from nanosae.analysis.describe import describe
from nanosae.codes import Codes, write_codes
from nanosae.errors import NanoSAEError
from nanosae.runs.tables import known_labels, save_features


def test_a_card_holds_the_examples_with_their_activations(run, dense):
    found = card(run, 4, n=3)
    assert set(found.examples) == {
        "top_rows",
        "quantile_rows",
        "near_misses",
        "hard_negatives",
    }
    texts = run.texts()
    for kind, examples in found.examples.items():
        for row, activation, text in examples:
            assert activation == dense[row, 4]
            assert text == texts[row]
            assert (activation > 0) == (kind in ("top_rows", "quantile_rows"))
    assert [row for row, *_ in found.examples["top_rows"]] == run.top(4, 3)[0].tolist()
    described = describe(run)
    assert card(run, 4, described=described).facts["monosemanticity"] == pytest.approx(
        described["monosemanticity"][4]
    )


def test_a_card_is_plain_data_text_and_html(run):
    found = card(run, 4)
    assert json.loads(json.dumps(found.to_dict()))["feature"] == 4
    text = str(found)
    assert text.startswith("feature 4 · no label · ok")
    assert "nearest (cosine)" in text
    assert found.examples["top_rows"][0][2] in text


def test_a_card_needs_a_line_of_describe(run):
    described = describe(run, features=[4])
    with_others = described.set_index("feature").reindex([3, 4]).reset_index()
    assert str(card(run, 4, described=with_others)) == str(card(run, 4, texts=True))
    for table in (described, with_others, described[["feature"]]):
        with pytest.raises(NanoSAEError, match=r"feature 3 is not among the \d desc"):
            card(run, 3, described=table)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_card_names_the_features_that_it_is_related_to(run, tmp_path):
    facts = card(run, 4).facts
    other, cosine = facts["nearest"][0], facts["nearest_cosine"][0]
    names = pd.DataFrame({"feature": [other], "label": ["old <boats>"]})
    save_features(tmp_path, names)
    found = card(run, 4)
    named = f"nearest (cosine): old <boats> ({other}; {cosine:.2f}) · feature ("
    assert named in str(found)
    assert f"old &lt;boats&gt; ({other}; " in found._repr_html_()
    assert found.to_dict()["related"][other] == "old <boats>"


def test_html_is_escaped_and_balanced(tmp_path):
    evil = "<script>alert('x')</script> & \"quotes\""
    codes = write_codes(
        tmp_path / "codes" / "c", sp.csr_array(np.eye(3)), texts=[evil] * 3
    )
    frame = pd.DataFrame({"feature": [0, 1], "label": [evil, None]})
    save_features(tmp_path, frame)
    page = card(Codes.open(tmp_path), 0)._repr_html_()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert set(tags.seen) == {"div", "h4", "p", "b", "table", "tr", "td"}
    assert evil in tags.text
    assert html.escape(evil) in page
    assert known_labels(codes) == {0: evil}


@pytest.mark.parametrize("feature", [4, 4.0, np.int64(4), np.float32(4)])
def test_a_card_takes_a_number_of_any_type(run, feature):
    found = card(run, feature)
    assert (found.feature, type(found.feature)) == (4, int)


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        ("old boats", "given by its number, not by 'old boats'. The table of features"),
        ("4", "given by its number, not by '4'"),
        (None, "given by its number, not by None"),
        (True, "given by its number, not by True"),
        ([4], r"given by its number, not by \[4\]"),
        (4.5, "feature 4.5 is not an integer"),
        (float("nan"), "feature nan is not an integer"),
        (-1, r"feature -1 is out of range: there are 0 … \d+"),
        (10**6, r"feature 1000000 is out of range: there are 0 … \d+"),
    ],
)
def test_a_card_of_what_is_no_feature_is_refused(run, feature, reason):
    with pytest.raises(NanoSAEError, match=reason):
        card(run, feature)


def test_labels_are_optional(run, tmp_path):
    assert known_labels(run) == {}
    save_features(tmp_path, pd.DataFrame({"feature": [4], "density": [0.1]}))
    assert known_labels(run) == {}
    save_features(tmp_path, pd.DataFrame({"feature": [4], "label": ["a name"]}))
    assert str(card(run, 4)).startswith("feature 4 · a name · ok")
    save_features(tmp_path, pd.DataFrame({"feature": [4], "label_doubtful": [True]}))
    assert str(card(run, 4)).startswith("feature 4 · a name (doubtful label) · ok")
    assert card(run, 4).to_dict()["doubtful"]
