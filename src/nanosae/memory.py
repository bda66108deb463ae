"""How much memory this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def memory_limit() -> float:
    """Return how many bytes this process may use; infinity if the system does not tell.

    This is the memory of the machine, or a lower limit on the process (`ulimit -v`) or on its
    control group, as containers and batch systems set it.
    """
    limits = [_memory_of_machine(), _limit_of_process(), *_limits_of_groups()]
    return min(limits)


def _memory_of_machine() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return math.inf


def _limit_of_process() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return math.inf if soft_limit == resource.RLIM_INFINITY else soft_limit


def _limits_of_groups() -> Iterator[float]:
    """Yield the limits of the control groups of this process, in version 1 or 2, if there are any.

    A group is bound by the limits of those that it is in, too.
    """
    for root, name, group in _memory_groups():
        folder = root / group.lstrip("/")
        # a container may not see the folder of its own group, but its limit at the root
        for place in (folder, *folder.parents):
            if place.is_relative_to(root):
                yield _number_in(place / name)


def _memory_groups() -> Iterator[tuple[Path, str, str]]:
    """Yield root folder, name of the file with the limit, and path of this process's groups."""
    try:
        lines = OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            yield GROUPS, "memory.max", group
        elif "memory" in controllers.split(","):
            yield GROUPS / "memory", "memory.limit_in_bytes", group


def _number_in(path: Path) -> float:
    """Return the number in a file; infinity if there is none, or "max" in it."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return math.inf
