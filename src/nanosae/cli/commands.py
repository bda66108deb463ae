"""The command line: one sub-command per verb, flags of the same names as the Python arguments.

Nothing heavy is imported before a command runs. A user's mistake is one `error:` line and exit code
2; a run stopped by a signal exits with 128 + its number.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

import nanosae
from nanosae.config import TrainConfig

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from nanosae.analysis.contrast import Contrast
    from nanosae.codes import Codes

app = tyro.extras.SubcommandApp()
Positional = tyro.conf.Positional
Run = Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
Data = Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
Texts = Annotated[Positional[str], tyro.conf.arg(metavar="TEXTS")]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Number = Annotated[int, tyro.conf.arg(aliases=["-n"])]
Json = Annotated[bool, tyro.conf.arg(name="json")]
FIELDS = {field.name for field in dataclasses.fields(TrainConfig)}


class Settings(TrainConfig):
    """The fields of TrainConfig as flags; what contradicts itself is for `checked` to say."""

    def __post_init__(self) -> None:
        pass

    def checked(self) -> TrainConfig:
        """Return the config, validated."""
        return TrainConfig(**vars(self))


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Say which corpus to look into, and how to answer: what most commands begin with.

    Args:
        run: The run folder.
        name: Which corpus of the run.
        as_json: Print JSON.
    """

    run: Run
    name: str | None = None
    as_json: Json = False

    def codes(self) -> Codes:
        """Open the corpus; say so if there are no texts."""
        codes = nanosae.Codes.open(self.run, self.name)
        if not codes.has_texts:
            note = "describe, families, topics, search by row or feature, contrast, evaluate"
            print(f"note: {codes.path} has no texts; what works: {note}, export.", file=sys.stderr)
        return codes

    def save(self, table: pd.DataFrame) -> None:
        """Add columns to the run's feature table."""
        from nanosae.runs.tables import save_features

        save_features(self.run, table)


@app.command
def embed(
    texts: Texts, output: Output, model: str = "all-MiniLM-L6-v2", text_column: str = "text"
) -> None:
    """Embed texts: write X.npy, and beside it X.parquet with the texts, for `train` and `encode`.

    Args:
        texts: A .txt file with a text per line, or a .csv .tsv .parquet .jsonl file.
        output: X.npy.
        model: Name or folder of a sentence-transformers model.
        text_column: Which of the columns is the text.
    """
    import numpy as np
    from pyarrow import parquet

    from nanosae.text.embed import embed as embed_texts

    if output.suffix != ".npy":
        raise ValueError(f"{output} is to be an .npy file: name it {output.with_suffix('.npy')}.")
    table, beside = _texts(texts, text_column), output.with_suffix(".parquet")
    rows = embed_texts(table[text_column].to_pylist(), model=model, dtype="float16")
    if beside != Path(texts):
        parquet.write_table(table, beside, compression="zstd")
    np.save(output, rows)
    print(f"{output}: {len(rows):,} rows of width {rows.shape[1]}; {beside}: their texts")
    column = f" --text-column {text_column}" * (text_column != "text")
    print(f"now: nanosae train {output} -o RUN --encoder {model}")
    print(f"     nanosae encode RUN {output}{column}")


@app.command
def activations(
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")],
    texts: Texts,
    layer: tuple[str, ...],
    output: Output,
    pooling: Literal["mean", "first", "last"] | None = None,
    text_column: str = "text",
) -> None:
    """Cache a model's activations on texts, a row per token; called again, go on.

    Args:
        model: Name or folder of a Hugging Face model, or a .gguf file.
        texts: A .txt file with a text per line, or a .csv .tsv .parquet .jsonl file.
        layer: Names of modules: `layers.15`.
        output: The folder.
        pooling: A row per text instead, from its tokens.
        text_column: Which of the columns is the text.
    """
    from nanosae.text.activations import cache_activations

    some = _texts(texts, text_column)[text_column].to_pylist()
    n = cache_activations(model, layer, some, output, pooling=pooling)
    print(f"{output}: {n:,} rows of {len(some):,} texts, at {', '.join(layer)}")
    print(f"now: nanosae train {output / layer[0]} -o RUN")
    print(f"     nanosae encode RUN {output / layer[0]} --texts {output / 'tokens'}")


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
    from nanosae.distributed import leads
    from nanosae.view.live import watching

    options, chosen = {"targets": targets, "resume": resume, "force": force}, settings.checked()
    if vary:
        from nanosae.sweep import sweep

        table = sweep(nanosae.grid(chosen, **_lists(vary)), data, output, **options)
        _show(table.sort_values("fvu"), False)
        return
    trainer = nanosae.SAETrainer(chosen, run=output)
    with watching(output, print) if live and leads() else contextlib.nullcontext():
        trainer.train(data, **options)
    if not leads():
        return
    for note in getattr(trainer, "notes_", []):
        print(f"note: {note}")
    info(output)


@app.command
def cache(
    data: Data,
    output: Output,
    columns: tuple[str, ...] | None = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> None:
    """Convert CSV and other slow formats to shards that are mapped, texts beside them.

    Args:
        data: What `train` takes.
        output: The folder to make.
        columns: Names of the vector columns, where the data does not show them.
        dtype: Of the shards; float16 halves them and keeps three digits.
    """
    from nanosae.data.cache import cache as convert

    n = convert(data, output, columns=list(columns) if columns else None, dtype=dtype)
    print(f"{output}: {n:,} rows\nnow: nanosae train {output} -o RUN")


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
def report(
    run: Run,
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    name: str | None = None,
) -> None:
    """Write all that a run knows to one HTML file, which opens from disk without a network.

    Args:
        run: The run folder.
        output: The file; RUN/report.html by default.
        name: Which corpus of the run.
    """
    path = nanosae.report(run, output, name=name)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, open it in a browser")


@app.command
def watch(run: Run, port: int = 8321) -> None:
    """Show the course of a training, running or finished, on a local page.

    Args:
        run: The run folder.
        port: Port on this machine; another one if it is taken.
    """
    nanosae.watch(run, port)


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


@app.command
def encode(
    run: Run,
    data: Data,
    texts: str | None = None,
    text_column: str = "text",
    name: str = "default",
    resume: bool = False,
    append: bool = False,
) -> None:
    """Encode a corpus: write the features of its rows, with texts and columns beside them.

    Args:
        run: The run folder.
        data: The rows: what `train` takes.
        texts: A Parquet, CSV, JSON-lines or text file, or a folder of Parquet files, with the texts
            and other columns, in the order of the rows; of X.npy by default X.parquet, if it is
            there.
        text_column: Which of its columns (or of DATA's) is the text.
        name: Name of the corpus in the run.
        resume: Go on with an interrupted call.
        append: Add the rows to an existing corpus.
    """
    from nanosae.distributed import in_parts, leads
    from nanosae.sources import open_rows

    model = nanosae.SAEModel.load(run)
    pair = Path(data).with_suffix(".parquet")
    if texts is None and data.endswith(".npy") and pair.is_file():
        texts = str(pair)
    if texts:
        beside = _texts(texts, text_column)
    else:
        beside = open_rows(data, columns=model.config["columns"]).metadata()
    if beside is not None:
        if len({"text", text_column} & {*beside.column_names}) == 2:
            what = f"{text_column!r} will be called 'text', but another column is"
            raise ValueError(f"{what}: give that one another name.")
        names = ["text" if c == text_column else c for c in beside.column_names]
        beside = beside.rename_columns(names)
    path = run / "codes" / name

    how: Any = {"beside": beside, "resume": resume, "append": append}
    in_parts(path, lambda folder, part: model.encode_corpus(data, folder, part=part, **how))
    if not leads():
        return
    codes = Corpus(run, name).codes()
    without = "" if codes.has_texts else "; no texts: label and word search need --texts"
    mean = codes.nnz / max(1, codes.n_rows)
    print(f"{path}: {codes.n_rows:,} rows, {mean:.1f} features a row{without}")


@app.command
def describe(corpus: Corpus, feature: int | None = None) -> None:
    """Describe every feature (written to features.parquet), or show the card of one.

    Args:
        corpus: Which one.
        feature: Show this feature's card.
    """
    if feature is not None:
        card = nanosae.card(corpus.codes(), feature)
        print(json.dumps(card.to_dict(), default=str) if corpus.as_json else card)
        return
    table = nanosae.describe(corpus.codes())
    corpus.save(table)
    _show(table, corpus.as_json, ["feature", "density", "n_active", "max_activation", "health"])


@app.command
def label(
    corpus: Corpus,
    groups: str | None = None,
    llm: bool = False,
    model: str = "gpt-4o-mini",
    base_url: str | None = None,
    scoring: Literal["predict", "detect"] = "predict",
    negatives: Literal["random", "hard", "mixed"] = "random",
    concurrency: int = 8,
    max_calls: int | None = None,
    max_cost: float | None = None,
    price: tuple[float, float] | None = None,
    features: tuple[int, ...] | None = None,
    dry_run: bool = False,
) -> None:
    """Name features by keywords, or with --llm by a language model, each with a held-out score.

    Args:
        corpus: Which one.
        groups: Column whose groups stay on one side of the held-out split.
        llm: Ask a language model (key in OPENAI_API_KEY).
        model: Its name.
        base_url: Any server of the chat-completions protocol.
        scoring: Judge one text a call, or find those that fit among ten (a tenth of the calls).
        negatives: Kind of the silent texts that are shown and judged.
        concurrency: Calls under way at once; 1 suits a small local server.
        max_calls: Stop after so many calls.
        max_cost: Stop at this cost, in the currency of `price`.
        price: Price of a million tokens, read and written.
        features: Only these.
        dry_run: Only count calls, tokens and price.
    """
    codes, chosen = corpus.codes(), None if features is None else list(features)
    if llm:
        limits = {"price": price, "max_calls": max_calls, "max_cost": max_cost}
        chat = nanosae.Chat(model, base_url, concurrency=concurrency, **limits)
        how: Any = {"groups": groups, "scoring": scoring, "negatives": negatives}
        table = nanosae.llm_label(codes, chat, chosen, dry_run=dry_run, **how)
        if dry_run:
            _show(table, corpus.as_json)
            return
        shown = ["feature", "llm_label", "llm_f1", "llm_pearson", "llm_n"]
    else:
        table = nanosae.label(codes, chosen, groups=groups)
        shown = ["feature", "label", "label_auc", "label_f1", "label_n"]
    corpus.save(table)
    for bill in table.attrs.get("bill", []):
        print(", ".join(f"{k} {v}" for k, v in bill.items() if v != ""), file=sys.stderr)
    best = table if corpus.as_json else table.sort_values(shown[2], ascending=False)
    _show(best, corpus.as_json, shown)


@app.command
def families(corpus: Corpus) -> None:
    """Group features into families by what fires together.

    Args:
        corpus: Which one.
    """
    import pandas as pd

    codes = corpus.codes()
    found = nanosae.families(codes)
    text = found.to_json(corpus.run / "families.json")
    family = pd.Series(found.feature_family, range(codes.n_features), dtype="Int64")
    corpus.save(family.rename("family").rename_axis("feature").reset_index())
    print(text) if corpus.as_json else _show(found.table, False)


@app.command
def topics(corpus: Corpus, n: Number = 20) -> None:
    """Merge features into N topics, without training again.

    Args:
        corpus: Which one.
        n: Number of topics.
    """
    import pandas as pd

    from nanosae.runs.tables import write

    found = nanosae.topics(corpus.codes(), n)
    corpus.save(pd.DataFrame({"topic": found.feature_topic}).rename_axis("feature").reset_index())
    write(found.table, corpus.run / "topics.parquet")
    _show(found.table, corpus.as_json, ["Topic", "Count", "Name"])


@app.command
def search(
    run: Run,
    query: Annotated[Positional[str | None], tyro.conf.arg(metavar="QUERY")] = None,
    row: int | None = None,
    feature: str | None = None,
    n: Number = 10,
    name: str | None = None,
    as_json: Json = False,
) -> None:
    """Find rows by words, by another row or by a feature; each hit says which features it shares.

    Args:
        run: The run folder.
        query: Words.
        row: A row to start from.
        feature: A feature's number or label.
        n: Number of hits.
        name: Which corpus of the run.
        as_json: Print JSON.
    """
    by = int(feature) if feature is not None and feature.isdecimal() else feature
    found = nanosae.search(Corpus(run, name).codes(), query, row=row, feature=by, n=n)
    if not as_json:
        print(found.note)
    _show(found.to_frame(), as_json)


@app.command
def contrast(
    corpus: Corpus,
    by: str,
    a: str | None = None,
    b: str | None = None,
    groups: str | None = None,
) -> None:
    """Say which features distinguish groups of rows.

    Args:
        corpus: Which one.
        by: The column that makes the groups.
        a: Its value in the first group; all values are compared without it.
        b: Its value in the second group; all other rows without it.
        groups: Column whose groups stay on one side of the held-out split.
    """
    found = nanosae.contrast(corpus.codes(), a, b, by=by, groups=groups)
    _tell(corpus, f"contrast-{by}", found)


@app.command
def explain(corpus: Corpus, target: str, groups: str | None = None) -> None:
    """Say which features explain a column, one by one and together.

    Args:
        corpus: Which one.
        target: The column: two classes, several, or numbers.
        groups: Column whose groups stay on one side of the held-out split.
    """
    _tell(corpus, f"explain-{target}", nanosae.explain(corpus.codes(), target, groups=groups))


@app.command
def over_time(corpus: Corpus, column: str) -> None:
    """Say which features become more or less frequent over time.

    Args:
        corpus: Which one.
        column: The column with the time.
    """
    _tell(corpus, f"time-{column}", nanosae.over_time(corpus.codes(), column))


@app.command
def evaluate(corpus: Corpus, labels: str | None = None, groups: str | None = None) -> None:
    """Measure what the features are worth, beside dense vectors, PCA, k-means and a random decoder.

    Args:
        corpus: Which one.
        labels: Column of known labels.
        groups: Column whose groups stay on one side of the held-out split.
    """
    found = nanosae.evaluate(corpus.codes(), labels, groups=groups)
    text = json.dumps(found.to_dict(), default=str)
    (corpus.run / "evaluation.json").write_text(text, encoding="utf-8")
    print(text if corpus.as_json else found.wide().to_string())


@app.command
def export(
    run: Run,
    output: Output,
    features: tuple[int, ...] | None = None,
    name: str | None = None,
) -> None:
    """Write the feature table, or with --features the corpus with a column for each of these.

    Args:
        run: The run folder.
        output: A .parquet, .csv, .tsv or .json file.
        features: Features to add to the rows as columns.
        name: Which corpus of the run.
    """
    from nanosae.runs.tables import load_features, tag, write

    table = load_features(run) if features is None else tag(Corpus(run, name).codes(), features)
    if table.empty:
        raise FileNotFoundError(f"{run} has no feature table yet: run `nanosae describe {run}`.")
    write(table, output)
    print(f"{output}: {len(table):,} lines, {len(table.columns)} columns")


@app.command
def explore(
    run: Run,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    browser: bool = True,
) -> None:
    """Look into a run in the browser: maps, search, cards, steering, comparisons, tags.

    Args:
        run: The run folder.
        name: Which corpus of the run.
        host: Address to listen on; elsewhere than on this machine a token is asked for.
        port: Port; 0 takes a free one.
        browser: Open a browser.
    """
    nanosae.explore(run, name, host=host, port=port, open_browser=browser)


def _texts(path: str, column: str) -> pa.Table:
    """Read texts, and what stands beside them."""
    import pyarrow as pa
    from pyarrow import csv, json, parquet

    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        if path.endswith(".txt"):
            with Path(path).open(encoding="utf-8") as lines:
                table = pa.table({column: [line.rstrip("\n") for line in lines]})
        elif path.endswith((".csv", ".tsv")):
            tab = "\t" if path.endswith(".tsv") else ","
            parse = csv.ParseOptions(delimiter=tab, newlines_in_values=True)
            table = csv.read_csv(path, parse_options=parse)
        else:
            table = (json.read_json if path.endswith(".jsonl") else parquet.read_table)(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet, CSV, JSON-lines or text file: {error}") from error
    if column not in table.column_names:
        known = ", ".join(table.column_names)
        raise ValueError(f"{path} has no column {column!r}: choose one of {known}.")
    return table


def _tell(corpus: Corpus, name: str, found: Contrast) -> None:
    text = json.dumps(found.to_dict(), default=str)
    (corpus.run / "contrasts").mkdir(exist_ok=True)
    (corpus.run / "contrasts" / f"{name}.json").write_text(text, encoding="utf-8")
    sentences = found.sentences(20) or ["Nothing differs by more than chance would."]
    print(text if corpus.as_json else "\n".join(sentences))


def _show(table: pd.DataFrame, as_json: bool, columns: list[str] | None = None) -> None:
    if as_json:
        print(table.to_json(orient="records", force_ascii=False))
        return
    shown = table.filter(items=columns or list(table.columns))
    print(shown.head(20).to_string(index=False, max_colwidth=70))
    if len(shown) > 20:
        print(f"… {len(shown):,} lines in all")


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


def _lists(vary: tuple[str, ...]) -> dict[str, list]:
    """Return the values of `FIELD=V1,V2` by field."""
    lists = {}
    for item in vary:
        name, _, values = item.partition("=")
        if name not in FIELDS or not values:
            raise ValueError(
                f"{item!r} is no FIELD=V1,V2 with a field such as k, hidden_size, seed."
            )
        lists[name] = [_value(value) for value in values.split(",")]
    return lists


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _with_lists(argv: list[str]) -> list[str]:
    """Turn `--k 16,32` of `train` into `--vary k=16,32`."""
    if argv[:1] != ["train"]:
        return argv
    fields, out, lists = FIELDS - {"columns", "matryoshka"}, [], []
    for word in (part for a in argv for part in (a.split("=", 1) if a[:2] == "--" else [a])):
        name = out[-1].removeprefix("--").replace("-", "_") if out else ""
        if "," in word and name in fields and out[-1].startswith("--"):
            out.pop()
            lists.append(f"{name}={word}")
        else:
            out.append(word)
    return out + (["--vary", *lists] if lists else [])


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
        how = (tyro.conf.DisallowNone, tyro.conf.OmitArgPrefixes)
        app.cli(args=_with_lists(_with_config(argv)), prog="nanosae", config=how)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt as stop:
        print(f"{stop or 'interrupted'}", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print("error:", *str(error).split(), file=sys.stderr)  # on one line
        return 2
    return 0
