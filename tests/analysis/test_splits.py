"""Duplicate groups and held-out rows."""

import re
import unicodedata

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from nanosae.analysis import splits
from nanosae.analysis.splits import (
    chance_cosine,
    duplicate_groups,
    effective_dimension,
    held_out,
    merge_near,
    near_pairs,
    normalised,
    same_texts,
    split_notes,
)
from nanosae.codes import Codes, write_codes
from nanosae.errors import DataError
from planted import planted_corpus


def split(codes, share=0.5, groups=None, seed=0):
    return held_out(duplicate_groups(codes, groups=groups), share, seed)


def corpus(path, active, texts, **more):
    return write_codes(
        path, sp.csr_array(np.asarray(active, np.float32)), texts=texts, **more
    )


@pytest.fixture(scope="module")
def planted():
    return planted_corpus()


@pytest.fixture(scope="module")
def codes(planted, tmp_path_factory):
    return write_codes(
        tmp_path_factory.mktemp("splits") / "codes",
        planted.activations,
        texts=planted.texts.tolist(),
        metadata=planted.columns,
        vectors=planted.embeddings,
    )


def groups_by_hand(n, pairs):
    """Union-find, one pair at a time."""
    group = list(range(n))
    for a, b in pairs:
        old, new = group[a], group[b]
        group = [new if g == old else g for g in group]
    return group


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def test_rows_with_the_same_words_stay_together(tmp_path):
    texts = ["Version 1.0 of it", "version 2 of it!", "other", "", "", "12", "13", "12"]
    codes = corpus(tmp_path / "c", np.ones((8, 1)), texts)
    assert same_partition(duplicate_groups(codes), [0, 0, 1, 2, 3, 4, 5, 4])


def test_equal_cells_stay_together_and_empty_ones_do_not(tmp_path):
    user = ["ann", "bob", "ann", "", None, ""]
    codes = corpus(
        tmp_path / "c", np.ones((6, 1)), list("uvwxyz"), metadata={"user": user}
    )
    assert same_partition(duplicate_groups(codes, groups="user"), [0, 1, 0, 2, 3, 4])
    assert len(set(duplicate_groups(codes))) == 6


def test_numbers_with_equal_hashes_are_not_equal_cells(tmp_path):
    number = [-1, -2, -1, 2**61 - 1, 0]
    assert hash(number[0]) == hash(number[1])
    assert hash(number[3]) == hash(number[4])
    metadata = {"number": number}
    codes = corpus(tmp_path / "c", np.ones((5, 1)), list("uvwxy"), metadata=metadata)
    groups = duplicate_groups(codes, groups="number")
    assert same_partition(groups, [0, 1, 0, 2, 3])


def test_large_numbers_beside_empty_cells_are_told_apart(tmp_path):
    number = pd.array([2**60 + 1, None, 2**60 + 3, 2**60 + 1, None], "Int64")
    metadata = pd.DataFrame({"author": number})
    codes = corpus(tmp_path / "c", np.ones((5, 1)), list("uvwxy"), metadata=metadata)
    groups = duplicate_groups(codes, groups="author")
    assert same_partition(groups, [0, 1, 2, 0, 3])


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 7])
def test_groups_do_not_depend_on_how_many_rows_are_read_together(
    codes, monkeypatch, block
):
    rows = np.random.default_rng(2).permutation(codes.n_rows)[:400]
    expected = duplicate_groups(codes, rows=rows)
    monkeypatch.setattr("nanosae.analysis.splits.READ_BLOCK", block)
    monkeypatch.setattr("nanosae.analysis.reading.TEXTS", block)
    assert same_partition(duplicate_groups(codes, rows=rows), expected)
    assert len(set(expected)) < len(rows)


def test_tokens_are_tied_by_their_text_not_by_their_vectors(tmp_path):
    text = ["old cat", "old dog", "old cat", "new tree"]
    numbers = np.repeat(np.arange(4), 2)
    place = {"text_index": numbers, "start": [0, 4] * 4, "end": [3, 7] * 4}
    alike = np.ones((8, 3))  # as residual streams are: all have cosines near 1
    texts = [text[t] for t in numbers]
    codes = corpus(tmp_path / "a", np.eye(8), texts, metadata=place, vectors=alike)
    # copies of a text, too
    assert same_partition(duplicate_groups(codes), [0, 0, 1, 1, 0, 0, 2, 2])
    assert split(codes).sum() == 4
    place["number"] = place.pop("text_index")
    codes = corpus(tmp_path / "b", np.eye(8), texts, metadata=place, vectors=alike)
    assert len(set(duplicate_groups(codes))) == 1


def test_near_vectors_stay_together_as_by_brute_force(planted, codes):
    x = planted.embeddings.astype(np.float16).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x -= x.mean(0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pairs = np.argwhere(x @ x.T > 0.95)
    a, b = near_pairs(codes, np.arange(codes.n_rows))
    assert set(map(tuple, np.sort(pairs, axis=1))) - {
        (i, i) for i in range(len(x))
    } <= set(map(tuple, np.sort(np.stack([a, b], axis=1), axis=1)))
    assert np.all((x[a] * x[b]).sum(1) > 0.9499)


def test_groups_are_transitive_over_texts_vectors_and_a_column(tmp_path):
    x = np.array(
        [[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [-1, 0, 0]], float
    )
    texts = ["a", "b", "c1", "c2", "d", "e"]
    source = ["", "s", "s", "", "", "t"]
    codes = corpus(
        tmp_path / "c", np.ones((6, 1)), texts, metadata={"source": source}, vectors=x
    )
    by_vector, by_text, by_column = (0, 1), (2, 3), (1, 2)
    groups = duplicate_groups(codes, groups="source")
    assert same_partition(groups, groups_by_hand(6, [by_vector, by_text, by_column]))
    assert same_partition(
        duplicate_groups(codes), groups_by_hand(6, [by_vector, by_text])
    )


def test_many_rows_are_compared_by_sketches_that_find_most_pairs(codes):
    rows = np.arange(codes.n_rows)
    exact = {(a, b) for a, b in near_pairs(codes, rows).T.tolist() if a < b}
    sketched = {
        (min(p), max(p)) for p in near_pairs(codes, rows, exact_rows=0).T.tolist()
    }
    assert len(exact) > 100
    assert len(exact & sketched) > 0.8 * len(exact)


def test_ties_of_some_rows_are_those_of_a_corpus_of_these_rows(
    planted, codes, tmp_path
):
    rows = np.arange(0, codes.n_rows, 3)[::-1]
    alone = write_codes(
        tmp_path / "c",
        planted.activations[rows],
        texts=planted.texts[rows].tolist(),
        metadata={name: values[rows] for name, values in planted.columns.items()},
        vectors=planted.embeddings[rows],
    )
    group = duplicate_groups(codes, groups="source", rows=rows)
    assert same_partition(group, duplicate_groups(alone, groups="source"))
    assert not same_partition(
        group, duplicate_groups(codes, groups="source")[: len(rows)]
    )


def test_no_near_copy_is_on_the_other_side(planted, codes):
    held = split(codes, seed=3)
    copies = np.flatnonzero(planted.duplicate_of >= 0)
    assert np.array_equal(held[copies], held[planted.duplicate_of[copies]])
    assert 0.45 < held.mean() <= 0.5
    # the usual way fails
    careless = np.random.default_rng(3).random(codes.n_rows) < 0.5
    assert not np.array_equal(careless[copies], careless[planted.duplicate_of[copies]])


def test_a_split_is_a_function_of_its_seed(codes):
    assert np.array_equal(split(codes, seed=1), split(codes, seed=1))
    assert not np.array_equal(split(codes, seed=1), split(codes, seed=2))
    held = split(codes, groups="source", share=0.3)
    assert 0.28 < held.mean() <= 0.3
    assert len(set(zip(codes.column("source"), held, strict=True))) == len(
        set(codes.column("source"))
    )


def test_a_corpus_that_cannot_be_split_says_so(tmp_path):
    codes = corpus(tmp_path / "c", np.ones((4, 1)), ["same"] * 4)
    with pytest.raises(
        ValueError,
        match=r"out 0.5 of 4 rows in 1 duplicate group leaves one side.*only in case",
    ):
        split(codes)


def test_a_group_that_does_not_fit_leaves_a_share_of_the_others():
    group = np.concatenate([np.zeros(900, int), np.arange(1, 101)])
    held = held_out(group, 0.5, seed=0)
    assert not held[:900].any()
    assert held[900:].sum() == 50


def test_the_only_group_beside_a_larger_one_is_held_out():
    group = np.repeat([0, 1], [150, 50])
    assert (held_out(group, 0.5, seed=0) == (group == 1)).all()
    with pytest.raises(DataError, match="in 2 duplicate groups leaves one side"):
        held_out(group, 0.1, seed=0)


def test_held_out_keeps_groups_whole():
    group = np.random.default_rng(0).integers(0, 60, 500)
    held = held_out(group, 0.5, seed=0)
    assert all(len(set(held[group == g])) == 1 for g in range(60))
    assert 200 <= held.sum() <= 250
    assert not (held == held_out(group, 0.5, seed=1)).all()
    with pytest.raises(ValueError, match="1 duplicate group leaves"):
        held_out(np.zeros(10, int), 0.5, 0)


def many_strongest(seed, n_rows=900, n_features=20):
    """Random groups of about three rows, and ten random rows of each feature, dense."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 300, n_rows)
    _, group = np.unique(group, return_inverse=True)
    strongest = np.zeros((n_rows, n_features))
    for feature in range(n_features):
        strongest[rng.choice(n_rows, 10, replace=False), feature] = 1
    return group, strongest


@pytest.mark.parametrize("share", [0.5, 1 / 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_groups_with_strongest_rows_go_where_features_lack_them(share, seed):
    """Against sums of squared imbalances over all features, computed anew for both sides."""
    group, strongest = many_strongest(seed)
    held = held_out(group, share, seed, sp.csr_array(strongest))
    n_groups = group.max() + 1
    assert all(len(set(held[group == g])) == 1 for g in range(n_groups))
    n_of_groups = np.array([strongest[group == g].sum(axis=0) for g in range(n_groups)])
    order = np.random.default_rng(seed).permutation(n_groups).tolist()
    order.sort(key=lambda g: -n_of_groups[g].sum())
    n_held, n_all = np.zeros(20), np.zeros(20)
    for g in order:
        if not n_of_groups[g].any():
            continue
        n_all += n_of_groups[g]
        if_held = ((n_held + n_of_groups[g] - share * n_all) ** 2).sum()
        if_not = ((n_held - share * n_all) ** 2).sum()
        if abs(if_held - if_not) > 1e-9:
            assert held[group == g][0] == (if_held < if_not)
        n_held += held[group == g][0] * n_of_groups[g]


def test_each_feature_has_its_share_of_strongest_rows_on_either_side():
    rng = np.random.default_rng(0)
    group = np.arange(2000)
    strongest = np.zeros((2000, 100))
    for feature in range(100):
        strongest[rng.choice(2000, 10, replace=False), feature] = 1
    for share in (0.5, 1 / 3):
        held = held_out(group, share, 0, sp.csr_array(strongest))
        assert abs(held.mean() - share) < 1e-3
        n_held = strongest[held].sum(axis=0)
        assert np.abs(n_held - 10 * share).max() < 3
        at_random = strongest[held_out(group, share, 0)].sum(axis=0)
        assert np.abs(at_random - 10 * share).max() > 3


def test_a_group_with_all_strongest_rows_of_a_feature_is_not_held_out():
    for seed in range(20):
        group = np.arange(100)
        group[:10] = 0
        strongest = np.zeros((100, 1))
        strongest[:10] = 1
        assert not held_out(group, 0.5, seed, sp.csr_array(strongest))[:10].any()


def with_vectors(path, x):
    return write_codes(path, sp.csr_array(np.ones((len(x), 1), np.float32)), vectors=x)


def raw_components(x, bound):
    """Groups by raw cosine, as would be made without centring and without regard to the width."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return groups_by_hand(len(x), np.argwhere(x @ x.T > bound))


def test_a_common_mean_makes_no_duplicates_and_hides_none(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 64)) + 10
    x[150:] = x[:50] + 0.1 * rng.normal(size=(50, 64))
    truth = np.r_[np.arange(150), np.arange(50)]
    assert len(set(raw_components(x, 0.95))) == 1  # what raw cosines would do
    codes = with_vectors(tmp_path / "c", x.astype(np.float32))
    assert same_partition(duplicate_groups(codes).tolist(), truth.tolist())


def test_in_five_dimensions_a_cosine_of_95_percent_is_chance(tmp_path):
    x = np.random.default_rng(0).normal(size=(600, 5)).astype(np.float32)
    x[500:] = x[:100]
    assert len(set(raw_components(x, 0.95))) < 350
    groups = duplicate_groups(with_vectors(tmp_path / "c", x))
    assert np.array_equal(groups[500:], groups[:100])
    assert 480 < len(set(groups)) <= 500


@pytest.mark.parametrize("width", [1, 2])
def test_in_one_or_two_dimensions_only_equal_rows_are_copies(tmp_path, width):
    x = np.random.default_rng(0).normal(size=(600, width)).astype(np.float32)
    x[500:] = x[:100]
    groups = duplicate_groups(with_vectors(tmp_path / "c", x))
    assert np.array_equal(groups[500:], groups[:100])
    assert len(set(groups)) == len(np.unique(x.astype(np.float16), axis=0))


@pytest.mark.slow
def test_one_giant_row_makes_no_others_duplicates(tmp_path):
    x = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    x[7] *= 1e6
    centred = x - x.mean(0)
    assert (
        len(set(raw_components(centred, 0.95))) == 2
    )  # a mean that the giant row decides
    assert len(set(duplicate_groups(with_vectors(tmp_path / "c", x)))) == 300


@pytest.mark.parametrize("exact_rows", [1000, 100])
def test_rows_of_zeros_change_nothing_for_others(tmp_path, exact_rows):
    """As if they were not there: they count neither in the mean nor in the bound on cosines."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 24)) + 3
    x[200:] = x[:100] + 0.25 * rng.normal(size=(100, 24))
    with_zeros = np.zeros((900, 24))
    with_zeros[::3] = x
    found = []
    for name, rows in (("alone", x), ("with zeros", with_zeros)):
        codes = with_vectors(tmp_path / name, rows.astype(np.float32))
        found.append(near_pairs(codes, np.arange(len(rows)), exact_rows))
    alone, mixed = found
    assert len(alone.T) > 20
    assert sorted((3 * alone).T.tolist()) == sorted(mixed.T.tolist())


def test_the_bound_is_what_one_pair_in_a_hundred_rows_exceeds_by_chance():
    """Against the distribution of t = c √((d−1) ÷ (1−c²)), Student's with d − 1 degrees."""
    from scipy.stats import t as student

    for d, n in ((5, 3000), (40, 20_000), (60, 500)):
        c = chance_cosine(d, n)
        above = student.sf(c * np.sqrt((d - 1) / (1 - c**2)), d - 1)
        assert n * (n - 1) / 2 * above == pytest.approx(0.01 * n)
        as_width_plus_one = beta.sf((c + 1) / 2, d / 2, d / 2)
        assert n * (n - 1) / 2 * as_width_plus_one != pytest.approx(0.01 * n, rel=0.05)


def test_the_effective_dimension_is_the_participation_ratio():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 30)) * np.r_[np.full(5, 3.0), np.ones(25)]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    ratio = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert effective_dimension(x) == pytest.approx(ratio, rel=0.05)
    assert ratio < 20  # not the width


def test_long_chains_are_cut_where_rows_are_near_and_short_ones_are_kept():
    chain = np.stack([np.arange(99), np.arange(1, 100)])
    short = np.stack([np.arange(1000, 1019), np.arange(1001, 1020)])
    group = merge_near(np.arange(2000), np.concatenate([chain, short], axis=1))
    assert len(set(group[:100])) == 1  # 100 of 2,000 rows
    assert len(set(group[1000:1020])) == 1
    group = merge_near(np.arange(1050), np.concatenate([chain, short], axis=1))
    sizes = np.bincount(group[:100])
    assert sizes.max() == 3  # a row and its two neighbours
    assert len(set(group[1000:1020])) == 1
    near = set(map(tuple, chain.T.tolist()))
    for number in set(group[:100].tolist()):
        members = np.flatnonzero(group == number).tolist()
        pairs = [tuple(sorted((a, b))) for a in members for b in members if a != b]
        assert sum(pair in near for pair in pairs) >= 2 * (len(members) - 1)
    assert sorted(set(group.tolist())) == list(range(group.max() + 1))


def test_cutting_divides_no_group_of_equal_texts():
    group = np.repeat(np.arange(50), 2)
    chain = np.stack([np.arange(0, 98, 2), np.arange(3, 101, 2)])
    merged = merge_near(group, chain)
    assert np.array_equal(merged[::2], merged[1::2])
    assert 10 < len(set(merged)) < 50


def test_vowel_signs_tell_texts_apart():
    texts = ["दिन", "दीन", "दिन 2", "สวัสดี", "สวสด", "❤️", "☀️"]
    assert same_texts(texts, len(texts)).tolist() == [0, 1, 0, 2, 3, 4, 5]


def test_a_share_that_is_not_reached_is_said():
    group = np.r_[np.zeros(70, int), 1 + np.arange(30)]
    held = held_out(group, 0.5, 0)
    assert held.sum() == 15
    (note,) = split_notes(held, 0.5)
    assert "15 % of the rows" in note
    assert "instead of 50 %" in note
    assert split_notes(held_out(np.arange(100), 0.5, 0), 0.5) == []


@given(
    st.text(st.sampled_from("aZ 1_.\té東\u0301दी\ufe0f❤\u00ad\u200d"), max_size=12)
    | st.text(max_size=12)
)
def test_texts_are_reduced_to_their_letters(text):
    lower = text.lower()
    visible = re.sub("[\u00ad\u200d\u2060]", "", lower)
    spaced = []
    is_in_word = False
    for character in unicodedata.normalize("NFC", visible):
        is_mark = unicodedata.category(character)[0] == "M" and character < "\U00010000"
        is_letter = re.match(r"[^\W\d_]", character) is not None
        is_in_word = is_letter or (is_in_word and is_mark)
        spaced.append(character if is_in_word else " ")
    assert normalised(text) == (" ".join("".join(spaced).split()) or lower)


def test_all_rows_are_compared_once(codes, monkeypatch):
    calls = []

    def counted(codes, rows):
        calls.append(len(rows))
        return near_pairs(codes, rows)

    monkeypatch.setattr(splits, "near_pairs", counted)
    opened = Codes(codes.path)
    first = duplicate_groups(opened)
    assert np.array_equal(duplicate_groups(opened), first)
    assert np.array_equal(duplicate_groups(opened, rows=np.arange(codes.n_rows)), first)
    assert calls == [codes.n_rows]
    backwards = np.arange(codes.n_rows)[::-1]
    own = duplicate_groups(opened, rows=backwards)[::-1]
    assert np.array_equal(own[:, None] == own, first[:, None] == first)
    duplicate_groups(opened, rows=np.arange(10))
    assert calls == [codes.n_rows, codes.n_rows, 10]
