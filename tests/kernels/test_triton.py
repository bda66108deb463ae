"""The Triton kernels without a GPU: interpreted on the CPU, and compiled for GPUs that are absent.

Tests marked `gpu` need a GPU, or TRITON_INTERPRET=1 from before Triton is imported: the first test
runs them so, with those of test_kernels.py, in a process of its own.
"""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nanosae import TrainConfig, kernels
from nanosae.data.dataset import Dataset
from nanosae.sources import open_rows
from nanosae.train.metrics import metrics_line
from nanosae.train.state import TrainingState
from nanosae.train.step import take_step

pytest.importorskip("triton")

from nanosae.kernels import cuda, reference
from nanosae.kernels.cuda import product_kernels, selection, selection_kernels

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
FOLDER = Path(__file__).parent


def gpu(test):
    there = INTERPRETED or torch.cuda.is_available()
    return pytest.mark.gpu(
        pytest.mark.skipif(not there, reason="there is no GPU")(test)
    )


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the process that it starts")
@pytest.mark.parametrize("file", ["test_kernels.py", "test_triton.py"])
def test_all_that_needs_a_gpu_passes_in_the_interpreter(file):
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", str(FOLDER / file)]
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    last = done.stdout.splitlines()[-1]
    assert "passed" in last
    assert "skipped" not in last


FLOATS, INTS, LONGS = "*fp32", "*i32", "*i64"
TYPES: dict[str, Any] = dict.fromkeys(
    ["values", "thresholds", "grad", "weight", "dense"], FLOATS
)
TYPES |= dict.fromkeys(["out_values", "out", "value_sums"], FLOATS)
TYPES |= dict.fromkeys(["cols", "out_cols", "state", "counts"], INTS)
TYPES |= dict.fromkeys(["order", "rows", "picks"], INTS)
TYPES |= dict.fromkeys(
    ["row_ptr", "out_row_ptr", "ties", "latents", "nnz", "starts"], LONGS
)
TYPES |= dict.fromkeys(
    ["n_rows", "width", "k", "stride", "total", "size", "out_size"], "i32"
)
TYPES |= {"accumulate": "i32", "N": 16, "W": 512}
TYPES |= {"ROWS": 1, "CHUNK": selection.CHUNK, "BLOCK": selection.BLOCK}
FORMS = {  # what differs from the above
    "topk of rows": {"cols": None},
    "topk of slots": {},
    "count": {"out": LONGS},
    "copy_above of rows": {"cols": None, "ties": None},
    "copy_above of candidates": {},
    "histogram": {"size": LONGS, "out": INTS, "SHIFT": 20, "WIDTH": 11},
    "next_digit": {"SHIFT": 20, "WIDTH": 11},
    "pair_dots": {},
    "segment_sums of rows": {"order": None},
    "segment_sums of latents": {},
}


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="nothing is compiled there")
@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("form", FORMS)
def test_kernels_compile_for_gpus(form, architecture, tmp_path, monkeypatch):
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    name = form.split()[0]
    kernel = getattr(selection_kernels, name, None) or getattr(product_kernels, name)
    args = {name: (TYPES | FORMS[form])[name] for name in kernel.arg_names}
    types = {name: t if isinstance(t, str) else "constexpr" for name, t in args.items()}
    constants = {name: t for name, t in args.items() if not isinstance(t, str)}
    source = ASTSource(kernel, types, constants)
    assert compile(source, target=GPUTarget("cuda", architecture, 32)).asm["cubin"]


WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "repeat_interleave",
    "bincount",
)


class NoWaiting(TorchDispatchMode):
    """Fail where on a GPU the host would wait for the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name.startswith(WAITS):
            raise RuntimeError(f"{name} waits for the device")
        if name in ("index", "index_put_"):
            assert not any(i is not None and i.dtype == torch.bool for i in args[1])
        return func(*args, **kwargs or {})


@gpu
def test_only_select_above_waits_for_the_device():
    g = torch.Generator(DEVICE).manual_seed(0)
    x, weight = (torch.randn(n, 4, generator=g, device=DEVICE) for n in (6, 12))
    bias = torch.zeros(12, device=DEVICE)
    with NoWaiting():
        for select, k in ((cuda.select_topk, 2), (cuda.select_batchtopk, 12)):
            pairs = select(x, weight, bias, k)
            plan = cuda.make_plan(pairs, 12)
            recon = cuda.decode(pairs.values, pairs, weight, x[0])
            cuda.decode_grads(
                recon, pairs.values, plan, weight, torch.empty_like(weight), False
            )
            cuda.encode_grads(pairs.values, plan, x, torch.empty_like(weight), False)
        with pytest.raises(RuntimeError, match="_local_scalar_dense waits"):
            cuda.select_above(x, weight, bias, bias)


@gpu
def test_padding_has_no_gradient_and_is_not_decoded():
    x, weight = torch.ones(3, 2, device=DEVICE), torch.eye(2, device=DEVICE)
    pairs = cuda.select_topk(x, weight, torch.tensor([0.0, -5.0], device=DEVICE), 2)
    assert pairs.row_ptr.tolist() == [0, 1, 2, 3]
    assert (pairs.values[3:] == cuda.PADDING).all()
    plan = cuda.make_plan(pairs, 2)
    recon = cuda.decode(pairs.values, pairs, weight, x[0])
    assert torch.equal(recon, x + torch.tensor([1.0, 0.0], device=DEVICE))
    grads = cuda.decode_grads(
        x, pairs.values, plan, weight, torch.empty_like(weight), False
    )
    assert grads.tolist() == [1, 1, 1, 0, 0, 0]
    assert cuda.encode_grads(
        grads, plan, x, torch.empty_like(weight), False
    ).tolist() == [3, 0]


@gpu
@pytest.mark.parametrize("rule", ["topk", "batchtopk", "above"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_values_that_are_not_finite_do_no_harm(rule, value):
    g = torch.Generator(DEVICE).manual_seed(0)
    x, weight = (torch.randn(n, 4, generator=g, device=DEVICE) for n in (5, 12))
    # products without rounding
    x, weight = (t.mul(64).round() / 64 for t in (x, weight))
    x[1, 2] = value
    bias = torch.zeros(12, device=DEVICE)
    argument = {"topk": 3, "batchtopk": 15, "above": bias + 0.1}[rule]
    name = f"select_{rule}"
    want = getattr(reference, name)(x, weight, bias, argument)
    got = kernels.without_padding(getattr(cuda, name)(x, weight, bias, argument))
    assert torch.equal(got.row_ptr, want.row_ptr)
    assert torch.equal(got.cols, want.cols)


@gpu
@pytest.mark.parametrize("factor", [0.0, 0.5, 1e6])
def test_any_first_level_gives_the_same_pairs(factor, monkeypatch):
    """The level at which candidates are taken is a guess from some rows: too low, too high."""
    g = torch.Generator(DEVICE).manual_seed(0)
    x, weight = (torch.randn(n, 4, generator=g, device=DEVICE) for n in (9, 14))
    bias = torch.zeros(14, device=DEVICE)
    right = cuda.select_batchtopk(x, weight, bias, 20)
    topk = torch.Tensor.topk

    def elsewhere(tensor, k):
        values, indices = topk(tensor, k)
        return torch.return_types.topk((values * factor, indices))

    monkeypatch.setattr(torch.Tensor, "topk", elsewhere)
    guessed = cuda.select_batchtopk(x, weight, bias, 20)
    assert all(torch.equal(one, two) for one, two in zip(right, guessed, strict=True))


OBJECTIVES: dict[str, dict[str, Any]] = {
    "relu": {"activation": "relu"},
    "topk": {"activation": "topk"},
    "batchtopk": {"activation": "batchtopk"},
    "jumprelu": {"activation": "jumprelu"},
    "jumprelu tanh": {"activation": "jumprelu", "jumprelu_penalty": "tanh"},
    "gated": {"activation": "gated"},
    "matryoshka": {"activation": "batchtopk", "matryoshka": (5, 21)},
    "nested": {"activation": "batchtopk", "nested": True},
    "noise, in parts": {"activation": "topk", "noise": 0.1, "accumulate": 2},
}


def prepared(backend: str, **options: Any) -> tuple[TrainingState, torch.Tensor]:
    """A training with a few dead latents, and a batch."""
    rows = np.random.default_rng(0).normal(size=(60, 6)).astype(np.float32)
    data = Dataset(open_rows(rows), seed=0, heldout_share=0.2)
    config = TrainConfig(
        hidden_size=21,
        k=3,
        batch_size=14,
        steps=9,
        warmup=0.0,
        device=DEVICE,
        backend="reference",
        **{"noise": 0.0, "k_aux": 4} | options,
    )
    training = TrainingState(config.resolved(data.n_train, data.width), data)
    training.kernels = kernels.backend(training.device, backend)
    if (
        backend == "cuda"
    ):  # a step then does what it does on a GPU, also in the interpreter
        training.device = torch.device("cuda")
    training.counters.l0 = 0.0  # else so small a dictionary takes the dense path
    training.silent_rows[::5] = 10**9
    return training, torch.from_numpy(data.sample(14, seed=1)).to(DEVICE)


def one_step(backend: str, **options: Any) -> dict[str, torch.Tensor]:
    """Losses, gradients and parameters after a step."""
    training, batch = prepared(backend, **options)
    training.read_deferred()  # with who is dead
    take_step(training, batch)
    parts = metrics_line(training)["parts"]
    out = {"loss": torch.tensor([parts["mse"], parts["auxk"]])}
    for name, param in training.params.items():
        out |= {name: param.detach().cpu(), f"gradient of {name}": torch.empty(0)}
        if param.grad is not None:
            out[f"gradient of {name}"] = param.grad.cpu()
    return out


@gpu
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_training_step_is_that_of_the_reference(name):
    got, want = (
        one_step(backend, **OBJECTIVES[name]) for backend in ("cuda", "reference")
    )
    for key in want:
        torch.testing.assert_close(got[key], want[key], rtol=1e-4, atol=1e-5, msg=key)


@gpu
@pytest.mark.parametrize(
    "name", ["topk", "batchtopk", "matryoshka", "nested", "noise, in parts"]
)
def test_a_step_never_waits_for_the_device(name):
    training, batch = prepared("cuda", **OBJECTIVES[name])
    training.defers_reading = True
    training.read_deferred()
    with NoWaiting():
        take_step(training, batch)
    with NoWaiting(), pytest.raises(RuntimeError, match="waits for the device"):
        training.read_deferred()
    training.defers_reading = False
    with NoWaiting(), pytest.raises(RuntimeError, match="waits for the device"):
        take_step(training, batch)


@gpu
@pytest.mark.parametrize("wrong", ["encode_grads", "decode_grads", "select_topk"])
def test_the_check_of_a_step_can_fail(wrong, monkeypatch):
    right = getattr(cuda, wrong)

    def off(*args):
        if wrong == "select_topk":
            return right(*args[:3], args[3] - 1)
        return right(args[0] * 1.01, *args[1:])

    monkeypatch.setattr(cuda, wrong, off)
    got, want = (
        one_step(backend, activation="topk") for backend in ("cuda", "reference")
    )
    assert not all(
        torch.allclose(got[key], want[key], rtol=1e-4, atol=1e-5) for key in want
    )
