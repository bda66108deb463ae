"""What a report says, against the run."""

import shutil

import numpy as np
import pandas as pd
import pytest

from finished import HOSTILE
from nanosae.analysis.comparisons.summary import findings
from nanosae.codes import Codes, write_codes
from nanosae.runs.results import load_contrasts
from nanosae.runs.tables import load_features
from nanosae.view.report import collect
from nanosae.view.report.collect import shown_box
from nanosae.view.report.render import render
from reported import Page


def test_the_summary(page, run):
    facts = page.blocks["facts"]
    assert page.blocks["training"]["lines"][-1]["fvu"] == 0.25
    assert facts["config"]["hidden_size"] == 48
    assert facts["fingerprint"] == "0123abcd"
    assert facts["corpus"]["rows"] == 800
    assert facts["corpus"]["columns"] == ["group", "year", "topics"]
    assert facts["missing"] == []


def test_the_table_is_the_run_s(page, run):
    shown = page.blocks["features"]
    codes, table = Codes.open(run), load_features(run).set_index("feature")
    assert sorted(shown["feature"]) == list(range(48))
    for i, j in enumerate(shown["feature"]):
        rows, acts = codes.feature(j)
        assert shown["n_active"][i] == len(rows)
        assert shown["max_activation"][i] == pytest.approx(
            acts.max(initial=0), rel=1e-3
        )
        label = HOSTILE[1] if j == 0 else table["label"][j]
        assert shown["label"][i] == (None if pd.isna(label) else label)


def test_the_surest_labels_come_first(page, run):
    table = load_features(run).set_index("feature")["label_auc_low"]
    sure = table[page.blocks["features"]["feature"]].dropna().to_numpy()
    assert (np.diff(sure) <= 0).all()


def test_the_map_has_every_living_feature(page, run):
    found = page.blocks["map"]
    assert len(found["place"]) == len(found["x"]) == len(found["y"])
    ids = np.array(page.blocks["features"]["feature"])[found["place"]]
    assert sorted(ids) == np.flatnonzero(Codes.open(run).counts).tolist()


def test_nothing_of_another_corpus_is_shown(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    codes = Codes.open(copy)
    texts = [f"other text {row}" for row in range(60)]
    write_codes(copy / "codes" / "other", codes.take(np.arange(60)), texts=texts)
    page = Page(render(copy, "other"))
    shown, facts = page.blocks["features"], page.blocks["facts"]
    assert page.cards() == ({}, {})
    assert sum(shown["n_active"]) == codes.take(np.arange(60)).nnz
    assert {"family", "topic", "max_activation"}.isdisjoint(shown)
    assert any(score is not None for score in shown["score"])  # labels hold everywhere
    again = [
        what for what, _ in facts["missing"] if what.startswith("feature cards again")
    ]
    assert len(again) == 1
    assert page.blocks["topics"] is page.blocks["families"] is None
    assert page.blocks["evaluation"] is None
    assert page.blocks["contrasts"] == []
    commands = [command for _, command in facts["missing"]]
    assert all(command.endswith("--name other") for command in commands)


def test_a_name_by_a_person_has_no_score(page):
    shown = page.blocks["features"]
    place = shown["feature"].index(0)
    assert shown["label"][place] == HOSTILE[1]
    assert shown["score"][place] is None
    assert sum(score is not None for score in shown["score"]) > 5


def test_a_few_far_points_do_not_squeeze_the_map():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (1000, 2))
    everything = np.concatenate(shown_box(points))
    assert everything.tolist() == [*points.min(0), *points.max(0)]
    points[:3, 0] = [50, 60, -70]
    low, high = shown_box(points)
    assert -1 <= low[0] < -0.95
    assert 0.95 < high[0] <= 1
    assert (low[1], high[1]) == (points[:, 1].min(), points[:, 1].max())  # of one axis
    many = points.copy()
    many[:100, 0] = 50  # no few
    assert shown_box(many)[1][0] == 50
    assert [corner.tolist() for corner in shown_box(points[:0])] == [[0, 0], [0, 0]]


def test_the_map_says_how_many_points_lie_outside(page):
    found = page.blocks["map"]
    x0, y0, x1, y1 = found["whole"]
    x, y = np.array(found["x"]), np.array(found["y"])
    rounding = 1e-3
    is_inside = (x >= x0 - rounding) & (x <= x1 + rounding)
    is_inside &= (y >= y0 - rounding) & (y <= y1 + rounding)
    assert np.count_nonzero(~is_inside) == found["outside"]


def test_comparisons_with_findings_come_first_and_agree_with_the_top():
    """Of four comparisons two have findings, one of them not sure enough beside so many."""

    def stored(column, q):
        line = {"target": "A", "feature": 1, "topic": -1, "label": "red", "effect": 1.0}
        line |= {"low": 0.5, "high": 1.5, "q": q, "n_active": 30}
        line |= {"share": 0.4, "share_rest": 0.1}
        found = [line] if q is not None else []
        about = {"column": column}
        parts = {"findings": found, "shares": [], "sentences": ["numbers"] * len(found)}
        return {"kind": "groups", "about": about} | parts

    results = {
        "by a": stored("a", None),
        "by b": stored("b", 0.04),
        "by c": stored("c", None),
        "by d": stored("d", 0.001),
    }
    shown = collect._contrasts(results)
    assert [contrast["name"] for contrast in shown] == ["by d", "by a", "by b", "by c"]
    assert shown[0]["sentences"][0].startswith("Texts about “red” make up 40 %")
    assert shown[2]["sentences"] == []
    assert shown[2]["statistics"] == ["numbers"]


def test_families_topics_contrasts_evaluation_and_training(page, run):
    for name in ("families", "topics", "contrasts", "evaluation"):
        assert page.blocks[name]
    sizes = [topic["rows"] for topic in page.blocks["topics"]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 5
    (result,) = load_contrasts(run)
    plain = findings([result.value])["sentence"].tolist()
    assert page.blocks["contrasts"][0]["sentences"] == plain[:20]
    statistics = page.blocks["contrasts"][0]["statistics"]
    assert statistics == result.value["sentences"][:20]
    assert [found["sentence"] for found in page.blocks["findings"]] == plain[:200]
    assert page.blocks["facts"]["findings"] == len(plain)
    title = "Differences by group: A against B"
    assert page.blocks["contrasts"][0]["name"] == title
    assert {"density", "l0", title} <= set(page.blocks["figures"])
    assert len(page.blocks["training"]["snapshots"]) == 10
    assert page.blocks["training"]["lines"][-1]["final"]
