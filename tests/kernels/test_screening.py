"""Screened selection: its bounds, against float64 on data that are made to break them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanosae.kernels import cpu, reference
from nanosae.kernels.cpu import capability, screening, selection
from nanosae.kernels.cpu.rounding import round_rows
from screened import exact_product, force_screening

KINDS = (
    "normal",
    "one dominant entry",
    "constant",
    "two values",
    "opposite",
    "along the rest",
    "zero",
)
SCALES = (-43, -38, -30, -12, 0, 5, 12)  # powers of ten; the least ones are denormal


@pytest.fixture
def screened(monkeypatch):
    force_screening(monkeypatch)


def vectors(kind, number, width, generator, rests):
    """Rows of one kind; `rests` is what rounding leaves of the other factor's first row."""
    rows = generator.normal(size=(number, width))
    if kind == "one dominant entry":
        rows[:, generator.integers(width)] *= 1e3
    if kind == "constant":
        rows[:] = rows[:, :1]
    if kind == "two values":
        rows = np.where(rows > 0, 1.0, -0.0039)
    if kind == "opposite":
        rows[1::2] = -rows[: len(rows[1::2])]
    if kind == "along the rest":  # codes of ±127 leave no rest of their own
        rows[:] = np.sign(rests)
    if kind == "zero":
        rows[::2] = 0
    return rows


def rest_of(rows):
    """What rounding to 8 bits leaves of the first row, computed by itself."""
    scale = np.abs(rows[0]).max() / 127
    if scale == 0:
        return rows[0]
    return rows[0] - scale * np.rint(rows[0] / scale)


@st.composite
def problems(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = draw(st.sampled_from([1, 7, 64, 384, 1500]))
    n_latents = draw(st.integers(1, 40))
    x = vectors(draw(st.sampled_from(KINDS)), 2, width, generator, np.ones(width))
    weight = vectors(
        draw(st.sampled_from(KINDS)), n_latents, width, generator, rest_of(x)
    )
    x *= 10.0 ** draw(st.sampled_from(SCALES))
    weight *= 10.0 ** draw(st.sampled_from(SCALES))
    bias = generator.normal(size=n_latents) * 10.0 ** draw(st.sampled_from(SCALES))
    return tuple(
        torch.from_numpy(part.astype(np.float32)) for part in (x, weight, bias)
    )


def lost_entries(x, weight, bias):
    """Number of entries of the first row that exceed a threshold just below them and are lost."""
    row = x[:1]
    exact = (row.double() @ weight.double().T + bias.double())[0]
    lengths = row.double().norm() * weight.double().norm(dim=1)
    rounding = 1e-6 * lengths * (1 + row.shape[1] / 64) + 2e-7 * bias.abs() + 1e-37
    thresholds = (exact - rounding).float() - rounding.float()
    pairs = selection.select_above(row, weight, bias, thresholds)
    return len(weight) - len(pairs.values)


@settings(deadline=None, max_examples=150)
@given(problem=problems())
def test_no_entry_that_exceeds_its_threshold_is_lost(problem):
    with pytest.MonkeyPatch.context() as patch:
        force_screening(patch)
        assert lost_entries(*problem) == 0


@pytest.mark.parametrize("share", [1.0, 0.8])
@pytest.mark.parametrize("part", ["rests", "code_lengths"])
def test_a_bound_that_is_too_small_loses_entries(screened, monkeypatch, part, share):
    """Latents along what rounding leaves of a row attain the bound; so do rows along a latent's."""
    generator = np.random.default_rng(0)
    one = generator.normal(size=(1, 384))
    other = np.tile(np.sign(rest_of(one)), (5, 1))
    x, weight = (one, other) if part == "rests" else (other[:1], one)
    x, weight = (torch.from_numpy(rows.astype(np.float32)) for rows in (x, weight))

    def round_too_well(rows):
        rounded = round_rows(rows)
        return rounded._replace(**{part: share * getattr(rounded, part)})

    monkeypatch.setattr(screening, "round_rows", round_too_well)
    lost = lost_entries(x, weight, torch.zeros(len(weight)))
    assert lost == (0 if share == 1.0 else len(weight))


def test_rounding_is_described_by_float64():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 37, generator=generator)
    rows *= 10.0 ** torch.arange(-30, 10, 0.8)[:50, None]
    rounded = round_rows(rows)
    codes = rounded.codes.double()
    exact = rows.double()
    made = rounded.scales.double()[:, None] * codes
    assert rounded.codes.abs().amax(1).tolist() == [127] * 50
    torch.testing.assert_close(made, exact, rtol=0, atol=float(rows.abs().max()) / 254)
    lengths = {"lengths": exact, "code_lengths": made, "rests": exact - made}
    for name, of in lengths.items():
        stated, true = getattr(rounded, name).double(), of.norm(dim=1)
        assert (stated >= true).all()
        torch.testing.assert_close(stated, true, rtol=2e-6, atol=0)


def integers(n_rows, n_latents, width, seed=0):
    """Factors of small integers, whose products float32 adds without rounding; with many ties."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-9, 10, (n_rows, width), generator=g).float()
    weight = torch.randint(-3, 4, (n_latents, width), generator=g).float()
    bias = torch.randint(-5, 6, (n_latents,), generator=g).float()
    x[3] = 0
    weight[7] = weight[2]
    return x, weight, bias


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bias_shift", [0.0, -40.0])
def test_ties_are_kept_as_by_the_reference(screened, seed, bias_shift):
    x, weight, bias = integers(150, 601, 40, seed)
    bias += bias_shift
    cut = torch.linspace(-3, 60, len(bias)).round()
    for found, wanted in (
        (
            cpu.select_topk(x, weight, bias, 6),
            reference.select_topk(x, weight, bias, 6),
        ),
        (
            cpu.select_batchtopk(x, weight, bias, 700, 20.0),
            reference.select_batchtopk(x, weight, bias, 700),
        ),
        (
            cpu.select_above(x, weight, bias, cut),
            reference.select_above(x, weight, bias, cut),
        ),
    ):
        assert len(wanted.values) > 0
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_most_entries_are_not_computed(screened, monkeypatch):
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(64, 128, generator=g), torch.randn(900, 128, generator=g)
    rounded = screening.with_rounding(round_rows(x)), round_rows(weight)
    rows, latents = rounded
    products = torch.empty(64, 900, dtype=torch.int32)
    exact_product(rows.codes, latents.codes.T, out=products)
    middle = products * rows.scales[:, None] * latents.scales
    errors = rows.rests[:, None] * latents.lengths
    errors += rows.code_lengths[:, None] * latents.rests
    exact = x.double() @ weight.double().T
    assert ((exact - middle).abs() <= errors).all()
    twentieth = exact.flatten().topk(64 * 45).values[-1]
    candidates = int((middle + errors > twentieth).sum())
    assert 64 * 45 < candidates < 3 * 64 * 45


def test_values_depend_on_nothing_but_row_and_latent(screened):
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(700, 48, generator=g), torch.randn(520, 48, generator=g)
    bias = torch.randn(520, generator=g)
    cut = torch.full_like(bias, 9.0)
    whole = cpu.select_above(x, weight, bias, cut)
    ends = whole.row_ptr
    alone = cpu.select_above(x[600:601], weight, bias, cut)
    assert torch.equal(alone.values, whole.values[ends[600] : ends[601]])
    largest = cpu.select_topk(x[600:601], weight, bias, len(alone.values))
    assert torch.equal(largest.values, alone.values)


def test_bits_are_the_same_for_any_number_of_threads(screened):
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(700, 48, generator=g), torch.randn(520, 48, generator=g)
    bias = torch.randn(520, generator=g)
    threads = torch.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(
                [
                    *cpu.select_topk(x, weight, bias, 9),
                    *cpu.select_batchtopk(x, weight, bias, 9 * 700, None),
                ]
            )
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e20])
@pytest.mark.parametrize("place", ["x", "weight", "bias"])
def test_what_cannot_be_bounded_is_left_to_float32(screened, number, place):
    x, weight, bias = integers(70, 520, 40)
    {"x": x[5], "weight": weight[11], "bias": bias[4:5]}[place][0] = number
    above = screening.screened_above(x, weight, bias, torch.full_like(bias, 30.0))
    if place == "bias" and number == number:  # infinite and large ones can be compared
        assert above is not None
        wanted = reference.select_above(x, weight, bias, torch.full_like(bias, 30.0))
        assert torch.equal(above.cols, wanted.cols)
        assert torch.equal(above.values, wanted.values)
    else:
        assert above is None
        assert screening.screened_topk(x, weight, bias, 3) is None
        cpu.select_topk(x, weight, bias, 3)  # takes the other path


@pytest.mark.parametrize("outlier", [1.0, 100.0])
def test_rows_with_outliers_are_left_to_float32(screened, monkeypatch, outlier):
    """Of which rounding by one scale leaves nothing but the outlier."""
    monkeypatch.setattr(screening, "LARGEST_ERROR", 1.2)
    g = torch.Generator().manual_seed(0)
    x, weight = torch.randn(200, 576, generator=g), torch.randn(90, 576, generator=g)
    x[:, 17] *= outlier
    bias, cut = torch.zeros(90), torch.full((90,), 40.0)
    above = screening.screened_above(x, weight, bias, cut)
    assert (above is None) == (outlier > 1)
    assert len(cpu.select_above(x, weight, bias, cut).values) > 0


def test_paths_are_chosen_by_sizes_and_by_the_processor(monkeypatch):
    n_rows, weight = 2**8, torch.zeros(2**12, 2**8)
    monkeypatch.setattr(selection, "selects_by_screening", lambda: True)
    assert selection.is_screened(n_rows, weight)
    assert not selection.is_screened(n_rows - 1, weight)
    assert not selection.is_screened(2 * n_rows, weight[1:])
    assert not selection.is_screened(n_rows, weight.double())
    assert not selection.is_screened(n_rows, weight.view(-1, 1))
    monkeypatch.setattr(selection, "selects_by_screening", lambda: False)
    assert not selection.is_screened(n_rows, weight)


def test_rows_so_wide_that_integers_overflow_are_not_screened(screened):
    width = 2**18
    assert 127**2 * width > 2**31
    row = torch.ones(1, width)
    pairs = cpu.select_above(row, row, torch.zeros(1), torch.zeros(1))
    assert pairs.values.tolist() == [width]


@pytest.mark.skipif(
    not capability.selects_by_screening(), reason="needs 8-bit dot products"
)
@pytest.mark.parametrize("width", [selection.MIN_WIDTH, 3, 4, 17, 63, 64, 65, 384])
def test_products_on_this_machine_are_exact(width):
    for n_rows, n_latents in [(1, 1), (1, 64), (2, 3), (17, 100), (256, 1001)]:
        codes = [
            torch.randint(-127, 128, (n, width), dtype=torch.int8)
            for n in (n_rows, n_latents)
        ]
        found = torch.empty(n_rows, n_latents, dtype=torch.int32)
        capability.multiply_codes(*codes, found)
        wanted = torch.empty_like(found)
        exact_product(codes[0], codes[1].T, out=wanted)
        assert torch.equal(found, wanted)


def test_the_processor_must_multiply_exactly(monkeypatch):
    def with_capabilities(**names):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names, raising=False)
        capability._multiplies_integers.cache_clear()
        return capability.selects_by_screening(), cpu.selection_path()

    def saturating(codes, other, *, out):
        pairs = (codes.double() @ other.double()).clamp(-(2**15), 2**15 - 1)
        return out.copy_(pairs.to(torch.int32))

    monkeypatch.setenv(capability.SWITCH, "1")
    monkeypatch.setattr(torch, "_int_mm", exact_product)
    try:
        assert with_capabilities(avx2=True) == (False, "float32")
        assert with_capabilities(avx512_vnni=True) == (True, "8-bit screening")
        monkeypatch.setenv(capability.SWITCH, "0")
        assert with_capabilities(avx512_vnni=True) == (False, "float32")
        monkeypatch.setenv(capability.SWITCH, "1")
        monkeypatch.setattr(torch, "_int_mm", saturating)
        assert with_capabilities(avx512_vnni=True) == (False, "float32")
        monkeypatch.delattr(torch, "_int_mm")
        assert with_capabilities(avx512_vnni=True) == (False, "float32")
    finally:
        capability._multiplies_integers.cache_clear()
