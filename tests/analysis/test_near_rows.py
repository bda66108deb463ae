"""Near rows: all pairs, or most of those among many, without false ones."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nanosae.analysis import near_rows as module
from nanosae.analysis.near_rows import all_near_rows, near_rows

BOUND = 0.95
WIDTH = 64


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def are_near(x):
    """Whether each pair is above the bound, in float64; the smaller number first."""
    products = x.astype(np.float64) @ x.T.astype(np.float64)
    return np.triu(products > BOUND, 1)


def brute_force(x):
    """All pairs above the bound, a set of (smaller, larger)."""
    one, other = np.nonzero(are_near(x))
    return set(zip(one.tolist(), other.tolist(), strict=True))


def found_pairs(x, seed=0):
    pairs = near_rows(x, BOUND, np.random.default_rng(seed))
    return set(zip(*pairs.tolist(), strict=True))


@pytest.fixture(scope="module")
def crowded():
    """Rows in 40 narrow crowds, and 600 of them with a near copy."""
    rng = np.random.default_rng(0)
    crowd = rng.normal(size=(40, WIDTH))
    x = unit(crowd[rng.integers(0, 40, 6000)] + 0.6 * rng.normal(size=(6000, WIDTH)))
    copies = unit(x[:600] + 0.02 * rng.normal(size=(600, WIDTH)))
    return np.concatenate([x, copies])[rng.permutation(6600)]


@pytest.mark.slow
def test_most_near_pairs_are_found_and_no_others(crowded):
    exact = brute_force(crowded)
    found = found_pairs(crowded)
    assert len(exact) >= 600
    assert found <= exact
    assert len(found) > 0.95 * len(exact)


def test_each_order_finds_further_pairs(crowded, monkeypatch):
    of_all_orders = found_pairs(crowded)
    monkeypatch.setattr(module, "N_ORDERS", 1)
    of_one_order = found_pairs(crowded)
    assert of_one_order < of_all_orders
    assert len(of_one_order) < 0.9 * len(of_all_orders)


@pytest.mark.parametrize(("n_rows", "block"), [(40, 1), (300, 64), (300, 1000)])
def test_blocks_change_nothing(crowded, monkeypatch, n_rows, block):
    monkeypatch.setattr(module, "N_ORDERS", 6)
    x = np.repeat(crowded[:n_rows], 2, axis=0)
    whole = found_pairs(x)
    assert len(whole) >= n_rows
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "COMPARED", 37)
    assert found_pairs(x) == whole


def test_many_copies_are_connected_by_few_pairs():
    rng = np.random.default_rng(1)
    letter = rng.normal(size=WIDTH)
    n_letters = 3000
    letters = letter + 0.05 * rng.normal(size=(n_letters, WIDTH))
    x = unit(np.concatenate([letters, rng.normal(size=(500, WIDTH))]))
    pairs = near_rows(x, BOUND, rng)
    n_all = n_letters * (n_letters - 1) // 2
    assert are_near(x).sum() > 0.99 * n_all  # what would have to be held
    n_pairs = pairs.shape[1]
    assert n_pairs <= module.N_ORDERS * module.MOST_NEAR * n_letters < 0.1 * n_all
    graph = coo_array((np.ones(n_pairs), tuple(pairs)), shape=(len(x), len(x)))
    _, component = connected_components(graph, directed=False)
    assert (component[:n_letters] == component[0]).all()
    assert not (component[n_letters:] == component[0]).any()


@pytest.mark.parametrize("n_rows", [0, 1, 2, 65])
def test_few_rows(n_rows):
    x = unit(np.ones((n_rows, WIDTH)))
    found = found_pairs(x)
    assert found <= brute_force(x)
    assert (len(found) > 0) == (n_rows > 1)


def rows_of_kind(kind):
    """Some 1,400 rows with near copies: alike or not, along few directions or all."""
    rng = np.random.default_rng(2)
    spread = {"round": np.ones(WIDTH), "flat": 0.8 ** np.arange(WIDTH)}
    x = rng.normal(size=(1000, WIDTH)) * spread.get(kind, 1)
    if kind == "crowded":  # too many candidates to compare them one by one
        x += 12 * rng.normal(size=WIDTH)
    noise = rng.uniform(0, 0.6, size=(400, 1)) * spread.get(kind, 1)
    copies = x[:400] + noise * rng.normal(size=(400, WIDTH))
    x = unit(np.concatenate([x, copies]))
    x[::97] = 0
    return x[rng.permutation(len(x))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["round", "flat", "crowded"])
@pytest.mark.parametrize("tile", [100, 512, 5000])
def test_all_near_rows_are_those_of_brute_force(monkeypatch, kind, tile):
    monkeypatch.setattr(module, "TILE", tile)
    x = rows_of_kind(kind)
    pairs = all_near_rows(x, BOUND)
    found = set(zip(*pairs.tolist(), strict=True))
    exact = brute_force(x)
    assert len(exact) > 100
    assert found == exact
    assert pairs.shape[1] == len(found)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 65])
def test_all_of_few_rows(n_rows):
    x = unit(np.ones((n_rows, WIDTH)))
    pairs = all_near_rows(x, BOUND)
    assert set(zip(*pairs.tolist(), strict=True)) == brute_force(x)
