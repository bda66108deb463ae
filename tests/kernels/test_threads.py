"""PyTorch has as many threads as the program or its environment has set, also beside numba."""

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
