"""Make rows out of texts, and features out of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import nanosae
from nanosae.cli.parameters import Corpus, Data, Output, Positional, Run, Texts, app


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

    from nanosae.sources.texts import read_texts
    from nanosae.text.embed import embed as embed_texts

    if output.suffix != ".npy":
        raise ValueError(f"{output} is to be an .npy file: name it {output.with_suffix('.npy')}.")
    table, beside = read_texts(texts, text_column), output.with_suffix(".parquet")
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
    from nanosae.sources.texts import read_texts
    from nanosae.text.activations import cache_activations

    some = read_texts(texts, text_column)[text_column].to_pylist()
    n = cache_activations(model, layer, some, output, pooling=pooling)
    print(f"{output}: {n:,} rows of {len(some):,} texts, at {', '.join(layer)}")
    print(f"now: nanosae train {output / layer[0]} -o RUN")
    print(f"     nanosae encode RUN {output / layer[0]} --texts {output / 'tokens'}")


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
    from nanosae.distributed import in_parts, is_main_process
    from nanosae.sources import open_rows
    from nanosae.sources.texts import read_texts

    model = nanosae.SAEModel.load(run)
    pair = Path(data).with_suffix(".parquet")
    if texts is None and data.endswith(".npy") and pair.is_file():
        texts = str(pair)
    if texts:
        beside = read_texts(texts, text_column)
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
    if not is_main_process():
        return
    codes = Corpus(run, name).codes()
    without = "" if codes.has_texts else "; no texts: label and word search need --texts"
    mean = codes.nnz / max(1, codes.n_rows)
    print(f"{path}: {codes.n_rows:,} rows, {mean:.1f} features a row{without}")


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
