"""Commands that train SAEs and show trainings."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

import nanosae
from nanosae.cli.output import (
    prints_json,
    say_next,
    say_notes,
    show,
    show_facts,
    shows_progress,
    to_json,
)
from nanosae.cli.parameters import Data, OptionalFile, Output, Run
from nanosae.cli.settings import Lists, Settings, combinations
from nanosae.errors import ConfigError, MissingError, command_line

if TYPE_CHECKING:
    from nanosae.config import TrainConfig

INIT = "SAE to train further: a run or model folder, of another library too, or a name on the hub."


def train(
    data: Data,
    /,
    *,
    output: Output,
    settings: Lists = {},  # noqa: B006 (read, never changed)
    config: Path | None = None,
    init: Annotated[OptionalFile, Parameter(help=INIT)] = None,
    resume: bool = False,
    force: bool = False,
    live: bool = False,
    targets: OptionalFile = None,
) -> None:
    """Train an SAE on the rows of DATA and write a run folder.

    Lists of numbers or choices, such as `--k 16,32,64 --seed 0,1`, train one SAE for each
    combination in one pass over the data, each in its own folder inside the output folder.

    Args:
        output: The run folder.
        config: JSON file of settings; flags override it.
        resume: Continue from the latest checkpoint.
        force: Replace the run in the folder.
        live: Show the progress of the training on a local page.
        targets: Target vectors, one for each row of DATA: train a transcoder that predicts them.
    """
    configs = combinations(settings, config)
    options: dict[str, Any] = {"targets": targets, "resume": resume, "force": force}
    if len(configs) == 1:
        options["init"] = init
        _train_one(configs[0], data, output, live, options)
        return
    many = f"but these settings define {len(configs)}."
    if init is not None:
        raise ConfigError(f"--init trains a single SAE, {many}")
    if live:
        raise ConfigError(f"--live shows a single training, {many}")
    _train_many(configs, data, output, options)


def _train_one(
    config: TrainConfig,
    data: str,
    output: Path,
    live: bool,
    options: dict[str, Any],
) -> None:
    from nanosae.distributed import is_main_process
    from nanosae.view.live import watching

    trainer = nanosae.SAETrainer(config, run=output)
    with contextlib.ExitStack() as stack:
        if live and is_main_process():
            stack.enter_context(watching(output, print))
        trainer.train(data, progress=shows_progress(), **options)
    if not is_main_process():
        return
    say_notes(trainer.notes_)
    info(output)
    say_next(command_line("encode", output, data))


def _train_many(
    configs: list[TrainConfig],
    data: str,
    output: Path,
    options: dict[str, Any],
) -> None:
    from nanosae.distributed import is_main_process
    from nanosae.sweep import sweep

    progress = shows_progress()
    table = sweep(configs, data, output, progress=progress, **options)
    if is_main_process():
        show(table.sort_values("fvu"))


def recommend(
    data: Data,
    /,
    *,
    settings: Settings = {},  # noqa: B006 (read, never changed)
    config: Path | None = None,
) -> None:
    """Recommend settings for DATA and estimate their time and memory on this machine.

    Args:
        config: JSON file of fixed settings; flags override it.
    """
    (decided,) = combinations(settings, config)
    found = nanosae.recommend(data, decided)
    show_facts(dataclasses.asdict(found), found)
    say_next(command_line("train", data, "-o", "RUN"))


def info(run: Run, /) -> None:
    """Show the settings and the metrics of a training or a sweep, or the sizes of a saved SAE."""
    from nanosae.checked import naming
    from nanosae.runs import folder

    if not run.exists():
        raise MissingError(f"{run} does not exist.", file=run)
    if (run / folder.SWEEP).is_file():
        _show_sweep(run / folder.SWEEP)
        return
    folder.verify_training(run)
    if not folder.holds_training(run):
        _show_model(run)
        return
    facts = folder.read_config(run)
    metrics = run / "metrics.jsonl"
    has_metrics = metrics.is_file() and metrics.stat().st_size > 0
    last = folder.last_line(run) if has_metrics else {}
    if prints_json():
        shown = {
            "config": facts["config"],
            "metrics": last,
            "versions": facts["versions"],
        }
        print(to_json(shown))
        return
    with naming(run / "config.json", folder.remedy(run)):
        print(f"{run}: {_kind_and_size(facts['config'])}")
    if not last.get("final"):
        print(f"unfinished at step {last.get('step', 0)}; continue with --resume")
        return
    with naming(metrics, folder.remedy(run)):
        print("\n".join(_metric_lines(last)))


def _show_sweep(path: Path) -> None:
    """Print the metrics of the runs of a sweep, the best first."""
    import pandas as pd

    from nanosae.checked import naming

    with naming(path, "Repeat the command that trained the sweep."):
        show(pd.read_csv(path).sort_values("fvu"))


def _show_model(path: Path) -> None:
    """Print what a saved SAE without its training is, of nanoSAE or another library."""
    from nanosae.model.sae import SAEModel

    model = SAEModel.load(path)
    if prints_json():
        print(to_json({"config": model.config, "metrics": {}, "versions": {}}))
        return
    print(f"{path}: {model}")
    for name, value in model.cfg.get("metadata", {}).items():
        print(f"  {name}: {value}")


def _kind_and_size(config: dict[str, Any]) -> str:
    """Return the activation, the size and the sparsity of an SAE in one line."""
    sparsity = f"k={config['k']}"
    if not config["k"]:
        sparsity = f"l1_coefficient={config['l1_coefficient']}"
    kind = config["activation"]
    size = f"{config['input_size']} → {config['hidden_size']}"
    return f"{kind} {size}, {sparsity}, seed {config['seed']}"


def _fvu(fvu: float | None) -> str:
    return "undefined" if fvu is None else f"{fvu:.4f}"  # None if all rows are equal


def _metric_lines(metrics: dict[str, Any]) -> list[str]:
    """Return the final metrics in four lines."""
    low, *_, high = metrics["l0_quantiles"]
    steps = f"{metrics['step']:,} steps, {metrics['rows']:,} rows"
    fvu = f"FVU {_fvu(metrics['fvu'])} on {metrics['rows_measured']:,} rows"
    train_fvu = f"{_fvu(metrics['train_fvu'])} on training rows"
    l0 = f"L0 {metrics['l0']:.1f}"
    share_dead = f"{100 * metrics['dead']:.3g} % of the features"
    return [
        f"trained   {steps}; best at {metrics['best_step']:,}",
        f"held out  {fvu} ({train_fvu})",
        f"          {l0} (5 % to 95 % of the rows: {low:.0f} to {high:.0f})",
        f"dead      {share_dead}, on {metrics['dead_rows_checked']:,} rows",
    ]
