"""Commands that prepare rows, encode them and export their features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

import nanosae
from nanosae.cli.output import (
    command_on,
    open_codes,
    say_beside_results,
    say_next,
    say_notes,
    show_facts,
)
from nanosae.cli.parameters import (
    Corpus,
    Count,
    Data,
    Encoding,
    FileName,
    Integers,
    Model,
    OptionalCount,
    OptionalFile,
    OptionalWords,
    Output,
    Run,
    TextColumn,
    Texts,
    Words,
    refuse_unused,
)
from nanosae.errors import DataError, MissingError, command_line

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from nanosae.codes import Codes


def embed(
    texts: Texts,
    /,
    *,
    output: Output,
    embedder: str | None = None,
    text: TextColumn = "text",
    encoding: Encoding = "utf-8",
    force: bool = False,
) -> None:
    """Embed texts: write the vectors to X.npy and the texts to X.parquet, for train and encode.

    Args:
        output: The file X.npy.
        embedder: wordllama, all-MiniLM-L6-v2, the name or folder of any sentence-transformers
            model, or model2vec:NAME; by default the best installed one.
        force: Overwrite existing files.
    """
    from nanosae.runs.embeddings import as_float16
    from nanosae.sources.texts import read_texts
    from nanosae.text.embed import check_texts
    from nanosae.text.embedders import find_embedder
    from nanosae.text.embedding_files import EmbeddingFiles
    from nanosae.text.language import language_note

    table = read_texts(texts, text, encoding=encoding)
    sentences = table[text].to_pylist()
    check_texts(sentences)
    found = find_embedder(embedder)
    say_notes(language_note(found.name, sentences))
    files = EmbeddingFiles(
        output, Path(texts), table, embedder=found.name, text_column=text, force=force
    )
    is_done = files.done
    sentence = f"{output} is up to date"
    if not is_done:
        rows = as_float16(found.encode(sentences))
        files.write(rows)
        n_rows, width = rows.shape
        sentence = f"{output}: {n_rows:,} rows, {width} dimensions"
    facts = {"output": output, "texts": files.table, "rows": len(table)}
    facts |= {"done_before": is_done}
    show_facts(facts, f"{sentence}; the texts are in {files.table}")
    column = [] if text == "text" else ["--text", text]
    training = command_line("train", output, "-o", "RUN", "--embedder", found.name)
    say_next(f"{training}; {command_line('encode', 'RUN', output, *column)}")


def activations(
    model: Model,
    texts: Texts,
    /,
    *,
    layers: Words,
    output: Output,
    pooling: Literal["mean", "first", "last"] | None = None,
    bos: Annotated[bool, Parameter(negative="--no-bos")] = True,
    special_tokens: bool = False,
    max_norm: float = 10.0,
    max_length: OptionalCount = None,
    batch_tokens: Count = 4096,
    pack: bool = False,
    chat: bool = False,
    concat: bool = False,
    dtype: Literal["float16", "float32"] = "float16",
    text: TextColumn = "text",
    encoding: Encoding = "utf-8",
) -> None:
    """Cache a language model's activations, one row per token; repeat the command to resume.

    Args:
        layers: Names of modules, such as `layers.15`.
        output: Output folder.
        pooling: Pool the tokens of each text into one row.
        bos: Prepend the begin-of-text token, if the tokenizer has one.
        special_tokens: Keep special tokens, such as those of a chat template.
        max_norm: Skip tokens whose norm exceeds this multiple of the median; inf keeps all.
        max_length: Tokens per context window; the model's maximum by default.
        batch_tokens: Tokens per forward pass.
        pack: Fill context windows with successive texts that attend to the earlier ones.
        chat: Apply the model's chat template to a text column of message lists (role, content).
        concat: Concatenate the rows of all layers, for crosscoders.
        dtype: Type of the rows on disk.
    """
    from nanosae.sources.texts import read_texts
    from nanosae.text.activation_cache import cache_activations

    table = read_texts(texts, text, encoding=encoding, keep_chats=chat)
    sentences = table[text].to_pylist()
    options: Any = {"pooling": pooling, "bos": bos, "special_tokens": special_tokens}
    options |= {"max_norm": max_norm, "max_length": max_length}
    options |= {"batch_tokens": batch_tokens, "dtype": dtype}
    options |= {"pack": pack, "concat": concat}
    n_rows = cache_activations(model, layers, sentences, output, **options)
    n_texts = len(sentences)
    size = f"{n_rows:,} rows from {n_texts:,} texts"
    facts = {"output": output, "rows": n_rows, "texts": n_texts, "layers": list(layers)}
    show_facts(facts, f"{output}: {size}, at {', '.join(layers)}")
    folder = "+".join(layers) if concat else layers[0]
    rows, tokens = output / folder, output / "tokens"
    training = command_line("train", rows, "-o", "RUN")
    say_next(f"{training}; {command_line('encode', 'RUN', rows, '--texts', tokens)}")


def cache(
    data: Data,
    /,
    *,
    output: Output,
    columns: OptionalWords = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> None:
    """Convert CSV and other slow formats to memory-mapped shards, keeping the texts.

    Args:
        output: Output folder.
        columns: Names of the vector columns, if they cannot be detected.
        dtype: Type of the shards; float16 halves their size and keeps three digits.
    """
    from nanosae.data.cache import cache as convert

    n_rows = convert(data, output, columns=columns, dtype=dtype)
    facts = {"output": output, "rows": n_rows}
    show_facts(facts, f"{output}: {n_rows:,} rows")
    say_next(command_line("train", output, "-o", "RUN"))


def encode(
    run: Run,
    data: Data,
    /,
    *,
    texts: OptionalFile = None,
    text: TextColumn = "text",
    encoding: Encoding = "utf-8",
    columns: OptionalWords = None,
    name: str = "default",
    resume: bool = False,
    append: bool = False,
    force: bool = False,
    device: str = "auto",
) -> None:
    """Compute the features of every row of a corpus, and keep its texts and columns.

    Args:
        texts: A Parquet, CSV, JSON-lines or text file, or a folder of Parquet files, with the texts
            and other columns in the order of the rows; X.parquet beside X.npy by default.
        columns: Names of the vector columns, if they differ from those of the training.
        name: Name of the corpus in the run.
        resume: Only continue an interrupted encoding; fail if the data differs.
        append: Add the rows to an existing corpus.
        force: Replace an existing corpus once the new one is complete.
        device: auto, cpu, cuda, cuda:0, mps …
    """
    from nanosae.codes import corpus_path
    from nanosae.distributed import is_main_process
    from nanosae.model.corpus import EncodeOptions, encode_on_all_ranks

    model = nanosae.SAEModel.load(run)
    if not run.is_dir():
        raise MissingError(
            f"{run} is not a folder, which is needed to store the codes.",
            file=run,
            remedy=f"Create one with `{command_line('convert', run, '-o', 'RUN')}`.",
        )
    vector_columns = columns or model.config.get("columns")
    names = list(vector_columns) if vector_columns else None
    metadata = _metadata(data, texts, text, encoding, names)
    path = corpus_path(run, name)
    options = EncodeOptions(
        metadata=metadata,
        columns=names,
        resume=resume,
        append=append,
        force=force,
        device=device,
    )
    encode_on_all_ranks(model, data, path, options)
    if is_main_process():
        _show_corpus(open_codes(run, name), run)


def _show_corpus(codes: Codes, run: Path) -> None:
    """Print what a corpus holds, and what to do next."""
    mean = codes.nnz / max(1, codes.n_rows)
    remark = "" if codes.has_texts else "; give --texts for labels and word search"
    size = f"{codes.n_rows:,} rows, {mean:.1f} features per row"
    facts = {"output": codes.path, "rows": codes.n_rows, "features_per_row": mean}
    facts |= {"has_texts": codes.has_texts}
    show_facts(facts, f"{codes.path}: {size}{remark}")
    verb = "label" if codes.has_texts else "describe"
    say_next(command_on(codes, verb, run))


def _metadata(
    data: str,
    texts: str | None,
    text_column: str,
    encoding: str,
    vector_columns: Any,
) -> pa.Table | None:
    """Read the texts and other columns of the rows, with the text column renamed to `text`."""
    from nanosae.sources import open_rows
    from nanosae.sources.texts import read_texts

    beside = Path(data).with_suffix(".parquet")
    if texts is None and data.endswith(".npy") and beside.is_file():
        texts = str(beside)
    if texts is None:
        table = open_rows(data, columns=vector_columns).metadata()
    else:
        table = read_texts(texts, text_column, encoding=encoding)
    if table is None or text_column == "text" or text_column not in table.column_names:
        return table
    if "text" in table.column_names:
        raise DataError(
            f"{text_column!r} cannot be renamed to 'text', because another column has that name.",
            column=text_column,
            remedy="Rename the other column.",
        )
    return table.rename_columns({text_column: "text"})


Target = Literal[
    "table", "jsonl", "opensearch", "pgvector", "qdrant", "atlas", "neuronpedia"
]


def export(
    run: Run,
    /,
    *,
    output: Annotated[FileName, Parameter(alias="-o", metavar="FILE")],
    to: Target = "table",
    collection: str = "features",
    features: Integers = None,
    formulas: bool = False,
    name: Corpus = None,
) -> None:
    """Export the feature table, rows with selected features, or vectors for another program.

    Args:
        output: A .parquet, .csv, .tsv or .json file for a table; with --to, a file or, for qdrant,
            a folder or the address of a server.
        to: What to write: the feature table (table); all rows as sparse vectors with their texts
            and columns (jsonl, opensearch, pgvector, qdrant) or with their places on the map
            (atlas); or all features (neuronpedia).
        collection: Name of the collection, index or table in the store.
        features: Export the rows instead, with the activations of these features as columns.
        formulas: In CSV, do not escape texts that a spreadsheet would run as formulas (those that
            begin with = + - @).
    """
    from nanosae.codes import Codes
    from nanosae.runs.export import tag, write
    from nanosae.runs.tables import load_features

    if to == "table":
        refuse_unused("without --to", export, {"collection": collection})
    else:
        of_table = {"features": features, "formulas": formulas}
        refuse_unused("with --to", export, of_table)
        n_rows = _export_for(to, open_codes(run, name), output, collection)
        facts = {"output": output, "to": to, "collection": collection, "rows": n_rows}
        what = "features" if to == "neuronpedia" else "rows"
        size = f"{n_rows:,} {what}"
        show_facts(facts, f"{output}: {size} as {to}, {collection!r}")
        return
    if features is None:
        table = load_features(run, None if name is None else Codes.open(run, name))
        _note_stale_columns(table)
    else:
        table = tag(open_codes(run, name), features)
    if table.empty:
        remedy = f"Run `{command_line('describe', run)}`."
        raise MissingError(f"{run} has no feature table yet.", file=run, remedy=remedy)
    write(table, output, formulas=formulas)
    n_rows, n_columns = table.shape
    facts = {"output": output, "to": to, "rows": n_rows}
    facts |= {"columns": list(table.columns)}
    show_facts(facts, f"{output}: {n_rows:,} rows, {n_columns} columns")


def _note_stale_columns(table: pd.DataFrame) -> None:
    """Say which columns of a feature table are stale, and why."""
    columns: dict[str, list[str]] = {}
    for column, reason in table.attrs["stale"].items():
        columns.setdefault(reason, []).append(column)
    for reason, names in columns.items():
        say_beside_results(f"note: stale: {', '.join(names)}: {reason}.")


def _export_for(to: Any, codes: Codes, output: str, name: str) -> int:
    """Write a corpus for another program; return the number of rows or features written."""
    if to == "atlas":
        from nanosae.export.map_table import write_map

        return write_map(codes, output)
    if to == "neuronpedia":
        from nanosae.export.neuronpedia import write_neuronpedia

        return write_neuronpedia(codes, output, name)
    from nanosae.export.stores import to_store

    return to_store(codes, output, to, name)
