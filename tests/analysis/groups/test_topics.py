"""Topics against scipy's Ward, dense products and planted groups; any number, from one tree."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from nanosae.analysis.groups import topics as module
from nanosae.analysis.names.group_names import FeatureName
from nanosae.analysis.reading import drawn_places, drawn_rows
from nanosae.codes import Codes, write_codes
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


def test_topics_that_share_their_words_are_fewer(tmp_path):
    """Four subjects with words of their own: there are no twelve topics to be told apart."""
    activations, directions, subject = subjects()
    words = [f"{a} {a}n {a}s {a}t {a}x" for a in ("ba", "co", "du", "fe")]
    rng = np.random.default_rng(0)
    texts = [", ".join(rng.permutation(words[s].split())) for s in subject]
    codes = write_codes(tmp_path / "c", sp.csr_array(activations), texts=texts)
    tree = topics(codes, 1, directions=directions)
    assert module.distinct_topics(tree, 12).n == 4
    assert module.distinct_topics(tree, 3).n == 3
    assert tree.cut(12).n == 12


def test_topics_named_by_the_same_single_word_are_one(tmp_path):
    activations, directions, _ = subjects()
    codes = write_codes(tmp_path / "c", sp.csr_array(activations))
    labels = dict.fromkeys(range(20), "sea")
    tree = topics(codes, 4, labels, directions=directions)
    assert tree.table["Representation"].tolist() == [["sea"]] * 4
    assert module.distinct_topics(tree, 4).n == 1


def check_recovery(found, subject):
    active = found.row_topic >= 0
    assert normalized_mutual_info_score(subject[active], found.row_topic[active]) > 0.85
    assert adjusted_rand_score(np.arange(20) // 5, found.feature_topic[:20]) == 1


def test_planted_subjects_are_found(made, monkeypatch):
    codes, _, directions, subject = made
    check_recovery(topics(codes, 4, directions=directions), subject)
    rng = np.random.default_rng(0)

    def at_random(tree, n):
        return rng.integers(0, n, len(tree) + 1)

    monkeypatch.setattr(module, "cut_tree", at_random)
    monkeypatch.setattr(module, "STEPS", 0)
    with pytest.raises(AssertionError):
        check_recovery(topics(codes, 4, directions=directions), subject)


def test_any_number_of_topics_comes_from_one_tree(made, monkeypatch):
    codes, _, directions, _ = made
    first = topics(codes, 3, directions=directions)
    monkeypatch.setattr(module, "ward_tree", None)  # no tree is made again
    for n in range(1, 21):
        found = first.cut(n)
        assert set(found.row_topic.tolist()) <= set(range(-1, n))
        assert set(found.feature_topic.tolist()) <= set(range(-1, n))
        assert len(found.table) == n
    assert first.cut(7).cut(3).row_topic.tolist() == first.row_topic.tolist()


def at_length_one(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def smoothed_over_links(sample, near):
    """Filter rows eight times over links in both directions, each row linked to itself."""
    linked = np.eye(len(sample))
    np.put_along_axis(linked, near, 1, axis=1)
    linked = np.maximum(linked, linked.T)
    scale = 1 / np.sqrt(linked.sum(1))
    for _ in range(8):
        sample = at_length_one((scale[:, None] * linked * scale) @ sample)
    return sample


def by_dense_products(codes, directions, n, n_sampled=400, n_of_tree=400):
    """Project centred reconstructions onto topic directions, with dense arrays and loops."""
    activations = np.asarray(codes.rows(0, codes.n_rows).todense(), np.float64)
    is_rare = (activations > 0).mean(0) <= 0.2
    used = np.where(is_rare, activations, 0)
    rows = used @ directions
    known: Any = used.any(1)
    drawn = drawn_rows(codes, n_sampled)
    sampled = drawn[known[drawn]]
    centre = rows[sampled].mean(0)
    sample = at_length_one(rows[sampled] - centre)
    of_tree = drawn_places(len(sample), n_of_tree)
    near = np.argsort(-(sample @ sample.T), axis=1, kind="stable")[:, :15]
    smoothed = smoothed_over_links(sample, near)
    merges = hierarchy.ward(smoothed[of_tree])
    group = hierarchy.cut_tree(merges, n_clusters=[n]).ravel()
    moving = at_length_one(sample + smoothed)
    grouped = [moving[of_tree[group == t]].sum(0) for t in range(n)]
    axes = at_length_one(np.array(grouped))
    for _ in range(3):
        nearest = (moving @ axes.T).argmax(1)
        axes = at_length_one(np.array([moving[nearest == t].sum(0) for t in range(n)]))
    sizes = np.bincount((moving @ axes.T).argmax(1), minlength=n)
    axes = axes[np.argsort(-sizes, kind="stable")]
    directions_of_rows = at_length_one(rows - centre)
    projection = []
    for row, direction in enumerate(directions_of_rows):
        places = np.arange(len(sample)) if row in sampled else of_tree
        cosines = sample[places] @ direction
        nearest = places[np.argsort(-cosines, kind="stable")[:15]]
        projection.append((direction + moving[nearest].mean(0)) @ axes.T)
    projection = np.array(projection)
    kept = np.where(projection >= 0.7 * projection.max(1, keepdims=True), projection, 0)
    return np.where(known[:, None], kept, 0)


def test_weights_are_projections_of_dense_reconstructions(made):
    codes, activations, directions, _ = made
    found = topics(codes, 4, directions=directions)
    expected = by_dense_products(codes, directions, 4)
    clear: Any = expected.max(1) > 0  # not behind the mean on every axis
    assert clear.sum() > 350
    np.testing.assert_allclose(
        found.weights.toarray()[clear], expected[clear], atol=1e-5
    )
    assert (found.row_topic[clear] == expected[clear].argmax(1)).all()
    several = (found.weights > 0).sum(1)
    assert several.max() > 1  # some rows have more than one topic
    assert (several[activations[:, :20].any(1)] >= 1).all()


def test_rows_outside_of_the_sample_have_neighbours_in_the_tree(made, monkeypatch):
    codes, _, directions, _ = made
    monkeypatch.setattr(module, "SAMPLE_ROWS", 150)
    monkeypatch.setattr(module, "TREE_ROWS", 60)
    found = topics(codes, 4, directions=directions)
    assert len(found.tree_rows) == 60
    assert 60 < len(found.sample) <= 150
    expected = by_dense_products(codes, directions, 4, 150, 60)
    clear: Any = expected.max(1) > 0
    assert clear.sum() > 350
    weights = found.weights.toarray()
    np.testing.assert_allclose(weights[clear], expected[clear], atol=1e-5)
    among_all = by_dense_products(codes, directions, 4, 150, 150)
    assert not np.allclose(weights[clear], among_all[clear], atol=1e-2)
    with pytest.raises(ValueError, match="n=61 topics: there are 60 rows"):
        found.cut(61)


def test_fewer_wide_rows_are_smoothed(made, monkeypatch):
    codes, _, directions, _ = made
    monkeypatch.setattr(module, "TREE_ROWS", 60)
    monkeypatch.setattr(module, "SAMPLE_CELLS", 100 * 16)
    assert 60 < len(topics(codes, 4, directions=directions).sample) <= 100
    monkeypatch.setattr(module, "SAMPLE_CELLS", 16)
    assert len(topics(codes, 4, directions=directions).sample) <= 60


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


def test_embeddings_of_zeros_belong_to_no_topic_and_change_none(tmp_path):
    """As of empty texts; a common mean would make them a topic of their own."""
    activations, directions, subject = subjects()
    rng = np.random.default_rng(1)
    vectors = 1 + np.eye(4, 16)[subject] + 0.1 * rng.normal(size=(400, 16))
    texts = [f"{['größe', 'apple', 'stone', 'river'][s]} the" for s in subject]
    is_known = np.arange(600) % 3 > 0
    with_zeros = np.zeros((600, 16))
    with_zeros[is_known] = vectors
    all_texts = np.full(600, "", object)
    all_texts[is_known] = texts
    repeated = np.zeros((600, 22))
    repeated[is_known] = activations
    alone = write_codes(
        tmp_path / "alone",
        sp.csr_array(activations),
        texts=texts,
        vectors=vectors.astype(np.float32),
    )
    mixed = write_codes(
        tmp_path / "mixed",
        sp.csr_array(repeated.astype(np.float32)),
        texts=all_texts.tolist(),
        vectors=with_zeros.astype(np.float32),
    )
    expected = topics(alone, 4, directions=directions)
    found = topics(mixed, 4, directions=directions)
    assert found.unassigned.tolist() == np.flatnonzero(~is_known).tolist()
    assert found.weights[~is_known].nnz == 0
    assert found.table["Count"].sum() == 400
    own_topic = found.row_topic[is_known]
    assert adjusted_rand_score(expected.row_topic, own_topic) == 1
    words = [set(map(tuple, of.table["Representation"])) for of in (expected, found)]
    assert words[0] == words[1]


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


def test_the_representative_texts_of_a_topic_differ(tmp_path):
    activations, directions, _ = subjects()
    texts = [f"Number {row} of a kind" for row in range(len(activations))]
    texts[-1] = "another kind"
    codes = write_codes(tmp_path / "c", sp.csr_array(activations), texts=texts)
    table = topics(codes, 1, directions=directions).table
    first, *others = table["Representative_Docs"][0]
    assert first in texts
    assert others in ([], ["another kind"])


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


def residuals_by_loops(found, activations):
    """Return the Pearson residual of each feature's activation in each topic's rows."""
    residuals = np.zeros((activations.shape[1], found.n))
    assigned = found.row_topic >= 0
    for feature, column in enumerate(activations.T):
        total = column[assigned].sum(dtype=np.float64)
        for topic in range(found.n):
            rows = found.row_topic == topic
            expected = total * rows.sum() / assigned.sum()
            observed = column[rows].sum(dtype=np.float64)
            residuals[feature, topic] = (observed - expected) / np.sqrt(expected)
    return residuals


@pytest.mark.parametrize("n", [1, 4, 13])
def test_features_are_where_their_residual_is_largest(made, n):
    codes, activations, directions, _ = made
    found = topics(codes, n, directions=directions)
    with np.errstate(invalid="ignore", divide="ignore"):
        residuals = residuals_by_loops(found, activations[:, :20])
    expected = np.nan_to_num(residuals, nan=-np.inf).argmax(1)
    assert found.feature_topic[:20].tolist() == expected.tolist()
    by_sums = [
        [activations[found.row_topic == t, j].sum() for t in range(n)]
        for j in range(20)
    ]
    largest_sum = np.argmax(by_sums, axis=1).tolist()
    assert (n == 13) == (found.feature_topic[:20].tolist() != largest_sum)


def test_only_a_sample_makes_the_tree_and_all_rows_have_topics(made, monkeypatch):
    codes, activations, directions, subject = made
    monkeypatch.setattr(module, "SAMPLE_ROWS", 120)
    found = topics(codes, 4, directions=directions)
    assert len(found.sample) <= 120
    active = activations[:, :20].any(1)
    assert ((found.row_topic >= 0) == active).all()
    assert normalized_mutual_info_score(subject[active], found.row_topic[active]) > 0.7
    assert (found.feature_topic[:20] >= 0).all()


@pytest.mark.parametrize("n", [0, 401, -3, 2.5])
def test_impossible_numbers_are_refused_with_both_numbers(made, n):
    codes, activations, directions, _ = made
    known = activations[:, :20].any(1).sum()
    found = topics(codes, 4, directions=directions)
    with pytest.raises(
        ValueError, match=f"n={n} topics: there are {known} rows.* whole number"
    ):
        found.cut(n)
    with pytest.raises(
        ValueError, match=f"n={n} topics: there are {known} rows.* whole number"
    ):
        topics(codes, n, directions=directions)


@pytest.mark.parametrize("shape", [(0, 3), (5, 3)])
def test_nothing_active_makes_no_topics(tmp_path, shape):
    codes = write_codes(tmp_path / "c", sp.csr_array(shape, dtype=np.float32))
    with pytest.raises(ValueError, match="no row has a direction"):
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
    with pytest.raises(ValueError, match="model with 22 features"):
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


def test_words_come_from_texts_before_labels_of_the_run(made, monkeypatch):
    codes, _, directions, _ = made
    names = {feature: FeatureName("label", 1.0) for feature in range(22)}
    monkeypatch.setattr(module, "feature_names", lambda labels, codes: names)
    found = topics(codes, 4, directions=directions)
    written = {"größe", "apple", "stone", "river"}
    assert {words[0] for words in found.table["Representation"]} == written


def test_words_are_spelled_as_in_the_texts(tmp_path):
    activations, directions, subject = subjects()
    texts = [f"the {['USA', 'GmbH', 'iPod', 'tree'][s]} here" for s in subject]
    codes = write_codes(tmp_path, sp.csr_array(activations), texts=texts)
    found = topics(codes, 4, directions=directions)
    written = {words[0] for words in found.table["Representation"]}
    assert written == {"USA", "GmbH", "iPod", "tree"}


def test_copies_of_a_text_do_not_name_a_topic_of_many_others(tmp_path):
    activations, directions, subject = subjects()
    words = ["apple", "stone", "river", "cloud"]
    texts = [f"the {words[s]} by {row} x{row}y" for row, s in enumerate(subject)]
    of_apples = np.flatnonzero(subject == 0)
    copied = of_apples[: len(of_apples) // 3]
    for number, row in enumerate(copied):
        texts[row] = f"Unchanged Template {number}!"
    codes = write_codes(tmp_path / "some", sp.csr_array(activations), texts=texts)
    found = topics(codes, 4, directions=directions)
    named = {of_topic[0] for of_topic in found.table["Representation"]}
    assert named == set(words)
    for number, row in enumerate(of_apples):  # all of them: what else is it about?
        texts[row] = f"Unchanged Template {number}!"
    codes = write_codes(tmp_path / "all", sp.csr_array(activations), texts=texts)
    found = topics(codes, 4, directions=directions)
    named = {of_topic[0] for of_topic in found.table["Representation"]}
    assert named == {"Unchanged Template", *words[1:]}


def test_words_are_counted_once_for_all_numbers_of_topics(made, monkeypatch):
    codes, _, directions, _ = made
    first = topics(codes, 4, directions=directions)
    assert len(first.table) == 4
    monkeypatch.setattr(module, "Words", None)
    assert len(first.cut(3).table) == 3


def test_each_text_of_a_topic_is_read_once(made, monkeypatch):
    codes, _, directions, _ = made
    found = topics(codes, 4, directions=directions)
    assert len(found.texts.words.terms)  # read once for all numbers of topics
    read = []
    original = Codes.texts

    def recorded(self, rows=None, marks="«»"):
        read.extend(rows)
        return original(self, rows, marks)

    monkeypatch.setattr(Codes, "texts", recorded)
    assert len(found.table) == 4
    assert len(read) == len(set(read)) > 0
