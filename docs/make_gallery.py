"""Generate docs/gallery.md and its pictures: a screenshot of every figure of `nanosae.plot`.

    python docs/make_gallery.py WORK [--corpora FOLDER]

WORK keeps the runs, so a second call only draws. FOLDER can hold more corpora, as NAME.parquet
(with a column `text`) and NAME.minilm.f16.npy. Needs chromium, Pillow and, for the maps,
umap-learn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from nanosae import Codes, SAETrainer, TrainConfig, plot
from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.analysis.groups.families import families
from nanosae.analysis.groups.topics import topics
from nanosae.analysis.names.labels import label
from nanosae.demo import load
from nanosae.runs.results import save_result
from nanosae.runs.tables import save_features

DOCS = Path(__file__).parent
PER_SHEET = 4  # figures that share a picture
SIZE = {"hidden_size": 1024, "k": 16, "steps": 300}
CLASSES = {
    "demo": "lexname",
    "clinc150": "domain",
    "debian": "section",
    "wordnet": "lexname",
}
HEAD = """# Gallery

Every figure of `nanosae.plot`, drawn by `docs/make_gallery.py` for SAEs of 1,024 features
trained for 300 steps with k = 16. The corpora have no dates, so the years are synthetic: one group
of rows tends to be later than the others.
"""


def corpus(name: str, folder: Path | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Return embeddings, and texts with a column of classes and a made-up year."""
    if name == "demo":
        rows, texts, lexnames = load()
        table = pd.DataFrame({"text": texts, "lexname": lexnames})
    else:
        rows = np.load(folder / f"{name}.minilm.f16.npy")
        table = pd.read_parquet(folder / f"{name}.parquet")[["text", CLASSES[name]]]
    first = table[CLASSES[name]] == table[CLASSES[name]].value_counts().index[0]
    rng = np.random.default_rng(0)
    later = np.where(first, rng.beta(3, 1, len(table)), rng.beta(1, 1.2, len(table)))
    return rows, table.assign(year=2010 + (later * 15).astype(int))


def make(work: Path, name: str, folder: Path | None) -> None:
    """Train and analyse what is missing: the run, others for the frontier, a wide one."""
    rows, table = corpus(name, folder)
    variants = {"": {}, "-wide": {"hidden_size": 3072}}
    if name == "demo":
        variants |= {
            "-k8": {"k": 8},
            "-k32": {"k": 32},
            "-relu": {"activation": "relu"},
        }
    for variant, changed in variants.items():
        run = work / f"{name}{variant}"
        train(run, changed, rows, table)
        codes = Codes.open(run, "years")
        if variant in ("", "-wide") and not (run / "features.parquet").exists():
            labels = save_features(run, label(codes), codes)
            found = families(codes, labels)
            save_result(codes, "families.json", found.to_dict(), found.parameters)
        if variant != "-wide" and not (run / "evaluation.json").exists():
            measured = evaluate(codes, CLASSES[name], max_rows=6000).to_dict()
            save_result(codes, "evaluation.json", measured, {"classes": CLASSES[name]})


def train(run: Path, changed: dict, rows: np.ndarray, table: pd.DataFrame) -> None:
    """Train a run and encode its rows with their years, if that is missing."""
    from nanosae import SAEModel

    if not (run / "model").exists():
        trainer = SAETrainer(TrainConfig(**SIZE | changed), run=run)
        trainer.train(rows.astype(np.float32), progress=False, force=True)
    if not (run / "codes" / "years").exists():
        SAEModel.load(run).encode_corpus(rows, run / "codes" / "years", metadata=table)


def figures(work: Path, name: str):
    """Yield (name, what it shows, figure)."""
    run, by = work / name, CLASSES[name]
    codes = Codes.open(run, "years")
    groups = codes.column(by)
    a, b = pd.Series(groups).value_counts().index[:2]
    several = sorted(
        path for path in work.glob(f"{name}*") if (path / "evaluation.json").exists()
    )
    labels = pd.read_parquet(run / "features.parquet")
    clear = labels.sort_values("label_auc", ascending=False)["feature"].iloc[0]
    lengths = np.array([len(text) for text in codes.texts()])
    yield "training", "plot.training(run)", plot.training(run)
    yield "weights", "plot.weights(run)", plot.weights(run)
    yield "density", "plot.density(run)", plot.density(codes)
    yield "l0", "plot.l0(run)", plot.l0(codes)
    yield "activations", "plot.activations(run)", plot.activations(codes)
    yield "feature", f"plot.activations(run, {clear})", plot.activations(codes, clear)
    yield "frontier", "plot.frontier(runs)", plot.frontier(several)
    yield (
        "frontier-f1",
        'plot.frontier(runs, "probe_f1@5")',
        plot.frontier(several, "probe_f1@5"),
    )
    yield "probing", "plot.probing(runs)", plot.probing(several)
    yield "dictionary", "plot.dictionary(run)", plot.dictionary(codes)
    yield "texts", "plot.texts(run, points=6000)", plot.texts(codes, points=6000)
    yield "cooccurrence", "plot.cooccurrence(run, n=40)", plot.cooccurrence(codes, n=40)
    yield "family-tree", "plot.family_tree(run)", plot.family_tree(run)
    flow = plot.splitting_flow(run, work / f"{name}-wide")
    yield "splitting-flow", "plot.splitting_flow(run, wider)", flow
    found = contrast(codes, a, b, by=by)
    yield (
        "contrast",
        f'plot.contrast(contrast(codes, "{a}", "{b}", by="{by}"))',
        plot.contrast(found),
    )
    found = explain(codes, lengths, covariates=())
    yield "explain", "plot.contrast(explain(codes, lengths))", plot.contrast(found)
    trend = over_time(codes, "year")
    yield "trend", 'plot.contrast(over_time(codes, "year"))', plot.contrast(trend)
    yield (
        "features-over-time",
        'plot.over_time(over_time(codes, "year"))',
        plot.over_time(trend),
    )
    merged = topics(codes, 20, labels)
    yield (
        "topics-over-time",
        'plot.over_time(topics(codes, 20), "year")',
        plot.over_time(merged, "year"),
    )


def photograph(figure, path: Path, width: int = 960) -> None:
    """Save a figure as chromium shows it."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "figure.html"
        options = {"displayModeBar": False}
        text = figure.to_html(
            config=options, include_plotlyjs=True, default_width=f"{width}px"
        )
        page.write_text(text.replace("<body>", '<body style="margin:0">'), "utf-8")
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ]
        command += [
            "--enable-unsafe-swiftshader",
            "--hide-scrollbars",
            "--disable-sync",
        ]
        command += ["--disable-background-networking", "--disable-component-update"]
        command += [
            f"--window-size={width},{figure.layout.height}",
            "--virtual-time-budget=20000",
        ]
        command += [
            f"--user-data-dir={folder}/profile",
            f"--screenshot={path}",
            str(page),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=300)


def shrink(paths: list[Path], out: Path, width: int, columns: int = 1) -> None:
    """Write pictures side by side, `width` pixels wide in all, with 96 colours."""
    from PIL import Image

    column_width = width // columns
    heights = [0] * columns
    placed = []
    for path in paths:
        picture = Image.open(path).convert("RGB")
        size = (column_width, picture.height * column_width // picture.width)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        column = heights.index(min(heights))  # the shortest so far
        placed.append((picture, (column * column_width, heights[column])))
        heights[column] += picture.height
    background = placed[0][0].getpixel((2, 2))
    sheet = Image.new("RGB", (width, max(heights)), background)
    for picture, place in placed:
        sheet.paste(picture, place)
    few = sheet.quantize(
        96, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
    )
    few.save(out, optimize=True)


def draw(work: Path, name: str, pictures: Path) -> None:
    """Photograph every figure of a corpus in both themes, and keep the calls that drew them."""
    calls = {}
    for what, call, figure in figures(work, name):
        calls[what] = call
        photograph(figure, pictures / f"{name}-{what}.png")
        photograph(plot.dark(figure), pictures / f"{name}-{what}-dark.png")
        print(name, what, flush=True)
    (pictures / f"{name}.json").write_text(json.dumps(calls))


def section(name: str, pictures: Path, out: Path) -> list[str]:
    """Write the pictures of a corpus; return its part of the page."""
    calls = json.loads((pictures / f"{name}.json").read_text())
    text = [f"\n## {name}\n"]
    theme = ""
    if name == "demo":  # each in its own size, then all in the other theme
        theme = "-dark"
        for what, call in calls.items():
            shrink([pictures / f"{name}-{what}.png"], out / f"{what}.png", 800)
            text.append(f"`{call}`\n\n![{what}](gallery/{what}.png)\n")
        text.append("\n## Dark theme\n")
    names = list(calls)
    for i in range(0, len(names), PER_SHEET):
        shown = names[i : i + PER_SHEET]
        sheet = f"{name}{theme}-{i // PER_SHEET + 1}.png"
        paths = [pictures / f"{name}-{what}{theme}.png" for what in shown]
        shrink(paths, out / sheet, 960, columns=2)
        text.append(f"![{', '.join(shown)}](gallery/{sheet})\n")
    return text


def main() -> None:
    """Make the runs that are missing, then draw everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CLASSES))
    args = parser.parse_args()
    pictures = args.work / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    out = DOCS / "gallery"
    out.mkdir(exist_ok=True)
    for name in args.only:
        if name == "demo" or args.corpora:
            make(args.work, name, args.corpora)
            draw(args.work, name, pictures)
    text = [HEAD]
    for name in CLASSES:
        if (pictures / f"{name}.json").exists():
            text += section(name, pictures, out)
    (DOCS / "gallery.md").write_text("\n".join(text), "utf-8")


if __name__ == "__main__":
    main()
