"""Objectives: every loss and every gradient against dense float64 formulas written out here."""

import itertools
import math

import numpy as np
import pytest
import torch

from agreement import decisions_above, decisions_batchtopk, decisions_topk
from nanosae.config import TrainConfig
from nanosae.kernels import no_pairs, reset_gradients
from nanosae.train.forward import is_dense, sparse_losses
from nanosae.train.schedule import learning_rate
from nanosae.train.state import TrainingState
from nanosae.train.step import _backward_dense, _backward_sparse, take_step
from nanosae.trainable.auxk import auxk
from nanosae.trainable.nesting import draw_nesting


class Rows:
    """The part of Dataset that a step needs."""

    columns = None

    def __init__(self, n=64, width=12, seed=0):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(n, width)).astype(np.float32)
        self.train, self.heldout, self.n_train, self.width = rows, rows[:16], n, width
        self.mean, self.scale = np.zeros(width, np.float32), 1.0
        self.target_mean, self.target_scale = np.empty(0, np.float32), 1.0

    def sample(self, n, seed):
        return np.resize(self.train, (n, self.width))

    def rows_by_hash(self, first, end):
        return self.sample(end, seed=0)[first:]


def training(backend="cpu", seed=0, **fields):
    data = Rows(seed=seed)
    config = TrainConfig(
        hidden_size=40, batch_size=64, steps=10, noise=0.0, backend=backend, **fields
    )
    made = TrainingState(config.resolved(data.n_train, data.width), data)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():  # away from the symmetric start
        for param in made.params.values():
            param += 0.05 * torch.randn(param.shape, generator=generator)
        made.params["W_dec"] /= made.params["W_dec"].norm(dim=1, keepdim=True)
    made.counters.step = 5  # past the warm-up
    return made, torch.from_numpy(data.train)


def kept_by(made, x):
    """Everything that the objective decides by a threshold or by rank."""
    weight, bias, k = made.params["W_enc"], made.encoder_bias, made.config.k
    if made.config.nested:
        k = draw_nesting(made.config, made.counters.step).k
    if made.config.activation == "topk":
        return [decisions_topk(x, weight, bias, k)]
    if made.config.activation == "batchtopk":
        return [decisions_batchtopk(x, weight, bias, k * len(x))]
    if made.config.activation == "jumprelu":
        threshold, half = made.params["log_threshold"].exp(), WINDOW / 2
        edges = threshold, threshold - half, threshold + half
        return [decisions_above(x, weight, bias, edge) for edge in edges]
    made_above = [decisions_above(x, weight, bias)]
    if made.config.activation == "gated":
        magnitude = -made.params["b_mag"] / made.params["r_mag"].exp()
        made_above.append(decisions_above(x, weight, torch.zeros_like(bias), magnitude))
    return made_above


def decided_training(backend="cpu", decide=kept_by, **fields):
    """Draw rows until no entry lies within rounding of what keeps it, on any processor."""
    for seed in itertools.count():
        made, x = training(backend, seed, **fields)
        if all(decisions.decided_rows(factor=4).all() for decisions in decide(made, x)):
            return made, x


def doubles(made):
    return {n: p.detach().double().requires_grad_() for n, p in made.params.items()}


def dense_topk(made, x, p):
    z = x @ p["W_enc"].T + p["b_enc"]
    k = made.config.k
    if made.config.activation == "topk":
        level = z.topk(k, dim=1).values[:, -1:]
    else:
        level = z.flatten().topk(k * len(x)).values[-1]
    acts = torch.where(z >= level, torch.relu(z), 0.0)
    return {"mse": ((acts @ p["W_dec"] + p["b_dec"] - x) ** 2).mean()}


def dense_relu(made, x, p):
    f = torch.relu(x @ p["W_enc"].T + p["b_enc"])
    mse = ((f @ p["W_dec"] + p["b_dec"] - x) ** 2).mean()
    coefficient = math.exp(made.counters.log_coefficient) * 12
    # decoder rows have length one; their norm is a constant here, as the trainer projects them
    return {
        "mse": mse,
        "sparsity": coefficient * (f * p["W_dec"].detach().norm(dim=1)).sum(1).mean(),
    }


def dense_gated(made, x, p):
    pi = x @ p["W_enc"].T
    gate = torch.relu(pi + p["b_gate"])
    f = torch.relu(pi * p["r_mag"].exp() + p["b_mag"]) * (pi + p["b_gate"] > 0)
    frozen = gate @ p["W_dec"].detach() + p["b_dec"].detach()
    coefficient = math.exp(made.counters.log_coefficient) * 12
    return {
        "mse": ((f @ p["W_dec"] + p["b_dec"] - x) ** 2).mean(),
        "gate": ((frozen - x) ** 2).mean(),
        "sparsity": coefficient * gate.sum(1).mean(),
    }


def jump_of(z, theta, width):
    """The jump, whose gradient is that of a ramp: autograd differentiates the ramp itself.

    Anthropic, January 2025: a rectangle of the given width as the derivative of the step, for the
    threshold and for the pre-activation alike.
    """
    ramp = ((z - theta) / width + 0.5).clamp(0, 1)
    return (z > theta).double() + ramp - ramp.detach()


def dense_jumprelu(made, x, p):
    z, width = x @ p["W_enc"].T + p["b_enc"], made.counters.window
    theta = p["log_threshold"].exp()
    on = jump_of(z, theta, width)
    active = z * (z > theta).double()
    # f = z · H(z − θ), where the jump is as high as θ
    f = active + theta.detach() * (on - on.detach())
    mse = ((f @ p["W_dec"] + p["b_dec"] - x) ** 2).mean()
    coefficient = math.exp(made.counters.log_coefficient) * 12
    if made.config.jumprelu_penalty == "l0":
        return {"mse": mse, "sparsity": coefficient * on.sum(1).mean()}
    inactive = torch.where(z > theta, 0.0, theta - z).sum(1).mean()
    return {
        "mse": mse,
        "sparsity": coefficient * torch.tanh(4 * f).sum(1).mean(),
        "pre_act": 3e-6 / x.shape[1] * inactive,
    }


def dense_matryoshka(made, x, p):
    z = x @ p["W_enc"].T + p["b_enc"]
    level = z.flatten().topk(made.config.k * len(x)).values[-1]
    acts = torch.where(z >= level, torch.relu(z), 0.0)
    errors = [
        ((acts[:, :size] @ p["W_dec"][:size] + p["b_dec"] - x) ** 2).mean()
        for size in made.config.matryoshka
    ]
    return {"mse": torch.stack(errors).mean()}


def dense_nested(made, x, p, further=0):
    """Both terms, at the k and prefix that the step drew; these are tested by themselves."""
    drawn = draw_nesting(made.config, made.counters.step)
    z = x @ p["W_enc"].T + p["b_enc"]
    if made.config.activation == "topk":
        level = z.topk(drawn.k, dim=1).values[:, -1:]
    else:
        level = z.flatten().topk(drawn.k * len(x)).values[-1]
    acts = torch.where(z >= level, torch.relu(z), 0.0)
    n = drawn.prefix + further
    whole = acts @ p["W_dec"] + p["b_dec"]
    quarter = acts[: len(x) // 4, :n] @ p["W_dec"][:n] + p["b_dec"]
    prefix_error = ((quarter - x[: len(x) // 4]) ** 2).mean()
    return {"mse": ((whole - x) ** 2).mean(), "prefix": prefix_error}


WINDOW = 0.5  # of jumprelu in these tests
CASES = {
    "topk": (dense_topk, {"activation": "topk", "k": 4}),
    "batchtopk": (dense_topk, {"activation": "batchtopk", "k": 4}),
    "relu": (dense_relu, {"activation": "relu", "k": 4}),
    "gated": (dense_gated, {"activation": "gated", "k": 4}),
    "jumprelu l0": (dense_jumprelu, {"activation": "jumprelu", "k": 4}),
    "jumprelu tanh": (
        dense_jumprelu,
        {"activation": "jumprelu", "k": 4, "jumprelu_penalty": "tanh"},
    ),
    "matryoshka": (dense_matryoshka, {"matryoshka": (5, 13, 40), "k": 4}),
    "nested": (dense_nested, {"k": 4}),
    "nested topk": (dense_nested, {"k": 4, "activation": "topk", "nested": True}),
}


def compare(made, x, dense):
    """Run one backward pass both ways; return the pairs that must agree."""
    counts = torch.zeros(made.n_latents, dtype=torch.int64)
    for name, param in made.params.items():
        param.grad = torch.zeros_like(param) if name.startswith("W_") else None
    backward = _backward_dense if is_dense(made) else _backward_sparse
    parts = backward(made, x, x.numel(), counts)
    p = doubles(made)
    want = dense(made, x.double(), p)
    sum(want.values()).backward()
    assert parts.pop("kept") >= 0
    assert parts.pop("squares") == pytest.approx(x.square().mean().item())
    assert parts.keys() == want.keys()
    agree = {name: (parts[name].double(), want[name]) for name in want}
    for name, param in made.params.items():
        grad = param.grad if param.grad is not None else torch.zeros_like(param)
        agree[f"gradient of {name}"] = (grad.double(), p[name].grad)
    return agree


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_losses_and_gradients_equal_the_dense_formulas(case, backend):
    dense, fields = CASES[case]
    made, x = decided_training(backend, **fields)
    made.counters.l0 = 0.0  # the sparse path
    made.counters.window = WINDOW
    for name, (got, want) in compare(made, x, dense).items():
        scale = want.abs().max().clamp_min(1e-6)
        torch.testing.assert_close(
            got.detach() / scale,
            want.detach() / scale,
            rtol=2e-4,
            atol=2e-5,
            msg=lambda m, n=name: n + m,
        )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_rank_without_rows_adds_nothing(case, backend, monkeypatch):
    """A batch, or a part of one, may have fewer rows than there are ranks."""
    _, fields = CASES[case]
    made, x = training(backend, **fields)
    monkeypatch.setattr(made.ranks, "first_rows", lambda rows, divisor: (0, 4.0))
    nothing = no_pairs(x[:0]), 0.0
    monkeypatch.setattr("nanosae.train.forward.select", lambda *args: nothing)
    made.silent_rows[::5] = 10**9  # for AuxK
    counts = torch.zeros(made.n_latents, dtype=torch.int64)
    reset_gradients([made.params["W_enc"], made.params["W_dec"]])
    parts = _backward_sparse(made, x[:0], x.numel(), counts)
    assert "auxk" in parts
    assert set(map(float, parts.values())) == {0.0}
    for param in made.params.values():
        assert param.grad is None or not param.grad.any()


@pytest.mark.parametrize("case", ["relu", "gated"])
def test_the_dense_path_gives_the_same(case):
    dense, fields = CASES[case]
    made, x = decided_training(**fields)
    made.counters.l0 = 40.0
    assert is_dense(made)
    for got, want in compare(made, x, dense).values():
        torch.testing.assert_close(got.detach(), want.detach(), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_comparison_can_fail(case, monkeypatch):
    dense, fields = CASES[case]
    made, x = training(**fields)
    made.counters.l0 = 0.0

    def forgets_the_bias(m, x, p):
        return dense(m, x, {**p, "b_dec": p["b_dec"] * 0.0 + 0.3})

    agree = compare(made, x, forgets_the_bias)
    assert not torch.allclose(*(t.detach() for t in agree["mse"]), rtol=1e-3)


def test_a_jump_for_the_threshold_alone_is_told_apart(monkeypatch):
    """Rajamanoharan et al. 2024b, eq. 11 and 12: no gradient of the jump reaches z."""
    made, x = decided_training(**CASES["jumprelu l0"][1])
    made.counters.l0, made.counters.window = 0.0, WINDOW
    real = jump_of

    def for_threshold_alone(z, theta, width):
        return real(z.detach(), theta, width)

    monkeypatch.setitem(globals(), "jump_of", for_threshold_alone)
    agree = compare(made, x, dense_jumprelu)
    got, want = agree["gradient of W_enc"]
    assert not torch.allclose(got, want, rtol=1e-2, atol=1e-3)
    got, want = agree["gradient of log_threshold"]
    torch.testing.assert_close(got, want, rtol=2e-4, atol=2e-5)


def test_a_longer_prefix_is_told_apart():
    made, x = training(k=4)
    prefixes = (draw_nesting(made.config, step).prefix for step in itertools.count())
    made.counters.step = next(s for s, prefix in enumerate(prefixes) if prefix <= 20)
    agree = compare(made, x, lambda m, x, p: dense_nested(m, x, p, further=10))
    got, want = agree["gradient of W_dec"]
    assert not torch.allclose(got, want, rtol=1e-2, atol=1e-3)


def auxk_gradients(made, x, dead):
    for param in made.params.values():
        param.grad = torch.zeros_like(param)
    recon = sparse_losses(made, x, x.numel())[0].recon.detach()
    none = torch.zeros(len(dead), dtype=torch.bool)
    auxk(made, x, x, recon, dead, none)["auxk"].backward()
    return recon, {name: param.grad for name, param in made.params.items()}


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_auxk_reaches_encoder_and_decoder_of_dead_features_and_nothing_else(activation):
    dead = torch.tensor([3, 7, 8, 20, 21, 22, 39])

    def kept_dead(made, x):
        bias = made.encoder_bias[dead] * (activation == "topk")
        aux = decisions_topk(x[: len(x) // 4], made.params["W_enc"][dead], bias, 6)
        return [*kept_by(made, x), aux]

    made, x = decided_training(decide=kept_dead, activation=activation, k=4, k_aux=6)
    recon, grads = auxk_gradients(made, x, dead)
    alive = torch.ones(made.n_latents, dtype=torch.bool)
    alive[dead] = False
    for name in ("W_enc", "W_dec", "b_enc"):
        assert grads[name][alive].abs().max() == 0
        assert grads[name][dead].abs().max() > 0
    assert grads["b_dec"].abs().max() == 0
    # and the values are those of the paper's formula on the same rows
    p, some = doubles(made), x[: len(x) // 4].double()
    residual = some - recon[: len(some)].double()
    z = (some @ p["W_enc"].T + p["b_enc"])[:, dead]
    if activation == "relu":  # without bias, which has its gradient all the same
        z = z - p["b_enc"].detach()[dead]
    level = z.topk(6, dim=1).values[:, -1:]
    out = torch.where(z >= level, torch.relu(z), 0.0) @ p["W_dec"][dead]
    loss = ((out - residual) ** 2).sum() / (residual**2).sum() / 32
    loss.backward()
    for name in ("W_enc", "W_dec", "b_enc"):
        torch.testing.assert_close(
            grads[name].double(), p[name].grad, rtol=1e-4, atol=1e-7
        )


def test_auxk_leaves_out_dead_features_that_fire_again():
    made, x = training(activation="topk", k=4, k_aux=6)
    recon = sparse_losses(made, x, x.numel())[0].recon.detach()
    dead = torch.tensor([3, 7, 8, 20])
    fires_again = torch.tensor([False, True, False, True])

    def loss_of(features, revived):
        return auxk(made, x, x, recon, features, revived)["auxk"]

    left_out = loss_of(dead, fires_again)
    never_there = loss_of(dead[~fires_again], torch.zeros(2, dtype=torch.bool))
    torch.testing.assert_close(left_out, never_there)
    with_all = loss_of(dead, torch.zeros(4, dtype=torch.bool))
    assert not torch.isclose(left_out, with_all)


def test_auxk_check_can_fail(monkeypatch):
    made, x = training(activation="topk", k=4, k_aux=6)
    monkeypatch.setattr(
        "nanosae.trainable.batch.sparse_encode",
        lambda x, w, b, pairs, *rest: pairs.values,
    )
    _, grads = auxk_gradients(made, x, torch.tensor([3, 7]))
    # the bug of a peer: AuxK that trains only the decoder
    assert grads["W_enc"].abs().max() == 0


def test_accumulation_gives_the_gradient_of_the_whole_step():
    whole, x = decided_training(activation="relu", k=4)
    parts, _ = decided_training(activation="relu", k=4, accumulate=4)
    for made in (whole, parts):
        made.counters.l0 = 0.0
        take_step(made, x)
    for name in whole.params:
        torch.testing.assert_close(
            whole.params[name], parts.params[name], rtol=1e-4, atol=1e-5
        )


def test_adam_updates_the_latent_major_weights_as_plain_adam_does():
    made, x = decided_training(activation="topk", k=4)
    before = {n: p.detach().clone() for n, p in made.params.items()}
    take_step(made, x)
    plain, _ = decided_training(activation="topk", k=4)
    p = {n: v.clone().requires_grad_() for n, v in before.items()}
    loss = dense_topk(plain, x, p)["mse"]
    optimizer = torch.optim.Adam(
        p.values(), lr=learning_rate(plain.config, plain.counters)
    )
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        p["W_dec"] /= p["W_dec"].norm(dim=1, keepdim=True)
    used = (p["W_enc"].grad.abs() > 1e-6) & (p["W_enc"].detach() != before["W_enc"])
    torch.testing.assert_close(
        made.params["W_enc"][used], p["W_enc"][used], rtol=1e-3, atol=1e-5
    )
    assert all(
        made.params[n].grad is None
        or made.params[n].grad.stride() == made.params[n].stride()
        for n in made.params
    )
