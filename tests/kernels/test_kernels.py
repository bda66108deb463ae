"""Kernels: every backend against dense float64 autograd, on values and every gradient.

The cases marked `gpu` run on a GPU, or on a CPU in Triton's interpreter where TRITON_INTERPRET=1 is
set (tests/kernels/test_triton.py does so): `pytest -m gpu tests/kernels/test_kernels.py`.
"""

import importlib
import math
import os

import pytest
import torch

from agreement import assert_agree, decisions_above, decisions_batchtopk, decisions_topk
from nanosae.errors import ExtraError
from nanosae.kernels import (
    Pairs,
    _runs_triton,
    backend,
    column_sums,
    no_pairs,
    reference,
    reset_gradients,
    sparse_decode,
    sparse_encode,
)
from nanosae.kernels import cpu as cpu_kernels
from nanosae.kernels.batchtopk import estimate_threshold
from screened import force_screening

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not (INTERPRETED or torch.cuda.is_available()), reason="there is no GPU"
    ),
]
SMALL_PIECES = {  # of the cuda backend
    "selection": {"TILE": 64, "MIN_TILE_ROWS": 4, "CHUNK": 8, "BLOCK": 8},
    "products": {"GATHERED": 32},
}
SHAPES = {  # rows, input_size, hidden_size, k
    "plain": (48, 16, 96, 5),
    "odd": (37, 19, 70, 3),
    "one row": (1, 8, 33, 4),
    "one latent": (5, 3, 1, 1),
    "k is everything": (6, 4, 10, 10),
    "wider than a tile": (1100, 8, 40, 2),
}
if INTERPRETED:  # which takes milliseconds for each row and latent
    SHAPES |= {
        "plain": (8, 8, 16, 5),
        "odd": (9, 5, 13, 3),
        "wider than a tile": (13, 4, 10, 2),
    }


@pytest.fixture(
    params=[
        "cpu",
        "cpu by screening",
        "reference",
        *(pytest.param(n, marks=GPU) for n in ("cuda", "cuda in pieces")),
    ]
)
def kernels(request, monkeypatch):
    name, *screening = request.param.split(" by ")
    name, *pieces = name.split(" in ")
    force_screening(monkeypatch, bool(screening))
    module = importlib.import_module(f"nanosae.kernels.{name}")
    for part, constants in SMALL_PIECES.items() if pieces else ():
        for constant, value in constants.items():
            monkeypatch.setattr(f"nanosae.kernels.cuda.{part}.{constant}", value)
    torch.set_default_device("cuda" if name == "cuda" and not INTERPRETED else None)
    yield module
    torch.set_default_device(None)  # a device would slow every later call of torch down


def problem(shape, seed=0, kind="normal"):
    rows, width, hidden, k = SHAPES[shape]
    g = torch.Generator(torch.get_default_device()).manual_seed(seed)
    x = torch.randn(rows, width, generator=g)
    encoder = torch.randn(hidden, width, generator=g) / math.sqrt(width)
    bias = 0.1 * torch.randn(hidden, generator=g)
    if kind == "few positive":
        bias -= 2.0
    if kind == "none positive":
        bias -= 100.0
    if kind == "zero rows":
        x[::2] = 0
    if kind == "duplicate rows":
        x[:] = x[0]
    if kind == "ties":
        encoder[:] = encoder[0]
        bias[:] = 0.5
    decoder = torch.nn.functional.normalize(
        torch.randn(hidden, width, generator=g), dim=1
    )
    return x, encoder, bias, decoder, torch.randn(width, generator=g), k


def dense_mask(rule, z, k, cut):
    """Which entries a rule keeps, by brute force over sorted tuples."""
    entries = [
        (-float(z[r, c]), r, c) for r in range(z.shape[0]) for c in range(z.shape[1])
    ]
    mask = torch.zeros_like(z, dtype=torch.bool)
    if rule == "topk":
        for r in range(z.shape[0]):
            for value, _, c in sorted(e for e in entries if e[1] == r)[:k]:
                mask[r, c] = -value > 0
    elif rule == "batchtopk":
        for value, r, c in sorted(entries)[: k * z.shape[0]]:
            mask[r, c] = -value > 0
    else:
        mask = z > cut
    return mask


def select(kernels, rule, x, encoder, bias, k, cut):
    if rule == "topk":
        return kernels.select_topk(x, encoder, bias, k)
    if rule == "batchtopk":
        return kernels.select_batchtopk(x, encoder, bias, k * len(x), 0.3)
    return kernels.select_above(x, encoder, bias, cut)


def real(pairs):
    """The pairs without padding."""
    n = int(pairs.row_ptr[-1])
    return Pairs(pairs.values[:n], pairs.cols[:n], pairs.row_ptr)


def decisions(rule, x, encoder, bias, k, cut):
    """What a rule decides on, in float64."""
    if rule == "topk":
        return decisions_topk(x, encoder, bias, k)
    if rule == "batchtopk":
        return decisions_batchtopk(x, encoder, bias, k * len(x))
    return decisions_above(x, encoder, bias, cut)


def as_matrix(pairs, shape):
    """The values of the pairs at their places, (rows, latents)."""
    pairs = real(pairs)
    rows = torch.repeat_interleave(torch.arange(shape[0]), pairs.row_ptr.diff())
    dense = torch.zeros(shape)
    dense[rows, pairs.cols.long()] = pairs.values
    return dense


def pair_mask(pairs, shape):
    pairs = real(pairs)
    mask = torch.zeros(shape, dtype=torch.bool)
    rows = torch.repeat_interleave(torch.arange(shape[0]), pairs.row_ptr.diff())
    mask[rows, pairs.cols.long()] = True
    return mask


KINDS = [
    "normal",
    "few positive",
    "none positive",
    "zero rows",
    "duplicate rows",
    "ties",
]


@pytest.mark.parametrize("rule", ["topk", "batchtopk", "above"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", ["plain", "odd", "one row", "one latent", "k is everything"]
)
def test_selection_is_the_brute_force_one(kernels, rule, kind, shape):
    x, encoder, bias, _, _, k = problem(shape, kind=kind)
    cut = torch.linspace(-0.2, 0.6, len(encoder))
    exact = kind in ("ties", "duplicate rows")
    if exact:  # whose products are sums without rounding
        encoder, bias, x = (t.mul(64).round() / 64 for t in (encoder, bias, x))
    z = x.double() @ encoder.double().T + bias
    mask = dense_mask(rule, z, k, cut)
    pairs = select(kernels, rule, x, encoder, bias, k, cut)
    if exact:
        assert torch.equal(pair_mask(pairs, z.shape), mask)
    made = decisions(rule, x, encoder, bias, k, cut)
    assert_agree(as_matrix(pairs, z.shape), z * mask, made)


@pytest.mark.parametrize("seed", range(1 if INTERPRETED else 3))
def test_selection_of_many_rows_of_unequal_size(kernels, seed):
    """What a row keeps must not depend on the rows before it, from which a kernel may guess."""
    g = torch.Generator(torch.get_default_device()).manual_seed(seed)
    n_rows, hidden, k = (10, 24, 3) if INTERPRETED else (700, 150, 5)
    x = torch.randn(n_rows, 6, generator=g) * 10 ** torch.randn(n_rows, 1, generator=g)
    encoder, bias = torch.randn(hidden, 6, generator=g), torch.zeros(hidden)
    for rule in ("topk", "batchtopk"):
        pairs = select(kernels, rule, x, encoder, bias, k, None)
        made = decisions(rule, x, encoder, bias, k, None)
        assert_agree(as_matrix(pairs, (n_rows, hidden)), made.activations(), made)


def test_a_threshold_that_nearly_all_entries_exceed(kernels):
    hidden = 40 if INTERPRETED else 700
    g = torch.Generator(torch.get_default_device()).manual_seed(0)
    x, encoder = torch.randn(5, 3, generator=g), torch.randn(hidden, 3, generator=g)
    bias, low = torch.full((hidden,), 0.25), torch.full((hidden,), -2.0)
    pairs = kernels.select_above(x, encoder, bias, low)
    made = decisions_above(x, encoder, bias, low)
    kept = made.pre * (made.pre > -2.0)
    assert (kept != 0).mean() > 0.8
    assert_agree(as_matrix(pairs, (5, hidden)), kept, made)


def test_selection_check_can_fail():
    x, encoder, bias, _, _, k = problem("plain")
    z = x.double() @ encoder.double().T + bias
    one_less = reference.select_topk(x, encoder, bias, k - 1)
    mask = dense_mask("topk", z, k, None)
    assert not torch.equal(pair_mask(one_less, z.shape), mask)
    with pytest.raises(AssertionError, match="kept by one only"):
        assert_agree(
            as_matrix(one_less, z.shape), z * mask, decisions_topk(x, encoder, bias, k)
        )


@pytest.mark.parametrize(("first", "last"), [(1, 1), (0.01, 1), (1, 0.01), (1, -1)])
def test_the_initial_threshold_changes_no_pair(kernels, first, last, monkeypatch):
    x, encoder, bias, _, _, k = problem("wider than a tile")
    monkeypatch.setattr("nanosae.kernels.cpu.selection.TILE_BYTES", 0)
    monkeypatch.setattr("nanosae.kernels.cpu.screening.TILE_ENTRIES", 0)
    # tiles with very unequal shares
    x = x * torch.linspace(first, last, len(x))[:, None]
    total = k * len(x)
    reference_pairs = reference.select_batchtopk(x, encoder, bias, total)
    plain = real(kernels.select_batchtopk(x, encoder, bias, total))
    shape = len(x), len(encoder)
    made = decisions_batchtopk(x, encoder, bias, total)
    assert_agree(as_matrix(plain, shape), as_matrix(reference_pairs, shape), made)
    if "cuda" in kernels.__name__:  # which does not use it
        return
    for initial in (0.0, 1e-9, 0.5, 3.0, 1e6):
        pairs = real(kernels.select_batchtopk(x, encoder, bias, total, initial))
        assert all(torch.equal(one, two) for one, two in zip(plain, pairs, strict=True))


@pytest.mark.parametrize("rule", ["topk", "batchtopk", "above"])
def test_rows_need_not_be_contiguous(kernels, rule):
    x, encoder, bias, decoder, b_dec, k = problem("odd")
    spread = torch.stack([x, x + 1], dim=2).transpose(0, 1)[..., 0].T
    assert not spread.is_contiguous()
    assert torch.equal(spread, x)
    cut = torch.full_like(bias, 0.1)
    both = [select(kernels, rule, rows, encoder, bias, k, cut) for rows in (x, spread)]
    matrices = [as_matrix(pairs, (len(x), len(encoder))) for pairs in both]
    assert_agree(*matrices, decisions(rule, x, encoder, bias, k, cut))
    args = encoder, bias, decoder, b_dec, both[0], torch.ones_like(x)
    for one, two in zip(
        gradients(kernels, x, *args), gradients(kernels, spread, *args), strict=True
    ):
        torch.testing.assert_close(one, two)


def gradients(kernels, x, encoder, bias, decoder, b_dec, pairs, target):
    """Every gradient of a loss that uses two reconstructions, one by a frozen decoder, and the
    values."""
    leaves = [t.clone().requires_grad_() for t in (encoder, bias, decoder, b_dec)]
    z, recon = backward(kernels, x, *leaves, pairs, target)
    return [z.detach(), recon.detach(), *(leaf.grad for leaf in leaves)]


def backward(kernels, x, encoder, bias, decoder, b_dec, pairs, target):
    plan = kernels.make_plan(pairs, len(encoder))
    z = sparse_encode(x, encoder, bias, pairs, plan, kernels)
    acts = torch.relu(z) ** 1.5
    recon = sparse_decode(acts, decoder, b_dec, pairs, plan, kernels)
    frozen = [decoder.detach(), b_dec.detach()]
    other_recon = sparse_decode(z, *frozen, pairs, plan, kernels)
    loss = ((recon - target) ** 2).sum() + ((other_recon - target) ** 2).sum()
    (loss + z.sin().sum()).backward()
    return z[: int(pairs.row_ptr[-1])], recon


def dense_gradients(x, encoder, bias, decoder, b_dec, pairs, target):
    """The same by dense float64 autograd, as lists in the order of `gradients`."""
    doubles = [t.double() for t in (x, encoder, bias, decoder, b_dec, target)]
    x, encoder, bias, decoder, b_dec, target = doubles
    leaves = [t.clone().requires_grad_() for t in (encoder, bias, decoder, b_dec)]
    mask = pair_mask(pairs, (len(x), len(encoder)))
    z = x @ leaves[0].T + leaves[1]
    recon = torch.where(mask, torch.relu(z) ** 1.5, 0.0) @ leaves[2] + leaves[3]
    other_recon = torch.where(mask, z, 0.0) @ decoder + b_dec
    loss = ((recon - target) ** 2).sum() + ((other_recon - target) ** 2).sum()
    (loss + z[mask].sin().sum()).backward()
    return [z[mask].detach(), recon.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("rule", ["topk", "above"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_every_gradient_agree_with_dense_float64(kernels, rule, kind, shape):
    x, encoder, bias, decoder, b_dec, k = problem(shape, kind=kind)
    # selection is tested above, and takes most of the time when it is interpreted
    selecting = reference if INTERPRETED else kernels
    pairs = select(selecting, rule, x, encoder, bias, k, torch.full_like(bias, 0.1))
    target = torch.randn(x.shape, generator=torch.Generator(x.device).manual_seed(1))
    got = gradients(kernels, x, encoder, bias, decoder, b_dec, pairs, target)
    want = dense_gradients(x, encoder, bias, decoder, b_dec, pairs, target)
    for g, w in zip(got, want, strict=True):
        scale = w.abs().max().clamp_min(1.0) if w.numel() else 1.0
        torch.testing.assert_close(g.double() / scale, w / scale, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["decode_grads", "value_grads"])
def test_gradient_check_can_fail(kernels, monkeypatch, name):
    x, encoder, bias, decoder, b_dec, k = problem("plain")
    pairs = kernels.select_topk(x, encoder, bias, k)
    right = getattr(kernels, name)

    def halves_the_values(*args):
        return right(*args) * 0.5

    monkeypatch.setattr(kernels, name, halves_the_values)
    got = gradients(kernels, x, encoder, bias, decoder, b_dec, pairs, x)
    want = dense_gradients(x, encoder, bias, decoder, b_dec, pairs, x)
    assert not torch.allclose(got[2].double(), want[2], rtol=1e-3)


def test_preallocated_gradients_are_overwritten_then_added_to(kernels):
    x, encoder, bias, decoder, b_dec, k = problem("plain")
    pairs = kernels.select_topk(x, encoder, bias, k)
    single = gradients(kernels, x, encoder, bias, decoder, b_dec, pairs, x)
    encoder, decoder = (
        encoder.clone().requires_grad_(),
        decoder.clone().requires_grad_(),
    )
    for step in range(2):  # the second step must not see the first one's gradient
        reset_gradients([encoder, decoder])
        assert encoder.grad is not None
        assert decoder.grad is not None
        if step:
            encoder.grad.fill_(float("nan"))
            decoder.grad.fill_(float("nan"))
        for _ in range(2):
            backward(kernels, x, encoder, bias, decoder, b_dec, pairs, x)
        torch.testing.assert_close(encoder.grad, 2 * single[2])
        torch.testing.assert_close(decoder.grad, 2 * single[4])


@pytest.mark.parametrize("is_allocated", [False, True])
def test_column_sums_are_those_of_the_dense_matrix(is_allocated):
    x, encoder, bias, *_ = problem("odd")
    shares = torch.linspace(-1, 1, len(encoder))
    weight, offset = encoder.clone().requires_grad_(), bias.clone().requires_grad_()
    exact = [t.double().requires_grad_() for t in (encoder, bias)]
    if is_allocated:
        reset_gradients([weight])
    for _ in range(2):  # the second time is added to the first
        sums = column_sums(x, weight, offset)
        want = (x.double() @ exact[0].T + exact[1]).sum(0)
        (sums * shares).sum().backward()
        (want * shares).sum().backward()
    torch.testing.assert_close(
        sums.detach().double(), want.detach(), rtol=1e-5, atol=1e-5
    )
    for got, leaf in zip((weight, offset), exact, strict=True):
        torch.testing.assert_close(got.grad.double(), leaf.grad, rtol=1e-5, atol=1e-5)


def test_an_initial_threshold_within_rounding_of_the_smallest_kept_entry_changes_no_pair():
    """There z + (bias − threshold) > 0 may hide entries that exceed the threshold."""
    x, encoder, bias, _, _, k = problem("plain")
    bias = bias + 50  # whose rounding is coarse
    total = k * len(x)
    plain = cpu_kernels.select_batchtopk(x, encoder, bias, total)
    threshold = float(plain.values.min()) - 1e-4
    for _ in range(200):
        threshold += 1e-6
        found = cpu_kernels.select_batchtopk(x, encoder, bias, total, threshold)
        assert all(torch.equal(one, two) for one, two in zip(plain, found, strict=True))


def test_the_estimated_threshold_keeps_a_few_too_many():
    g = torch.Generator().manual_seed(0)
    x, encoder = torch.randn(2000, 16, generator=g), torch.randn(300, 16, generator=g)
    bias = torch.randn(300, generator=g)
    for total in (2000, 30_000):
        threshold = estimate_threshold(x, encoder, bias, total)
        n_above = int((x @ encoder.T + bias > threshold).sum())
        assert total < n_above < 1.6 * total
    assert estimate_threshold(x[:0], encoder, bias, 5) == math.inf


def products_of_all_kernels(x, decoder, b_dec, pairs, plan):
    """Decode and every gradient of the `cpu` backend, written over garbage."""
    grad_decoder = torch.full_like(decoder, torch.nan)
    grad_encoder = torch.full_like(decoder, torch.nan)
    values = pairs.values
    recon = cpu_kernels.decode(values, pairs, decoder, b_dec)
    grad = cpu_kernels.decode_grads(x, values, plan, decoder, grad_decoder, False)
    grad_bias = cpu_kernels.encode_grads(grad, plan, x, grad_encoder, False)
    return recon, grad, grad_bias, grad_decoder, grad_encoder


def test_cpu_kernels_give_the_same_bits_for_any_number_of_threads():
    x, encoder, bias, decoder, b_dec, k = problem("wider than a tile")
    pairs = reference.select_topk(x, encoder, bias, k)
    plan = reference.make_plan(pairs, len(encoder))
    threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(products_of_all_kernels(x, decoder, b_dec, pairs, plan))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(
            torch.equal(one, two) for one, two in zip(results[0], other, strict=True)
        )


@pytest.mark.parametrize("shape", ["odd", "k is everything"])
@pytest.mark.parametrize("block_bytes", [1, 100, 1000])
def test_blocks_of_gathered_rows_change_no_bit(block_bytes, shape, monkeypatch):
    x, encoder, bias, decoder, b_dec, k = problem(shape)
    pairs = reference.select_topk(x, encoder, bias, k)
    plan = reference.make_plan(pairs, len(encoder))
    whole = products_of_all_kernels(x, decoder, b_dec, pairs, plan)
    monkeypatch.setattr("nanosae.kernels.cpu.products.PAIRS_PER_BLOCK", 0)
    monkeypatch.setattr("nanosae.kernels.cpu.products.BLOCK_BYTES", block_bytes)
    in_blocks = products_of_all_kernels(x, decoder, b_dec, pairs, plan)
    for one, other in zip(whole, in_blocks, strict=True):
        assert torch.equal(one, other)


def test_gradients_of_no_rows_are_zeros():
    x, encoder, _, decoder, b_dec, _ = problem("odd")
    pairs = no_pairs(x[:0])
    plan = cpu_kernels.make_plan(pairs, len(encoder))
    recon, _, *of_weights = products_of_all_kernels(x[:0], decoder, b_dec, pairs, plan)
    assert len(recon) == 0
    assert all(bool((grad == 0).all()) for grad in of_weights)


def test_the_plan_is_a_stable_sort_by_latent(kernels):
    pairs = Pairs(
        torch.ones(4), torch.tensor([2, 0, 2, 2]).int(), torch.tensor([0, 1, 3, 4])
    )
    plan = kernels.make_plan(pairs, 4)
    assert plan.order.tolist() == [1, 0, 2, 3]
    assert plan.rows.tolist() == [1, 0, 1, 2]
    assert plan.starts.tolist() == [0, 1, 1, 4, 4]


def test_backends_are_chosen_by_device_or_name():
    assert backend(torch.device("cpu")) is cpu_kernels
    assert backend(torch.device("meta")) is reference
    assert backend(torch.device("cpu"), "reference") is reference


def test_a_gpu_with_an_old_torch_does_without_triton(monkeypatch):
    class OldFlags:
        """Of PyTorch before 2.9, which refuses to read other flags."""

        allow_tf32 = False

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert _runs_triton()
    monkeypatch.setattr(torch.backends.cuda, "matmul", OldFlags())
    assert backend(torch.device("cuda")) is reference
    with pytest.raises(ExtraError, match=r"needs Triton and PyTorch 2\.9 or newer"):
        backend(torch.device("cuda"), "cuda")


def test_of_no_rows_nothing_is_kept(kernels):
    _, encoder, bias, *_ = problem("odd")
    none = encoder[:0]
    for pairs in (
        kernels.select_topk(none, encoder, bias, 2),
        kernels.select_batchtopk(none, encoder, bias, 2),
        kernels.select_above(none, encoder, bias, torch.zeros_like(bias)),
    ):
        assert (len(pairs.values), pairs.row_ptr.tolist()) == (0, [0])
