"""Topics beside features in comparisons, against features that hold the same rows and by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import chi2_contingency, false_discovery_control

import nanosae
from nanosae.analysis.comparisons import contrast as contrast_module
from nanosae.analysis.comparisons import explain as explain_module
from nanosae.analysis.comparisons import over_time as over_time_module
from nanosae.analysis.comparisons.compared import Compared
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.comparisons.summary import findings
from nanosae.analysis.groups.topic_rows import RowTopics, load_row_topics, save_topics
from nanosae.codes import Codes, write_codes
from nanosae.runs.results import save_result
from nanosae.runs.tables import load_features
from small_corpora import NOISE, save_model

N_ROWS, N_FEATURES, N_TOPICS = 900, 60, 4
VERBS = (contrast_module, explain_module, over_time_module)


@pytest.fixture
def spread():
    """A subject that is told by 30 features, each in 2 % of its rows, and three other topics."""
    rng = np.random.default_rng(0)
    topic = rng.integers(0, N_TOPICS, N_ROWS)
    active = np.zeros((N_ROWS, N_FEATURES), np.float32)
    own = rng.integers(0, 30, N_ROWS) + 30 * (topic != 2)
    active[np.arange(N_ROWS), own] = 1
    group = rng.random(N_ROWS) < np.where(topic == 2, 0.75, 0.5)
    return active, topic, group


def written(path, active, **columns):
    metadata = {name: np.asarray(values) for name, values in columns.items()}
    return write_codes(path, sp.csr_array(active), metadata=metadata)


def with_topics(monkeypatch, topic, n=N_TOPICS):
    """Let comparisons know the topics of the rows."""
    names = [f"word{i}, other{i}" for i in range(n)]
    for module in VERBS:
        load = lambda codes: Compared(codes, RowTopics(names, topic))  # noqa: E731
        monkeypatch.setattr(module, "load_compared", load)


def test_columns_are_features_and_then_topics_in_any_order(tmp_path, spread):
    active, topic, group = spread
    topic = np.where(topic == 3, -1, topic)
    compared = Compared(written(tmp_path, active, y=group), RowTopics(["a"] * 3, topic))
    dense = np.hstack([active, topic[:, None] == np.arange(3)])
    order = np.array([61, 4, 60, 0, 62, 59])
    assert (compared.columns(order).toarray() == dense[:, order]).all()
    rows = np.array([7, 3, 800])
    assert (compared.take(rows).toarray() == dense[rows]).all()
    ascending = np.sort(order)
    blocks = [block.toarray() for block in compared.column_blocks(ascending)]
    assert (np.hstack(blocks) == dense[:, ascending]).all()


@pytest.mark.parametrize("verb", ["groups", "numeric", "trend"])
def test_a_topic_is_tested_like_a_feature_of_the_same_rows(
    tmp_path, spread, monkeypatch, verb
):
    active, topic, group = spread
    rng = np.random.default_rng(1)
    columns = {
        "y": np.where(group, "here", "there"),
        "number": group + rng.normal(size=N_ROWS),
        "time": 2000 + 5 * group + rng.integers(0, 6, N_ROWS),
    }
    as_features = np.hstack([active, topic[:, None] == np.arange(N_TOPICS)])
    codes = written(tmp_path / "a", active, **columns)
    others = written(tmp_path / "b", as_features.astype(np.float32), **columns)

    def compare(corpus):
        if verb == "groups":
            return contrast(corpus, "here", by="y")
        if verb == "numeric":
            return explain(corpus, "number")
        return over_time(corpus, "time")

    expected = compare(others).table.set_index("feature")
    with_topics(monkeypatch, topic)
    table = compare(codes).table
    numbers = ["n_active", "raw_effect", "error", "p", "r"]
    of_topics = table[table["feature"] < 0].set_index("topic")
    assert len(of_topics)
    for number, line in of_topics.iterrows():
        same = expected.loc[N_FEATURES + number]
        values = line[numbers].to_numpy(float)
        assert values == pytest.approx(same[numbers].to_numpy(float))


def test_a_topic_that_is_hardly_significant_is_no_finding(tmp_path, monkeypatch):
    """Its score test has p < 0.05, the likelihood ratio p > 0.05; its weight is 12 tests'."""
    rng = np.random.default_rng(0)
    group = np.arange(N_ROWS) < N_ROWS / 2
    chance = np.where(group, 0.6, 0.3)[:, None]
    active = (rng.random((N_ROWS, N_FEATURES)) < chance).astype(np.float32)
    topic = np.full(N_ROWS, -1)
    topic[:14] = 0
    topic[-5:] = 0
    codes = written(tmp_path, active, y=np.where(group, "here", "there"))
    with_topics(monkeypatch, topic, 1)
    found = contrast(codes, "here", by="y")
    assert (found.findings["feature"] >= 0).sum() == N_FEATURES
    (line,) = found.table[found.table["feature"] < 0].to_dict("records")
    expected = chi2_contingency([[14, 436], [5, 445]], lambda_="log-likelihood")
    assert 0.05 < line["p"] == pytest.approx(expected.pvalue, rel=0.05)
    assert not line["found"]


def test_what_is_spread_over_many_features_is_found_in_their_topic(
    tmp_path, spread, monkeypatch
):
    active, topic, group = spread
    codes = written(tmp_path, active, y=np.where(group, "here", "there"))
    assert len(contrast(codes, "here", by="y").findings) == 0
    with_topics(monkeypatch, topic)
    found = contrast(codes, "here", by="y")
    assert found.findings["topic"].tolist()[0] == 2
    assert set(found.findings["feature"]) == {-1}
    line = found.findings.iloc[0]
    assert line["share"] == pytest.approx((topic[group] == 2).mean())
    assert line["share_rest"] == pytest.approx((topic[~group] == 2).mean())
    assert line["cliffs_delta"] == pytest.approx(line["risk_difference"])
    sentence = findings([found])["sentence"][0]
    assert sentence.startswith("Texts of the topic “word2, other2” make up ")
    assert (found.model["feature"] >= 0).all()


def test_topics_use_a_fifth_of_the_rate(tmp_path, spread, monkeypatch):
    """q is that of Benjamini and Hochberg of p ÷ weight; the twin: without weights it is not."""
    active, topic, group = spread
    rng = np.random.default_rng(2)
    active = (active + (rng.random(active.shape) < 0.1 * group[:, None])).clip(0, 1)
    codes = written(tmp_path, active, y=np.where(group, "here", "there"))
    with_topics(monkeypatch, topic)
    result = contrast(codes, "here", by="y")
    n_tested = result.about["n_tested"]
    n_features = n_tested - N_TOPICS
    assert result.about["n_topics_tested"] == N_TOPICS
    is_topic = result.table["feature"] < 0
    weight = np.where(is_topic, 0.2 * n_tested / N_TOPICS, 0.8 * n_tested / n_features)
    p = result.table["p"]

    def q(values):
        rest = np.ones(n_tested - len(values))
        return false_discovery_control(np.append(values, rest))[: len(values)]

    assert len(result.findings) > 3
    weighted = q((p / weight).clip(upper=1))
    assert result.table["q"].to_numpy() == pytest.approx(weighted)
    assert result.table["q"].to_numpy() != pytest.approx(q(p))


@pytest.mark.slow
def test_shuffled_groups_find_no_topics_and_intervals_cover(
    tmp_path, spread, monkeypatch
):
    active, topic, group = spread
    codes = written(tmp_path, active, group=group)
    with_topics(monkeypatch, topic)
    rng = np.random.default_rng(3)
    n_false = 0
    for _ in range(40):
        found = contrast(codes, rng.permutation(group))
        n_false += len(found.findings) > 0
    assert n_false <= 5  # 2 expected; more than 5 in 1 of 70 such tests
    n_inside = 0
    for _ in range(40):
        here = rng.random(N_ROWS) < np.where(topic == 2, 0.75, 0.5)
        found = contrast(codes, here).findings
        line = found[found["topic"] == 2].iloc[0]
        n_inside += line["low"] <= np.log(3) <= line["high"]
    assert n_inside >= 35  # 38 expected; fewer in 1 of 70


def test_a_feature_has_the_topic_with_half_of_either_texts(tmp_path):
    topic = np.repeat([0, 1, 2], 20)
    active = np.zeros((60, 4), np.float32)
    active[[0, 1, 2, 25, 26], 0] = 1  # three of five in topic 0
    active[[0, 20, 40, 41], 1] = 1  # two of four in topic 2
    active[[0, 1, 20, 21, 40], 2] = 1  # two of five at most
    active[np.r_[0:60], 3] = 1  # in all texts of every topic
    compared = Compared(written(tmp_path, active, y=topic), RowTopics(["a"] * 3, topic))
    topics = compared.topics_of(np.array([2, 1, 0, 0, 3]))
    assert topics.tolist() == [-1, 2, 0, 0, 0]


@pytest.fixture
def run(tmp_path):
    """A run with a model and vectors around three directions."""
    rng = np.random.default_rng(4)
    centres = 4 * rng.normal(size=(3, 8))
    kind = rng.integers(0, 3, 200)
    vectors = (centres[kind] + rng.normal(size=(200, 8))).astype(np.float32)
    save_model(tmp_path, rng.normal(size=(12, 8)).astype(np.float32))
    active = (rng.random((200, 12)) < 0.2).astype(np.float32)
    texts = [
        f"{'abc'[i]}word text {NOISE[j % 36]} x{j // 36 * 'y'}"
        for j, i in enumerate(kind)
    ]
    for name, n_rows in (("default", 200), ("other", 150)):
        write_codes(
            tmp_path / "codes" / name,
            sp.csr_array(active[:n_rows]),
            texts=texts[:n_rows],
            vectors=vectors[:n_rows],
        )
    return tmp_path


def test_topics_are_known_with_their_rows_until_anything_changes(run):
    codes = Codes.open(run, "default")
    assert load_row_topics(codes) is None
    found = nanosae.topics(codes, 3)
    save_topics(codes, found)
    known = load_row_topics(codes)
    assert (known.row_topic == found.row_topic).all()
    words = found.table["Representation"]
    assert known.names == [", ".join(of_topic[:3]) for of_topic in words]
    stored = load_features(run, codes)["topic"]
    assert stored.tolist() == found.feature_topic.tolist()
    assert load_row_topics(Codes.open(run, "other")) is None  # topics of other rows
    save_result(codes, "topics.parquet", found.table, {"n": 9})
    assert load_row_topics(codes) is None  # rows of other topics


def test_topics_of_a_run_are_compared_without_being_asked_for(run):
    codes = Codes.open(run, "default")
    found = nanosae.topics(codes, 3)
    here = found.row_topic == 1
    assert (contrast(codes, here).table["feature"] >= 0).all()
    save_topics(codes, found)
    result = contrast(codes, here)
    first = result.table.iloc[0]
    assert (first["feature"], first["topic"], first["share"]) == (-1, 1, 1.0)
    stored = json.loads(json.dumps(result.to_dict()))
    told = findings([stored])
    (here,) = told.index[told["side"] == "the chosen rows"]
    assert told["topic"][here] == 1
    assert pd.isna(told["feature"][here])
    assert "The topic “" in stored["sentences"][0]
    assert " makes up 100.0% of " in stored["sentences"][0]
