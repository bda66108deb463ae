"""One thread for small matrices, and as many as before for what follows."""

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from nanosae.analysis import blas
from nanosae.analysis.comparisons import hypotheses
from nanosae.analysis.names import naming


def blas_threads():
    return {
        pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
    }


@pytest.fixture
def two_threads():
    with threadpool_limits(limits=2, user_api="blas"):
        if blas_threads() != {2}:
            pytest.skip("there is no BLAS with threads here")
        yield


def test_one_thread_inside_and_as_many_as_before_outside(two_threads):
    assert blas.with_one_blas_thread(blas_threads)() == {1}
    assert blas_threads() == {2}


def test_threads_are_restored_after_an_error(two_threads):
    def fail():
        raise KeyError(blas_threads())

    with pytest.raises(KeyError, match="1"):
        blas.with_one_blas_thread(fail)()
    assert blas_threads() == {2}


def test_comparisons_and_names_multiply_with_one_thread():
    for function in (hypotheses.answer_and_rows, naming.choose_names):
        assert function.__wrapped__ is not None
