"""Where metrics go besides the run folder: a progress bar, Weights & Biases, TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from nanosae.extras import extra

Line = dict[str, Any]
Progress = bool | Callable[[float], None]  # show a bar, or tell the share that is done


class Sink(NamedTuple):
    """What takes lines of metrics."""

    write: Callable[[Line], object]
    close: Callable[[], object]


def progress_sink(progress: Progress, n_steps: int, step: int) -> Sink:
    """Show a bar, or tell a function the share of the steps that are done."""
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


def wandb(project: str, config: dict[str, Any]) -> Sink:
    """Send every line to Weights & Biases."""
    run = extra("wandb", "wandb", "wandb=").init(project=project, config=config)

    def write(line: Line) -> None:
        run.log(_numbers(line), step=line["step"])

    return Sink(write, run.finish)


def tensorboard(folder: Path) -> Sink:
    """Write every number of a line as a scalar for TensorBoard."""
    module = extra("tensorboard", "torch.utils.tensorboard", "tensorboard=")
    writer = module.SummaryWriter(str(folder))

    def write(line: Line) -> None:
        for name, value in _numbers(line).items():
            writer.add_scalar(name, value, line["step"])

    return Sink(write, writer.close)


def _numbers(line: Line) -> dict[str, float]:
    return {
        name: value for name, value in line.items() if isinstance(value, int | float)
    }
