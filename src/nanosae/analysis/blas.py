"""Threads of the library that multiplies NumPy's matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")


def with_one_blas_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function multiply matrices with one thread, which is best if they are small.

    Threads wait for each other after each product. Beside another busy process, a small product of
    two threads takes many times as long as that of one.

    Example:
        >>> with_one_blas_thread(sum)([3, 4])
        7
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with threadpool_limits(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return call
