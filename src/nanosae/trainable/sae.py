"""TrainableSAE: parameters for centred and scaled rows, and the ranks that share them."""

from __future__ import annotations

import torch
from torch import Tensor

from nanosae.config import ResolvedConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import Ranks
from nanosae.errors import ConfigError
from nanosae.kernels import backend, compile_all, find_device
from nanosae.model.sae import SAEModel
from nanosae.trainable.fine_tuning import fine_tuned_parameters
from nanosae.trainable.initial import initial_parameters

SHARED = ("b_dec", "W_skip")  # parameters that do not belong to single latents


class TrainableSAE:
    """The parameters of an SAE in training, with their device, kernels and ranks.

    Args:
        config: What to train.
        data: Rows to initialise the parameters from.
        ranks: The processes that train it.

    Attributes:
        params: Parameters of this rank's latents, by name: W_enc and W_dec, both latent-major;
            b_dec; b_enc, or for gated b_gate, r_mag and b_mag; for jumprelu log_threshold; W_skip.
        latents: The slice of all latents that this rank holds.
        prefixes: Matryoshka's prefix sizes, (n_prefixes,).
        kernels: The backend.
        is_fine_tuned: Whether the parameters, thresholds included, are those of an earlier SAE.
    """

    def __init__(self, config: ResolvedConfig, data: Dataset, ranks: Ranks) -> None:
        self.config = config
        self.input_size = data.width
        self.ranks = ranks
        self.device = find_device(config.device)
        _check_backend(config.backend, self.device.type)
        self.kernels = backend(self.device, config.backend)
        self.latents = ranks.own_latents(config.hidden_size)
        self.n_latents = self.latents.stop - self.latents.start
        prefixes = () if config.matryoshka is None else config.matryoshka
        self.prefixes = torch.tensor(prefixes, device=self.device)
        self.params = initial_parameters(config, data, ranks, self.kernels, self.device)
        self.is_fine_tuned = False

    @torch.no_grad()
    def start_from(self, sae: SAEModel | None, data: Dataset) -> None:
        """Replace the initial parameters by those of an SAE on raw rows, if one is given."""
        if sae is None:
            return
        self.is_fine_tuned = True
        for name, tensor in fine_tuned_parameters(sae, self.config, data).items():
            self.params[name].copy_(self.of_this_rank(name, tensor))

    def check_agreement(self, data: Dataset, step: int) -> None:
        """Refuse to train if the ranks differ in their settings, rows or last checkpoint.

        Args:
            data: The rows of this rank.
            step: The step after which it continues.

        Raises:
            ConfigError: If they do.
        """
        # each rank may have the name of its own GPU
        settings = self.config.to_dict() | {"device": None}
        self.ranks.check_agreement(
            settings=settings, rows=data.fingerprint, checkpoint=step
        )

    @property
    def encoder_bias(self) -> Tensor:
        """The bias of the pre-activations: b_enc, or b_gate of gated SAEs."""
        name = "b_gate" if self.config.activation == "gated" else "b_enc"
        return self.params[name]

    @property
    def bytes_of_copies(self) -> int:
        """Memory for gradients and best parameters, which the first steps allocate."""
        return sum(2 * param.nbytes for param in self.params.values())

    def compile_kernels(self, n_heldout: int) -> None:
        """Compile the kernels for a step's batch and for `n_heldout` rows ahead of time."""
        n_rows = max(self.config.batch_size, n_heldout)
        weight = self.params["W_enc"].detach()
        topk = self.config.activation == "topk"
        compile_all(self.kernels, n_rows, weight, topk)

    @property
    def output_size(self) -> int:
        """Width of the reconstruction."""
        return self.params["b_dec"].numel()

    def of_all_ranks(self, name: str, tensor: Tensor) -> Tensor:
        """Gather a per-latent tensor from all ranks."""
        tensor = tensor.detach()
        if not self.ranks.divides_latents or _has_no_latents(name, tensor):
            return tensor
        return torch.cat(self.ranks.gather(tensor))

    def of_this_rank(self, name: str, tensor: Tensor) -> Tensor:
        """Return this rank's part of a per-latent tensor of all ranks."""
        own = tensor if _has_no_latents(name, tensor) else tensor[self.latents]
        return own.to(self.device)

    @torch.no_grad()
    def gradient_norm(self) -> Tensor:
        """Sum gradients over the ranks that divide the rows; return their global norm."""
        ranks = self.ranks
        grads = {name: p.grad for name, p in self.params.items() if p.grad is not None}
        for grad in grads.values():
            ranks.sum_over_rows(grad)
        norm = torch.nn.utils.get_total_norm(grads.values())
        if not ranks.divides_latents:
            return norm
        shared = [grad.square().sum() for name, grad in grads.items() if name in SHARED]
        shared_squares = torch.stack(shared).sum()
        own_squares = norm.square() - shared_squares
        return (ranks.sum_over_latents(own_squares) + shared_squares).sqrt()

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Scale decoder rows to unit norm; zero rows stay zero."""
        decoder = self.params["W_dec"]
        decoder /= decoder.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _has_no_latents(name: str, tensor: Tensor) -> bool:
    return name.endswith(SHARED) or tensor.dim() == 0


def _check_backend(backend: str, device: str) -> None:
    if backend not in ("auto", "reference", device):
        raise ConfigError(
            f"backend={backend!r} works on device={backend!r} only, not on {device!r}.",
            remedy="Leave backend out, or choose reference.",
        )
