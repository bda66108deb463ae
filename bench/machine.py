"""Facts on the machine that a result depends on, and where results are kept."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


def facts() -> dict[str, Any]:
    """Return processor, cores, threads, load, versions and commit."""
    cpu = platform.processor()
    if (path := Path("/proc/cpuinfo")).exists():
        names = [
            line.partition(":")[2].strip()
            for line in path.read_text().splitlines()
            if "model name" in line
        ]
        cpu = names[0] if names else cpu
    git = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10"]
    commit = subprocess.run(
        git, capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "numba", "numpy")
    }
    gpu = {}
    if torch.cuda.is_initialized():
        gpu = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
        versions["triton"] = importlib.metadata.version("triton")
    return gpu | {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def save(kind: str, report: dict[str, Any]) -> Path:
    """Write a report to bench/results/KIND-TIME.json.

    Raises:
        ValueError: If it contains an absolute path, which is meaningless on other machines.
    """
    if paths := absolute_paths(report):
        raise ValueError(f"{kind} names {paths}: give the names of the data instead.")
    stamp = report["machine"]["time"].replace(":", "").replace("-", "")
    path = HERE / "results" / f"{kind}-{stamp}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path


def absolute_paths(value: Any) -> list[str]:
    """Return the strings in a report that are absolute paths."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [path for part in value for path in absolute_paths(part)]
    if isinstance(value, str) and Path(value).is_absolute():
        return [value]
    return []
