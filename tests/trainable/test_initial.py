"""Initial weights: noisy directions of data points, scaled so that reconstructions fit."""

import pytest
import torch

from nanosae import TrainConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import Ranks
from nanosae.sources import open_rows
from nanosae.trainable.initial import BLOCK_LATENTS, _directions
from states import rows, small_state


def directions(seed, latents=slice(0, 40), hidden_size=40):
    data = Dataset(open_rows(rows()), seed=0)
    config = TrainConfig(hidden_size=hidden_size, k=4, seed=seed).resolved(380, 12)
    return _directions(config, data, latents)[0], data


def test_directions_are_those_of_data_points_with_some_noise():
    made, data = directions(seed=0)
    points = torch.from_numpy(data.rows_by_hash(0, 40))
    cosine = torch.nn.functional.cosine_similarity(made, points)
    assert cosine.min() > 0.9
    assert cosine.max() < 1 - 1e-4
    torch.testing.assert_close(made.norm(dim=1), torch.ones(40))


def test_another_seed_takes_the_same_points_with_other_noise():
    (one, _), (two, _) = directions(seed=0), directions(seed=1)
    cosine = torch.nn.functional.cosine_similarity(one, two)
    assert cosine.min() > 0.85
    assert cosine.max() < 1 - 1e-4


def noise_of_blocks(n_blocks=2):
    """What was added to the points of each block: 380 points fill 8,192 latents many times."""
    hidden_size = n_blocks * BLOCK_LATENTS
    made, data = directions(0, slice(0, hidden_size), hidden_size)
    points = torch.from_numpy(data.rows_by_hash(0, hidden_size))
    across = made - (made * points).sum(1, keepdim=True) * points / points.square().sum(
        1, keepdim=True
    )
    return across.view(n_blocks, -1)


def test_each_block_of_latents_has_noise_of_its_own():
    correlation = torch.corrcoef(noise_of_blocks())[0, 1]
    assert abs(correlation.item()) < 0.02  # 49,152 values: 4 standard errors


def test_blocks_of_one_seed_would_have_the_same_noise(monkeypatch):
    monkeypatch.setattr(
        "nanosae.trainable.initial.mixed_seed",
        lambda seed, kind, start: seed + 2**32 * start,
    )
    assert torch.corrcoef(noise_of_blocks())[0, 1] > 0.5


def test_ranks_make_the_pieces_of_what_one_process_makes():
    whole, _ = directions(seed=0, latents=slice(0, 5000), hidden_size=5000)
    pieces = []
    for rank in range(3):
        latents = Ranks(rank, 3, latents=True).own_latents(5000)
        pieces.append(directions(seed=0, latents=latents, hidden_size=5000)[0])
    assert torch.equal(torch.cat(pieces), whole)


@pytest.mark.parametrize("seed", range(4))
def test_the_first_reconstructions_cannot_be_scaled_to_fit_better(seed):
    state, data = small_state(activation="batchtopk", seed=seed)
    x = torch.from_numpy(data.sample(1024, seed))
    encoder, decoder = (state.params[name].detach() for name in ("W_enc", "W_dec"))
    pre_acts = x @ encoder.T
    # equal values: those of earlier rows, as the selection has it
    in_order = pre_acts.flatten().sort(descending=True, stable=True).indices
    is_kept = torch.zeros(pre_acts.numel(), dtype=torch.bool)
    is_kept[in_order[: 4 * len(x)]] = True
    recon = torch.where(is_kept.view_as(pre_acts), pre_acts, 0.0) @ decoder
    best_scale = (recon * x).sum() / recon.square().sum()
    assert best_scale.item() == pytest.approx(1.0, abs=1e-4)
