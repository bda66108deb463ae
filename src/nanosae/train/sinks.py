"""Where metrics go besides the run folder: a progress bar, Weights & Biases, TensorBoard.

A sink is a function of one dictionary; None closes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanosae.extras import extra

Sink = Callable[[dict[str, Any] | None], None]


def bar(total: int, step: int) -> Sink:
    """Show a tqdm bar of steps with loss, FVU, L0, dead share and rows per second."""
    from tqdm.auto import tqdm

    progress = tqdm(total=total, initial=step, unit="step", dynamic_ncols=True)

    def show(line: dict[str, Any] | None) -> None:
        if line is None:
            progress.close()
        elif "loss" in line:
            progress.total = line["steps_planned"]
            shown = {name: f"{line[name]:.3g}" for name in ("loss", "fvu", "l0", "dead")}
            progress.set_postfix(
                shown | {"rows/s": f"{line['rows_per_second']:,.0f}"}, refresh=False
            )
            progress.update(line["step"] - progress.n)

    return show


def wandb(project: str, config: dict[str, Any]) -> Sink:
    """Send every line to Weights & Biases."""
    run = extra("wandb", "wandb", "wandb=").init(project=project, config=config)

    def send(line: dict[str, Any] | None) -> None:
        if line is None:
            run.finish()
        else:
            run.log(_numbers(line), step=line["step"])

    return send


def tensorboard(folder: Path) -> Sink:
    """Write every number of a line as a scalar for TensorBoard."""
    board = extra("tensorboard", "torch.utils.tensorboard", "tensorboard=")
    writer = board.SummaryWriter(str(folder))

    def add(line: dict[str, Any] | None) -> None:
        if line is None:
            writer.close()
        else:
            for name, value in _numbers(line).items():
                writer.add_scalar(name, value, line["step"])

    return add


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if isinstance(value, int | float)}
