"""The memory that a process may use: that of the machine, and lower limits on the process."""

import math
import subprocess
import sys

import pytest

from nanosae import memory
from nanosae.memory import memory_limit

PARTS = ("_memory_of_machine", "_limit_of_process")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 1,000 bytes; returns a function that sets the group and writes its limits."""
    for name in PARTS:
        monkeypatch.setattr(memory, name, lambda: 1000)
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "own")

    def groups(own, **limits):
        (tmp_path / "own").write_text(own)
        for folder, content in limits.items():
            file = tmp_path / "groups" / folder.replace("_", "/")
            name = "memory.limit_in_bytes" if "memory" in folder else "memory.max"
            file.mkdir(parents=True, exist_ok=True)
            (file / name).write_text(content)

    return groups


def test_without_groups_the_machine_decides(machine):
    assert memory_limit() == 1000


@pytest.mark.parametrize(
    ("own", "limits", "want"),
    [
        ("0::/job/step\n", {"job_step": "700\n", "job": "max\n"}, 700),
        ("0::/job/step\n", {"job_step": "max\n", "job": "600\n"}, 600),
        ("0::/job/step\n", {"job_step": "5000\n"}, 1000),
        ("0::/job\n", {"other": "10\n"}, 1000),
        ("5:cpu,memory:/box\n0::/\n", {"memory_box": "500\n"}, 500),
        (
            "5:memory:/box\n",
            {"memory": "400\n", "memory_box": "9223372036854771712\n"},
            400,
        ),
        ("5:cpu:/memory\n", {"memory": "300\n"}, 1000),
        # in a container, whose own group is the root that it sees
        ("5:memory:/docker/4f2a\n", {"memory": "200\n"}, 200),
    ],
)
def test_the_lowest_limit_of_the_groups_counts(machine, own, limits, want):
    machine(own, **limits)
    assert memory_limit() == want


def test_a_system_that_tells_nothing_has_no_limit(machine, monkeypatch):
    for name in PARTS:
        monkeypatch.setattr(memory, name, lambda: math.inf)
    assert memory_limit() == math.inf


@pytest.mark.skipif(sys.platform != "linux", reason="others enforce no such limit")
def test_the_limit_of_a_process_counts():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); "
        "from nanosae.memory import memory_limit; print(memory_limit())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(2**31), done.stderr
