"""PyTorch has as many threads as the program or its environment has set, also beside numba.

Threads do not survive a fork.
"""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # each starts a process

# prints the number of PyTorch's threads before and after the first kernel
USE_A_KERNEL = """
import json, sys, torch
if len(sys.argv) > 1:
    torch.set_num_threads(int(sys.argv[1]))
before = torch.get_num_threads()
if "numba alone" in sys.argv:
    import numba
    numba.get_num_threads()
else:
    import nanosae.kernels.cpu
    nanosae.kernels.cpu.select_topk(torch.ones(3, 2), torch.ones(4, 2), torch.ones(4), 1)
print(json.dumps([before, torch.get_num_threads()]))
"""


def counted(*words, **environment):
    variables = {k: v for k, v in os.environ.items() if "_NUM_THREADS" not in k}
    done = subprocess.run(
        [sys.executable, "-c", USE_A_KERNEL, *words],
        env=variables | {"NUMBA_NUM_THREADS": "3"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_number_that_the_environment_sets_is_kept():
    assert counted(OMP_NUM_THREADS="1") == [1, 1]


def test_the_number_that_a_program_sets_is_kept():
    assert counted("2") == [2, 2]


def test_numba_alone_changes_it():
    before, after = counted("1", "numba alone")
    if after == 1:
        pytest.skip("numba's threads are not those of OpenMP here")
    assert (before, after) == (1, 3)


# prints what a fork of a process selects, or why it does not
SELECT_IN_A_FORK = """
import multiprocessing, sys, torch
from nanosae.errors import ForkError
from nanosae.kernels import backend

def select(_):
    try:
        kernels = backend(torch.device("cpu"))
    except ForkError as error:
        return str(error)
    pairs = kernels.select_topk(torch.ones(3, 2), torch.ones(4, 2), torch.ones(4), 1)
    return pairs.values.tolist()

if sys.argv[1] == "after use":
    select(None)
with multiprocessing.get_context("fork").Pool(1) as pool:
    (found,) = pool.map_async(select, [None]).get(timeout=60)
print(found)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_a_fork_of_a_process_with_threads_is_refused_instead_of_waiting_forever():
    def printed(when):
        done = subprocess.run(
            [sys.executable, "-c", SELECT_IN_A_FORK, when],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert printed("before use") == "[3.0, 3.0, 3.0]"
    assert 'get_context("spawn")' in printed("after use")
