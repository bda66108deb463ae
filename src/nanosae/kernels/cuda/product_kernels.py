"""Triton kernels for products over pairs: dot products, and weighted sums of gathered rows."""

# pyright: reportOperatorIssue=false
# Triton types its constants as objects of its own
import triton
import triton.language as tl
from triton.language import constexpr


@triton.jit
def pair_dots(
    grad,
    weight,
    order,
    rows,
    latents,
    nnz,
    out,
    size,
    width,
    N: constexpr,
    W: constexpr,
):
    """Write the dot product of each pair's row of `grad` and latent's weight; 0 for padding."""
    place = tl.program_id(0) * N + tl.arange(0, N)
    is_pair = place < tl.load(nnz)
    row = tl.load(rows + place, is_pair, 0).to(tl.int64)
    latent = tl.load(latents + place, is_pair, 0).to(tl.int64)
    total = tl.zeros([N], tl.float32)
    for first_col in range(0, width, W):
        col = first_col + tl.arange(0, W)
        inside = is_pair[:, None] & (col < width)[None, :]
        of_row = grad + row[:, None] * width
        left = tl.load(of_row + col[None, :], inside, 0.0)
        of_latent = weight + latent[:, None] * width
        right = tl.load(of_latent + col[None, :], inside, 0.0)
        total += tl.sum(left * right, 1)
    pair = tl.load(order + place, place < size, 0)
    tl.store(out + pair, total, place < size)


@triton.jit
def segment_sums(
    values,
    order,
    picks,
    starts,
    dense,
    out,
    value_sums,
    width,
    accumulate,
    N: constexpr,
    W: constexpr,
):
    """Write (or add) Σ value · gathered row of `dense` for each segment; write Σ value, too."""
    segment = tl.program_id(0)
    col = tl.program_id(1) * W + tl.arange(0, W)
    start = tl.load(starts + segment)
    end = tl.load(starts + segment + 1)
    out += segment.to(tl.int64) * width
    total = tl.load(out + col, col < width * accumulate, 0.0)
    value_sum = tl.zeros([N], tl.float32)
    for first_place in range(start, end, N):
        place = first_place + tl.arange(0, N)
        is_pair = place < end
        row = tl.load(picks + place, is_pair, 0).to(tl.int64)
        pair = place
        if order is not None:
            pair = tl.load(order + place, is_pair, 0).to(tl.int64)
        value = tl.load(values + pair, is_pair, 0.0)
        inside = is_pair[:, None] & (col < width)[None, :]
        of_row = dense + row[:, None] * width
        gathered = tl.load(of_row + col[None, :], inside, 0.0)
        total += tl.sum(value[:, None] * gathered, 0)
        value_sum += value
    tl.store(out + col, total, col < width)
    if tl.program_id(1) == 0:
        tl.store(value_sums + segment, tl.sum(value_sum, 0))
