"""Snapshots: small files whose histograms count everything."""

import numpy as np
import pytest
import torch

from nanosae.model.snapshots import snapshot


def test_a_snapshot_is_small_and_its_histograms_count_everything(tmp_path):
    g = torch.Generator().manual_seed(0)
    encoder, decoder = (
        torch.randn(3000, 8, generator=g),
        torch.randn(3000, 8, generator=g),
    )
    shot = snapshot(
        encoder,
        decoder,
        torch.rand(3000, generator=g),
        torch.rand(500),
        torch.randn(50, 8, generator=g),
    )
    np.savez(tmp_path / "shot.npz", **shot)
    assert (tmp_path / "shot.npz").stat().st_size < 200_000
    assert shot["encoder_norm"].sum() == 3000
    assert shot["activation"].sum() == 500
    encoder, decoder = encoder.double(), decoder.double()
    cosine = (encoder * decoder).sum(1) / encoder.norm(dim=1) / decoder.norm(dim=1)
    edges = shot["encoder_decoder_cosine_edges"]
    counts, _ = np.histogram(cosine.numpy(), bins=edges)
    between_bins = (np.abs(cosine.numpy()[:, None] - edges) < 1e-6).sum()  # to rounding
    assert between_bins < 20
    assert np.abs(counts - shot["encoder_decoder_cosine"]).sum() <= 2 * between_bins


@pytest.mark.parametrize(("n_rows", "width"), [(60, 7), (9, 40), (30, 2)])
def test_positions_are_in_the_plane_of_the_two_principal_axes(n_rows, width):
    g = torch.Generator().manual_seed(0)
    decoder = torch.randn(20, width, generator=g)
    spread = 0.8 ** torch.arange(width)
    targets = torch.randn(n_rows, width, generator=g) * spread
    shot = snapshot(decoder, decoder, torch.rand(20), torch.rand(5), targets)
    exact = np.linalg.svd(targets.double().numpy(), full_matrices=False)[2][[1, 0]]
    directions = decoder.double() / decoder.double().norm(dim=1, keepdim=True)
    expected = directions.numpy() @ exact.T
    found = shot["positions"].astype(float)
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=2e-3)


def test_one_column_has_positions_in_the_plane_too():
    ones = torch.ones(4, 1)
    shot = snapshot(ones, ones, torch.rand(4), torch.rand(5), torch.randn(6, 1))
    assert np.abs(shot["positions"]).tolist() == [[1, 0]] * 4
