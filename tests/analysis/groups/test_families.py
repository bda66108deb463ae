"""Families against sets, loops and networkx; nothing may depend on the order of features."""

import itertools
import json
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from nanosae.analysis.groups import families as module
from nanosae.analysis.groups import family_edges
from nanosae.analysis.groups.family_edges import Edges, candidate_edges, content_order
from nanosae.codes import write_codes
from nanosae.codes import writer as codes_module
from nanosae.errors import DataError
from planted import planted_corpus

block_ratios = module.block_ratios
families: Any = module.families
# `make` gives every example a folder of its own
SHARED = [HealthCheck.function_scoped_fixture]


@pytest.fixture(autouse=True)
def several_shards(monkeypatch):
    monkeypatch.setattr(codes_module, "SHARD_ROWS", 128)


@pytest.fixture
def make(tmp_path):
    """Write a matrix of activations as codes."""
    written = []

    def write(activations):
        written.append(None)
        return write_codes(
            tmp_path / str(len(written)), sp.csr_array(np.asarray(activations))
        )

    return write


def nested(n_rows=600, n_features=36, seed=0):
    """Activations with parents, children, grandchildren and loners; no two H are equal."""
    rng = np.random.default_rng(seed)
    on = np.zeros((n_rows, n_features), bool)
    for j in range(n_features):
        parent = j // 5 - 1 if 5 <= j < 30 else -1
        chance = rng.random(n_rows) < (rng.uniform(0.06, 0.18) if parent < 0 else 0.45)
        on[:, j] = chance & (on[:, parent] if parent >= 0 else True)
        on[:, j] |= rng.random(n_rows) < 0.01
    return (on * rng.uniform(0.5, 2, on.shape)).astype(np.float32)


def sets_of_rows(a):
    return {j: set(np.flatnonzero(a[:, j]).tolist()) for j in range(a.shape[1])}


def likely_pairs(rows, n_rows, min_weight):
    """Weigh the pairs that may be edges with sets, and scipy's Poisson tail."""
    live = [j for j in rows if 5 <= len(rows[j]) <= 0.2 * n_rows]
    weight = {}
    for i, j in itertools.combinations(live, 2):
        chance = len(rows[i]) * len(rows[j]) / n_rows
        both, least = len(rows[i] & rows[j]), min(len(rows[i]), len(rows[j]))
        h = (both - chance) / (least - chance + 20)
        if h >= min_weight and poisson.sf(both - 1, chance) * len(live) ** 2 / 2 <= 1:
            weight[i, j] = h
    assert len(set(weight.values())) == len(weight), (
        "the oracle needs weights without ties"
    )
    return weight


def by_hand(a, *, min_weight=0.1, passes=4, min_children=4, max_overlap=0.6):
    """Find families with sets, dictionaries and networkx: [(root, children)], largest first."""
    rows, found, out = sets_of_rows(a), [], set()
    weight = likely_pairs(rows, len(a), min_weight)
    for _ in range(passes):
        graph = nx.Graph()
        graph.add_weighted_edges_from(
            (*p, w) for p, w in weight.items() if not out & set(p)
        )
        tree = nx.maximum_spanning_tree(graph).edges
        directed: Any = nx.DiGraph()
        directed.add_edges_from(
            sorted(edge, key=lambda j: -len(rows[j])) for edge in tree
        )
        roots = [v for v in directed if directed.out_degree(v) > 2]
        found += [(v, nx.descendants(directed, v)) for v in roots]
        out |= set(roots)
    kept = []
    for root, mine in sorted(found, key=lambda f: -len(f[1])):
        overlaps = [len(mine & other) / len(mine | other) for _, other in kept]
        if len(mine) >= min_children and max(overlaps, default=0) <= max_overlap:
            kept.append((root, mine))
    return kept


def as_sets(found):
    return {
        (line.root, frozenset(line.members) - {line.root})
        for line in found.table.itertuples()
    }


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_families_are_those_of_sets_and_networkx(make, seed):
    a = nested(1511, seed=seed)
    expected = by_hand(a)
    found = families(make(a))
    assert len(expected) >= 3
    assert as_sets(found) == {
        (root, frozenset(children)) for root, children in expected
    }
    assert found.table["size"].tolist() == [
        len(children) + 1 for _, children in expected
    ]


def test_weights_of_three_features_by_hand(make):
    a = np.zeros((40, 3), np.float32)
    a[:20, 0] = 1  # 20 rows
    a[10:20, 1] = 1  # 10 rows, all of them shared with feature 0
    a[18:26, 2] = 1  # 8 rows, 2 of them shared with 0 and with 1
    edges, shares = candidate_edges(make(a), np.arange(3), -1.0)
    # the others meet by chance
    assert (edges.parent.tolist(), edges.child.tolist()) == (
        [0],
        [1],
    )
    np.testing.assert_allclose(edges.weight, [(10 - 5) / (10 - 5 + 20)])
    np.testing.assert_allclose(
        shares.toarray(), [[0, 1, 1 / 4], [1, 0, 1 / 4], [1 / 4, 1 / 4, 0]]
    )


def test_independent_features_weigh_nothing_at_any_density_but_the_overlap_does(make):
    rows = np.arange(4000)
    a = np.stack([rows % 2 == 0, rows % 5 == 0, rows % 7 == 0, rows % 11 == 0], axis=1)
    edges, shares = candidate_edges(make(a.astype(np.float32)), np.arange(4), -1.0)
    assert len(edges.weight) == 0
    # C ÷ min(f): a rare feature looks like the dense one's
    assert shares.toarray()[0, 3] > 0.45


def relabelled(a, order):
    """Move feature `order[k]` to place k; return the matrix and old number → new number."""
    return a[:, order], {int(old): new for new, old in enumerate(order)}


def check_any_order(make, a, order, label=None):
    """Families, labels, scores and edges must not change when features are renumbered."""
    moved, new = relabelled(a, order)
    label = label or (lambda j: f"word{j % 3} thing{j}")
    names = [pd.DataFrame({"feature": list(range(a.shape[1]))}) for _ in range(2)]
    names[0]["label"] = [label(j) for j in range(a.shape[1])]
    names[1]["label"] = [label(int(j)) for j in order]
    first, second = families(make(a), names[0]), families(make(moved), names[1])
    for one, other in zip(
        first.table.itertuples(), second.table.itertuples(), strict=True
    ):
        assert [new[j] for j in one.members] == list(other.members)
        assert (one.label, one.size) == (other.label, other.size)
        assert one.score == pytest.approx(other.score, rel=1e-9, nan_ok=True)
        assert one.r == pytest.approx(other.r, rel=1e-9, nan_ok=True)
    edges = [
        set(zip(f.edges["parent"], f.edges["child"], f.edges["pass"], strict=True))
        for f in (first, second)
    ]
    assert {(new[p], new[c], t) for p, c, t in edges[0]} == edges[1]


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=SHARED)
@given(seed=st.integers(0, 10**6))
def test_renumbering_features_changes_nothing(make, seed):
    rng = np.random.default_rng(seed)
    check_any_order(make, nested(300, 36, seed % 7), rng.permutation(36))


@settings(max_examples=5, deadline=None, suppress_health_check=SHARED)
@given(seed=st.integers(0, 10**6))
def test_renumbering_changes_nothing_when_most_weights_are_tied(make, seed):
    rng = np.random.default_rng(seed)
    # equal rows within a block: H is the same
    blocks = np.kron(np.eye(6), np.ones((20, 5)))
    # strengths of few values tie as well
    a = blocks * rng.integers(1, 6, blocks.shape) / 4
    check_any_order(make, a.astype(np.float32), rng.permutation(30))


def last_written_weights(codes, ids, min_weight, level, directions):
    """Weigh as the paper's code does: row-normalised, and the last entry written counts."""
    f = codes.counts
    both = family_edges.cooccurrence(codes, min_share=0).toarray()
    # by feature number: the mistake
    graph = nx.from_numpy_array(both / (f[:, None] + 1))
    place = {int(j): k for k, j in enumerate(ids)}
    edges = [
        (*sorted((place[u], place[v])), w)
        for u, v, w in graph.edges(data="weight")
        if u != v and u in place and v in place and w >= min_weight
    ]
    i, j, w = (
        np.array(part) for part in zip(*sorted(edges, key=lambda e: -e[2]), strict=True)
    )
    return Edges(i, j, w), sp.csr_array(both[np.ix_(ids, ids)] * 1.0)


def test_label_order_dependent_weights_are_rejected(make, monkeypatch):
    a, order = nested(300, 36, 1), np.random.default_rng(0).permutation(36)
    check_any_order(make, a, order)
    monkeypatch.setattr(module, "candidate_edges", last_written_weights)
    with pytest.raises(AssertionError):
        check_any_order(make, a, order)


def test_equal_features_are_the_only_ones_ordered_by_number(make):
    a = nested(200, 12)
    a[:, 7] = a[:, 3]
    order = content_order(make(a)).tolist()
    assert order.index(7) == order.index(3) + 1
    counts = (a > 0).sum(0)[order]
    assert (np.diff(counts) <= 0).all()


def test_two_children_make_no_root_but_do_not_hide_the_families_below(make):
    a = np.zeros((900, 9), np.float32)
    a[:120, 0] = 1  # its two children split it
    for parent, start in ((1, 0), (2, 60)):
        a[start : start + 58 + parent, parent] = 1
        for k in range(3):
            a[start + 15 * k : start + 15 * k + 15, 3 * parent + k] = 1
    found = families(make(a), min_children=3, passes=1)
    assert as_sets(found) == {(1, frozenset({3, 4, 5})), (2, frozenset({6, 7, 8}))}
    assert {(0, 1), (0, 2)} <= set(
        zip(found.edges["parent"], found.edges["child"], strict=True)
    )


@pytest.fixture(scope="module")
def planted():
    return planted_corpus(n_rows=2000, seed=0)


def siblings_found(found):
    return {
        line.root: sorted(set(line.members) - {line.root})
        for line in found.table.itertuples()
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_planted_siblings_come_together_whatever_the_seed(make, seed):
    planted = planted_corpus(n_rows=2000, seed=seed)
    codes = make(planted.activations.toarray())
    found = siblings_found(families(codes, min_children=3, max_density=0.5))
    assert found.keys() == planted.families.keys()
    assert all(set(found[j]) >= set(planted.families[j]) for j in found)
    assert sum(len(children) for children in found.values()) <= 13  # of 12


def test_planted_siblings_are_grouped_under_their_parent_and_nothing_else_is(
    make, planted
):
    found = families(
        make(planted.activations.toarray()), min_children=3, max_density=0.5
    )
    assert siblings_found(found) == planted.families
    assert found.stats["block_ratio"] > 3
    assert found.stats["score"] > 3
    # parents go with children more than siblings with each other
    assert found.stats["r"] > 1


def test_shuffled_activations_have_no_families(make, planted):
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(planted.activations.toarray(), axis=0)
    found = families(make(shuffled), min_children=3, max_density=0.5)
    assert len(found.table) == 0
    assert found.feature_family == {}
    assert found.stats["coverage"] == 0


def test_dead_rare_and_dense_features_are_left_out(make):
    a = nested(400, 36)
    a[:, 30] = 0
    a[:, 31] = 1
    a[:, 32] = 0
    a[:3, 32] = 1
    everyone = set().union(*families(make(a)).table["members"])
    assert not {30, 31, 32} & everyone
    only = families(make(a), min_active=20, max_density=0.15)
    density = (a > 0).mean(0)
    used = set(only.edges["parent"]) | set(only.edges["child"])
    assert used
    assert all(20 / 400 <= density[j] <= 0.15 for j in used)


def test_dead_features_with_no_threshold_do_no_harm(make):
    a = nested(300, 36)
    a[:, 5:9] = 0
    found = families(make(a), min_active=0, max_density=1.0)
    assert not {5, 6, 7, 8} & set(found.edges["child"])


def test_only_chosen_features_take_part(make):
    a = nested()
    chosen = [*range(0, 36, 2), 1]
    found = families(make(a), features=chosen)
    assert set(found.edges["parent"]) | set(found.edges["child"]) <= set(chosen)
    assert found.stats["features"] <= len(chosen)
    mask = np.isin(np.arange(a.shape[1]), chosen)
    assert families(make(a), features=mask).edges.equals(found.edges)
    with pytest.raises(DataError, match="feature 99 is out of range"):
        families(make(a), features=[1, 99])


def test_roots_are_taken_out_before_the_next_pass(make):
    found = families(make(nested()), passes=3)
    for turn in range(2):
        earlier = found.edges[found.edges["pass"] <= turn]
        out = earlier.groupby(["pass", "parent"]).size()
        roots = {parent for (_, parent), n in out.items() if n > 2}
        later = found.edges[found.edges["pass"] > turn]
        assert roots
        assert not roots & (set(later["parent"]) | set(later["child"]))
    assert (families(make(nested()), passes=1).edges["pass"] == 0).all()


def brute_ratios(a, members, eligible):
    """Mean C ÷ min(f) inside and across by loops; and root with child ÷ child with child."""
    rows = sets_of_rows(a)

    def share(i, j):
        value = len(rows[i] & rows[j]) / min(len(rows[i]), len(rows[j]))
        return value if value >= 0.05 else 0.0

    inside = [share(i, j) for i in members for j in members if i != j]
    across = [share(i, j) for i in members for j in eligible if j not in members]
    first = [share(members[0], j) for j in members[1:]]
    rest = [share(i, j) for i in members[1:] for j in members[1:] if i != j]
    return np.mean(inside) / np.mean(across), np.mean(first) / np.mean(rest)


def check_scores(make, a):
    found = families(make(a))
    counts = (a > 0).sum(0)
    eligible = [j for j in range(a.shape[1]) if 5 <= counts[j] <= 0.2 * len(a)]
    expected = [brute_ratios(a, m, eligible) for m in found.table["members"]]
    np.testing.assert_allclose(found.table["block_ratio"], [e[0] for e in expected])
    np.testing.assert_allclose(found.table["r"], [e[1] for e in expected])
    assert found.stats["block_ratio"] == pytest.approx(
        np.mean([e[0] for e in expected])
    )
    ratio = found.stats["block_ratio"] / found.stats["random_ratio"]
    assert found.stats["score"] == pytest.approx(ratio)


def test_scores_are_those_of_loops(make):
    check_scores(make, nested())


def test_a_block_ratio_without_the_first_block_is_rejected(make, monkeypatch):
    def skipping(shares, blocks):
        ratio, r = block_ratios(shares, blocks)
        ratio[0] = ratio[1:].mean()
        return ratio, r

    monkeypatch.setattr(module, "block_ratios", skipping)
    with pytest.raises(AssertionError):
        check_scores(make, nested())


def test_the_least_weight_of_an_edge_changes_no_overlap_that_scores_rest_on(make):
    """Overlaps below 5 % count as 0, also where a smaller weight is asked for."""
    a = nested(600, 36)
    codes = make(a)
    rows = sets_of_rows(a)
    expected = np.zeros((36, 36))
    for one, other in itertools.permutations(range(36), 2):
        n_rarer = min(len(rows[one]), len(rows[other]))
        share = len(rows[one] & rows[other]) / n_rarer
        expected[one, other] = share if share >= 0.05 else 0
    for min_weight in (0.1, 0.01, 0.0):
        overlaps = candidate_edges(codes, np.arange(36), min_weight)[1]
        np.testing.assert_allclose(overlaps.toarray(), expected)


def test_random_families_score_one(make):
    rng = np.random.default_rng(0)
    shares = candidate_edges(make(nested(600, 36)), np.arange(36), 0.1)[1]
    blocks = [rng.permutation(36)[:8] for _ in range(300)]
    ratio, _ = block_ratios(shares, blocks)
    assert np.mean(ratio) == pytest.approx(1, abs=0.15)


def test_of_two_equal_overlapping_families_exactly_one_stays():
    blocks = [np.array([9, 1, 2, 3, 4, 5]), np.array([0, 1, 2, 3, 4, 6])]
    one = module.without_overlaps(blocks)
    other = module.without_overlaps(blocks[::-1])
    assert (
        [b.tolist() for b in one] == [b.tolist() for b in other] == [[0, 1, 2, 3, 4, 6]]
    )
    # 4 of 8 in common
    apart = [
        np.array([9, *range(1, 7)]),
        np.array([0, *range(3, 9)]),
    ]
    assert len(module.without_overlaps(apart)) == 2


def matryoshka():
    """Features 0 and 1 are parents; 2 to 5 are inside 0; 6 to 9 inside 1; 10 is nobody's."""
    rng = np.random.default_rng(0)
    a = np.zeros((400, 11), np.float32)
    for parent, children in ((0, range(2, 6)), (1, range(6, 10))):
        rows = np.arange(parent * 60, parent * 60 + 60)
        a[rows, parent] = 1
        for child in children:
            a[rng.choice(rows, 25, replace=False), child] = 1
    a[300:330, 10] = 1
    return a


def test_prefix_trees_of_a_matryoshka_sae(make):
    directions = np.eye(11, 4, dtype=np.float32)
    found = families(make(matryoshka()), prefixes=[2, 11], directions=directions)
    assert as_sets(found) == {(0, frozenset(range(2, 6))), (1, frozenset(range(6, 10)))}
    assert set(found.edges["child"]) == set(range(2, 10))
    assert set(found.edges["pass"]) == {0}
    chance = 60 * 25 / 400
    share = (25 - chance) / (25 - chance + 20)
    weights = dict(zip(found.edges["child"], found.edges["weight"], strict=True))
    assert weights[7] == pytest.approx(share)
    assert weights[6] == pytest.approx(share)  # eye(11, 4): rows from 4 on are zero


def test_of_two_parents_that_fire_alike_the_one_with_the_same_direction_is_chosen(make):
    a = matryoshka()
    a[:, 1] = a[:, 0]  # both fire where children 2 to 5 fire
    directions = np.zeros((11, 2), np.float32)
    directions[[0, 2, 3, 4], 0] = 1
    directions[[1, 5], 1] = 1
    found = families(make(a), prefixes=[2, 11], directions=directions)
    parents = dict(zip(found.edges["child"], found.edges["parent"], strict=True))
    assert [parents[j] for j in (2, 3, 4, 5)] == [0, 0, 0, 1]


def test_families_come_back_from_json(make):
    found = families(make(nested()), passes=2)
    again = type(found).from_dict(json.loads(found.to_json()))
    assert again.to_dict() == found.to_dict()
    assert repr(again) == repr(found)
    assert again.feature_family == found.feature_family


@pytest.mark.parametrize("prefixes", [[], [2, 5], [5, 2, 11], [0, 11], [2, 2, 11]])
def test_prefixes_must_ascend_to_the_number_of_features(make, prefixes):
    with pytest.raises(ValueError, match="n_features=11"):
        families(make(matryoshka()), prefixes=prefixes, directions=np.eye(11))


def test_a_matryoshka_tree_needs_directions(make):
    with pytest.raises(ValueError, match="model with 11 features"):
        families(make(matryoshka()), prefixes=[2, 11])


def test_a_family_is_named_by_common_words_else_its_root_else_its_members(make):
    a, n = nested(), 36
    codes = make(a)
    bare = families(codes)
    root, members = bare.table["root"][0], bare.table["members"][0]
    assert bare.table["label"][0].startswith(f"features {root}, {members[1]}, ")
    table = pd.DataFrame(
        {"feature": range(n), "label": [f"unique{j}" for j in range(n)]}
    )
    assert families(codes, table).table["label"][0] == f"unique{root}"
    table["label"] = [
        f"größe shared{j % 2}" if j in members else "other" for j in range(n)
    ]
    label = families(codes, table).table["label"][0].split(", ")
    assert label[0] == "größe"
    assert set(label) == {"größe", "shared0", "shared1"}


def test_json_holds_everything_and_no_nan(make):
    found = families(make(nested()))
    text = found.to_json()

    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    read = json.loads(text, parse_constant=no_constant)
    assert read["format"] == 1
    assert [line["members"] for line in read["families"]] == found.table[
        "members"
    ].tolist()
    assert read["edges"][0].keys() == {"parent", "child", "weight", "pass"}
    assert read["parameters"]["min_weight"] == 0.1
    assert {
        int(j): k for j, k in read["feature_family"].items()
    } == found.feature_family
    json.loads(families(make(np.zeros((4, 3)))).to_json(), parse_constant=no_constant)


def test_a_feature_belongs_to_the_smallest_family_that_holds_it(make):
    found = families(make(nested(seed=1)))
    for j, family in found.feature_family.items():
        sizes = [line.size for line in found.table.itertuples() if j in line.members]
        assert found.table["size"][family] == min(sizes)


def test_there_must_be_a_pass(make):
    with pytest.raises(ValueError, match="passes=0 must be at least 1"):
        families(make(nested()), passes=0)


def test_of_two_families_with_a_feature_the_later_smaller_one_has_it():
    table = pd.DataFrame({"family": [0, 1], "members": [[1, 2, 3, 4], [2, 5, 6]]})
    found = module.Families(table, pd.DataFrame(), {}, {})
    assert found.feature_family == {1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 1}
    by_feature = found.by_feature(8)
    assert by_feature["feature"].tolist() == list(range(8))
    assert by_feature["family"].fillna(-1).tolist() == [-1, 0, 1, 0, 0, 1, 1, -1]


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 1), (50, 2)])
def test_corpora_too_small_for_families_have_none(make, shape):
    found = families(make(np.ones(shape, np.float32)), max_density=1.0, min_active=0)
    assert len(found.table) == 0
    assert found.table.columns.tolist()[:5] == [
        "family",
        "root",
        "members",
        "size",
        "label",
    ]


def test_the_same_seed_gives_the_same_scores(make):
    codes = make(nested())
    one, two, three = (
        families(codes, seed=s).table["score"].tolist() for s in (0, 0, 1)
    )
    assert one == two != three


def test_random_families_without_an_overlap_give_no_score():
    """Their mean ratio is 0, by which no score can be divided."""
    n = 60
    first = np.arange(0, n, 2)
    pairs = (np.r_[first, first + 1], np.r_[first + 1, first])
    overlaps = sp.csr_array((np.ones(n), pairs), shape=(n, n))
    block = [np.array([0, 1, 3])]
    by_chance = [np.random.default_rng(s).permutation(n)[:3] for s in range(5)]
    apart = [s for s in range(5) if len(set(by_chance[s] // 2)) == 3]
    ratio, _, random_ratio = module._scores(overlaps, block, apart[0])
    assert ratio[0] > 0
    assert np.isnan(random_ratio)
