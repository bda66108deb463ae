"""SAETrainer: one readable loop from rows to a trained model, with checkpoints that resume bit for bit.

A step: gather rows → select pairs (no gradient) → objective → backward → clip → Adam → unit decoder rows →
counters. Rows are centred and scaled; `model.fold` undoes that in the weights at the end. Everything random is a
function of (seed, step), so that a checkpoint is weights, moments, counters and a few scalars.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor

import nanosae
from nanosae import logs, metrics, objectives
from nanosae.config import TrainConfig
from nanosae.data import Dataset, open_rows
from nanosae.kernels import Pairs, backend, fresh_gradients, sparse_decode, sparse_encode
from nanosae.model import SAEModel, fold

DENSE_SHARE = 0.08  # share of active entries above which dense tiles are faster
AUXK_SHARE = 4  # AuxK works on one row in so many
GAIN = 0.02  # of the controller that meets k
WINDOW = 4  # pairs per row in the window of jumprelu, in units of k
OWNED = ("config.json", "model", "metrics.jsonl", "checkpoints", "snapshots")


class Training:
    """The state of a run and the step that advances it."""

    def __init__(self, config: TrainConfig, data: Dataset) -> None:
        self.config, self.data = config, data
        name = config.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(name)
        self.kernels = backend(self.device, config.backend)
        self.hidden, self.k = config.hidden_size or 0, config.k
        self.planned = config.max_steps(data.n_train)
        self.eval_every = config.eval_every or max(1, self.planned // 40)
        fixed = config.steps is not None or config.epochs is not None
        self.scalars: dict[str, Any] = {
            "step": 0,
            "rows": 0,
            "decay_start": int(self.planned * (1 - config.decay)),
            "until_best": not fixed,
            "log_coefficient": math.log(config.l1_coefficient or 1e-3),
            "window": 0.1,
            "l0": float(config.k or 32),
            "pairs": float(config.k or 32),
            "best": math.inf,
            "best_step": 0,
            "worse": 0,
            "hint": 0.0,
        }
        self.params = self._initial()
        self.best = {name: p.detach().clone() for name, p in self.params.items()}
        decayed = {"params": [self.params["W_enc"]], "weight_decay": config.weight_decay}
        others = {
            "params": [p for n, p in self.params.items() if n != "W_enc"],
            "weight_decay": 0.0,
        }
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW([decayed, others], lr=config.lr or 0, fused=fused)
        self.silent = torch.zeros(self.hidden, dtype=torch.int64, device=self.device)
        self.sums: dict[str, float] = {}

    # ── start ────────────────────────────────────────────────────────────────────────────────

    def _initial(self) -> dict[str, Tensor]:
        """Start from data points with some noise, encoder and decoder alike (weights latent-major)."""
        config, width = self.config, self.data.width
        generator = torch.Generator().manual_seed(config.seed)
        rows = torch.from_numpy(self.data.sample(max(self.hidden, 4096), seed=config.seed))
        picks = torch.arange(self.hidden) % len(rows)
        unit = rows[picks] / rows[picks].norm(dim=1, keepdim=True).clamp_min(1e-6)
        unit += 0.2 * torch.randn(unit.shape, generator=generator) / math.sqrt(width)
        unit /= unit.norm(dim=1, keepdim=True)
        params = {
            "W_enc": unit,
            "W_dec": unit.clone(),
            "b_enc": torch.zeros(self.hidden),
            "b_dec": torch.zeros(width),
        }
        # encoder rows as long as makes the first reconstructions fit best
        x = rows[:1024].to(self.device)
        weights = unit.to(self.device), params["b_enc"].to(self.device)
        pairs = self.kernels.select_batchtopk(x, *weights, (self.k or 32) * len(x))
        recon = self.kernels.decode(pairs.values, pairs, weights[0], torch.zeros_like(x[0]))
        params["W_enc"] = unit * float((recon * x).sum() / recon.square().sum())
        weights = params["W_enc"].to(self.device), weights[1]
        active = min(WINDOW * (self.k or 32), self.hidden // 2) * len(x)
        level = self.kernels.select_batchtopk(x, *weights, active).values.min()
        if config.activation in ("relu", "gated"):
            params["b_enc"] -= level.cpu()
        if config.activation == "gated":
            params |= {"r_mag": torch.zeros(self.hidden), "b_mag": torch.zeros(self.hidden)}
        if config.activation == "jumprelu":
            params["log_threshold"] = torch.full((self.hidden,), math.log(max(float(level), 1e-3)))
        return {n: p.to(self.device).contiguous().requires_grad_() for n, p in params.items()}

    # ── one step ─────────────────────────────────────────────────────────────────────────────

    def step(self, rows: Tensor) -> None:
        """Take one optimiser step on (batch_size, input_size) normalised rows."""
        s, params = self.scalars, self.params
        if self.config.noise:
            generator = torch.Generator(self.device).manual_seed(
                self.config.seed * 2**32 + s["step"]
            )
            rows = (
                torch.empty_like(rows).normal_(0, self.config.noise, generator=generator).add_(rows)
            )
        for name, param in params.items():
            if name not in ("W_enc", "W_dec"):
                param.grad = None
        fresh_gradients([params["W_enc"], params["W_dec"]])
        for group in self.optimizer.param_groups:
            group["lr"] = (self.config.lr or 0) * self._schedule()
        counts = torch.zeros(self.hidden, dtype=torch.int64, device=self.device)
        parts: dict[str, Tensor] = {}
        for micro in rows.chunk(self.config.accumulate):
            for name, value in self._backward(micro, rows.numel(), counts).items():
                parts[name] = parts.get(name, 0) + value.detach()
        loss = torch.stack(list(parts.values())).sum()
        if not math.isfinite(loss):
            raise FloatingPointError(self._diverged())
        self._clip()
        self.optimizer.step()
        with torch.no_grad():
            params["W_dec"] /= params["W_dec"].norm(dim=1, keepdim=True).clamp_min(1e-12)
        self.silent += len(rows)
        self.silent[counts > 0] = 0
        s["step"] += 1
        s["rows"] += len(rows)
        s["l0"] = int(counts.sum()) / len(rows)
        self._control()
        tallies = {name: float(value) for name, value in parts.items()}
        tallies |= {"squares": float(rows.square().mean()), "l0": s["l0"], "steps": 1}
        for name, value in tallies.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def _clip(self) -> None:
        grads = [p.grad for p in self.params.values() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if (
            self.device.type != "cpu" or norm > self.config.clip
        ):  # one pass less where it is free to ask
            torch.nn.utils.clip_grads_with_norm_(self.params.values(), self.config.clip, norm)

    def _backward(self, x: Tensor, n: int, counts: Tensor) -> dict[str, Tensor]:
        """Add the gradients of some rows of the step; return the parts of their loss."""
        if (
            self.config.activation in ("relu", "gated")
            and self.scalars["l0"] > DENSE_SHARE * self.hidden
        ):
            return self._backward_dense(x, n, counts)
        loss, pairs = self.losses(x, n)
        counts += torch.bincount(pairs.cols[loss.acts.detach() > 0], minlength=self.hidden)
        if self.config.auxk_coefficient and self.config.activation in ("topk", "batchtopk"):
            dead = (self.silent > (self.config.dead_after or 0)).nonzero().flatten()
            if len(dead):
                loss.parts["auxk"] = self._auxk(
                    x, loss.recon.detach(), dead, len(x) * x.shape[1] / n
                )
        torch.stack(list(loss.parts.values())).sum().backward()
        return loss.parts

    def losses(self, x: Tensor, n: int) -> tuple[objectives.Losses, Pairs]:
        """Return the sparse objective of rows x, sums being divided by n, and the kept pairs."""
        params, kernels = self.params, self.kernels
        weights = params["W_enc"], params["b_enc"]
        with torch.no_grad():
            pairs = self._select(x)
            plan = kernels.make_plan(pairs, self.hidden)
        z = sparse_encode(x, *weights, pairs, plan, kernels)
        cols = pairs.cols.long()
        decode = partial(sparse_decode, pairs=pairs, plan=plan, kernels=kernels)
        view = objectives.View(
            z=z,
            at=lambda vector: vector.index_select(0, cols),
            decode=partial(decode, weight=params["W_dec"], bias=params["b_dec"]),
            decode_frozen=partial(
                decode, weight=params["W_dec"].detach(), bias=params["b_dec"].detach()
            ),
            x=x,
            n=n,
        )
        return self._objective(view, pairs), pairs

    def _objective(self, view: objectives.View, pairs: Pairs | None) -> objectives.Losses:
        config, params = self.config, self.params
        if config.matryoshka and pairs is not None:
            return objectives.matryoshka(view, partial(self._decode_prefixes, pairs))
        if config.activation in ("topk", "batchtopk"):
            return objectives.topk(view)
        if config.activation == "relu":
            return objectives.relu(view, self._coefficient())
        if config.activation == "gated":
            gates = params["b_enc"], params["r_mag"], params["b_mag"]
            return objectives.gated(view, self._coefficient(), *gates)
        sums = None
        if config.jumprelu_penalty == "tanh":
            sums = _Sums.apply(view.x, params["W_enc"], params["b_enc"])
        return objectives.jumprelu(
            view, self._coefficient(), params["log_threshold"], self.scalars["window"], sums
        )

    def _select(self, x: Tensor) -> Pairs:
        """Keep the entries that the objective needs."""
        weights = self.params["W_enc"].detach(), self.params["b_enc"].detach()
        s, activation = self.scalars, self.config.activation
        if activation == "topk":
            return self.kernels.select_topk(x, *weights, self.k)
        if activation == "batchtopk":
            pairs = self.kernels.select_batchtopk(x, *weights, self.k * len(x), 0.95 * s["hint"])
            s["hint"] = float(pairs.values.min()) if len(pairs.values) else 0.0
            return pairs
        cut = torch.zeros_like(weights[1])
        if activation == "jumprelu":
            cut = self.params["log_threshold"].detach().exp() - s["window"] / 2
        pairs = self.kernels.select_above(x, *weights, cut.clamp_min(0))
        s["pairs"] = len(pairs.values) / len(x)
        return pairs

    def _decode_prefixes(self, pairs: Pairs, values: Tensor) -> Tensor:
        """Reconstruct with each Matryoshka prefix: the groups of latents are rows of their own."""
        sizes = torch.tensor(self.config.matryoshka, device=self.device)
        n_rows, groups = len(pairs.row_ptr) - 1, len(sizes)
        rows = torch.repeat_interleave(
            torch.arange(n_rows, device=self.device), pairs.row_ptr.diff()
        )
        rows = rows + n_rows * torch.bucketize(pairs.cols, sizes, right=True)
        order = rows.sort(stable=True).indices
        row_ptr = torch.zeros(groups * n_rows + 1, dtype=torch.int64, device=self.device)
        row_ptr[1:] = torch.bincount(rows, minlength=groups * n_rows).cumsum(0)
        split = Pairs(values.detach()[order], pairs.cols[order], row_ptr)
        plan = self.kernels.make_plan(split, self.hidden)
        none = torch.zeros_like(self.params["b_dec"])
        parts = sparse_decode(values[order], self.params["W_dec"], none, split, plan, self.kernels)
        return parts.view(groups, n_rows, -1).cumsum(0) + self.params["b_dec"]

    def _auxk(self, x: Tensor, recon: Tensor, dead: Tensor, share: float) -> Tensor:
        """Let dead latents explain what is left of some rows (Gao et al. 2024, appendix A.2)."""
        params, kernels = self.params, self.kernels
        rows = slice(0, -(-len(x) // AUXK_SHARE))
        x, residual = x[rows], x[rows] - recon[rows]
        weights = params["W_enc"].detach()[dead], params["b_enc"].detach()[dead]
        local = kernels.select_topk(x, *weights, min(self.config.k_aux or 1, len(dead)))
        pairs = local._replace(cols=dead[local.cols.long()].int())
        plan = kernels.make_plan(pairs, self.hidden)
        z = sparse_encode(x, params["W_enc"], params["b_enc"], pairs, plan, kernels)
        none = torch.zeros_like(params["b_dec"])
        out = sparse_decode(torch.relu(z), params["W_dec"], none, pairs, plan, kernels)
        return self.config.auxk_coefficient * share * objectives.auxk(out, residual)

    def _backward_dense(self, x: Tensor, n: int, counts: Tensor) -> dict[str, Tensor]:
        """The same objective by matrix products, tile by tile, for activations that are not sparse."""
        params, parts = self.params, {}
        for weight in (params["W_enc"], params["W_dec"]):
            if getattr(weight, "fresh", False) and weight.grad is not None:
                weight.grad.zero_()
            weight.fresh = False  # type: ignore[attr-defined]
        for tile in x.split(max(256, 2**23 // self.hidden)):
            view = objectives.View(
                z=torch.addmm(params["b_enc"], tile, params["W_enc"].T),
                at=lambda vector: vector,
                decode=lambda acts: acts @ params["W_dec"] + params["b_dec"],
                decode_frozen=lambda acts: (
                    acts @ params["W_dec"].detach() + params["b_dec"].detach()
                ),
                x=tile,
                n=n,
            )
            loss = self._objective(view, None)
            torch.stack(list(loss.parts.values())).sum().backward()
            counts += (loss.acts > 0).sum(0)
            for name, value in loss.parts.items():
                parts[name] = parts.get(name, 0) + value.detach()
        return parts

    def _control(self) -> None:
        """Steer the sparsity coefficient to k, and jumprelu's window to its share of pairs."""
        s = self.scalars
        if self.config.activation in ("topk", "batchtopk"):
            return
        if self.k is not None:
            error = math.log(max(s["l0"], 0.01) / self.k)
            s["log_coefficient"] += GAIN * max(-1.0, min(1.0, error))
            s["log_coefficient"] = max(-16.0, min(2.0, s["log_coefficient"]))
        error = math.log(WINDOW * (self.k or s["l0"] + 1) / (s["pairs"] + 1))
        s["window"] = max(1e-3, min(4.0, s["window"] * math.exp(0.1 * max(-1.0, min(1.0, error)))))

    def _coefficient(self) -> float:
        ramp = self.scalars["step"] / max(1, self.config.warmup * self.planned)
        return math.exp(self.scalars["log_coefficient"]) * min(1.0, ramp)

    @property
    def end(self) -> int:
        """The step after which training ends: the decay has its share of all steps."""
        start = self.scalars["decay_start"]
        return (
            max(start + 1, round(start / (1 - self.config.decay))) if self.config.decay else start
        )

    def _schedule(self) -> float:
        """Return the factor on lr: linear warm-up, constant, linear decay to zero."""
        step, start = self.scalars["step"], self.scalars["decay_start"]
        rise = (step + 1) / max(1, self.config.warmup * self.planned)
        fall = (self.end - step) / max(1, self.end - start)
        return min(1.0, rise, fall)

    def _diverged(self) -> str:
        return (
            f"the loss is not finite at step {self.scalars['step']}. The likely cause is a learning "
            f"rate that is too high (lr={self.config.lr:g}); try lr={(self.config.lr or 0) / 4:g}."
        )

    # ── evaluation ───────────────────────────────────────────────────────────────────────────

    def evaluate(self) -> dict[str, float]:
        """Measure the training rule on the held-out rows; keep the best weights so far."""
        s, squares, error, active = self.scalars, 0.0, 0.0, 0
        hint = s["hint"]
        with torch.no_grad():
            for x in torch.from_numpy(self.data.heldout).to(self.device).split(4096):
                loss, _ = self.losses(x, x.numel())
                error += float((x - loss.recon).double().square().sum())
                squares += float(x.double().square().sum())
                active += int((loss.acts > 0).sum())
        s["hint"] = hint
        l0 = active / len(self.data.heldout)
        score = error / squares
        if self.config.activation not in ("topk", "batchtopk"):
            # weights that are not yet as sparse as they shall be are no candidates
            near = self.k is None or abs(math.log(max(l0, 0.01) / self.k)) < 0.05
            score = math.inf if not near or self.k is None else score
        if score < s["best"]:
            s |= {"best": score, "best_step": s["step"], "worse": 0}
            self.best = {name: p.detach().clone() for name, p in self.params.items()}
        else:
            s["worse"] += 1
        if s["until_best"] and s["worse"] >= self.config.patience and s["step"] < s["decay_start"]:
            s["decay_start"] = s["step"]
        return {"heldout_fvu": error / squares, "heldout_l0": l0}

    def line(self, seconds: float) -> dict[str, Any]:
        """Return the means since the last line, and start anew."""
        sums, s = self.sums, self.scalars
        steps = max(1, sums.pop("steps", 0))
        means = {name: value / steps for name, value in sums.items()}
        squares, l0 = means.pop("squares", 1.0), means.pop("l0", s["l0"])
        self.sums = {}
        return {
            "step": s["step"],
            "rows": s["rows"],
            "loss": sum(means.values()),
            "parts": means,
            "fvu": means.get("mse", math.nan) / squares,
            "l0": l0,
            "dead": float((self.silent > (self.config.dead_after or 0)).double().mean()),
            "lr": self.optimizer.param_groups[0]["lr"],
            "coefficient": self._coefficient(),
            "steps_planned": self.end,
            "seconds": seconds,
        }

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the state of the weights in small numbers."""
        x = torch.from_numpy(self.data.heldout[:2048]).to(self.device)
        with torch.no_grad():
            loss, pairs = self.losses(x, x.numel())
            density = torch.bincount(pairs.cols[loss.acts > 0], minlength=self.hidden) / len(x)
            basis = torch.linalg.svd(x.cpu(), full_matrices=False).Vh[:2].T
            weights = self.params["W_enc"].detach().cpu(), self.params["W_dec"].detach().cpu()
            return metrics.snapshot(*weights, density.cpu(), loss.acts[:65536].cpu(), basis)

    # ── the result ───────────────────────────────────────────────────────────────────────────

    def model(self) -> SAEModel:
        """Return the best weights as a model on raw rows, thresholds calibrated on held-out rows."""
        config = self.config
        tensors = dict(self.best if math.isfinite(self.scalars["best"]) else self.params)
        tensors = {name: t.detach().cpu() for name, t in tensors.items()}
        encoder = tensors["W_enc"]
        if "log_threshold" in tensors:
            tensors["threshold"] = tensors.pop("log_threshold").exp()
        if config.activation == "batchtopk":
            tensors["threshold"] = torch.ones(self.hidden)
        if config.activation in ("batchtopk", "jumprelu") and self.k:
            tensors["threshold"] *= self._threshold_factor(tensors)
        tensors["W_enc"] = encoder.T
        describe = {
            "activation": config.activation,
            "k": config.k,
            "l1_coefficient": config.l1_coefficient,
            "matryoshka": config.matryoshka,
            "columns": self.data.columns,
            "encoder": config.encoder,
            "seed": config.seed,
            "nanosae_version": nanosae.__version__,
        }
        return fold(json.loads(json.dumps(describe)), tensors, self.data.mean, self.data.scale)

    def _threshold_factor(self, tensors: dict[str, Tensor]) -> float:
        """Return what the thresholds are multiplied by so that exactly k entries a row exceed them."""
        half = self.calibration
        cut = tensors["threshold"] * (0.0 if self.config.activation == "batchtopk" else 0.2)
        kernels = backend(half.device)
        pairs = kernels.select_above(half, tensors["W_enc"], tensors["b_enc"], cut)
        ratio = pairs.values / tensors["threshold"][pairs.cols.long()]
        total = min((self.k or 0) * len(half), len(ratio) - 1)
        last, following = ratio.topk(total + 1).values[-2:].tolist()
        return (last + following) / 2

    @property
    def calibration(self) -> Tensor:
        """Half of the held-out rows, or training rows where these are few."""
        half = self.data.heldout[: len(self.data.heldout) // 2]
        if len(half) < 256:
            half = self.data.sample(4096, seed=self.config.seed)
        return torch.from_numpy(half)

    def final(self, model: SAEModel) -> dict[str, Any]:
        """Measure the exported model on raw held-out rows that calibrated nothing."""
        pools = []
        heldout = self.data.heldout[len(self.data.heldout) // 2 :]
        for rows in (heldout, self.data.sample(2**16, seed=self.config.seed)):
            pool = metrics.Pool(self.hidden)
            for block in np.array_split(rows, max(1, len(rows) // 4096)):
                x = torch.from_numpy(block / np.float32(self.data.scale) + self.data.mean)
                pairs = model.pairs(x)
                kernels = backend(x.device)
                recon = kernels.decode(
                    pairs.values, pairs, model.W_dec.detach(), model.b_dec.detach()
                )
                on = pairs.values > 0
                row = torch.repeat_interleave(torch.arange(len(x)), pairs.row_ptr.diff())
                pool.add(x, recon, row[on], pairs.cols[on].long())
            pools.append(pool)
        counts = pools[0].counts + pools[1].counts
        return {
            "step": self.scalars["step"],
            "rows": self.scalars["rows"],
            "final": True,
            **pools[0].summary(),
            "dead": float((counts == 0).double().mean()),
            "dead_rows_checked": pools[0].rows + pools[1].rows,
            "train_fvu": pools[1].fvu,
            "best_step": self.scalars["best_step"],
        }

    # ── checkpoints ──────────────────────────────────────────────────────────────────────────

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and scalars that a run goes on from."""
        tensors = {f"param.{n}": p.detach() for n, p in self.params.items()}
        tensors |= {f"best.{n}": p for n, p in self.best.items()} | {"silent": self.silent}
        for name, param in self.params.items():
            for key, value in self.optimizer.state[param].items():
                tensors[f"adam.{name}.{key}"] = value
        return tensors, {"scalars": self.scalars, "sums": self.sums}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on from `state`'s output."""
        self.scalars, self.sums = facts["scalars"], facts["sums"]
        self.silent = tensors["silent"].to(self.device)
        with torch.no_grad():
            for name, param in self.params.items():
                param.copy_(tensors[f"param.{name}"])
                self.best[name] = tensors[f"best.{name}"].to(self.device)
                prefix = f"adam.{name}."
                self.optimizer.state[param] = {
                    key.removeprefix(prefix): value.to(param.device if value.dim() else "cpu")
                    for key, value in tensors.items()
                    if key.startswith(prefix)
                }


class _Sums(torch.autograd.Function):
    """Σ over rows of all pre-activations, (hidden_size,): x̄ · W_enc instead of the full matrix."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.sums, ctx.rows, ctx.weight = x.sum(0), len(x), weight
        return weight @ ctx.sums + len(x) * bias

    @staticmethod
    def backward(ctx, grad):
        from nanosae.kernels import _target

        out, add, wanted = _target(ctx.weight)
        torch.addr(out, grad, ctx.sums, beta=1 if add else 0, out=out)
        return None, out if wanted else None, ctx.rows * grad


def save_checkpoint(folder: Path, training: Training) -> Path:
    """Write `step-N` whole or not at all, then drop all but the newest two.

    Raises:
        OSError: If it cannot be written; earlier checkpoints stay valid.
    """
    step = training.scalars["step"]
    path, part = folder / f"step-{step:08d}", folder / f".part-{os.getpid()}"
    tensors, facts = training.state()
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file({n: t.cpu().contiguous() for n, t in tensors.items()}, part / "state.safetensors")
        (part / "state.json").write_text(json.dumps(facts), encoding="utf-8")
        for file in part.iterdir():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        kept = checkpoints(folder)
        raise OSError(
            f"the checkpoint of step {step} could not be written to {folder} ({error}). "
            f"{f'{kept[-1].name} is valid' if kept else 'There is no earlier one'}: make room or make "
            "the folder writable, then resume."
        ) from error
    for old in checkpoints(folder)[:-2]:
        shutil.rmtree(old)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / "state.json").exists())


class SAETrainer(TransformerMixin, BaseEstimator):
    """Train a sparse autoencoder; also a scikit-learn estimator.

    Args:
        config: What to train; None takes every default.
        run: Folder for the run (metrics, snapshots, checkpoints, model); None leaves nothing on disk.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(200, 8))
        >>> config = TrainConfig(hidden_size=16, k=4, steps=5)
        >>> SAETrainer(config).train(rows, progress=False).features(rows).shape
        (200, 16)
    """

    def __init__(self, config: TrainConfig | None = None, run: str | Path | None = None) -> None:
        self.config = config
        self.run = run

    def train(
        self, data: Any, *, resume: bool = False, force: bool = False, progress: bool = True
    ) -> SAEModel:
        """Train on the rows of `data` and return the model.

        Args:
            data: A pandas or polars frame, array, memmap, tensor, list, Hugging Face dataset, or a path, folder or
                glob of .csv .tsv .parquet .feather .arrow .npy .npz .safetensors .pt files.
            resume: Go on from the run folder's newest checkpoint, or start if there is none.
            force: Replace the run in the folder.
            progress: Show a progress bar.

        Raises:
            ValueError: If the rows cannot be trained on; the message names row, column and remedy.
            FileExistsError: If the run folder holds a run and neither `resume` nor `force` is given.
            FloatingPointError: If the loss becomes infinite or NaN.
            KeyboardInterrupt: After SIGINT or SIGTERM, when the checkpoint is written.
        """
        config = self.config or TrainConfig()
        run = None if self.run is None else Path(self.run)
        if run is not None and _claim(run, config, resume, force):
            return SAEModel.load(run)
        rows = open_rows(
            data,
            columns=list(config.columns) if config.columns else None,
            input_size=config.input_size,
        )
        dataset = Dataset(
            rows,
            seed=config.seed,
            heldout_share=config.heldout_share,
            buffer_rows=config.buffer_rows,
        )
        config = config.resolved(dataset.n_train, dataset.width)
        training = Training(config, dataset)
        self.notes_ = dataset.notes
        facts = _facts(self.config or TrainConfig(), config, rows.fingerprint())
        sinks = _open_run(run, training, facts) if run is not None else []
        if config.wandb:
            sinks.append(logs.wandb(config.wandb, config.to_dict()))
        getattr(training.kernels, "compile_all", lambda: None)()
        if progress:
            sinks.append(logs.bar(training.end, training.scalars["step"]))
        try:
            with _stop_signals() as stopped:
                _loop(training, sinks, run, stopped)
            model = training.model()
            self.metrics_ = training.final(model)
            if run is not None:
                model.save(run / ".model")
                shutil.rmtree(run / "model", ignore_errors=True)
                (run / ".model").rename(run / "model")
            for sink in sinks:
                sink(self.metrics_)
        finally:
            for sink in sinks:
                sink(None)
        return model

    def fit(self, X: Any, y: Any = None) -> SAETrainer:  # noqa: N803
        """Train on X (n_rows, input_size); y is ignored. Returns self, with `model_`."""
        self.model_ = self.train(X, progress=False)
        self.n_features_in_ = self.model_.config["input_size"]
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        """Return the feature activations of X as a csr_array (n_rows, hidden_size)."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "model_")
        return self.model_.features(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return feature0, feature1, …"""
        return np.array(
            [f"feature{i}" for i in range(self.model_.config["hidden_size"])], dtype=object
        )


def _loop(training: Training, sinks: list[logs.Sink], run: Path | None, stopped: list[int]) -> None:
    """Step, log, evaluate and checkpoint until the end, or until a signal came."""
    config, s = training.config, training.scalars
    batches = training.data.batches(config.batch_size or 1, start_row=s["rows"])
    began, first = time.perf_counter(), s["rows"]
    while s["step"] < training.end:
        buffer, index = next(batches)
        x = torch.from_numpy(buffer).index_select(0, torch.from_numpy(index)).to(training.device)
        try:
            training.step(x)
        except FloatingPointError as error:
            kept = checkpoints(run / "checkpoints") if run else []
            last = f" The last good checkpoint is {kept[-1]}." if kept else ""
            raise FloatingPointError(f"{error}{last}") from None
        step, line = s["step"], {}
        if step % training.eval_every == 0 or step >= training.end:
            line |= training.evaluate()
            if run is not None:
                np.savez(run / "snapshots" / f"{step:06d}.npz", **training.snapshot())
        if line or step % config.log_every == 0:
            seconds = time.perf_counter() - began
            line |= training.line(seconds)
            line["rows_per_second"] = (s["rows"] - first) / seconds
            for sink in sinks:
                sink(line)
        due = step % config.checkpoint_every == 0 or stopped or step >= training.end
        if run is not None and due:
            save_checkpoint(run / "checkpoints", training)
        if stopped and step < training.end:
            where = f"; go on with resume (--resume) on {run}" if run else ""
            raise KeyboardInterrupt(f"stopped by signal {stopped[0]} after step {step}{where}")


def _claim(run: Path, config: TrainConfig, resume: bool, force: bool) -> bool:
    """Make sure that the run folder may be written; return True if a finished run is resumed."""
    found = [name for name in OWNED if (run / name).exists()]
    if found and not (resume or force):
        raise FileExistsError(
            f"{run} already holds a run ({', '.join(found)} would be overwritten). "
            "Go on with it (--resume), replace it (--force), or choose another folder."
        )
    if resume and (run / "config.json").exists():
        before = json.loads((run / "config.json").read_text(encoding="utf-8"))["requested"]
        now = config.to_dict()
        if changed := [name for name in now if now[name] != before.get(name)]:
            pairs = ", ".join(f"{n}={now[n]} (was {before.get(n)})" for n in changed)
            raise ValueError(
                f"{run} was started with other settings: {pairs}. Resume with the same ones."
            )
        return (run / "model" / "cfg.json").exists()
    for name in found:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return False


def _facts(requested: TrainConfig, config: TrainConfig, fingerprint: str) -> dict[str, Any]:
    return {
        "format": 1,
        "requested": requested.to_dict(),
        "config": config.to_dict(),
        "data_fingerprint": fingerprint,
        "threads": torch.get_num_threads(),
        "versions": {
            "nanosae": nanosae.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def _open_run(run: Path, training: Training, facts: dict[str, Any]) -> list[logs.Sink]:
    """Write config.json or compare with it, restore the newest checkpoint, open metrics.jsonl."""
    for folder in (run, run / "checkpoints", run / "snapshots"):
        folder.mkdir(parents=True, exist_ok=True)
    path = run / "config.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["data_fingerprint"] != facts["data_fingerprint"]:
            raise ValueError(
                f"{run} was trained on other data: resume with the same rows, or use --force."
            )
        for name in ("threads", "versions"):
            if before[name] != facts[name]:
                import warnings

                warnings.warn(
                    f"{run} was started with {name} {before[name]}, now {facts[name]}: the resumed run "
                    "may differ in the last bits.",
                    stacklevel=3,
                )
    else:
        part = run / ".config.json"
        part.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        part.replace(path)
    if kept := checkpoints(run / "checkpoints"):
        facts = json.loads((kept[-1] / "state.json").read_text(encoding="utf-8"))
        training.restore(load_file(kept[-1] / "state.safetensors"), facts)
    sinks = [logs.jsonl(run / "metrics.jsonl", training.scalars["step"])]
    if training.config.tensorboard:
        sinks.append(logs.tensorboard(run / "tensorboard"))
    return sinks


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying; a second one kills."""
    stopped: list[int] = []
    before = {}

    def note(number: int, frame: Any) -> None:
        signal.signal(number, before[number])
        stopped.append(number)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: signals are the caller's
        pass
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
