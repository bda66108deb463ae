"""The GPU backend, in Triton: selection, decode, value gradients and both weight gradients.

Every float is written by one program, which adds in a fixed order, and atomics count integers only,
so that results are bitwise reproducible. Only `select_above` waits for the device: `select_topk`
and `select_batchtopk` return B·k pairs, of which those from `row_ptr[-1]` on are padding (value
`PADDING`, latent 0), which no kernel reads and whose gradient is zero. Float32 only.
"""

from nanosae.kernels.cuda.products import (
    decode,
    decode_grads,
    encode_grads,
    make_plan,
    value_grads,
)
from nanosae.kernels.cuda.selection import (
    PADDING,
    select_above,
    select_batchtopk,
    select_topk,
)

__all__ = [
    "PADDING",
    "decode",
    "decode_grads",
    "encode_grads",
    "make_plan",
    "select_above",
    "select_batchtopk",
    "select_topk",
    "value_grads",
]
