"""Measures without classes against brute force."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import cosine_similarity

from nanosae.analysis.evaluation.baselines import Representation
from nanosae.analysis.evaluation.measures import (
    intruder_detection,
    reconstruction_measures,
    usage,
)


def test_reconstruction_agrees_with_brute_force():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)) + 2
    back = x + 0.3 * rng.normal(size=x.shape)
    found = reconstruction_measures(x, back, rng)
    assert found["fvu"].value == pytest.approx(
        1 - r2_score(x, back, multioutput="variance_weighted")
    )
    cosine = [a @ b / np.sqrt(a @ a * (b @ b)) for a, b in zip(x, back, strict=True)]
    assert found["cosine"].value == pytest.approx(np.mean(cosine))
    shared = []
    for i in range(120):
        near = []
        for m in (x, back):
            alike = [
                m[i] @ b / np.linalg.norm(b) if j != i else -9e9
                for j, b in enumerate(m)
            ]
            near.append(set(np.argsort(alike)[-10:]))
        shared.append(len(near[0] & near[1]) / 10)
    assert found["recall@10"].value == pytest.approx(np.mean(shared))
    perfect = reconstruction_measures(x, x.copy(), rng)
    assert perfect["fvu"].value == 0
    assert perfect["recall@10"].value == 1
    assert reconstruction_measures(x, x.mean(0) + 0 * x, rng)[
        "fvu"
    ].value == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_measures_do_not_depend_on_the_scale_of_the_rows(scale):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(120, 6)) + 2).astype(np.float32)
    back = (x + 0.3 * rng.normal(size=x.shape)).astype(np.float32)
    wanted = reconstruction_measures(x, back, np.random.default_rng(0))
    scaled = (np.float32(scale) * rows for rows in (x, back))
    found = reconstruction_measures(*scaled, np.random.default_rng(0))
    for name, estimate in wanted.items():
        assert found[name].value == pytest.approx(estimate.value, rel=1e-5), name


def test_use_and_redundancy_agree_with_brute_force():
    rng = np.random.default_rng(0)
    x = rng.random((50, 8)) < np.array([0.9, 0.5, 0.3, 0.2, 0.1, 0.1, 0.05, 0])
    directions = rng.normal(size=(8, 5))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = usage(
        Representation(sp.csc_array(x.astype(np.float32)), directions=directions)
    )
    density = x.mean(0)
    gini = np.abs(density[:, None] - density).sum() / (2 * 64 * density.mean())
    assert found["gini"].value == pytest.approx(gini)
    assert found["l0"].value == pytest.approx(x.sum(1).mean())
    assert found["dead"].value == (density == 0).mean()
    assert found["dense"].value == (density > 0.2).mean()
    live = directions[density > 0]
    alike = live @ live.T - 2 * np.eye(len(live))
    assert found["redundancy"].value == pytest.approx(alike.max(1).mean())
    even = usage(Representation(sp.csc_array(np.eye(8, dtype=np.float32))))
    assert even["gini"].value == pytest.approx(0)


def test_intruders_are_found_by_clusters_and_not_by_noise():
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 20, 800)
    points = np.eye(20)[cluster] + 0.02 * rng.normal(size=(800, 20))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    good = sp.csc_array(np.eye(20, dtype=np.float32)[cluster])
    noise = sp.csc_array(np.eye(20, dtype=np.float32)[rng.permutation(cluster)])
    assert intruder_detection(good, points, rng).value == 1
    assert abs(intruder_detection(noise, points, rng).value - 0.2) < 0.12
    assert intruder_detection(good, points, rng).n == 20


def test_intruders_among_equal_texts_are_found_by_chance():
    rng = np.random.default_rng(0)
    points = np.tile(np.eye(1, 8, dtype=np.float32), (200, 1))
    active = sp.csc_array((rng.random((200, 30)) < 0.2).astype(np.float32))
    assert intruder_detection(active, points, rng).value == pytest.approx(0.2)


def test_intruders_are_sought_among_the_strongest_texts():
    """The fifty strongest rows are alike, and the others that are active are not."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 50))
    points[:50] = np.eye(1, 50) + 0.01 * rng.normal(size=(50, 50))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    strengths = np.zeros((2000, 1), np.float32)
    strengths[:1000, 0] = np.linspace(2, 1, 1000)
    assert intruder_detection(sp.csc_array(strengths), points, rng).value == 1
    weakest_first = np.where(strengths > 0, 3 - strengths, 0)
    assert intruder_detection(sp.csc_array(weakest_first), points, rng).value < 1


def test_intruders_come_from_the_whole_corpus_also_if_it_is_sorted():
    """Two thirds of the inactive rows are unlike the active ones; the first third is like them."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1000, 50))
    is_like = np.r_[np.ones(300), np.zeros(600), np.ones(100)] > 0
    points[is_like] = np.eye(1, 50) + 0.01 * rng.normal(size=(400, 50))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    activations = np.zeros((1000, 60), np.float32)
    activations[900:] = 1
    found = intruder_detection(sp.csc_array(activations), points, rng).value
    expected = 600 / 900 + 300 / 900 * 0.2
    assert found == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("n_rows", [2, 3, 11, 40])
def test_perfect_reconstruction_is_recalled_of_few_and_of_equal_rows(n_rows):
    rng = np.random.default_rng(0)
    different = rng.normal(size=(n_rows, 4))
    equal = np.tile(different[:1], (n_rows, 1))
    found = reconstruction_measures(different, different.copy(), rng)
    assert found["recall@10"].value == 1
    found = reconstruction_measures(equal, equal.copy(), rng)
    assert found["recall@10"].value <= 1
    assert found["recall@10"].high <= 1 + 1e-9


@pytest.mark.parametrize("scale", [1, 1e-4, 1e-6])
def test_cosines_do_not_depend_on_the_scale_of_the_rows(scale):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 8))
    reconstruction = x + 0.3 * rng.normal(size=x.shape)
    x[0] = reconstruction[1] = 0  # rows without a direction
    known = cosine_similarity(x[2:], reconstruction[2:]).diagonal()
    found = reconstruction_measures(scale * x, scale * reconstruction, rng)["cosine"]
    assert found.value == pytest.approx(known.sum() / 50)


def test_what_one_row_or_one_direction_cannot_say_is_unknown():
    row = np.ones((1, 4))
    found = reconstruction_measures(row, row.copy(), np.random.default_rng(0))
    assert np.isnan(found["recall@10"].value)
    assert np.isnan(found["fvu"].value)
    for n_active in (0, 1):
        activations = sp.csc_array((3, 2), dtype=np.float32)
        if n_active:
            activations = sp.csc_array(np.float32([[1, 0], [1, 0], [0, 0]]))
        measured = usage(Representation(activations, directions=np.eye(2, 3)))
        assert np.isnan(measured["redundancy"].value)
