"""Topics against scipy's Ward, dense products and planted groups; any number, from one tree."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from nanosae.analysis import topics as module
from nanosae.codes import write_codes
from nanosae.codes import writer as codes_module
from planted import planted_corpus

topics: Any = module.topics


@pytest.fixture(autouse=True)
def small_shards_and_blocks(monkeypatch):
    monkeypatch.setattr(codes_module, "SHARD_ROWS", 128)
    monkeypatch.setattr(module, "BLOCK", 100)


def subjects(n_rows=400, seed=0):
    """Rows about one of four subjects; each has five features; feature 20 is everywhere."""
    rng = np.random.default_rng(seed)
    subject = rng.choice(4, n_rows, p=[0.31, 0.27, 0.23, 0.19])
    on = rng.random((n_rows, 20)) < np.where(
        np.arange(20) // 5 == subject[:, None], 0.5, 0.01
    )
    on = np.column_stack([on, np.ones(n_rows, bool), np.zeros(n_rows, bool)])
    activations = (on * rng.uniform(0.5, 2, on.shape)).astype(np.float32)
    centres = np.repeat(np.eye(4, 16), 5, axis=0)
    directions = np.vstack(
        [centres + 0.3 * rng.normal(size=centres.shape), np.ones((2, 16)) / 4]
    )
    return (
        activations,
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        subject,
    )


@pytest.fixture
def made(tmp_path):
    activations, directions, subject = subjects()
    texts = [
        f"{['größe', 'apple', 'stone', 'river'][s]} the row{i}"
        for i, s in enumerate(subject)
    ]
    codes = write_codes(tmp_path / "c", sp.csr_array(activations), texts=texts)
    return codes, activations, directions, subject


def check_recovery(found, subject):
    active = found.row_topic >= 0
    assert normalized_mutual_info_score(subject[active], found.row_topic[active]) > 0.85
    assert adjusted_rand_score(np.arange(20) // 5, found.feature_topic[:20]) == 1


def test_planted_subjects_are_found(made, monkeypatch):
    codes, _, directions, subject = made
    check_recovery(topics(codes, 4, directions=directions), subject)
    rng = np.random.default_rng(0)

    def at_random(x, w):
        order = rng.permutation(len(x))
        return np.stack([np.full(len(x) - 1, order[0]), order[1:]], axis=1)

    monkeypatch.setattr(module, "ward_merges", at_random)
    with pytest.raises(AssertionError):
        check_recovery(topics(codes, 4, directions=directions), subject)


def test_any_number_of_topics_comes_from_one_tree(made, monkeypatch):
    codes, _, directions, _ = made
    first = topics(codes, 3, directions=directions)
    cuts = {n: first.cut(n) for n in range(1, 21)}
    monkeypatch.setattr(module, "ward_merges", None)  # no tree is made again
    for n, cut in cuts.items():
        topic = cut.feature_topic
        assert sorted(set(topic.tolist())) == [-1, *range(n)]
        sizes = np.bincount(cut.leaf_topic, cut.sizes)
        assert (np.diff(sizes) <= 0).all()
        if n > 1:  # coarser topics are unions of finer ones
            pairs = set(
                zip(topic.tolist(), cuts[n - 1].feature_topic.tolist(), strict=True)
            )
            assert len(pairs) == n + 1
    assert first.cut(7).cut(3).row_topic.tolist() == first.row_topic.tolist()


def with_neighbours(rows, sample, k):
    """Add to each unit row the mean of the k nearest of a sample, by loops."""
    added = []
    for row in rows:
        near = np.argsort(-(sample @ row), kind="stable")[:k]
        added.append(row + sample[near].mean(axis=0))
    return np.array(added)


def at_length_one(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_dense_products(found, activations, directions):
    """Project centred reconstructions onto topic directions, with dense arrays and loops."""
    used = np.where(found.feature_topic >= 0, activations, 0).astype(np.float64)
    rows = used @ directions
    leader = used.argmax(1)
    led: Any = used.any(1)
    mean = rows[led].mean(0)
    known = used.any(1)
    centre = rows[known].mean(0)
    sample = at_length_one(rows[known] - centre)
    smoothed = at_length_one(with_neighbours(sample, sample, 15))
    axes = []
    for t in range(found.n):
        mine = [
            r
            for r, j, ok in zip(rows, leader, led, strict=True)
            if ok and found.feature_topic[j] == t
        ]
        axis = np.mean(mine, axis=0) - mean
        axes.append(axis / np.linalg.norm(axis))
    axes = np.array(axes)
    for _ in range(6):
        nearest = (smoothed @ axes.T).argmax(1)
        sums = np.array([smoothed[nearest == t].sum(0) for t in range(found.n)])
        axes = at_length_one(sums)
    projection = with_neighbours(at_length_one(rows - centre), sample, 15) @ axes.T
    kept = np.where(projection >= 0.7 * projection.max(1, keepdims=True), projection, 0)
    return np.where(led[:, None], kept, 0)


def test_weights_are_projections_of_dense_reconstructions(made):
    codes, activations, directions, _ = made
    found = topics(codes, 4, directions=directions)
    expected = by_dense_products(
        found, np.asarray(codes.rows(0, 400).todense()), directions
    )
    clear: Any = expected.max(1) > 0  # not behind the mean on every axis
    assert clear.sum() > 350
    np.testing.assert_allclose(
        found.weights.toarray()[clear], expected[clear], atol=1e-5
    )
    assert (found.row_topic[clear] == expected[clear].argmax(1)).all()
    several = (found.weights > 0).sum(1)
    assert several.max() > 1  # some rows have more than one topic
    assert (several[activations[:, :20].any(1)] >= 1).all()


def test_with_embeddings_every_row_has_a_topic(tmp_path):
    activations, directions, subject = subjects()
    activations[::7] = 0
    rng = np.random.default_rng(1)
    vectors = np.eye(4, 16)[subject] + 0.1 * rng.normal(size=(400, 16))
    codes = write_codes(
        tmp_path, sp.csr_array(activations), vectors=vectors.astype(np.float32)
    )
    found = topics(codes, 4, directions=directions)
    assert len(found.unassigned) == 0
    assert found.table["Count"].sum() == 400
    silent = np.arange(0, 400, 7)
    shared = normalized_mutual_info_score(subject[silent], found.row_topic[silent])
    assert shared > 0.9


def test_rows_without_features_are_listed_not_a_topic(tmp_path):
    activations, directions, _ = subjects()
    activations[[0, 17, 399]] = 0
    # only the feature that is everywhere
    activations[5, :20], activations[5, 20] = (
        0,
        1,
    )
    codes = write_codes(tmp_path / "c", sp.csr_array(activations))
    found = topics(codes, 4, directions=directions)
    silent = np.flatnonzero(~activations[:, :20].any(1))
    assert {0, 5, 17, 399} <= set(silent.tolist())
    assert found.unassigned.tolist() == silent.tolist()
    assert found.row_topic[silent].tolist() == [-1] * len(silent)
    assert found.weights[silent].nnz == 0
    assert found.table["Topic"].tolist() == [0, 1, 2, 3]
    assert found.table["Count"].sum() + len(silent) == 400
    assert found.feature_topic[20:].tolist() == [-1, -1]  # too dense; dead


def test_dense_features_take_part_if_they_may(made):
    codes, _, directions, _ = made
    found = topics(codes, 4, directions=directions, max_density=1.0)
    assert found.feature_topic[20] >= 0
    assert len(found.unassigned) == 0


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_renumbering_features_changes_nothing(tmp_path_factory, seed):
    activations, directions, _ = subjects(200, seed % 5)
    order = np.random.default_rng(seed).permutation(22)
    folder = tmp_path_factory.mktemp("codes")
    one = write_codes(folder / "one", sp.csr_array(activations))
    other = write_codes(folder / "other", sp.csr_array(activations[:, order]))
    a = topics(one, 5, directions=directions)
    b = topics(other, 5, directions=directions[order])
    assert a.feature_topic[order].tolist() == b.feature_topic.tolist()
    assert a.row_topic.tolist() == b.row_topic.tolist()
    np.testing.assert_allclose(a.weights.toarray(), b.weights.toarray(), atol=1e-5)


def test_the_table_is_the_one_bertopic_users_expect(made):
    codes, _, directions, subject = made
    found = topics(codes, 4, directions=directions)
    table = found.table
    columns = ["Topic", "Count", "Name", "Representation", "Representative_Docs"]
    assert table.columns.tolist()[:5] == columns
    words = ["größe", "apple", "stone", "river"]
    for line in table.itertuples():
        rows = np.flatnonzero(found.row_topic == line.Topic)
        main = int(np.bincount(subject[rows]).argmax())
        assert line.Count == len(rows)
        assert line.Representation[0] == words[main]
        assert "the" not in line.Representation
        assert line.Name.startswith(f"{line.Topic}_{words[main]}")
        assert (
            line.Representative_Docs == codes.texts(line.Representative_Rows).tolist()
        )
        strength = found.weights[:, [line.Topic]].toarray().ravel()
        best = strength[rows].max()
        assert strength[line.Representative_Rows[0]] == best
        assert set(line.Features) == set(
            np.flatnonzero(found.feature_topic == line.Topic)
        )
        counts = codes.counts[line.Features]
        assert (np.diff(counts) <= 0).all()


def test_labels_name_topics_before_texts_do(made):
    codes, _, directions, _ = made
    labels = pd.DataFrame(
        {"feature": range(22), "label": [f"s{j // 5} of" for j in range(22)]}
    )
    table = topics(codes, 4, labels, directions=directions).table
    assert {tuple(words) for words in table["Representation"]} == {
        (f"s{k}",) for k in range(4)
    }


def test_without_labels_and_texts_topics_are_unnamed(tmp_path):
    activations, directions, _ = subjects()
    codes = write_codes(tmp_path / "c", sp.csr_array(activations))
    line = next(topics(codes, 4, directions=directions).table.itertuples())
    assert line.Representation == []
    assert line.Name == "0_unnamed"
    assert line.Representative_Docs == []
    assert len(line.Representative_Rows) == 3


def test_features_that_lead_no_row_go_where_their_activation_lies(tmp_path):
    activations, directions, _ = subjects()
    activations[:, [3, 8, 13]] *= 0.01  # never the strongest of a row with others
    lone = activations[:, [0, 1, 2, 4]].any(1) | activations[:, 5:20].any(1)
    activations[~lone] = 0
    activations[activations[:, :20].argmax(1) == 3] = 0
    codes = write_codes(tmp_path / "c", sp.csr_array(activations))
    found = topics(codes, 4, directions=directions)
    led = set(
        np.asarray(activations[:, :20].argmax(1))[activations[:, :20].any(1)].tolist()
    )
    assert 3 not in led
    assert found.feature_topic[3] == found.feature_topic[0]


def test_only_so_many_leaves_are_kept_and_the_others_follow(made, monkeypatch):
    codes, _, directions, subject = made
    monkeypatch.setattr(module, "MAX_LEAVES", 12)
    found = topics(codes, 4, directions=directions)
    assert len(found.sizes) == 12
    assert (found.feature_topic[:20] >= 0).all()
    active = found.row_topic >= 0
    assert normalized_mutual_info_score(subject[active], found.row_topic[active]) > 0.7


@pytest.mark.parametrize("n", [0, 21, -3])
def test_impossible_numbers_are_refused_with_both_numbers(made, n):
    codes, _, directions, _ = made
    found = topics(codes, 4, directions=directions)
    with pytest.raises(ValueError, match=f"n={n} topics: there are 20"):
        found.cut(n)
    with pytest.raises(ValueError, match=f"n={n} topics: there are 20"):
        topics(codes, n, directions=directions)


@pytest.mark.parametrize("shape", [(0, 3), (5, 3)])
def test_nothing_active_makes_no_topics(tmp_path, shape):
    codes = write_codes(tmp_path / "c", sp.csr_array(shape, dtype=np.float32))
    with pytest.raises(ValueError, match="there are 0 features"):
        topics(codes, 1, directions=np.eye(3))


def test_one_row_is_one_topic(tmp_path):
    codes = write_codes(
        tmp_path / "c", sp.csr_array([[0, 2.0, 1.0]]), texts=["日本語 мир"]
    )
    found = topics(codes, 1, directions=np.eye(3), max_density=1.0)
    assert found.row_topic.tolist() == [0]
    assert found.feature_topic.tolist() == [-1, 0, 0]
    assert found.table["Representative_Docs"].tolist() == [["日本語 мир"]]


def test_topics_need_directions(made):
    with pytest.raises(ValueError, match="model of 22 features"):
        topics(made[0], 4)


def test_planted_families_stay_together(tmp_path):
    planted = planted_corpus(n_rows=2000, seed=0)
    codes = write_codes(tmp_path / "c", planted.activations)
    found = topics(codes, 20, directions=planted.directions, max_density=0.5)
    topic = found.feature_topic
    together = [
        topic[j] == topic[planted.parent[j]]
        for j in range(48)
        if planted.parent[j] >= 0
    ]
    assert np.mean(together) > 0.6  # by chance: 1 in 20
    assert len(set(topic.tolist())) == 20


def test_no_topic_is_named_by_numbers_of_features(tmp_path):
    activations, directions, _ = subjects()
    texts = ["", "one", "two words", "42"] * 100
    labels = pd.DataFrame({"feature": [0, 5, 9], "label": ["", "oak", "elm, bark"]})
    plain = write_codes(tmp_path / "a", sp.csr_array(activations))
    written = write_codes(tmp_path / "b", sp.csr_array(activations), texts=texts)
    for codes in (plain, written):
        for names in (None, labels):
            for n in (1, 4, 19):
                table = topics(codes, n, names, directions=directions).table
                assert not table["Name"].str.contains("feature").any()
                assert table["Name"].str.match(r"\d+_.+").all()


def test_words_come_from_a_hundred_texts(tmp_path):
    """Only the strongest texts are unlike each other, and only those beyond a hundred are late."""
    strengths = np.zeros((600, 2), np.float32)
    strengths[:300, 0] = 1
    strengths[:300, 1] = np.linspace(0, 0.6, 300)
    strengths[300:, 1] = 1
    options: Any = {"directions": np.eye(2), "max_density": 1.0}
    silent = write_codes(tmp_path / "silent", sp.csr_array(strengths))
    weights = topics(silent, 2, **options).weights.toarray()
    first = int(weights[0].argmax())
    order = np.argsort(-weights[:300, first], kind="stable")
    texts = np.array(["late"] * 300 + ["other"] * 300, dtype=object)
    texts[order[:100]] = [f"single{i}" if i < 20 else "often" for i in range(100)]
    codes = write_codes(tmp_path / "c", sp.csr_array(strengths), texts=texts.tolist())
    table = topics(codes, 2, **options).table
    words = dict(zip(table["Topic"], table["Representation"], strict=True))
    assert words == {first: ["often"], 1 - first: ["other"]}
