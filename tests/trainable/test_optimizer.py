"""Adam by torch's function: what the paper's formulas and torch's class make of the gradients."""

import pytest
import torch

from nanosae.trainable.optimizer import AdamW

DECAY = 0.1
RATES = (0.01, 0.02, 0.005)


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"W_enc": (5, 3), "W_dec": (5, 3), "b_dec": (3,), "unused": (2,)}
    return {
        name: torch.randn(size, generator=generator).requires_grad_()
        for name, size in sizes.items()
    }


def give_gradients(params, step):
    """Gradients of very different sizes; one parameter has none."""
    generator = torch.Generator().manual_seed(10 + step)
    for name, param in params.items():
        if name != "unused":
            sizes = 10.0 ** torch.randint(-7, 2, param.shape, generator=generator)
            param.grad = sizes * torch.randn(param.shape, generator=generator)


def by_the_formulas(params, scale, decay_of_all=False):
    """Loshchilov and Hutter, algorithm 2, in float64: the parameters after a step of each rate."""
    values = {name: p.detach().double() for name, p in params.items()}
    first = {name: torch.zeros_like(v) for name, v in values.items()}
    second = {name: torch.zeros_like(v) for name, v in values.items()}
    for step, rate in enumerate(RATES):
        give_gradients(params, step)
        for name, param in params.items():
            if param.grad is None:
                continue
            gradient = param.grad.double() / scale
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            mean = first[name] / (1 - 0.9 ** (step + 1))
            variance = second[name] / (1 - 0.999 ** (step + 1))
            decay = DECAY if decay_of_all or name == "W_enc" else 0.0
            change = mean / (variance.sqrt() + 1e-8) + decay * values[name]
            values[name] = values[name] - rate * change
    return values


def by_ours(params, scale, fused=True):
    optimizer = AdamW(params, lr=1.0, weight_decay=DECAY, fused=fused)
    if scale != 1:
        optimizer.grad_scale = torch.tensor(scale)
    for step, rate in enumerate(RATES):
        give_gradients(params, step)
        optimizer.lr = rate
        optimizer.step()
    return params


def largest_difference(one, other):
    return max(float((one[name] - other[name]).detach().abs().max()) for name in one)


@pytest.mark.parametrize(("scale", "fused"), [(1.0, True), (3.0, True), (1.0, False)])
def test_steps_are_those_of_the_formulas(scale, fused):
    made = by_ours(parameters(), scale, fused)
    assert largest_difference(by_the_formulas(parameters(), scale), made) < 1e-6


def test_the_comparison_can_fail():
    made = by_ours(parameters(), 1.0)
    wrong = by_the_formulas(parameters(), 1.0, decay_of_all=True)
    assert largest_difference(wrong, made) > 1e-4


def test_steps_have_the_bits_of_torchs_class():
    made, params = by_ours(parameters(), 1.0), parameters()
    others = [param for name, param in params.items() if name != "W_enc"]
    groups = [
        {"params": [params["W_enc"]], "weight_decay": DECAY},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, fused=True)
    for step, rate in enumerate(RATES):
        give_gradients(params, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    assert all(torch.equal(made[name], param) for name, param in params.items())


def test_nothing_changes_where_a_number_is_not_finite():
    params = parameters()
    optimizer = AdamW(params, lr=0.1, weight_decay=DECAY, fused=True)
    give_gradients(params, 0)
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    assert largest_difference(params, parameters()) == 0
    assert all(moments["step"] == 0 for moments in optimizer.moments.values())
    optimizer.found_inf = torch.zeros(())
    optimizer.step()
    assert largest_difference(params, parameters()) > 0
