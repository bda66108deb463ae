"""Training: the state of a run, and the step that advances it.

A step: select pairs (no gradient) → objective → backward → clip → Adam → decoder rows of length one
→ counters. Rows are centred and scaled; `finish.py` takes that into the weights at the end.
Everything random is a function of (seed, step), so that a checkpoint is weights, moments and a few
numbers. Processes that train one SAE together differ from one process only in what `ranks` sums and
gathers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae.config import ResolvedConfig
from nanosae.data.dataset import Dataset
from nanosae.distributed import Ranks
from nanosae.kernels import (
    Pairs,
    Plan,
    backend,
    column_sums,
    encoder_precision,
    reset_gradients,
    sparse_decode,
    sparse_encode,
)
from nanosae.model.snapshots import snapshot
from nanosae.train import objectives

DENSE_SHARE = 0.08  # share of active entries above which dense tiles are faster
DENSE_TILE = 2**23  # pre-activations of such a tile
AUXK_SHARE = 4  # AuxK works on one row in so many: the same loss in expectation
GAIN, PROPORTION = 0.02, 0.5  # of the controller that meets k: per step, and at once
WINDOW = 4  # kept pairs per row of jumprelu, in units of k
INIT_BLOCK = 4096  # latents whose start is made at once
WHOLE = ("b_dec", "W_skip")  # parameters that have nothing to do with single latents


class Training:
    """The state of a run, and the step that advances it.

    Attributes:
        params: W_enc and W_dec (both latent-major), b_dec, b_enc (or b_gate, r_mag and b_mag), and
            log_threshold of jumprelu; for centred and scaled rows.
        scalars: Everything else that a step reads and writes, in JSON types.
        lags: Whether the host does not wait for a step's numbers but reads them, and which latents
            are dead, every `log_every` steps: on a GPU, where no step depends on them.
    """

    def __init__(self, config: ResolvedConfig, data: Dataset, ranks: Ranks | None = None) -> None:
        self.config, self.data, self.ranks = config, data, ranks or Ranks()
        cuda = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(cuda if config.device == "auto" else config.device)
        self.precise = torch.float32 if self.device.type == "mps" else torch.float64
        self.kernels = backend(self.device, config.backend)
        on_gpu = self.device.type == "cuda" and self.ranks.size == 1
        self.lags = on_gpu and config.activation in ("topk", "batchtopk")
        self.latents = self.ranks.own_latents(config.hidden_size or 0)  # those of this rank
        self.hidden = self.latents.stop - self.latents.start
        self.k, self.lr = config.k or 0, config.lr or 0.0
        self.by_rank = config.activation in ("topk", "batchtopk")  # k is met by construction
        self.planned = config.steps
        self.eval_every = config.eval_every
        self.scalars: dict[str, Any] = {
            "step": 0,
            "rows": 0,
            "decay_start": self.planned * (1 - config.decay),
            "log_coefficient": math.log(config.l1_coefficient or 1e-3),
            "gap": 0.0,
            "error": 0.0,
            "window": 0.1,
            "hint": 0.0,
            "l0": float(self.k or 32),
            "best": math.inf,
            "best_step": 0,
            "worse": 0,
            "sums": {},
        }
        self.params = self._initial()
        self.best: dict[str, Tensor] = {}
        encoder = {"params": [self.params["W_enc"]], "weight_decay": config.weight_decay}
        others = [p for name, p in self.params.items() if name != "W_enc"]
        fused = self.device.type in ("cpu", "cuda")
        groups = [encoder, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=self.lr, fused=fused)
        self.silent = torch.zeros(self.hidden, dtype=torch.int64, device=self.device)
        self.dead, self.pending = self.silent[:0], {}  # as last read, and what was not read yet
        self.least = 0.0  # entry that the last selection by rank kept
        self.prefixes = torch.tensor(config.matryoshka or (), device=self.device)

    def _initial(self) -> dict[str, Tensor]:
        """Start encoder and decoder from data points with some noise."""
        config, per_row, select = self.config, self.k or 32, self.ranks.select_batchtopk
        x, y = self._split(torch.from_numpy(self.data.sample(1024, config.seed)).to(self.device))
        encoder = x.new_empty(self.hidden, x.shape[1])
        decoder = encoder if y is x else x.new_empty(self.hidden, y.shape[1])
        first, last = self.latents.start, self.latents.stop
        for block in range(first // INIT_BLOCK * INIT_BLOCK, last, INIT_BLOCK):
            low, high = max(block, first), min(block + INIT_BLOCK, last)
            for out, unit in zip((encoder, decoder), self._directions(block), strict=True):
                out[low - first : high - first] = unit[low - block : high - block]
        zeros = torch.zeros(self.hidden, device=self.device)
        params = {"W_enc": encoder.clone(), "W_dec": decoder, "b_dec": torch.zeros_like(y[0])}
        if config.skip:
            params["W_skip"] = x.new_zeros(y.shape[1], x.shape[1])
        # encoder rows as long as makes the first reconstructions fit best
        pairs, _ = select(self.kernels, x, encoder, zeros, per_row, None)
        recon = self.kernels.decode(pairs.values, pairs, decoder, params["b_dec"])
        recon = self.ranks.sum_over_latents(recon)
        params["W_enc"] *= (recon * y).sum() / recon.square().sum().clamp_min(1e-12)
        some = max(1, min(WINDOW * per_row, (config.hidden_size or 0) // 2))  # active at first
        _, least = select(self.kernels, x, params["W_enc"], zeros, some, None)
        level = least or 1.0  # a single row is zero when centred
        if config.activation == "gated":
            params |= {"b_gate": zeros - level, "r_mag": zeros, "b_mag": zeros.clone()}
        else:
            params["b_enc"] = zeros - level if config.activation == "relu" else zeros
        if config.activation == "jumprelu":
            params["log_threshold"] = zeros + math.log(level)
        return {name: p.contiguous().requires_grad_() for name, p in params.items()}

    def _directions(self, block: int) -> tuple[Tensor, Tensor]:
        """Return the first encoder and decoder directions of a block of latents: data points."""
        config, part = self.config, slice(block, block + INIT_BLOCK)
        size = max(config.hidden_size or 0, INIT_BLOCK)
        x, y = self._split(torch.from_numpy(self.data.sample(size, config.seed, part)))
        generator = torch.Generator().manual_seed(config.seed + 2**32 * block)
        encoder = _noisy_units(x, generator)
        return encoder, encoder if y is x else _noisy_units(y, generator)

    def _split(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and what is to be made of them: themselves, or a transcoder's targets."""
        width = self.data.width
        if batch.shape[1] == width:
            return batch, batch
        return batch[:, :width].contiguous(), batch[:, width:].contiguous()

    def step(self, batch: Tensor) -> None:
        """Take one optimiser step on a batch of centred and scaled rows, the same on every rank.

        Args:
            batch: (batch_size, input_size), a transcoder's with its targets' columns after these.

        Raises:
            FloatingPointError: If the loss is not finite; the weights are still those before.
        """
        s, ranks, dense = self.scalars, self.ranks, self._is_dense()
        n_rows, n = len(batch), len(batch) * self.params["b_dec"].numel()
        if self.config.noise:
            generator = torch.Generator(self.device).manual_seed(
                self.config.seed * 2**32 + s["step"]
            )
            noise = batch.new_empty(n_rows, self.data.width)
            noise.normal_(0, self.config.noise, generator=generator)
            batch = batch.clone()
            batch[:, : self.data.width] += noise
        self.optimizer.param_groups[0]["lr"] = self.optimizer.param_groups[1]["lr"] = self._lr()
        kept = () if dense else ("W_enc", "W_dec")  # gradients whose memory is written again
        for name in self.params.keys() - kept:
            self.params[name].grad = None
        if "log_threshold" in self.params and s["hint"] and not self.ranked:
            self.params["log_threshold"].data.fill_(math.log(s["hint"]))
            s["hint"] = 0.0
        reset_gradients(self.params[name] for name in kept)
        counts, sums = torch.zeros_like(self.silent), {}
        size = -(-n_rows // self.config.accumulate)
        for micro in batch.split(min(size, max(256, DENSE_TILE // self.hidden)) if dense else size):
            x, y = self._split(ranks.own_rows(micro))
            parts = self._backward(x, y, n, counts, dense)
            _add(sums, parts | {"squares": y.square().sum() / n})
        sums["l0"] = counts.sum() / n_rows
        parts = {} if self.lags else self._pooled(sums)
        ranks.sum_over_rows(counts)
        self._check(parts)
        self._clip()
        if self.lags:
            self._postpone(sums)
        self.optimizer.step()
        with torch.no_grad():
            decoder = self.params["W_dec"]
            decoder /= decoder.norm(dim=1, keepdim=True).clamp_min(1e-12)
        self.silent += n_rows
        self.silent.masked_fill_(counts > 0, 0)
        s |= {"step": s["step"] + 1, "rows": s["rows"] + n_rows}
        if not self.lags:
            s["l0"] = parts["l0"]
            self._control(parts.pop("kept") / n_rows)
            _add(s["sums"], parts | {"steps": 1})
        elif s["step"] % self.config.log_every == 0:
            self.catch_up()

    def _postpone(self, sums: dict[str, Tensor]) -> None:
        """Keep a step's numbers on the device; should they not be finite, change no weights."""
        finite = torch.stack(list(sums.values())).sum().isfinite()
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        more = sums | {"steps": finite}
        _add(self.pending, {name: value.to(self.precise) for name, value in more.items()})

    def catch_up(self) -> None:
        """Wait for the device, and read what lags behind.

        Raises:
            FloatingPointError: If the loss of a step was not finite; it changed no weights.
        """
        if not self.lags:
            return
        self.dead = self._dead()
        if self.pending:
            values = torch.stack(list(self.pending.values())).tolist()
            parts, self.pending = dict(zip(self.pending, values, strict=True)), {}
            self._check(parts)
            del parts["kept"]
            self.scalars["l0"] = parts["l0"] / parts["steps"]
            _add(self.scalars["sums"], parts)

    def _check(self, parts: dict[str, float]) -> None:
        if not math.isfinite(sum(parts.values())):
            raise FloatingPointError(
                f"the loss is not finite at step {self.scalars['step']}. The likely cause is a "
                f"learning rate that is too high (lr={self.lr:g}); try lr={self.lr / 4:g}."
            )

    def _dead(self) -> Tensor:
        return (self.silent > (self.config.dead_after or 0)).nonzero().flatten()

    def _pooled(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """Return what was summed over this rank's rows or latents as numbers of all ranks."""
        pieces = ("sparsity", "pre_act", "kept", "l0")  # sums over latents
        mine = [self.ranks.divides_rows or name in pieces for name in sums]
        values = torch.stack([value.to(self.precise) for value in sums.values()])
        others = values * torch.tensor([not piece for piece in mine], device=self.device)
        if self.ranks.size > 1:
            values = others + self.ranks.sum(values - others)
        return dict(zip(sums, values.tolist(), strict=True))

    @torch.no_grad()
    def _clip(self) -> None:
        """Sum the gradients where ranks share rows; scale them all down if they are too long."""
        ranks, grads = self.ranks, {n: p.grad for n, p in self.params.items() if p.grad is not None}
        for grad in grads.values():
            ranks.sum_over_rows(grad)
        norm = torch.nn.utils.get_total_norm(grads.values())
        if ranks.divides_latents:  # all but WHOLE are pieces
            shared = torch.stack([g.square().sum() for n, g in grads.items() if n in WHOLE]).sum()
            norm = (ranks.sum(norm.square() - shared) + shared).sqrt()
        if self.optimizer.defaults["fused"]:  # it divides by this
            scale = ((norm + 1e-6) / self.config.clip).clamp_min(1.0)
            self.optimizer.grad_scale = scale  # type: ignore[attr-defined]
        elif norm > self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(self.params.values(), self.config.clip, norm)

    def _backward(
        self, x: Tensor, y: Tensor, n: int, counts: Tensor, dense: bool
    ) -> dict[str, Tensor]:
        """Add the gradients of some rows of the step; return the parts of their loss."""
        if dense:
            loss = self._objective(self._dense_view(x, y, n))
            counts += (loss.acts > 0).sum(0)
            kept = (loss.acts > 0).sum()
        else:
            loss, pairs = self.losses(x, y, n)
            if self.ranked:
                self.scalars["hint"] = self.least
            counts.scatter_add_(0, pairs.cols.long(), (loss.acts.detach() > 0).long())
            kept = pairs.row_ptr[-1]
            loss.parts.update(self._auxk(x, y, loss.recon.detach()))
        torch.stack(list(loss.parts.values())).sum().backward()
        parts = loss.parts | {"kept": kept.to(x.dtype)}
        return {name: value.detach() for name, value in parts.items()}

    def losses(self, x: Tensor, y: Tensor, n: int) -> tuple[objectives.Losses, Pairs]:
        """Return the objective of making y of rows x, over n, and the pairs that it kept."""
        params, kernels, bias = self.params, self.kernels, self.bias
        with torch.no_grad(), encoder_precision(self.config.precision):
            pairs = self._select(x, params["W_enc"].detach(), bias.detach())
            plan = kernels.make_plan(pairs, self.hidden)
        cols = pairs.cols.long()

        def decode(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return self._skip(x, self._decode(values, weight, bias, pairs, plan))

        view = objectives.View(
            z=sparse_encode(x, params["W_enc"], bias, pairs, plan, kernels),
            at=lambda vector: vector.index_select(0, cols),
            decode=decode,
            prefixes=lambda values: self._skip(x, self._decode_prefixes(pairs, values)),
            sums=lambda: column_sums(x, params["W_enc"], bias),
            target=y,
            n=n,
        )
        return self._objective(view), pairs

    def _objective(self, view: objectives.View) -> objectives.Losses:
        config, s = self.config, self.scalars
        if config.matryoshka:
            return objectives.matryoshka(view)
        if self.ranked:
            return objectives.topk(view, self.params)
        coefficient = self._coefficient()
        if config.activation == "jumprelu":
            tanh = config.jumprelu_penalty == "tanh"
            return objectives.jumprelu(view, self.params, coefficient, s["window"], tanh)
        rule = objectives.gated if config.activation == "gated" else objectives.relu
        return rule(view, self.params, coefficient)

    def _skip(self, x: Tensor, recon: Tensor) -> Tensor:
        """Add what a skip connection makes of the rows."""
        return recon + x @ self.params["W_skip"].T if self.config.skip else recon

    def _decode(
        self, values: Tensor, weight: Tensor, bias: Tensor, pairs: Pairs, plan: Plan
    ) -> Tensor:
        """Reconstruct from the latents of all ranks."""
        if not self.ranks.divides_latents:
            return sparse_decode(values, weight, bias, pairs, plan, self.kernels)
        none = torch.zeros_like(bias)
        part = sparse_decode(values, weight, none, pairs, plan, self.kernels)
        return self.ranks.sum_reconstructions(part) + bias

    def _select(self, x: Tensor, weight: Tensor, bias: Tensor) -> Pairs:
        """Keep the entries that the objective needs."""
        s, activation = self.scalars, self.config.activation
        if activation == "topk":
            return self.ranks.select_topk(self.kernels, x, weight, bias, self.k)
        if self.lags:
            return self.kernels.select_batchtopk(x, weight, bias, self.k * len(x))
        if self.ranked:
            many = min(WINDOW * self.k, (self.config.hidden_size or 0) // 2)  # as at the start
            k = self.k if self.by_rank else max(1, many)
            args, hint = (self.kernels, x, weight, bias, k), 0.95 * s["hint"] or None
            pairs, self.least = self.ranks.select_batchtopk(*args, hint)
            return pairs
        cut = torch.zeros_like(bias)
        if activation == "jumprelu":
            cut = self.params["log_threshold"].detach().exp() - s["window"] / 2
        return self.kernels.select_above(x, weight, bias, cut)

    def _decode_prefixes(self, pairs: Pairs, values: Tensor) -> Tensor:
        """Reconstruct with each Matryoshka prefix, (prefixes, rows, input_size).

        Each group of latents between two prefixes decodes into rows of its own, then they add up.
        """
        n_rows, n = len(pairs.row_ptr) - 1, len(self.prefixes)
        places = torch.arange(len(values), device=self.device)
        rows = torch.searchsorted(pairs.row_ptr[1:], places, right=True)  # of padding: n_rows
        group = torch.bucketize(pairs.cols + self.latents.start, self.prefixes, right=True)
        rows += n_rows * torch.where(rows < n_rows, group, n - 1)
        rows, order = rows.sort(stable=True)
        row_ptr = torch.searchsorted(rows, torch.arange(n * n_rows + 1, device=self.device))
        split = Pairs(values.detach()[order], pairs.cols[order], row_ptr)
        plan = self.kernels.make_plan(split, self.hidden)
        weight, bias = self.params["W_dec"], self.params["b_dec"]
        none = torch.zeros_like(bias)
        groups = self._decode(values.index_select(0, order), weight, none, split, plan)
        return groups.view(n, n_rows, -1).cumsum(0) + bias

    def _auxk(self, x: Tensor, y: Tensor, recon: Tensor) -> dict[str, Tensor]:
        """Let dead latents, if any, explain what is left of some rows (Gao et al. 2024, A.2).

        Their pre-activations count without bias: those of a dead latent may be negative on all
        rows, and then it would never learn. The bias has its gradient all the same.
        """
        params, kernels, config = self.params, self.kernels, self.config
        n_dead = len(dead := self.dead if self.lags else self._dead())
        if self.ranks.divides_latents:
            n_dead = int(self.ranks.sum(torch.tensor(n_dead, device=x.device)))
        if not (config.auxk_coefficient and n_dead):
            return {}
        some, share = -(-len(x) // AUXK_SHARE), 1 / config.accumulate
        x, residual = x[:some], y[:some] - recon[:some]
        encoder = params["W_enc"].detach()[dead]
        k = min(config.k_aux or 1, n_dead)
        bias = self.bias.detach()[dead] * float(self.by_rank)
        # `dead` may be a while ago
        bias.masked_fill_(self.silent[dead] <= (config.dead_after or 0), -math.inf)
        pairs = self.ranks.select_topk(kernels, x, encoder, bias, k)
        pairs = pairs._replace(cols=dead[pairs.cols.long()].int())
        plan = kernels.make_plan(pairs, self.hidden)
        acts = sparse_encode(x, params["W_enc"], self.bias, pairs, plan, kernels)
        none = torch.zeros_like(params["b_dec"])
        error = self._decode(acts, params["W_dec"], none, pairs, plan) - residual
        scale = self.ranks.sum_over_rows(residual.square().sum()).clamp_min(1e-12)
        return {"auxk": config.auxk_coefficient * share * error.square().sum() / scale}

    @property
    def rising(self) -> bool:
        """Whether the warm-up goes on."""
        return self.scalars["step"] < self.config.warmup * self.planned

    @property
    def ranked(self) -> bool:
        """Whether entries are kept by rank: jumprelu's, too, until it has a threshold from that."""
        jumprelu = self.config.activation == "jumprelu" and self.k > 0
        return self.by_rank or (jumprelu and self.rising)

    @property
    def bias(self) -> Tensor:
        """What pre-activations are made with: the encoder's bias, or the gates'."""
        return self.params["b_gate" if "b_gate" in self.params else "b_enc"]

    def _is_dense(self) -> bool:
        """Tell from counters alone which path the next step takes."""
        sparse = self.by_rank or self.config.activation == "jumprelu"
        return not sparse and self.scalars["l0"] > DENSE_SHARE * self.hidden

    def _dense_view(self, x: Tensor, y: Tensor, n: int) -> objectives.View:
        """Show a tile of the full matrix, for activations that are not sparse."""
        return objectives.View(
            z=torch.addmm(self.bias, x, self.params["W_enc"].T),
            at=lambda vector: vector,
            decode=lambda acts, weight, bias: self._skip(
                x, self.ranks.sum_reconstructions(acts @ weight) + bias
            ),
            target=y,
            n=n,
        )

    def _control(self, kept: float) -> None:
        """Steer the sparsity coefficient to k, and jumprelu's window to its share of kept pairs."""
        s = self.scalars
        if self.ranked:
            return
        if self.k:
            error = math.log(max(s["l0"], 0.01) / self.k) + s["gap"]
            s["error"] = max(-1.0, min(1.0, error))
            s["log_coefficient"] += GAIN * s["error"]
            s["log_coefficient"] = max(-16.0, min(2.0, s["log_coefficient"]))
        silent = max(0.0, kept - s["l0"])  # pairs below their threshold, within the window
        error = math.log((WINDOW - 1) * (self.k or s["l0"] + 1) / (silent + 1))
        s["window"] = max(1e-3, min(4.0, s["window"] * math.exp(0.1 * max(-1.0, min(1.0, error)))))

    def _coefficient(self) -> float:
        rise = self.scalars["step"] / max(1, self.config.warmup * self.planned)
        s = self.scalars
        return math.exp(s["log_coefficient"] + PROPORTION * s["error"]) * min(1.0, rise)

    @property
    def end(self) -> int:
        """Steps after which training ends: the decay has its share of all of them."""
        return max(1, round(self.scalars["decay_start"] / (1 - self.config.decay)))

    def _lr(self) -> float:
        """Return the learning rate: linear warm-up, constant, linear decay to zero."""
        step, start = self.scalars["step"], self.scalars["decay_start"]
        rise = (step + 1) / max(1, self.config.warmup * self.planned)
        return self.lr * min(1.0, rise, (self.end - step) / max(1, self.end - start))

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure the held-out rows, keep the best weights, start the decay if they stay best."""
        self.catch_up()
        s, sums = self.scalars, {}
        heldout = torch.from_numpy(self.data.heldout)
        n = len(heldout) * self.params["b_dec"].numel()
        for part in heldout.split(4096):
            x, y = self._split(self.ranks.own_rows(part.to(self.device)))
            result, _ = self.losses(x, y, n)
            active = (result.acts > 0).sum() / len(heldout)
            _add(sums, result.parts | {"l0": active, "squares": y.square().sum() / n})
        parts = self._pooled(sums)
        l0, fvu = parts.pop("l0"), parts["mse"] / max(1e-12, parts.pop("squares"))
        loss = sum(parts.values())
        # unseen rows have more active entries than those that the weights know
        s["gap"] += 0.5 * (math.log(max(l0, 0.01) / max(s["l0"], 0.01)) - s["gap"])
        # with a penalty, weights are candidates once it has its full weight and its effect
        off = self.rising
        if self.k:
            off = not self.by_rank and abs(math.log(max(l0, 0.01) / self.k)) > 0.05
        score = fvu if self.k else loss
        if not off and score < s["best"]:
            s |= {"best": score, "best_step": s["step"], "worse": 0}
            self.best = {name: p.detach().clone() for name, p in self.params.items()}
        elif not off:
            s["worse"] += 1
        open_end = self.config.stops_early
        if open_end and s["worse"] >= self.config.patience:
            s["decay_start"] = min(s["decay_start"], s["step"])
        return {"heldout_fvu": fvu, "heldout_l0": l0}

    def line(self) -> dict[str, Any]:
        """Return the means since the last line, and start anew."""
        self.catch_up()
        s = self.scalars
        steps = max(1, s["sums"].pop("steps", 0))
        parts = {name: value / steps for name, value in s["sums"].items()}
        s["sums"] = {}
        squares, l0 = parts.pop("squares", 1.0), parts.pop("l0", s["l0"])
        return {
            "step": s["step"],
            "rows": s["rows"],
            "loss": sum(parts.values()),
            "parts": parts,
            "fvu": parts.get("mse", math.nan) / squares,
            "l0": l0,
            "dead": float((self.silent > (self.config.dead_after or 0)).to(self.precise).mean()),
            "lr": self.optimizer.param_groups[0]["lr"],
            "coefficient": 0.0 if self.by_rank else self._coefficient(),
            "steps_planned": self.end,
        }

    @torch.no_grad()
    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the state of the weights (of this rank's latents) in small numbers."""
        some = self.data.heldout[:: len(self.data.heldout) // 2048 + 1]
        x, y = self._split(torch.from_numpy(some).to(self.device))
        loss, pairs = self.losses(x, y, y.numel())
        density = torch.bincount(pairs.cols[loss.acts > 0], minlength=self.hidden) / len(x)
        basis = torch.linalg.eigh((y.T @ y).cpu()).eigenvectors[:, -2:]
        tensors = self.params["W_enc"], self.params["W_dec"], density, loss.acts[:65536]
        encoder, decoder, density, acts = (t.detach().cpu() for t in tensors)
        return snapshot(encoder, decoder, density, acts, basis)

    def _whole(self, name: str, tensor: Tensor) -> Tensor:
        """Return a tensor with the latents of all ranks."""
        if not self.ranks.divides_latents or name.endswith(WHOLE) or not tensor.dim():
            return tensor.detach()
        return torch.cat(self.ranks.gather(tensor.detach()))

    def weights(self) -> dict[str, Tensor]:
        """Return the best parameters, with the latents of all ranks, on the CPU."""
        best = self.best or self.params
        return {name: self._whole(name, p).cpu() for name, p in best.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and numbers that a run goes on from, on any number of ranks."""
        self.catch_up()
        tensors = {f"param.{name}": p for name, p in self.params.items()}
        tensors |= {f"best.{name}": p for name, p in self.best.items()} | {"silent": self.silent}
        for name, param in self.params.items():
            for key, value in self.optimizer.state[param].items():
                tensors[f"adam.{key}.{name}"] = value
        return {name: self._whole(name, tensor) for name, tensor in tensors.items()}, self.scalars

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
        """Go on from `state`'s output."""
        mine = {
            name: tensor if name.endswith(WHOLE) or not tensor.dim() else tensor[self.latents]
            for name, tensor in tensors.items()
        }
        self.scalars, self.silent = scalars, mine["silent"].to(self.device)
        for name, param in self.params.items():
            param.copy_(mine[f"param.{name}"])
            if f"best.{name}" in mine:
                self.best[name] = mine[f"best.{name}"].to(self.device)
            keys = [key for key in mine if key.startswith("adam.") and key.endswith(f".{name}")]
            moments = {key.split(".")[1]: mine[key].to(self.device) for key in keys}
            self.optimizer.state[param] = moments
        self.catch_up()


def _add(sums: dict[str, Any], more: dict[str, Any]) -> None:
    """Add values to those of the same names."""
    for name, value in more.items():
        sums[name] = sums.get(name, 0.0) + value


def _noisy_units(points: Tensor, generator: torch.Generator) -> Tensor:
    """Return rows of length one: the points' directions with a fifth of noise."""
    unit = points / points.norm(dim=1, keepdim=True).clamp_min(1e-6)
    unit.add_(torch.randn(unit.shape, generator=generator), alpha=0.2 / math.sqrt(unit.shape[1]))
    return unit / unit.norm(dim=1, keepdim=True).clamp_min(1e-6)
