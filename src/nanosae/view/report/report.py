"""Report: everything a run folder knows, in one HTML file that opens from disk without a network.

It uses what is there and names the command that adds what is missing. Tables are sent by column.
Cards of features (statistics, neighbours, texts) are packed in blocks of CHUNK features, unpacked
by the browser when one is opened. Texts are a sample, cut in length: the more features there are,
the fewer and shorter, so that the file stays under 25 MB whatever the size of the corpus.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanosae.analysis.reading import run_model
from nanosae.atomic import write_file
from nanosae.codes import Codes
from nanosae.runs.results import Result, contrast_title, load_contrasts, load_result
from nanosae.runs.tables import known_labels, load_features
from nanosae.view import maps, pages, plots
from nanosae.view.files import read_json
from nanosae.view.live import training_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

CHUNK = 128  # features whose cards are packed together
MAX_FEATURES = 20_000  # in the table
CARD_BYTES = 14_000_000  # of packed cards
TEXT_BYTES = 30_000_000  # of texts and numbers before packing
KINDS = {"top_rows": "top", "quantile_rows": "across", "near_misses": "near"}
LISTS = {"nearest": "cosine", "opposite": "cosine", "coactive": "npmi"}
# of each kind so many texts of so many characters; the first that fits is taken
TIERS = ((10, 6, 6, 500), (8, 5, 4, 300), (5, 4, 3, 200), (3, 2, 2, 140), (2, 1, 1, 100))
COLUMNS = ["feature", "label", "keywords", "llm_explanation", "score", "n_active", "density"]
COLUMNS += ["max_activation", "monosemanticity", "family", "topic", "health"]


def report(run: str | Path, path: str | Path | None = None, *, name: str | None = None) -> Path:
    """Write the report of a run.

    Args:
        run: The run folder, in any state.
        path: Where to; `RUN/report.html` by default. It is replaced in one step.
        name: Which corpus of the run.

    Returns:
        The path of the report.

    Raises:
        FileNotFoundError: If the folder holds no run.
    """
    run = Path(run)
    if not any((run / part).exists() for part in ("config.json", "model", "codes")):
        raise FileNotFoundError(f"{run} holds no run: nanosae train DATA -o {run} makes one.")
    codes = None
    if name is not None or any(run.glob("codes/*/manifest.json")):
        codes = Codes.open(run, name)
    config, table = read_json(run / "config.json") or {}, _features(run, codes)
    results = _results(run, codes)
    contrasts = {contrast_title(r): r.value for r in load_contrasts(run, codes) if r.fresh}
    data: dict[str, Any] = {
        "facts": _facts(run, config, codes, results),
        "training": training_state(run),
        "features": _columns(table),
        "map": _map(run, codes, table),
        "families": _families(results),
        "topics": _topics(results),
        "contrasts": [{"name": k, "sentences": f["sentences"][:20]} for k, f in contrasts.items()],
        "figures": _figures(codes, contrasts),
        "evaluation": _fresh(results, "evaluation.json"),
    }
    cards = [] if codes is None or "top_rows" not in table else _cards(codes, table)
    text = pages.page(
        f"{run.absolute().name} – nanoSAE report",
        pages.static("report.html"),
        data=data,
        packed={f"cards-{i}": block for i, block in enumerate(cards)},
        scripts=("map.js", "training.js", "report.js"),
        styles=("report.css",),
        plotly=True,
    )
    path = run / "report.html" if path is None else Path(path)
    write_file(path, lambda stream: stream.write(text.encode()))
    return path


def _results(run: Path, codes: Codes | None) -> dict[str, Result]:
    """Return the stored results by name, stale ones included."""
    names = ("families.json", "topics.parquet", "evaluation.json")
    found = [load_result(run, name, codes) for name in names]
    found += load_contrasts(run, codes)
    return {result.name: result for result in found if result is not None}


def _fresh(results: dict[str, Result], name: str) -> Any:
    """Return what a result holds, None if it is missing or stale."""
    result = results.get(name)
    return result.value if result is not None and result.fresh else None


def _facts(
    run: Path, config: dict, codes: Codes | None, results: dict[str, Result]
) -> dict[str, Any]:
    facts: dict[str, Any] = {"run": str(run), "name": run.absolute().name, "chunk": CHUNK}
    facts |= {key: config.get(key) for key in ("config", "versions", "threads", "data")}
    facts["fingerprint"] = config.get("data_fingerprint")
    facts["made"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    if codes is not None:
        facts["corpus"] = {"name": codes.name, "rows": codes.n_rows, "columns": codes.columns}
        facts["corpus"] |= {"texts": codes.has_texts, "l0": codes.nnz / max(codes.n_rows, 1)}
    steps = [
        (there, what, _command(words))
        for there, what, *words in _steps(run, config, codes, results)
    ]
    facts["commands"] = [command for there, _, command in steps if there]
    facts["missing"] = [(what, command) for there, what, command in steps if not there]
    return facts


def _steps(run: Path, config: dict, codes: Codes | None, results: dict[str, Result]) -> list[tuple]:
    """Return the steps of an analysis: whether it was done, what it adds, and its command."""
    table, data = load_features(run, codes), config.get("data") or "DATA"
    train = ["train", data, "-o", run, *_flags(config["requested"])] if config else ["train", data]
    source, texts, column = data, True, "COLUMN"
    if codes is not None:
        shards = [s["vectors"] or {} for s in codes.manifest["shards"]]
        source, texts = next((s["path"] for s in shards if "path" in s), data), codes.has_texts
        column = codes.columns[0] if codes.columns else column
    about = (_fresh(results, "evaluation.json") or {}).get("about", {"labels": column})
    labels = ["--labels", about["labels"]] if about["labels"] else []
    merged = _topics(results)
    n_topics = 20 if merged is None else len(merged)
    contrasts = [r for r in results.values() if r.name.startswith("contrasts/")]
    done = [(r.fresh, _stale_contrast(r), *_contrast(r, run)) for r in contrasts if r.parameters]
    ended = (run / "model").exists()
    return [
        (bool(config), "the settings of a training", *train),
        *([] if ended else [(False, "the trained model", *train, "--resume")]),
        (codes is not None, "the features of a corpus", "encode", run, source),
        *([] if texts else [(False, "texts", "encode", run, source, "--texts", "TEXTS")]),
        ("top_rows" in table, "feature cards", "describe", run),
        ("label" in table, "labels", "label", run),
        _step(results, "families.json", "families", run),
        _step(results, "topics.parquet", "topics", run, "-n", n_topics),
        *(done or [(False, "contrasts", "contrast", run, "--by", column)]),
        (
            "rows" in about,
            _what(results, "evaluation.json", "a comparison with baselines"),
            "evaluate",
            run,
            *labels,
        ),
        (True, "this report", "report", run),
    ]


def _command(words: Sequence[Any]) -> str:
    return shlex.join(["nanosae", *map(str, words)])


def _step(results: dict[str, Result], name: str, *words: Any) -> tuple:
    """Return a step that a result shows to be done."""
    done = _fresh(results, name) is not None
    return (done, _what(results, name, Path(name).stem), *words)


def _what(results: dict[str, Result], name: str, what: str) -> str:
    """Return what a step adds, with the reason if there is a stale result."""
    result = results.get(name)
    return what if result is None or result.fresh else f"{what} again ({result.stale})"


def _stale_contrast(result: Result) -> str:
    return "" if result.fresh else f"{contrast_title(result)} again ({result.stale})"


def _contrast(result: Result, run: Path) -> list[Any]:
    """Return the command that made a contrast."""
    asked = dict(result.parameters)
    words = [asked.pop("verb"), run]
    asked["name"] = asked.pop("corpus", None)
    for flag, value in asked.items():
        if value is not None:
            words += [f"--{flag}", value]
    return words


def _flags(requested: dict[str, Any]) -> list[str]:
    """Return settings that are not the defaults as flags."""
    from nanosae.config import TrainConfig

    flags, usual = [], TrainConfig().to_dict()
    for name, value in requested.items():
        if value == usual.get(name) or value is False:
            continue
        values = [] if value is True else value if isinstance(value, list) else [value]
        flags += [f"--{name.replace('_', '-')}", *map(str, values)]
    return flags


def _features(run: Path, codes: Codes | None) -> pd.DataFrame:
    """Return the feature table, best first: surest labels, then most rows, dead ones last."""
    import pandas as pd

    table = load_features(run, codes)
    if codes is not None:
        counts = pd.DataFrame({"feature": np.arange(codes.n_features), "n_active": codes.counts})
        counts["density"] = codes.density
        table = counts.merge(table.drop(columns=["n_active", "density"], errors="ignore"), "left")
    table["label"] = table["feature"].map(known_labels(codes or run).get)
    scores = table.reindex(columns=["llm_f1", "label_auc", "label_auc_low", "n_active"])
    table["score"] = scores["llm_f1"].fillna(scores["label_auc"])
    scores["alive"] = scores["n_active"] != 0
    best = scores.sort_values(["alive", "label_auc_low", "n_active"], ascending=False).index
    return table.loc[best].reset_index(drop=True)


def _columns(table: pd.DataFrame) -> dict[str, list]:
    """Return the columns that the page shows."""
    first = table.head(MAX_FEATURES)
    return {c: [_short(value) for value in first[c].tolist()] for c in COLUMNS if c in table}


def _short(value: Any) -> Any:
    """Return a number that is no integer with 4 digits."""
    if isinstance(value, float) and not value.is_integer():
        return float(f"{value:.4g}")
    return value


def _map(run: Path, codes: Codes | None, table: pd.DataFrame) -> dict[str, Any] | None:
    """Place the features in the plane; `place` says where in the table each point is."""
    if codes is None or (model := run_model(codes)) is None:
        return None
    directions = model.directions()
    ids = table["feature"].to_numpy()[:MAX_FEATURES]
    place = np.flatnonzero((table["n_active"].to_numpy()[: len(ids)] > 0) & directions[ids].any(1))
    points, method = maps.project(directions[ids[place]])
    group = maps.clusters(points)
    names = {i: str(t) for i, t in enumerate(table["label"].iloc[place]) if isinstance(t, str)}
    placed = maps.labels(points, group, names, 1100, 520)
    labels = [{"text": text, "x": x, "y": y} for text, (x, y) in placed]
    x, y = points.T.astype(np.float64).round(4)
    return {"place": place, "x": x, "y": y, "cluster": group, "labels": labels, "method": method}


def _families(results: dict[str, Result]) -> Any:
    found = _fresh(results, "families.json")
    kept = ("family", "root", "members", "size", "label", "score")
    return found and [{k: _short(f[k]) for k in kept} for f in found["families"]]


def _topics(results: dict[str, Result]) -> Any:
    table = _fresh(results, "topics.parquet")
    return None if table is None else table[["Topic", "Count", "Name"]].to_numpy()


def _figures(codes: Codes | None, contrasts: dict[str, Any]) -> dict[str, Any]:
    """Draw what the page does not draw itself; it puts its own template on."""
    found = {k: plots.contrast(f, n=12) for k, f in contrasts.items() if f["findings"]}
    if codes is not None:
        found |= {"density": plots.density(codes), "l0": plots.l0(codes)}
    return {name: figure.update_layout(template=None) for name, figure in found.items()}


def _cards(codes: Codes, table: pd.DataFrame) -> list[str]:
    """Pack cards in the order of the table, CHUNK features a block, until CARD_BYTES are full."""
    kinds, n_cards = [k for k in KINDS if k in table], np.count_nonzero(codes.counts)
    sample = np.random.default_rng(0).integers(0, max(codes.n_rows, 1), 500 if codes.n_rows else 0)
    lengths = [len(t.encode()) for t in codes.texts(np.unique(sample))] if codes.has_texts else [0]
    needs = [n_cards * (sum(n) * (15 + np.minimum(lengths, c).mean()) + 300) for *n, c in TIERS]
    *most, cut = TIERS[sum(bytes_ > TEXT_BYTES for bytes_ in needs[:-1])]
    limit = dict(zip(KINDS, most, strict=True))
    lists = {k: [_some(v, limit[k]) for v in table[k]] for k in kinds}
    rows = np.unique(np.concatenate([np.concatenate(v) for v in lists.values()])).astype(np.int64)
    texts = [_cut(t, cut) for t in codes.texts(rows)] if codes.has_texts else [""] * len(rows)
    active, ids, blocks, size = codes.take(rows), table["feature"].to_numpy(), [], 0
    for start in range(0, min(n_cards, MAX_FEATURES), CHUNK):
        used: dict[str, str] = {}
        cards = []
        for i in range(start, min(start + CHUNK, n_cards)):
            j = int(ids[i])
            card: dict[str, Any] = {"feature": j}
            for kind in kinds:
                at = np.searchsorted(rows, lists[kind][i].astype(np.int64))
                acts = active[at, [j] * len(at)] if len(at) else []
                pairs = zip(lists[kind][i], np.asarray(acts).ravel(), strict=True)
                card[KINDS[kind]] = [[int(r), float(f"{a:.3g}")] for r, a in pairs]
                used |= {str(rows[a]): texts[a] for a in at}
            cards.append(card | _numbers(table.iloc[i]))
        blocks.append(pages.pack({"cards": cards, "texts": used}))
        size += len(blocks[-1])
        if size > CARD_BYTES:
            break
    return blocks


def _numbers(line: Any) -> dict[str, Any]:
    """Return what a card says without texts: histogram, moments, neighbours."""
    found: dict[str, Any] = {"histogram": _some(line.get("histogram"), 100)}
    found |= {k: _short(line[k]) for k in ("mean_activation", "std_activation") if k in line}
    if (twin := line.get("duplicate_of", -1)) >= 0:
        found["duplicate_of"] = int(twin)
    for name, value in LISTS.items():
        pairs = zip(_some(line.get(name), 8), _some(line.get(f"{name}_{value}"), 8), strict=True)
        found[name] = [[int(j), float(f"{v:.2g}")] for j, v in pairs]
    return found


def _some(values: Any, most: int) -> np.ndarray:
    return np.asarray(values)[:most] if hasattr(values, "__len__") else np.zeros(0, np.int64)


def _cut(text: str, most: int) -> str:
    """Cut a text to so many bytes of UTF-8, at a character."""
    data = text.encode("utf-8", "replace")
    return text if len(data) <= most else data[:most].decode("utf-8", "ignore").rstrip() + " …"
