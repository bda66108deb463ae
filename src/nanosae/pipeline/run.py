"""From texts to findings in one call: embed, train, encode, label, group, compare, report."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanosae.analysis.comparisons.contrast import contrast
from nanosae.analysis.comparisons.explain import explain
from nanosae.analysis.comparisons.over_time import over_time
from nanosae.analysis.comparisons.overview import overview
from nanosae.analysis.comparisons.repeated import compare_repeated
from nanosae.analysis.comparisons.sentences import findings_table, percent
from nanosae.analysis.comparisons.summary import findings, of_comparisons
from nanosae.analysis.describe import describe
from nanosae.analysis.evaluation.evaluate import evaluate
from nanosae.analysis.evaluation.verdict import verdict
from nanosae.analysis.groups.families import families, save_families
from nanosae.analysis.groups.topic_rows import N_TOPICS, save_topics
from nanosae.analysis.groups.topics import distinct_topics, topics
from nanosae.analysis.names.labels import label
from nanosae.atomic import make_folder
from nanosae.checked import table_checksum
from nanosae.codes import DEFAULT_CORPUS, Codes
from nanosae.config import TrainConfig
from nanosae.errors import ConfigError, DataError, WriteError, counted, require_whole
from nanosae.pipeline.plan import MIN_ROWS, Plan, make_plan
from nanosae.pipeline.progress import Progress
from nanosae.pipeline.stages import Stage, run_stages
from nanosae.pipeline.stored import check_that_it_may_be_written, state_of
from nanosae.runs.embeddings import Embeddings
from nanosae.runs.results import (
    contrast_name,
    load_result,
    needed_value,
    save_result,
)
from nanosae.runs.signals import Stopped
from nanosae.runs.tables import for_all_features, save_features

if TYPE_CHECKING:
    from nanosae.analysis.comparisons.findings import Contrast
    from nanosae.pipeline.result import Analysis
    from nanosae.text.embedders import Embedder

FEATURES_PER_TOPIC = 4  # at least, on average
ROWS_PER_TOPIC = 10
MANY_COPIES = 0.5  # share of distinct texts below which a note mentions copies
DISTINCT = 0.9  # share of the rows: if fewer are distinct, one of each is trained on


def run(
    data: Any,
    output: str | Path | None = None,
    *,
    vectors: Any = None,
    text: str | None = None,
    by: str | Sequence[str] | None = None,
    time: str | Sequence[str] | None = None,
    target: str | Sequence[str] | None = None,
    classes: str | None = None,
    embedder: Any = None,
    base_url: str | None = None,
    prompt: str = "",
    query_prompt: str | None = None,
    encoding: str = "utf-8",
    config: TrainConfig | None = None,
    n_topics: int = N_TOPICS,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> Analysis:
    """Turn texts into labelled features, tested comparisons and a report.

    Called again with the same arguments, it resumes at the first unfinished stage; with other
    arguments, only the stages that depend on them are repeated. A stage whose result was deleted,
    or is stale, is repeated, too.

    Args:
        data: A path, folder or glob of texts (.csv .tsv .jsonl .json .parquet .xlsx .txt, possibly
            compressed), a DataFrame, an Arrow table, a dict of columns or a list of texts. Rows
            without a text are skipped; the column `index` of the codes then has the numbers, or
            the labels in the frame's index, of the others.
        output: The run folder; None uses a temporary one, which is deleted with the result.
        vectors: Precomputed rows of the texts, (n, width), instead of an embedder.
        text: The text column; found automatically by default.
        by: Columns whose values to compare; by default, all categories of 2 to 50 values.
        time: Columns over which to follow features; by default, all dates.
        target: Columns of numbers to explain; by default, all.
        classes: Column of known classes to evaluate the features on.
        embedder: A name, an object with `encode` or a function; see `find_embedder`.
        base_url: Address of a server with the embeddings protocol.
        prompt: Prefix of each text for the embedder, such as "passage: ".
        query_prompt: Prefix of each query, such as "query: "; by default, that of the texts.
        encoding: Encoding of a CSV or text file.
        config: Training settings; None derives them from the data.
        n_topics: Number of topics; fewer if words cannot tell them apart, or if there are fewer
            than ten rows for each.
        say: Function that prints a line.
        progress: Whether to show a progress bar over all stages on a terminal.

    Returns:
        The results.

    Raises:
        DataError: If the data cannot be used; the message says what to do.
        ConfigError: If a named column does not exist, or `n_topics` is less than 1.
        ExistsError: If the folder holds a training or codes that no run has made, or that have
            changed since.
    """
    plan = make_plan(
        data,
        vectors=vectors,
        text=text,
        by=by,
        time=time,
        target=target,
        classes=classes,
        embedder=embedder,
        base_url=base_url,
        prompt=prompt,
        query_prompt=query_prompt,
        encoding=encoding,
    )
    return run_plan(
        plan, output, config=config, n_topics=n_topics, say=say, progress=progress
    )


def run_plan(
    plan: Plan,
    output: str | Path | None,
    *,
    config: TrainConfig | None,
    n_topics: int,
    say: Callable[[str], None],
    progress: bool = True,
) -> Analysis:
    """Carry out a plan; keywords and errors are those of `run`."""
    from nanosae.pipeline.result import Analysis

    require_whole(1, n_topics=n_topics)
    if config is not None and not isinstance(config, TrainConfig):
        raise ConfigError(f"config must be a TrainConfig, not {type(config).__name__}.")
    for line in plan.lines():
        say(line)
    if output is None:
        folder = Path(tempfile.mkdtemp(prefix="nanosae-"))
    else:
        folder = Path(output)
        check_that_it_may_be_written(folder)
        make_folder(folder)
    bar = Progress(say, progress)
    if config is None:
        config = TrainConfig()
    pipeline = Pipeline(folder, plan, config, n_topics, bar)
    try:
        pipeline.check_embedder()
        run_stages(folder, pipeline.stages(), bar, partial(state_of, folder))
        analysis = Analysis(folder)
    except BaseException:
        if output is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        bar.close()
    if output is None:
        weakref.finalize(analysis, shutil.rmtree, folder, ignore_errors=True)
    for line in analysis.summary():
        say(line)
    return analysis


@dataclass(frozen=True)
class Pipeline:
    """The stages of a run, as methods that write their results to the run folder."""

    folder: Path
    plan: Plan
    config: TrainConfig
    n_topics: int
    progress: Progress

    def stages(self) -> list[Stage]:
        """Return the stages in order."""
        plan = self.plan
        thousands = len(plan.table) / 1000  # of rows
        table = {"table": table_checksum(plan.table)}
        topics = {"n": self.n_topics, "keeps_rows": True}
        columns = {"groups": plan.groups, "times": plan.times, "numbers": plan.numbers}
        n_columns = sum(map(len, columns.values()))
        comparing = n_columns * (1 + thousands / 10)

        embedding = [] if plan.embedder is None else [self._embedding(plan.embedder)]
        labelling, evaluation = [], []
        named = ("encode",)
        if plan.has_texts:
            labelling = [Stage("label", self.label, named, {}, 3 + thousands / 4)]
            named = ("encode", "label")
        if plan.classes is not None:
            classes = {"classes": plan.classes}
            evaluation = [Stage("evaluate", self.evaluate, ("encode",), classes, 20)]
        stages = [
            *embedding,
            self._training(),
            Stage("encode", self.encode, ("train",), table, 1 + thousands / 10),
            Stage("describe", self.describe, ("encode",), {}, 1 + thousands / 10),
            *labelling,
            Stage("families", self.families, named, {}, 3),
            Stage("topics", self.topics, named, topics, 1),
            Stage("compare", self.compare, (*named, "topics"), columns, comparing),
            *evaluation,
        ]
        everything = tuple(stage.name for stage in stages)
        return [*stages, Stage("report", self.report, everything, {}, 5)]

    def _embedding(self, embedder: Embedder) -> Stage:
        table = self.plan.table
        texts = table_checksum(table.select(["text"]))
        settings = {"texts": texts, "embedder": embedder.identity}
        seconds = len(table) * embedder.seconds
        return Stage("embed", self.embed, (), settings, seconds)

    def _training(self) -> Stage:
        plan = self.plan
        needs = () if plan.embedder is None else ("embed",)
        settings = {"config": self.config.to_dict()} | self._vectors_digest()
        if plan.embedder is not None and plan.embedder.query_prompt:
            settings["query_prompt"] = plan.embedder.query_prompt
        train = partial(self.train, resumes=False)
        resume = partial(self.train, resumes=True)
        seconds = 5 + len(plan.table) / 1000
        return Stage("train", train, needs, settings, seconds, resume)

    def _vectors_digest(self) -> dict[str, str]:
        vectors = self.plan.vectors
        if vectors is None:
            return {}
        return {"vectors": hashlib.sha256(vectors.tobytes()).hexdigest()}

    def check_embedder(self) -> None:
        """Refuse an embedder that embeds otherwise than the one that the folder was made with."""
        embedder = self.plan.embedder
        if embedder is not None and embedder.may_change:
            store = Embeddings(self.folder / "embeddings", embedder.identity)
            store.check(self.plan.table["text"].to_pylist(), embedder.encode)

    def embed(self) -> str:
        """Embed the texts that are not embedded yet."""
        embedder = self.plan.embedder
        assert embedder is not None
        texts = self.plan.table["text"].to_pylist()
        store = Embeddings(self.folder / "embeddings", embedder.identity)
        new = store.missing(texts)
        store.add(texts, embedder.encode, self.progress.advance)
        rows = store.rows(texts)
        store.write_rows(texts)
        if embedder.count_cut is not None:
            self._report_truncation(*embedder.count_cut(new))
        n_known = len(set(texts)) - len(new)
        cached = f", {n_known:,} of them cached" if n_known else ""
        n_texts, width = rows.shape
        return f"{n_texts:,} texts{cached}, {width} dimensions, by {embedder.name}"

    def _report_truncation(self, n_cut: int, n_tokens: int) -> None:
        if n_cut:
            verb = "was" if n_cut == 1 else "were"
            self.progress.say(
                f"  {counted(n_cut, 'text')} {verb} cut to the embedder's limit of "
                f"{n_tokens} tokens."
            )

    def train(self, *, resumes: bool) -> str:
        """Train the SAE, or resume an interrupted training."""
        from nanosae.train.trainer import SAETrainer

        config = self.config
        embedder = self.plan.embedder
        if embedder is not None:
            config = replace(
                config,
                embedder=embedder.name,
                prompt=embedder.prompt,
                query_prompt=embedder.query_prompt,
            )
        trainer = SAETrainer(config, run=self.folder)
        rows = without_copies(self.vectors())
        try:
            advance = self.progress.advance
            model = trainer.train(
                rows, resume=resumes, force=not resumes, progress=advance
            )
        except Stopped as stop:
            message = (
                "stopped while training; repeat the command with the same run folder"
            )
            raise Stopped(message, stop.signal) from stop
        except WriteError as error:
            problem = str(error).removesuffix(f" {error.remedy}")
            raise WriteError(
                problem,
                file=error.file,
                remedy="Free some space, or make the folder writable, and repeat the command.",
            ) from error
        metrics = trainer.metrics_
        made = f"{model.config['hidden_size']:,} features"
        if math.isnan(metrics["fvu"]):  # of one text
            return f"{made}; too few unseen texts to measure what they explain"
        return (
            f"{made}; the {metrics['l0']:.0f} that are active in an unseen text "
            f"explain {percent(1 - metrics['fvu'])} of its variance"
        )

    def encode(self) -> str:
        """Write the activations of all rows, with their texts and metadata."""
        from nanosae.model.sae import SAEModel

        model = SAEModel.load(self.folder)
        path = self.folder / "codes" / DEFAULT_CORPUS
        codes = model.encode_corpus(
            self.vectors(),
            path,
            metadata=self.plan.table,
            force=True,
            device=self.config.device,
        )
        return f"{codes.n_rows:,} rows"

    def describe(self) -> str:
        """Describe every feature."""
        codes = self.codes
        table = describe(codes)
        save_features(self.folder, table, codes)
        n_active = int(np.count_nonzero(table["n_active"]))
        return counted(n_active, "active feature")

    def label(self) -> str:
        """Label every feature."""
        codes = self.codes
        table = label(codes)
        every_line = for_all_features(table, codes.n_features)
        save_features(self.folder, every_line, codes)
        self._say_notes(table.attrs["notes"])
        n_labelled = int(np.count_nonzero(table["label"] != ""))
        return f"{counted(n_labelled, 'feature')} labelled"

    def families(self) -> str:
        """Group features into families."""
        codes = self.codes
        found = families(codes)
        save_families(codes, found)
        return counted(len(found.table), "family")

    def topics(self) -> str:
        """Group rows and features into topics."""
        codes = self.codes
        n_active = int((codes.counts > 0).sum())
        tree = topics(codes, 1)
        n_most = min(n_active // FEATURES_PER_TOPIC, codes.n_rows // ROWS_PER_TOPIC)
        n = min(self.n_topics, max(1, n_most), len(tree.tree_rows))
        found = distinct_topics(tree, n)
        save_topics(codes, found)
        return counted(found.n, "topic")

    def compare(self) -> str:
        """Compare groups, follow features over time, and explain numbers."""
        codes = self.codes
        questions = [("contrast", "by", column) for column in self.plan.groups]
        questions += [("over-time", "time", column) for column in self.plan.times]
        questions += [("explain", "target", column) for column in self.plan.numbers]
        results, compared, names, notes = [], [], [], []
        for verb, argument, column in questions:
            try:
                result = COMPARISONS[verb](codes, column)
            except DataError as error:
                notes.append(f"{column} was not compared: {error}")
                continue
            parameters = {"verb": verb, argument: column, "corpus": codes.name}
            names.append(contrast_name(parameters))
            save_result(codes, names[-1], result.to_dict(), parameters)
            results.append(result)
            compared.append(column)
        plan = self.plan
        repeated = compare_repeated(
            codes, groups=plan.groups, times=plan.times, numbers=plan.numbers
        )
        notes += _note_on_copies(results, n_repeated=len(repeated))
        table = findings([*results, *repeated])
        about = {"notes": notes, "comparisons": names}
        save_result(codes, "findings.parquet", table, about)
        self._say_notes(notes)
        if not plan.has_other_columns:
            return "nothing to compare: there are only texts"
        if not questions:
            return (
                "no column to compare; choose one with by, time or target (--by, --time or "
                "--target)"
            )
        if not len(table):
            return f"no differences beyond chance in {', '.join(compared)}"
        n_found = counted(len(table), "finding")
        return f"{n_found} in {counted(len(results), 'comparison')}"

    def evaluate(self) -> str:
        """Evaluate the features on known classes; unsuitable ones do not stop the run."""
        codes = self.codes
        try:
            result = evaluate(codes, self.plan.classes)
        except DataError as error:
            return f"skipped {self.plan.classes}: {error}"
        save_result(
            codes, "evaluation.json", result.to_dict(), {"classes": self.plan.classes}
        )
        self._say_notes([*result.about["notes"], *verdict(result)])
        return f"measured against the classes in {self.plan.classes}"

    def report(self) -> str:
        """Add an overview of the texts to the findings, and write the report."""
        from nanosae.view.report.render import report

        self._add_overview()
        return str(report(self.folder))

    def _add_overview(self) -> None:
        """Append descriptive counts of the corpus to the tested findings."""
        codes = self.codes
        topics = needed_value(self.folder, "topics.parquet", codes)
        families = needed_value(self.folder, "families.json", codes)
        counts = overview(codes, topics, families["families"])
        found = load_result(self.folder, "findings.parquet", codes)
        assert found is not None
        tested = of_comparisons(found.value)
        table = findings_table([*tested.to_dict("records"), *counts.to_dict("records")])
        save_result(codes, "findings.parquet", table, found.parameters)

    def _say_notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self.progress.say(f"  {note}")

    @cached_property
    def codes(self) -> Codes:
        """The codes that `encode` wrote, opened once: what is kept of them serves all stages."""
        return Codes.open(self.folder, DEFAULT_CORPUS)

    def vectors(self) -> Any:
        """Return the rows to train on."""
        if self.plan.vectors is not None:
            return self.plan.vectors
        return str(self.folder / "embeddings" / "rows.npy")


def _note_on_copies(results: Sequence[Contrast], n_repeated: int = 0) -> list[str]:
    """Return a note if comparisons rest on far fewer texts than rows, because of copies."""
    if not results:
        return []
    n_rows, n_independent = max(
        (result.about["n_rows"], result.about["n_independent"]) for result in results
    )
    if n_independent >= MANY_COPIES * n_rows:
        return []
    exception = "; findings about repeated texts count each copy" if n_repeated else ""
    return [
        f"Apart from digits and small changes, only {n_independent:,} of the {n_rows:,} texts "
        f"are distinct; comparisons count copies as one text{exception}."
    ]


def without_copies(rows: Any) -> Any:
    """Return one of each of the distinct rows if many are copies; else the rows as they are.

    A text such as "No comment" on most rows would otherwise be their mean, and the thresholds,
    which are set on rows that are no copies, would let all features be active on it.

    Args:
        rows: Path of a .npy file, or an array, (n, width).

    Example:
        >>> rows = np.repeat(np.eye(50), 3, axis=0)
        >>> len(without_copies(rows)), len(without_copies(rows[::3]))
        (50, 50)
    """
    array = np.load(rows, mmap_mode="r") if isinstance(rows, str) else rows
    hashes = (hash(row.tobytes()) for row in array)
    _, first = np.unique(np.fromiter(hashes, np.int64, len(array)), return_index=True)
    if len(first) < MIN_ROWS or len(first) >= DISTINCT * len(array):
        return rows
    return array[np.sort(first)]


COMPARISONS: dict[str, Callable[[Codes, str], Contrast]] = {
    "contrast": lambda codes, column: contrast(codes, by=column),
    "over-time": over_time,
    "explain": explain,
}
