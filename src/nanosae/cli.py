"""The command line: one sub-command per verb, flags of the same names as the Python arguments.

Nothing heavy is imported before a command runs. A user's mistake is one `error:` line and exit code
2; a run stopped by a signal exits with 128 + its number.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from nanosae.config import TrainConfig

app = tyro.extras.SubcommandApp()
Positional = tyro.conf.Positional


@app.command
def train(
    data: Annotated[Positional[str], tyro.conf.arg(metavar="DATA")],
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])],
    settings: tyro.conf.OmitArgPrefixes[TrainConfig],
    config: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> None:
    """Train an SAE on the rows of DATA and write the run folder.

    Args:
        data: A .csv .tsv .parquet .feather .arrow .npy .npz .safetensors .pt file, a folder or a
            glob.
        settings: See TrainConfig.
        output: The run folder.
        config: JSON file of settings; flags win over it.
        resume: Go on from the newest checkpoint.
        force: Replace the run in the folder.
    """
    from nanosae.trainer import SAETrainer

    trainer = SAETrainer(settings, run=output)
    trainer.train(data, resume=resume, force=force)
    for note in getattr(trainer, "notes_", []):
        print(f"note: {note}")
    info(output)


@app.command
def info(
    run: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")],
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Show what a run trained, on what, and how well.

    Args:
        run: The run folder.
        as_json: Print one JSON object.
    """
    facts = json.loads(_read(run / "config.json"))
    lines = _read(run / "metrics.jsonl").splitlines()
    last = json.loads(lines[-1]) if lines else {}
    if as_json:
        shown = {"config": facts["config"], "metrics": last, "versions": facts["versions"]}
        print(json.dumps(shown))
        return
    c = facts["config"]
    size = f"{c['input_size']} → {c['hidden_size']}"
    target = f"k={c['k']}" if c["k"] else f"l1_coefficient={c['l1_coefficient']}"
    print(f"{run}: {c['activation']} {size}, {target}, seed {c['seed']}")
    if not last.get("final"):
        print(f"not finished: step {last.get('step', 0)}; go on with --resume")
        return
    low, *_, high = last["l0_quantiles"]
    fvu = f"FVU {last['fvu']:.4f} on {last['rows_measured']:,} rows"
    print(f"trained   {last['step']:,} steps, {last['rows']:,} rows; best at {last['best_step']:,}")
    print(f"held out  {fvu} ({last['train_fvu']:.4f} on training rows)")
    print(f"          L0 {last['l0']:.1f} (5 % to 95 % of the rows: {low:.0f} to {high:.0f})")
    print(f"dead      {last['dead']:.1%} of the features, on {last['dead_rows_checked']:,} rows")


@app.command
def demo(output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None) -> None:
    """Train on the embedded corpus of 6,000 WordNet glosses and show ten features.

    Args:
        output: Run folder to keep; without it nothing is left on disk.
    """
    from nanosae.demo import run_demo

    run_demo(output, print)


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: {path.parent} holds no run.")
    return path.read_text(encoding="utf-8")


def _with_config(argv: list[str]) -> list[str]:
    """Add the settings of `--config FILE` as flags, but those that are given as flags anyway."""
    if "--config" not in argv[:-1]:
        return argv
    flags = []
    given = {arg.split("=")[0].replace("_", "-") for arg in argv}
    for name, value in TrainConfig.load(argv[argv.index("--config") + 1]).to_dict().items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False or flag in given:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        flags += [flag, *map(str, values)]
    return argv + flags


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    try:
        argv = sys.argv[1:] if argv is None else argv
        app.cli(args=_with_config(argv), prog="nanosae", config=(tyro.conf.DisallowNone,))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as stop:
        print(f"{stop or 'interrupted'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
