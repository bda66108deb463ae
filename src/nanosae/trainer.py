"""SAETrainer: one readable loop from rows to a trained model.

A step: select pairs (no gradient) → objective → backward → clip → Adam → decoder rows of length one
→ counters. Rows are centred and scaled; `model.fold` takes that into the weights at the end.
Everything random is a function of (seed, step), so that a checkpoint is weights, moments and a few
numbers, and a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor

from nanosae import __version__, logs, metrics, objectives, runs
from nanosae.config import TrainConfig
from nanosae.data import Dataset, open_rows
from nanosae.kernels import (
    Pairs,
    backend,
    column_sums,
    fresh_gradients,
    sparse_decode,
    sparse_encode,
)
from nanosae.model import SAEModel, fold

DENSE_SHARE = 0.08  # share of active entries above which dense tiles are faster
AUXK_SHARE = 4  # AuxK works on one row in so many: the same loss in expectation
GAIN, PROPORTION = 0.02, 0.5  # of the controller that meets k: per step, and at once
WINDOW = 4  # kept pairs per row of jumprelu, in units of k
ARCHITECTURE = {"relu": "standard", "topk": "topk", "gated": "gated"}  # others: jumprelu


class Training:
    """The state of a run, and the step that advances it.

    Attributes:
        params: W_enc and W_dec (both latent-major), b_dec, b_enc (or b_gate, r_mag and b_mag), and
            log_threshold of jumprelu; for centred and scaled rows.
        scalars: Everything else that a step reads and writes, in JSON types.
    """

    def __init__(self, config: TrainConfig, data: Dataset) -> None:
        self.config, self.data = config, data
        cuda = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(cuda if config.device == "auto" else config.device)
        self.kernels = backend(self.device, config.backend)
        self.hidden, self.k, self.lr = config.hidden_size or 0, config.k or 0, config.lr or 0.0
        self.by_rank = config.activation in ("topk", "batchtopk")  # k is met by construction
        self.planned = config.max_steps(data.n_train)
        self.eval_every = config.eval_every or max(1, self.planned // 40)
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
            "pairs": 0.0,
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

    def _initial(self) -> dict[str, Tensor]:
        """Start encoder and decoder from data points with some noise."""
        config, width = self.config, self.data.width
        sample = self.data.sample(max(self.hidden, 4096), seed=config.seed)
        rows = torch.from_numpy(sample).to(self.device)
        generator = torch.Generator().manual_seed(config.seed)
        noise = torch.randn(self.hidden, width, generator=generator).to(self.device)
        unit = rows[torch.arange(self.hidden) % len(rows)]
        unit /= unit.norm(dim=1, keepdim=True).clamp_min(1e-6)
        unit.add_(noise, alpha=0.2 / math.sqrt(width))
        unit /= unit.norm(dim=1, keepdim=True).clamp_min(1e-6)
        zeros = torch.zeros(self.hidden, device=self.device)
        params = {"W_enc": unit, "W_dec": unit, "b_dec": torch.zeros_like(rows[0])}
        # encoder rows as long as makes the first reconstructions fit best
        x, per_row = rows[:1024], self.k or 32
        pairs = self.kernels.select_batchtopk(x, unit, zeros, per_row * len(x))
        recon = self.kernels.decode(pairs.values, pairs, unit, params["b_dec"])
        params["W_enc"] = unit * ((recon * x).sum() / recon.square().sum().clamp_min(1e-12))
        some = min(WINDOW * per_row, self.hidden // 2) * len(x)  # entries active at first
        kept = self.kernels.select_batchtopk(x, params["W_enc"], zeros, max(1, some)).values
        level = kept.min() if len(kept) else x.new_tensor(1.0)  # a single row is zero when centred
        if config.activation == "gated":
            params |= {"b_gate": zeros - level, "r_mag": zeros, "b_mag": zeros.clone()}
        else:
            params["b_enc"] = zeros - level if config.activation == "relu" else zeros
        if config.activation == "jumprelu":
            params["log_threshold"] = zeros + level.log()
        return {name: p.contiguous().requires_grad_() for name, p in params.items()}

    def step(self, rows: Tensor) -> None:
        """Take one optimiser step on (batch_size, input_size) centred and scaled rows.

        Raises:
            FloatingPointError: If the loss is not finite; the weights are still those before.
        """
        s, weights = self.scalars, (self.params["W_enc"], self.params["W_dec"])
        if self.config.noise:
            generator = torch.Generator(self.device).manual_seed(
                self.config.seed * 2**32 + s["step"]
            )
            rows = torch.empty_like(rows).normal_(0, self.config.noise, generator=generator) + rows
        self.optimizer.param_groups[0]["lr"] = self.optimizer.param_groups[1]["lr"] = self._lr()
        for name in self.params.keys() - {"W_enc", "W_dec"}:
            self.params[name].grad = None
        fresh_gradients(weights)
        counts, parts = torch.zeros_like(self.silent), {}
        for micro in rows.chunk(self.config.accumulate):
            backward = self._backward_dense if self._is_dense() else self._backward
            for name, value in backward(micro, rows.numel(), counts).items():
                parts[name] = parts.get(name, 0.0) + float(value.detach())
        if not math.isfinite(sum(parts.values())):
            raise FloatingPointError(
                f"the loss is not finite at step {s['step']}. The likely cause is a learning rate "
                f"that is too high (lr={self.lr:g}); try lr={self.lr / 4:g}."
            )
        grads = [p.grad for p in self.params.values() if p.grad is not None]
        if (norm := torch.nn.utils.get_total_norm(grads)) > self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(self.params.values(), self.config.clip, norm)
        self.optimizer.step()
        with torch.no_grad():
            decoder = self.params["W_dec"]
            decoder /= decoder.norm(dim=1, keepdim=True).clamp_min(1e-12)
        self.silent += len(rows)
        self.silent[counts > 0] = 0
        s |= {"step": s["step"] + 1, "rows": s["rows"] + len(rows)}
        s["l0"] = int(counts.sum()) / len(rows)
        self._control()
        parts |= {"l0": s["l0"], "squares": float(rows.square().mean()), "steps": 1}
        s["sums"] = {name: s["sums"].get(name, 0.0) + value for name, value in parts.items()}

    def _backward(self, x: Tensor, n: int, counts: Tensor) -> dict[str, Tensor]:
        """Add the gradients of some rows of the step; return the parts of their loss."""
        loss, pairs = self.losses(x, n)
        counts += torch.bincount(pairs.cols[loss.acts.detach() > 0], minlength=self.hidden)
        if self.config.auxk_coefficient:
            dead = (self.silent > (self.config.dead_after or 0)).nonzero().flatten()
            if len(dead):
                loss.parts["auxk"] = self._auxk(x, loss.recon.detach(), dead) * x.numel() / n
        torch.stack(list(loss.parts.values())).sum().backward()
        return loss.parts

    def losses(self, x: Tensor, n: int) -> tuple[objectives.Losses, Pairs]:
        """Return the objective of rows x, sums being divided by n, and the pairs that it kept."""
        params, kernels, bias = self.params, self.kernels, self.bias
        with torch.no_grad():
            pairs = self._select(x, params["W_enc"].detach(), bias.detach())
            plan = kernels.make_plan(pairs, self.hidden)
        cols = pairs.cols.long()
        decode = partial(sparse_decode, pairs=pairs, plan=plan, kernels=kernels)
        view = objectives.View(
            z=sparse_encode(x, params["W_enc"], bias, pairs, plan, kernels),
            at=lambda vector: vector.index_select(0, cols),
            decode=decode,
            prefixes=partial(self._decode_prefixes, pairs),
            sums=lambda: column_sums(x, params["W_enc"], bias),
            x=x,
            n=n,
        )
        return self._objective(view), pairs

    def _objective(self, view: objectives.View) -> objectives.Losses:
        config, s = self.config, self.scalars
        if config.matryoshka:
            return objectives.matryoshka(view)
        if self.by_rank:
            return objectives.topk(view, self.params)
        coefficient = self._coefficient()
        if config.activation == "jumprelu":
            tanh = config.jumprelu_penalty == "tanh"
            return objectives.jumprelu(view, self.params, coefficient, s["window"], tanh)
        rule = objectives.gated if config.activation == "gated" else objectives.relu
        return rule(view, self.params, coefficient)

    def _select(self, x: Tensor, weight: Tensor, bias: Tensor) -> Pairs:
        """Keep the entries that the objective needs."""
        s, activation = self.scalars, self.config.activation
        if activation == "topk":
            return self.kernels.select_topk(x, weight, bias, self.k)
        if activation == "batchtopk":
            hint = 0.95 * s["hint"] or None
            pairs = self.kernels.select_batchtopk(x, weight, bias, self.k * len(x), hint)
            s["hint"] = float(pairs.values.min()) if len(pairs.values) else 0.0
            return pairs
        cut = torch.zeros_like(bias)
        if activation == "jumprelu":
            cut = self.params["log_threshold"].detach().exp() - s["window"] / 2
        pairs = self.kernels.select_above(x, weight, bias, cut)
        s["pairs"] = len(pairs.values) / len(x)
        return pairs

    def _decode_prefixes(self, pairs: Pairs, values: Tensor) -> Tensor:
        """Reconstruct with each Matryoshka prefix, (prefixes, rows, input_size).

        Each group of latents between two prefixes decodes into rows of its own, then they add up.
        """
        sizes = torch.tensor(self.config.matryoshka, device=self.device)
        n_rows, n = len(pairs.row_ptr) - 1, len(sizes)
        rows = torch.arange(n_rows, device=self.device).repeat_interleave(pairs.row_ptr.diff())
        rows += n_rows * torch.bucketize(pairs.cols, sizes, right=True)
        order = rows.sort(stable=True).indices
        ends = torch.bincount(rows, minlength=n * n_rows).cumsum(0)
        row_ptr = torch.cat([ends.new_zeros(1), ends])
        split = Pairs(values.detach()[order], pairs.cols[order], row_ptr)
        plan = self.kernels.make_plan(split, self.hidden)
        bias = self.params["b_dec"]
        none, args = torch.zeros_like(bias), (split, plan, self.kernels)
        groups = sparse_decode(values[order], self.params["W_dec"], none, *args)
        return groups.view(n, n_rows, -1).cumsum(0) + bias

    def _auxk(self, x: Tensor, recon: Tensor, dead: Tensor) -> Tensor:
        """Let dead latents explain what is left of some rows (Gao et al. 2024, appendix A.2).

        Their pre-activations count without bias: those of a dead latent may be negative on all
        rows, and then it would never learn. The bias has its gradient all the same.
        """
        params, kernels = self.params, self.kernels
        some = -(-len(x) // AUXK_SHARE)
        x, residual = x[:some], x[:some] - recon[:some]
        encoder = params["W_enc"].detach()[dead]
        k = min(self.config.k_aux or 1, len(dead))
        bias = self.bias.detach()[dead] * float(self.by_rank)
        pairs = kernels.select_topk(x, encoder, bias, k)
        pairs = pairs._replace(cols=dead[pairs.cols.long()].int())
        args = pairs, kernels.make_plan(pairs, self.hidden), kernels
        acts = sparse_encode(x, params["W_enc"], self.bias, *args)
        out = sparse_decode(acts, params["W_dec"], torch.zeros_like(params["b_dec"]), *args)
        return self.config.auxk_coefficient * objectives.auxk(out, residual)

    @property
    def bias(self) -> Tensor:
        """What pre-activations are made with: the encoder's bias, or the gates'."""
        return self.params["b_gate" if "b_gate" in self.params else "b_enc"]

    def _is_dense(self) -> bool:
        """Tell from counters alone which path the next step takes."""
        sparse = self.by_rank or self.config.activation == "jumprelu"
        return not sparse and self.scalars["l0"] > DENSE_SHARE * self.hidden

    def _backward_dense(self, x: Tensor, n: int, counts: Tensor) -> dict[str, Tensor]:
        """Do the same with matrix products, tile by tile, where activations are not sparse."""
        params, parts, bias = self.params, {}, self.bias
        for weight in (params["W_enc"], params["W_dec"]):
            if getattr(weight, "fresh", False) and weight.grad is not None:
                weight.grad.zero_()
            weight.fresh = False  # type: ignore[attr-defined]
        for tile in x.split(max(256, 2**23 // self.hidden)):
            view = objectives.View(
                z=torch.addmm(bias, tile, params["W_enc"].T),
                at=lambda vector: vector,
                decode=lambda acts, weight, bias: acts @ weight + bias,
                x=tile,
                n=n,
            )
            loss = self._objective(view)
            torch.stack(list(loss.parts.values())).sum().backward()
            counts += (loss.acts > 0).sum(0)
            for name, value in loss.parts.items():
                parts[name] = parts.get(name, 0.0) + value.detach()
        return parts

    def _control(self) -> None:
        """Steer the sparsity coefficient to k, and jumprelu's window to its share of pairs."""
        s = self.scalars
        if self.k and not self.by_rank:
            error = math.log(max(s["l0"], 0.01) / self.k) + s["gap"]
            s["error"] = max(-1.0, min(1.0, error))
            s["log_coefficient"] += GAIN * s["error"]
            s["log_coefficient"] = max(-16.0, min(2.0, s["log_coefficient"]))
        error = math.log(WINDOW * (self.k or s["l0"] + 1) / (s["pairs"] + 1))
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
        s, heldout = self.scalars, torch.from_numpy(self.data.heldout)
        error = loss = active = 0.0
        for x in heldout.split(4096):
            result, _ = self.losses(x.to(self.device), x.numel())
            error += float(result.parts["mse"]) * x.numel()
            loss += float(sum(result.parts.values())) * len(x) / len(heldout)
            active += int((result.acts > 0).sum())
        fvu, l0 = error / max(1e-12, float(heldout.double().square().sum())), active / len(heldout)
        # unseen rows have more active entries than those that the weights know
        s["gap"] += 0.5 * (math.log(max(l0, 0.01) / max(s["l0"], 0.01)) - s["gap"])
        # with a penalty, weights are candidates once it has its full weight and its effect
        rising = s["step"] < self.config.warmup * self.planned
        off = (
            not self.by_rank and abs(math.log(max(l0, 0.01) / self.k)) > 0.05 if self.k else rising
        )
        score = fvu if self.k else loss
        if not off and score < s["best"]:
            s |= {"best": score, "best_step": s["step"], "worse": 0}
            self.best = {name: p.detach().clone() for name, p in self.params.items()}
        elif not off:
            s["worse"] += 1
        open_end = self.config.steps is None and self.config.epochs is None
        if open_end and s["worse"] >= self.config.patience:
            s["decay_start"] = min(s["decay_start"], s["step"])
        return {"heldout_fvu": fvu, "heldout_l0": l0}

    def line(self, seconds: float) -> dict[str, Any]:
        """Return the means since the last line, and start anew."""
        s = self.scalars
        steps = max(1, s["sums"].pop("steps", 0))
        parts = {name: value / steps for name, value in s["sums"].items()}
        s["sums"] = {}
        squares, l0 = parts.pop("squares", 1.0), parts.pop("l0", s["l0"])
        return {
            "step": s["step"],
            "rows": s["rows"],
            "seconds": seconds,
            "loss": sum(parts.values()),
            "parts": parts,
            "fvu": parts.get("mse", math.nan) / squares,
            "l0": l0,
            "dead": float((self.silent > (self.config.dead_after or 0)).double().mean()),
            "lr": self.optimizer.param_groups[0]["lr"],
            "coefficient": 0.0 if self.by_rank else self._coefficient(),
            "steps_planned": self.end,
        }

    @torch.no_grad()
    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the state of the weights in small numbers."""
        x = torch.from_numpy(self.data.heldout[:2048]).to(self.device)
        loss, pairs = self.losses(x, x.numel())
        density = torch.bincount(pairs.cols[loss.acts > 0], minlength=self.hidden) / len(x)
        basis = torch.linalg.eigh((x.T @ x).cpu()).eigenvectors[:, -2:]
        tensors = self.params["W_enc"], self.params["W_dec"], density, loss.acts[:65536]
        encoder, decoder, density, acts = (t.detach().cpu() for t in tensors)
        return metrics.snapshot(encoder, decoder, density, acts, basis)

    def model(self) -> SAEModel:
        """Return the best weights on raw rows, with thresholds calibrated on held-out rows."""
        config = self.config
        architecture = ARCHITECTURE.get(config.activation or "", "jumprelu")
        tensors = {n: p.detach().cpu() for n, p in (self.best or self.params).items()}
        if architecture == "jumprelu":
            threshold = tensors.pop("log_threshold", torch.zeros(self.hidden)).exp()
            factor = self._threshold_factor(tensors, threshold) if self.k else 1.0
            tensors["threshold"] = threshold * factor
        tensors["W_enc"] = tensors["W_enc"].T
        kept = "activation k l1_coefficient matryoshka encoder seed hidden_size input_size"
        metadata = {name: getattr(config, name) for name in kept.split()}
        metadata |= {"columns": self.data.columns, "nanosae_version": __version__}
        cfg = {
            "architecture": architecture,
            "d_in": self.data.width,
            "d_sae": self.hidden,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": metadata | {"sae_lens_version": "6.0.0"},  # the first of this format
        }
        if architecture == "topk":
            cfg |= {"k": self.k, "rescale_acts_by_decoder_norm": False}
        return SAEModel(json.loads(json.dumps(cfg)), fold(tensors, self.data.mean, self.data.scale))

    def _threshold_factor(self, tensors: dict[str, Tensor], threshold: Tensor) -> float:
        """Return the factor on the thresholds above which there are k entries a row."""
        half = self.data.heldout[: len(self.data.heldout) // 2]
        if len(half) < 16:
            half = self.data.sample(4096, seed=self.config.seed)
        cut = (
            threshold * 0.2 if self.config.activation == "jumprelu" else torch.zeros_like(threshold)
        )
        x, kernels = torch.from_numpy(half), backend(torch.device("cpu"))
        pairs = kernels.select_above(x, tensors["W_enc"], tensors["b_enc"], cut)
        ratios = (pairs.values / threshold[pairs.cols.long()]).sort(descending=True).values
        if len(ratios) < 2:
            return 1.0
        above, below = ratios[min(self.k * len(half), len(ratios) - 1) - 1 :][:2].tolist()
        return (above + below) / 2

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and numbers that a run goes on from."""
        tensors = {f"param.{name}": p.detach() for name, p in self.params.items()}
        tensors |= {f"best.{name}": p for name, p in self.best.items()} | {"silent": self.silent}
        for name, param in self.params.items():
            for key, value in self.optimizer.state[param].items():
                tensors[f"adam.{name}.{key}"] = value
        return tensors, self.scalars

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
        """Go on from `state`'s output."""
        self.scalars, self.silent = scalars, tensors["silent"].to(self.device)
        for name, param in self.params.items():
            param.copy_(tensors[f"param.{name}"])
            if f"best.{name}" in tensors:
                self.best[name] = tensors[f"best.{name}"].to(self.device)
            keys = [key for key in tensors if key.startswith(f"adam.{name}.")]
            self.optimizer.state[param] = {key.split(".")[2]: tensors[key] for key in keys}


class SAETrainer(TransformerMixin, BaseEstimator):
    """Train a sparse autoencoder; also a scikit-learn estimator.

    Args:
        config: What to train; None takes every default.
        run: Folder for the run (metrics, snapshots, checkpoints, model); None leaves nothing on
            disk.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(200, 8))
        >>> trainer = SAETrainer(TrainConfig(hidden_size=16, k=4, steps=5))
        >>> trainer.train(rows, progress=False).features(rows).shape
        (200, 16)
    """

    def __init__(self, config: TrainConfig | None = None, run: str | Path | None = None) -> None:
        self.config = config
        self.run = run

    def train(
        self, data: Any, *, resume: bool = False, force: bool = False, progress: bool = True
    ) -> SAEModel:
        """Train on the rows of `data` and return the model; `metrics_` and `notes_` are set, too.

        Args:
            data: A pandas or polars frame, array, memmap, tensor, list, Hugging Face dataset, or a
                path, folder or glob of .csv .tsv .parquet .feather .arrow .npy .npz .safetensors
                .pt.
            resume: Go on from the run folder's newest checkpoint, or start if there is none.
            force: Replace the run in the folder.
            progress: Show a progress bar.

        Raises:
            ValueError: If the rows cannot be trained on; the message names row, column and remedy.
            FileExistsError: If the folder holds a run and neither `resume` nor `force` is given.
            FloatingPointError: If the loss becomes infinite or NaN.
            KeyboardInterrupt: After SIGINT or SIGTERM, when the checkpoint is written.
        """
        asked, run = self.config or TrainConfig(), None if self.run is None else Path(self.run)
        if run is not None and runs.claim(run, asked, resume, force):
            self.notes_ = [f"{run} is finished: nothing was left to do."]
            return SAEModel.load(run)
        columns = None if asked.columns is None else list(asked.columns)
        rows = open_rows(data, columns=columns, input_size=asked.input_size)
        share, buffer_rows = asked.heldout_share, asked.buffer_rows
        dataset = Dataset(rows, seed=asked.seed, heldout_share=share, buffer_rows=buffer_rows)
        config, self.notes_ = asked.resolved(dataset.n_train, dataset.width), dataset.notes
        training, sinks = Training(config, dataset), []
        if run is not None:
            runs.start(run, asked, config, rows.fingerprint())
            if checkpoint := runs.load_checkpoint(run):
                training.restore(*checkpoint)
            sinks.append(logs.jsonl(run / "metrics.jsonl", training.scalars["step"]))
            sinks += [logs.tensorboard(run / "tensorboard")] if config.tensorboard else []
        sinks += [logs.wandb(config.wandb, config.to_dict())] if config.wandb else []
        getattr(training.kernels, "compile_all", lambda: None)()
        sinks += [logs.bar(training.end, training.scalars["step"])] if progress else []
        try:
            with runs.stop_signals() as stopped:
                _loop(training, sinks, run, stopped)
            model = training.model()
            self.metrics_ = _final(training, model)
            if run is not None:
                runs.replace_folder(run / "model", model.save)
            for sink in sinks:
                sink(self.metrics_)
        finally:
            for sink in sinks:
                sink(None)
        return model

    def fit(self, X: Any, y: Any = None) -> SAETrainer:
        """Train on X (n_rows, input_size); y is ignored. Returns self, with `model_`."""
        self.model_ = self.train(X, progress=False)
        self.n_features_in_ = self.model_.cfg["d_in"]
        return self

    def transform(self, X: Any) -> Any:
        """Return the feature activations of X as a csr_array (n_rows, hidden_size)."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "model_")
        return self.model_.features(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = []  # activations are float32
        return tags

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return feature0, feature1 and so on."""
        return np.array([f"feature{i}" for i in range(self.model_.cfg["d_sae"])], dtype=object)


def _loop(training: Training, sinks: list[logs.Sink], run: Path | None, stopped: list[int]) -> None:
    """Step, evaluate, log and checkpoint until the end, or until a signal came."""
    config = training.config
    batches = training.data.batches(config.batch_size or 1, start_row=training.scalars["rows"])
    began, first = time.perf_counter(), training.scalars["rows"]
    while (step := training.scalars["step"] + 1) <= training.end:
        buffer, index = next(batches)
        x = torch.from_numpy(buffer).index_select(0, torch.from_numpy(index))
        try:
            training.step(x.to(training.device))
        except FloatingPointError as error:
            kept = runs.last_checkpoint(run) if run else None
            last = f" The last good checkpoint is {kept}." if kept else ""
            raise FloatingPointError(f"{error}{last}") from None
        line = {}
        if step % training.eval_every == 0 or step == training.end:
            line = training.evaluate()
            if run is not None:
                np.savez(
                    run / "snapshots" / f"{step:06d}", allow_pickle=False, **training.snapshot()
                )
        if line or step % config.log_every == 0:
            seconds = time.perf_counter() - began
            line |= training.line(seconds)
            line["rows_per_second"] = (training.scalars["rows"] - first) / seconds
            for sink in sinks:
                sink(line)
        ended = step >= training.end
        if run is not None and (step % config.checkpoint_every == 0 or stopped or ended):
            runs.save_checkpoint(run, step, *training.state())
        if stopped and not ended:
            where = f"; --resume goes on from there in {run}" if run else ""
            raise KeyboardInterrupt(f"stopped by signal {stopped[0]} after step {step}{where}")


def _final(training: Training, model: SAEModel) -> dict[str, Any]:
    """Measure the exported model on raw rows; held-out ones that calibrated nothing come first."""
    data = training.data
    heldout = data.heldout[len(data.heldout) // 2 :]
    sample = data.sample(2**16, seed=training.config.seed)
    measured = [
        metrics.measure(model, rows / np.float32(data.scale) + data.mean)
        for rows in (heldout, sample)
    ]
    counts = measured[0].counts + measured[1].counts
    return {
        "step": training.scalars["step"],
        "rows": training.scalars["rows"],
        "final": True,
        **measured[0].summary(),
        "dead": float((counts == 0).double().mean()),
        "dead_rows_checked": len(heldout) + len(sample),
        "train_fvu": measured[1].fvu,
        "best_step": training.scalars["best_step"],
    }
