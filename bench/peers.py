"""Other SAE libraries behind one interface: their own classes and training steps, from PyPI.

Nothing is reimplemented. The public training step is called if there is one (SAELens,
dictionary_learning); sparsify and HypotheSAEs have theirs inside a loop, whose body is repeated
line by line. All run in float32. Settings are those that each library recommends; numbers of steps
(warm-up, decay, start of a threshold) are scaled to short runs. Every choice was compared with its
alternatives on held-out rows, and the best one for the library was kept; docs/log.md has the
numbers.
"""

# pyright: reportMissingImports=false
# the libraries are an extra, and each is imported only when used

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

Rows = Callable[[Tensor], Tensor]
DEAD_BIAS = -30.0  # no pre-activation exceeds it, for rows of norm 1 or 20


class Peer(NamedTuple):
    """A library's SAE in training.

    Attributes:
        step: Takes one training step on rows, (batch_size, input_size).
        finish: Ends training; returns (encode, reconstruct), both on raw rows; encode is dense.
        mark_dead: Makes the library treat latents as dead; None if it has no AuxK.
    """

    step: Rows | Callable[[Tensor], Any]
    finish: Callable[[], tuple[Rows, Rows]]
    mark_dead: Callable[[Tensor], Any] | None


class Sizes(NamedTuple):
    """The sizes that every maker takes."""

    hidden_size: int
    k: int
    steps: int
    batch_size: int


def sparsify(activation: str, rows: Tensor, sizes: Sizes) -> Peer:
    """eai-sparsify: schedule-free signum and no AuxK are its defaults; body of `Trainer.fit`.

    Sign steps have the same size for any scale of the data, so rows are scaled like activations of
    language models, to E‖x‖² = width. Averaging shortens decoder rows, which are normalised again
    at the end.
    """
    if rows.device.type == "cpu":  # its Triton kernels do not run on CPUs
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from schedulefree import ScheduleFreeWrapper
    from sparsify import SparseCoder, SparseCoderConfig
    from sparsify.sign_sgd import SignSGD

    config = SparseCoderConfig(num_latents=sizes.hidden_size, k=sizes.k)
    sae = SparseCoder(rows.shape[1], config, rows.device, dtype=torch.float32)
    scale = (rows.shape[1] / rows.square().sum(1).mean().item()) ** 0.5
    lr = 5e-3 / (sizes.hidden_size / 2**14) ** 0.5
    optimizer = ScheduleFreeWrapper(SignSGD(sae.parameters(), lr=lr), momentum=0.95)
    optimizer.train()
    silent = torch.zeros(sizes.hidden_size, dtype=torch.long, device=rows.device)
    state = {"auxk": 0.0, "first": True}

    def step(x: Tensor) -> float:
        x = x * scale
        if state["first"]:
            sae.b_dec.data = x.mean(0)
            state["first"] = False
        sae.set_decoder_norm_to_unit_norm()
        dead = silent > 10_000_000 if state["auxk"] else None
        variance = (x - x.mean(0)).pow(2).sum()
        out = sae(x=x, y=x, dead_mask=dead, total_variance=variance)
        fired = torch.zeros_like(silent, dtype=torch.bool)
        fired[out.latent_indices.flatten()] = True
        fvu = float(out.fvu.detach())
        (out.fvu + state["auxk"] * out.auxk_loss + out.multi_topk_fvu / 8).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        silent.add_(len(x))
        silent[fired] = 0
        return fvu

    def finish() -> tuple[Rows, Rows]:
        optimizer.eval()
        sae.set_decoder_norm_to_unit_norm()

        def encode(x: Tensor) -> Tensor:
            out = sae.encode(x * scale)
            return torch.zeros_like(out.pre_acts).scatter(
                -1, out.top_indices, out.top_acts
            )

        return encode, lambda x: sae(x * scale).sae_out / scale

    def mark_dead(latents: Tensor) -> None:
        state["auxk"] = 1 / 32
        silent[latents] = 10**9
        sae.encoder.bias.data[latents] = DEAD_BIAS

    return Peer(step, finish, mark_dead)


def saelens(activation: str, rows: Tensor, sizes: Sizes) -> Peer:
    """SAELens: its defaults, with the normalisation and final decay of its documentation."""
    import sae_lens
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    names = {"relu": "Standard", "topk": "TopK", "batchtopk": "BatchTopK"}
    options: dict[str, Any] = {"k": sizes.k}
    if activation == "relu":
        options = {"l1_coefficient": 5.0, "l1_warm_up_steps": sizes.steps // 20}
    config = getattr(sae_lens, f"{names[activation]}TrainingSAEConfig")(
        d_in=rows.shape[1],
        d_sae=sizes.hidden_size,
        normalize_activations="expected_average_only_in",
        device=str(rows.device),
        **options,
    )
    blocks = rows.split(sizes.batch_size)
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=sizes.steps * sizes.batch_size,
            train_batch_size_samples=sizes.batch_size,
            lr_decay_steps=sizes.steps // 5,
            lr=3e-4,
            lr_end=3e-5,
            device=str(rows.device),
        ),
        sae=getattr(sae_lens, f"{names[activation]}TrainingSAE")(config),
        data_provider=iter(()),
    )
    scaler = trainer.activation_scaler
    scaler.estimate_scaling_factor(rows.shape[1], iter(blocks), len(blocks))

    def step(x: Tensor) -> None:
        trainer.maybe_reset_sparsity()
        trainer.step(x)
        trainer.n_training_steps += 1

    def finish() -> tuple[Rows, Rows]:
        trainer.sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
        with tempfile.TemporaryDirectory() as folder:
            trainer.sae.save_inference_model(folder)
            sae = sae_lens.SAE.load_from_disk(folder)
        return sae.encode, lambda x: sae.decode(sae.encode(x))

    def mark_dead(latents: Tensor) -> None:
        trainer.n_forward_passes_since_fired[latents] = 1e9
        trainer.sae.b_enc.data[latents] = DEAD_BIAS

    return Peer(step, finish, None if activation == "relu" else mark_dead)


def dictionary_learning(activation: str, rows: Tensor, sizes: Sizes) -> Peer:
    """dictionary_learning: the learning rate of its trainers; decay as in its demo."""
    from dictionary_learning.dictionary import AutoEncoderNew
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
    from dictionary_learning.trainers.standard import StandardTrainerAprilUpdate
    from dictionary_learning.trainers.top_k import TopKTrainer

    warmup, decay = sizes.steps // 20, sizes.steps * 4 // 5
    shared = {
        "steps": sizes.steps,
        "activation_dim": rows.shape[1],
        "dict_size": sizes.hidden_size,
        "warmup_steps": warmup,
        "decay_start": decay,
        "layer": 0,
        "lm_name": "",
        "device": str(rows.device),
    }
    if activation == "relu":
        trainer: Any = StandardTrainerAprilUpdate(
            dict_class=AutoEncoderNew,
            l1_penalty=0.06,
            sparsity_warmup_steps=warmup,
            **shared,
        )
    else:
        kind = TopKTrainer if activation == "topk" else BatchTopKTrainer
        trainer = kind(k=sizes.k, threshold_start_step=decay, **shared)
    norm = rows.square().sum(1).mean().sqrt().item()
    done = [0]

    def step(x: Tensor) -> None:
        trainer.update(done[0], x / norm)
        done[0] += 1

    def finish() -> tuple[Rows, Rows]:
        ae = trainer.ae
        if activation != "relu":
            ae.scale_biases(norm)
            return ae.encode, lambda x: ae.decode(ae.encode(x))
        return lambda x: ae.encode(x / norm), lambda x: ae(x / norm) * norm

    def mark_dead(latents: Tensor) -> None:
        trainer.num_tokens_since_fired[latents] = 10**9
        trainer.ae.encoder.bias.data[latents] = DEAD_BIAS

    return Peer(step, finish, None if activation == "relu" else mark_dead)


def hypothesaes(activation: str, rows: Tensor, sizes: Sizes) -> Peer:
    """HypotheSAEs: its defaults; body of `SparseAutoencoder.fit`."""
    from hypothesaes.sae import SparseAutoencoder

    sae = SparseAutoencoder(
        rows.shape[1],
        sizes.hidden_size,
        sizes.k,
        use_batch_topk=activation == "batchtopk",
        device=str(rows.device),
    )
    sae.initialize_weights_(rows)
    optimizer = torch.optim.Adam(sae.parameters(), lr=5e-4)
    sae.train()

    def step(x: Tensor) -> float:
        recon, info = sae(x)
        loss = sae.compute_loss(x, recon, info, 1 / 32, 0.0)
        optimizer.zero_grad()
        loss.backward()
        sae.adjust_decoder_gradient_()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimizer.step()
        sae.normalize_decoder_()
        return loss.item()

    def finish() -> tuple[Rows, Rows]:
        sae.eval()
        return lambda x: sae(x)[1]["activations"], lambda x: sae(x)[0]

    def mark_dead(latents: Tensor) -> None:
        sae.steps_since_activation[latents] = 10**9
        sae.neuron_bias.data[latents] = DEAD_BIAS

    return Peer(step, finish, mark_dead)


MAKERS = {
    "sparsify": (sparsify, "eai-sparsify", ("topk",)),
    "saelens": (saelens, "sae-lens", ("relu", "topk", "batchtopk")),
    "dictionary_learning": (
        dictionary_learning,
        "dictionary-learning",
        ("relu", "topk", "batchtopk"),
    ),
    "hypothesaes": (hypothesaes, "hypothesaes", ("topk", "batchtopk")),
}


def choose(names: list[str] | None) -> list[tuple[str, str]]:
    """Return (library, activation) pairs of names such as `saelens` or `saelens-topk`.

    Args:
        names: If None or empty, every installed library.

    Raises:
        ValueError: If a name is unknown.
        ImportError: If a named library is not installed.
    """
    if not names:
        names = [
            n
            for n in MAKERS
            if importlib.util.find_spec("sae_lens" if n == "saelens" else n)
        ]
    chosen = []
    for name in names:
        library, _, activation = name.partition("-")
        if library not in MAKERS or activation not in ("", *MAKERS[library][2]):
            known = ", ".join(
                f"{n}-{a}" for n, (_, _, acts) in MAKERS.items() for a in acts
            )
            raise ValueError(f"unknown peer {name!r}; known are {known}.")
        if (
            importlib.util.find_spec("sae_lens" if library == "saelens" else library)
            is None
        ):
            raise ImportError(
                f'{library} is not installed: pip install "nanosae[peers]".'
            )
        chosen += [(library, a) for a in MAKERS[library][2] if activation in ("", a)]
    return chosen


def identity(name: str) -> dict[str, str]:
    """Return what a cached result depends on besides the data: versions and settings."""
    maker, package, _ = MAKERS[name]
    version = importlib.metadata.version(package)
    return {
        "version": version,
        "torch": torch.__version__,
        "recipe": inspect.getsource(maker),
    }


def preload(name: str) -> None:
    """Import a library ahead of time, so that training times do not include it."""
    tiny = torch.eye(8).repeat(4, 1)
    for activation in MAKERS[name][2][-1:]:
        make(name, activation, tiny, Sizes(16, 2, 40, 8)).step(tiny[:8])


def make(name: str, activation: str, rows: Tensor, sizes: Sizes, seed: int = 0) -> Peer:
    """Return a library's SAE before its first step; it may use `rows` for initialisation."""
    torch.manual_seed(seed)
    return MAKERS[name][0](activation, rows, sizes)


def step(
    name: str,
    activation: str,
    batch_size: int,
    input_size: int,
    hidden_size: int,
    k: int,
) -> Callable[[Tensor], Any]:
    """Return a library's full training step on rows (batch_size, input_size)."""
    rows = torch.nn.functional.normalize(torch.randn(batch_size, input_size), dim=1)
    return make(name, activation, rows, Sizes(hidden_size, k, 100_000, batch_size)).step


def batches(x: Tensor, steps: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Yield `steps` shuffled batches, with every row once per epoch."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(x), generator=generator)])
        yield x[order[:batch_size]]
        order = order[batch_size:]


def train(
    name: str,
    activation: str,
    x_train: Tensor,
    hidden_size: int,
    k: int,
    steps: int,
    batch_size: int,
    seed: int = 0,
) -> tuple[Rows, Rows]:
    """Train on rows (n_rows, input_size) and return (encode, reconstruct)."""
    peer = make(
        name, activation, x_train, Sizes(hidden_size, k, steps, batch_size), seed
    )
    for x in batches(x_train, steps, batch_size, seed):
        peer.step(x)
    return peer.finish()
