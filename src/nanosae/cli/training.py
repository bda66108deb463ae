"""Train, and look at a training."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path

import nanosae
from nanosae.cli.output import show
from nanosae.cli.parameters import Data, Json, Output, Run, app
from nanosae.cli.settings import Settings, lists


@app.command
def train(
    data: Data,
    output: Output,
    settings: Settings,
    config: Path | None = None,
    resume: bool = False,
    force: bool = False,
    live: bool = False,
    targets: str | None = None,
    vary: tuple[str, ...] = (),
) -> None:
    """Train an SAE on the rows of DATA and write the run folder.

    Lists of values, such as --k 16,32,64 --seed 0,1, train one SAE for each combination on one pass
    over the data, each in a folder of its own inside the output folder.

    Args:
        data: A .csv .tsv .parquet .feather .arrow .npy .npz .safetensors .pt file, a folder or a
            glob.
        settings: See TrainConfig.
        output: The run folder.
        config: JSON file of settings; flags win over it.
        resume: Go on from the newest checkpoint.
        force: Replace the run in the folder.
        live: Show the course of the training on a local page.
        targets: Vectors like DATA, one for each row: train a transcoder that predicts them.
        vary: Lists in another form, FIELD=V1,V2,….
    """
    from nanosae.distributed import is_main_process
    from nanosae.view.live import watching

    options, chosen = {"targets": targets, "resume": resume, "force": force}, settings.checked()
    if vary:
        from nanosae.sweep import sweep

        table = sweep(nanosae.grid(chosen, **lists(vary)), data, output, **options)
        show(table.sort_values("fvu"), False)
        return
    trainer = nanosae.SAETrainer(chosen, run=output)
    with watching(output, print) if live and is_main_process() else contextlib.nullcontext():
        trainer.train(data, **options)
    if not is_main_process():
        return
    for note in getattr(trainer, "notes_", []):
        print(f"note: {note}")
    info(output)


@app.command
def recommend(
    data: Data,
    settings: Settings,
    config: Path | None = None,
    as_json: Json = False,
) -> None:
    """Say what to train on DATA, and what time and memory it takes on this machine.

    Args:
        data: What `train` takes.
        settings: What is already decided; see TrainConfig.
        config: JSON file of settings; flags win over it.
        as_json: Print one JSON object.
    """
    found = nanosae.recommend(data, settings.checked())
    print(json.dumps(dataclasses.asdict(found)) if as_json else found)


@app.command
def info(run: Run, as_json: Json = False) -> None:
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


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: {path.parent} holds no run.")
    return path.read_text(encoding="utf-8")
