"""Baselines against sklearn and least squares."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from nanosae.analysis.evaluation.baselines import representations


@pytest.fixture(scope="module")
def made(compared_codes):
    rows = np.arange(0, 2000, 2)
    yielded = representations(compared_codes, rows, True, np.random.default_rng(0))
    found = dict(yielded)
    return found, compared_codes.vectors(rows), compared_codes.take(rows)


def test_codes_are_those_of_the_rows(made):
    found, _, activations = made
    assert (found["codes"].activations != activations.tocsc()).nnz == 0
    assert found["codes"].reconstruction is None  # there is no model


def test_pca_reconstructs_from_as_many_components_as_features_are_active(made):
    found, vectors, activations = made
    l0 = round(activations.nnz / len(vectors))
    assert 1 < l0 < 10
    pca = PCA(l0).fit(vectors)
    expected = pca.inverse_transform(pca.transform(vectors))
    np.testing.assert_allclose(found["pca"].reconstruction, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["dense", "pca"])
def test_an_axis_and_its_opposite_are_a_feature_each(made, name):
    found, vectors, _ = made
    above, below = np.split(found[name].activations.toarray(), 2, axis=1)
    assert (np.minimum(above, below) == 0).all()
    centred = vectors - vectors.mean(0)
    signed = above - below
    np.testing.assert_allclose(signed @ signed.T, centred @ centred.T, atol=1e-3)


def test_the_random_sae_has_the_same_l0_and_the_best_scale(made):
    found, vectors, activations = made
    random = found["random"]
    assert random.activations.nnz == pytest.approx(activations.nnz, rel=0.05)
    np.testing.assert_allclose(np.linalg.norm(random.directions, axis=1), 1, atol=1e-5)
    assert len(random.directions) == activations.shape[1]
    pre_activations = (vectors - vectors.mean(0)) @ random.directions.T
    dense = random.activations.toarray()
    np.testing.assert_allclose(dense[dense > 0], pre_activations[dense > 0], rtol=1e-4)
    assert pre_activations[dense == 0].max() <= dense[dense > 0].min()
    part = random.reconstruction - vectors.mean(0)
    residual = vectors - random.reconstruction
    assert abs((residual * part).sum()) < 1e-3 * (part * part).sum()
    decoded = dense @ random.directions
    assert (part * decoded).sum() ** 2 == pytest.approx(
        (part**2).sum() * (decoded**2).sum()
    )


def test_a_row_is_reconstructed_as_the_centre_of_its_cluster(made):
    found, vectors, _ = made
    clusters = found["k-means"]
    assert (clusters.activations.sum(1) == 1).all()
    cluster = clusters.activations.toarray().argmax(1)
    assert cluster.max() < len(vectors) / 50
    centres = clusters.reconstruction
    assert all(len(np.unique(centres[cluster == c], axis=0)) == 1 for c in set(cluster))
    spread = ((vectors - vectors.mean(0)) ** 2).sum()
    assert ((vectors - centres) ** 2).sum() < spread
