"""What is set before a command begins: how threads wait, and when lines are printed."""

import subprocess
import sys

import pytest

from nanosae import __main__ as entry

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, entry.SPINS),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_waiting_threads_spin_briefly_unless_told_otherwise(
    monkeypatch, given, expected
):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what is set here does not stay
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    entry.sleep_while_waiting()
    assert entry.os.environ.get("GOMP_SPINCOUNT") == expected


def test_it_is_said_before_torch_is_loaded():
    code = "import sys, nanosae.__main__; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_lines_are_printed_at_once_to_another_program():
    code = (
        "import sys; sys.argv = ['nanosae', '--version']; "
        "from nanosae.__main__ import main; main(); "
        "print(sys.stdout.line_buffering)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "True"
