"""Snapshots: small files whose histograms count everything."""

import numpy as np
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
