"""Where metrics go besides the run folder: a progress bar, Weights & Biases, TensorBoard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nanosae.errors import ConfigError
from nanosae.extras import extra
from nanosae.runs.folder import current

Line = dict[str, Any]
Progress = bool | Callable[[float], None]  # show a bar, or call with the share done


class Sink(NamedTuple):
    """A destination for lines of metrics."""

    write: Callable[[Line], object]
    close: Callable[[], object]


def progress_sink(progress: Progress, n_steps: int, step: int) -> Sink:
    """Show a bar, or call a function with the share of steps done."""
    if not callable(progress):
        return progress_bar(n_steps, step)

    def write(line: Line) -> None:
        progress(line["step"] / max(line.get("steps_planned", 0), line["step"], 1))

    return Sink(write, lambda: None)


def progress_bar(n_steps: int, step: int) -> Sink:
    """Show a tqdm bar of steps with loss, FVU, L0, dead share and rows per second."""
    from tqdm.auto import tqdm

    bar = tqdm(total=n_steps, initial=step, unit="step", dynamic_ncols=True)

    def write(line: Line) -> None:
        if "loss" not in line:  # the last line
            return
        shown = {}
        for name in ("loss", "fvu", "l0", "dead"):
            shown[name] = f"{line[name]:.3g}"
        shown["rows/s"] = f"{line['rows_per_second']:,.0f}"
        bar.set_postfix(shown, refresh=False)
        bar.total = line["steps_planned"]
        bar.update(line["step"] - bar.n)

    return Sink(write, bar.close)


def wandb(project: str, config: dict[str, Any], folder: Path | None = None) -> Sink:
    """Send every line to Weights & Biases.

    Args:
        project: The project; `project/name` also names the run.
        config: Settings to show with the run.
        folder: The run folder; a resumed training there continues the same wandb run.
    """
    module = extra("wandb", "wandb", "wandb=")
    project, _, name = project.partition("/")
    options: dict[str, Any] = {"project": project, "config": config}
    if name:
        options["name"] = name
    if folder is not None:
        options |= {"id": _run_id(folder), "resume": "allow"}
    run = module.init(**options)

    def write(line: Line) -> None:
        run.log(_numbers(line), step=line["step"])

    return Sink(write, run.finish)


def tensorboard(folder: Path | None, step: int) -> Sink:
    """Write the numbers of each line, and density histograms, for TensorBoard.

    Args:
        folder: The run folder.
        step: The step from which training continues; entries of later steps are discarded.

    Raises:
        ConfigError: If there is no folder.
    """
    if folder is None:
        raise ConfigError("tensorboard=True needs a run folder.", remedy="Give run=….")
    extra("tensorboard", "tensorboard", "tensorboard=")
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step or None)

    def write(line: Line) -> None:
        for name, value in _numbers(line).items():
            writer.add_scalar(name, value, line["step"])
        if "density_histogram" in line:
            _write_histogram(writer, line["density_histogram"], line["step"])

    return Sink(write, writer.close)


def _write_histogram(writer: Any, counts: list[int], step: int) -> None:
    """Write the histogram of features by log10 density, in equal bins from −6 to 0."""
    edges = np.linspace(-6, 0, len(counts) + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    weights = np.array(counts, float)
    writer.add_histogram_raw(
        "log10_density",
        min=-6.0,
        max=0.0,
        num=int(weights.sum()),
        sum=float(weights @ middles),
        sum_squares=float(weights @ middles**2),
        bucket_limits=edges[1:].tolist(),
        bucket_counts=counts,
        global_step=step,
    )


def _numbers(line: Line) -> dict[str, float]:
    """Return the numbers of a line; those in nested dictionaries are called group/name."""
    flat = {}
    for name, value in line.items():
        if isinstance(value, dict):
            flat |= {f"{name}/{inner}": number for inner, number in value.items()}
        elif isinstance(value, int | float):
            flat[name] = value
    return flat


def _run_id(folder: Path) -> str:
    """Return an id that stays the same when the training in a run folder is resumed."""
    settings = current(folder) / "config.json"
    began = settings.stat().st_mtime_ns if settings.exists() else ""
    training = f"{folder.absolute()} {began}"
    return hashlib.sha256(training.encode()).hexdigest()[:16]
