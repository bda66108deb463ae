"""Predicates on Arrow types, and Arrow's compute functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # typed as Any, because its functions are generated on import
SAMPLE_ROWS = 20_000  # of a column, in which patterns are looked for first
SAMPLE_BLOCK = 100  # neighbouring rows of such a sample
LARGEST_EXACT = 2**53  # from here, not every integer is a float


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds numbers."""
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(check(kind) for check in checks)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds lists of any length."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def is_vector(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds lists of numbers."""
    holds_lists = is_list(kind) or pa.types.is_fixed_size_list(kind)
    return holds_lists and is_number(kind.value_type)


def without_dictionary(values: pa.Array | pa.ChunkedArray) -> Any:
    """Return the values of a column that is stored as a dictionary; return any other unchanged."""
    if not pa.types.is_dictionary(values.type):
        return values
    return values.cast(values.type.value_type)


def holds_matrices(kind: pa.DataType) -> bool:
    """Return whether the cells of a column of this type are lists of vectors, or tensors.

    Example:
        >>> vector = pa.list_(pa.float32())
        >>> holds_matrices(pa.list_(vector)), holds_matrices(vector)
        (True, False)
    """
    if len(getattr(kind, "shape", ())) > 1:  # a tensor of Arrow or Hugging Face
        return True
    if not (is_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    return is_vector(kind.value_type) or holds_matrices(kind.value_type)


def whole_numbers(values: pa.Array | pa.ChunkedArray) -> Any:
    """Return floats as int64 if all of them are whole, otherwise None.

    Example:
        >>> whole_numbers(pa.array([1999.0, None])).to_pylist(), whole_numbers(pa.array([0.5]))
        ([1999, None], None)
    """
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def bounds(values: pa.Array | pa.ChunkedArray) -> tuple[Any, Any]:
    """Return the smallest and the largest number; None and None if there are none."""
    low, high = (bound.as_py() for bound in pc.min_max(values).values())
    return low, high


def exceeds_integers(values: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether floats may have been read from integers of more digits than floats hold.

    Example:
        >>> exceeds_integers(pa.array([0.5, 2.0**54])), exceeds_integers(pa.array([0.5, None]))
        (True, False)
    """
    if not pa.types.is_floating(values.type):
        return False
    _, high = bounds(pc.abs(values))
    return high is not None and high >= LARGEST_EXACT


def spread_sample(values: pa.ChunkedArray) -> pa.Array:
    """Return up to 20,000 values from all parts of a column, which may be sorted.

    Example:
        >>> by_decade = pa.chunked_array([[1950] * 30_000, [1960] * 30_000])
        >>> len(spread_sample(by_decade)), pc.unique(spread_sample(by_decade)).to_pylist()
        (20000, [1950, 1960])
    """
    if len(values) <= SAMPLE_ROWS:
        return values.combine_chunks()
    n_blocks = SAMPLE_ROWS // SAMPLE_BLOCK
    starts = np.linspace(0, len(values) - SAMPLE_BLOCK, n_blocks).astype(int)
    chunks = [
        chunk
        for start in starts.tolist()
        for chunk in values.slice(start, SAMPLE_BLOCK).chunks
    ]
    return pa.chunked_array(chunks).combine_chunks()


def most_frequent(values: pa.Array | pa.ChunkedArray) -> Any:
    """Return the most frequent value, the first of several."""
    counted = pc.value_counts(values)
    counts = counted.field("counts")
    place = pc.index(counts, pc.max(counts)).as_py()
    return counted.field("values")[place].as_py()


def share(holds: pa.Array | pa.ChunkedArray) -> float:
    """Return the share of true values among those that are not null; 0 if there are none."""
    return pc.mean(holds.cast(pa.float64())).as_py() or 0.0


def kind_words(kind: pa.DataType) -> str:
    """Describe the values of a type for users who do not know Arrow.

    Example:
        >>> kind_words(pa.list_(pa.struct([("a", pa.int64())]))), kind_words(pa.time64("us"))
        ('lists of records', 'times of the day')
    """
    types = pa.types
    if is_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        return (
            "empty lists" if types.is_null(inner) else f"lists of {kind_words(inner)}"
        )
    checks = {
        "records": types.is_struct,
        "maps": types.is_map,
        "times of the day": types.is_time,
        "lengths of time": types.is_duration,
        "numbers": is_number,
        "texts": is_text,
    }
    for words, check in checks.items():
        if check(kind):
            return words
    has_bytes = types.is_binary(kind) or types.is_fixed_size_binary(kind)
    return "bytes" if has_bytes else f"{kind} values"
