"""From a file of texts to findings: what is decided, done, resumed and redone."""

import html
import os
import shlex
import shutil
import signal
import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import nanosae
from nanosae import Codes, TrainConfig
from nanosae.analysis.comparisons.findings import Contrast
from nanosae.analysis.comparisons.summary import of_comparisons
from nanosae.cli.app import parse
from nanosae.errors import (
    ConfigError,
    DamagedFileError,
    DataError,
    DataTypeError,
    ExistsError,
    MissingError,
    StaleError,
    WriteError,
)
from nanosae.pipeline import run as module
from nanosae.pipeline.plan import make_plan
from nanosae.runs.signals import Stopped
from nanosae.runs.tables import load_features
from nanosae.train import loop
from reported import Page

NOTHING = pd.DataFrame()
EMPTY = Contrast("groups", NOTHING, NOTHING, NOTHING, {}, NOTHING)
CONFIG = TrainConfig(hidden_size=32, k=4, steps=40, batch_size=128, eval_every=20)
WORDS = {"sea": "boat wave sail harbour tide", "farm": "cow field tractor wheat barn"}

STAGES = (
    "embed",
    "train",
    "encode",
    "describe",
    "label",
    "families",
    "topics",
    "compare",
    "evaluate",
    "report",
)


class Embedder:
    """Texts by the words in them."""

    def __init__(self):
        self.n_texts = 0
        vocabulary = " ".join(WORDS.values()).split()
        rng = np.random.default_rng(0)
        self.vectors = {word: rng.normal(size=16) for word in vocabulary}

    def encode(self, texts):
        self.n_texts += len(texts)
        rows = [
            sum(self.vectors.get(word, 0) for word in text.split()) for text in texts
        ]
        seeds = [zlib.crc32(text.encode()) for text in texts]
        noise = [np.random.default_rng(seed).normal(size=16) for seed in seeds]
        return np.array(rows) + 0.7 * np.array(noise)


def reviews(n=400):
    rng = np.random.default_rng(0)
    kinds = rng.choice(list(WORDS), n)
    texts = [
        f"a text on the {' '.join(rng.choice(WORDS[kind].split(), 3))} no {i}"
        for i, kind in enumerate(kinds)
    ]
    table = {
        "review": texts,
        "place": kinds,
        "stars": np.where(kinds == "sea", 4, 2) + rng.integers(0, 2, n),
    }
    table["day"] = pd.date_range("2021-01-01", periods=n).astype(str)
    return pd.DataFrame(table)


def run(data, folder, lines=None, **more):
    lines = [] if lines is None else lines
    options = {
        "embedder": Embedder(),
        "config": CONFIG,
        "n_topics": 4,
        "progress": False,
    } | more
    return nanosae.run(data, folder, say=lines.append, **options), lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    reviews().to_csv(folder / "reviews.csv", index=False)
    return (
        folder / "reviews.csv",
        folder / "run",
        *run(folder / "reviews.csv", folder / "run"),
    )


def test_it_says_what_it_takes_for_what(finished):
    lines = "\n".join(finished[3])
    for column, role in (
        ("review", "text"),
        ("place", "category"),
        ("stars", "number"),
        ("day", "date"),
    ):
        assert f"  {column}: {role} (" in lines
    without_labels = [stage for stage in STAGES if stage != "evaluate"]
    for stage in without_labels:
        assert any(line.startswith(stage) for line in finished[3]), stage


@pytest.mark.slow
def test_few_texts_have_few_topics(tmp_path):
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "nanosae.pipeline.run.distinct_topics",
            lambda tree, n: asked.append(n) or tree.cut(n),
        )
        for n_texts in (60, 400):
            run(reviews(n_texts), tmp_path / str(n_texts), n_topics=7)
    assert asked == [6, 7]


def test_many_columns_of_one_kind_are_said_in_one_line():
    answers = pd.DataFrame({f"q{i}": [1, 2, 3, 4] * 100 for i in range(120)})
    lines = make_plan(pd.concat([reviews(), answers], axis="columns")).lines()
    assert "  stars, q0, q1, q2, q3 and 116 more: number (holds numbers)" in lines
    assert len(lines) < 8


def test_texts_alone_are_told_to_have_nothing_to_compare(tmp_path):
    said = []
    texts = reviews()["review"].tolist()
    nanosae.run(texts, tmp_path, embedder=Embedder(), config=CONFIG, say=said.append)
    (line,) = [line for line in said if line.startswith("compare")]
    assert "nothing to compare: there are only texts" in line


def test_lengths_of_the_texts_are_not_explained_unless_requested():
    table = reviews()
    rng = np.random.default_rng(0)
    n_more = rng.integers(1, 40, len(table))
    table["review"] += [" more" * n for n in n_more]
    table["n_words"] = table["review"].str.split().str.len()
    table["size"] = table["review"].str.len()
    table["almost"] = table["size"] + rng.normal(0, 30, len(table))
    plan = make_plan(table)
    assert plan.numbers == ["stars", "almost"]
    (line,) = [line for line in plan.lines() if "n_words: " in line]
    assert line.startswith(
        "  n_words: unused (measures the length of the texts in words; "
    )
    assert make_plan(table, target="n_words").numbers == ["n_words"]


def test_columns_that_belong_to_documents_of_several_rows_are_noted():
    table = reviews()
    document = np.arange(len(table)) // 8
    table["doc_id"] = [f"D{number}" for number in document]
    table["pages"] = document % 7
    table["status"] = np.where(document % 3 == 0, "draft", "final")
    (note,) = make_plan(table).notes
    assert note.startswith("pages, status are the same in all rows of a doc_id. ")
    table.loc[0, "pages"] = 99
    (note,) = make_plan(table).notes
    assert note.startswith("status is the same in all rows of a doc_id. ")
    table["doc_id"] = [f"D{number}" for number in range(len(table))]
    assert make_plan(table).notes == []


def test_vectors_beside_texts_are_said_to_be_unused_where_an_embedder_is_named():
    table = reviews()
    table["vector"] = list(np.random.default_rng(0).normal(size=(len(table), 16)))
    assert "  vector: vectors (16 dimensions; " in "\n".join(make_plan(table).lines())
    lines = make_plan(table, embedder=Embedder()).lines()
    assert any(line.startswith("  vector: unused (vectors; ") for line in lines)


def test_columns_are_said_in_their_order():
    table = reviews()
    table["votes"] = table[
        "stars"
    ]  # of the same role for the same reason as an earlier one
    named = [line.split(":")[0].strip() for line in make_plan(table).lines()[1:]]
    assert named[: len(table.columns)] == list(table.columns)


def test_findings_are_sentences_about_the_planted_difference(finished):
    sentences = finished[2].findings
    by_place = sentences[sentences["column"] == "place"]
    assert len(by_place)
    words = set(" ".join(WORDS.values()).split())
    assert words & set(by_place["label"].iloc[0].lower().replace(",", "").split())
    assert "make up" in by_place["sentence"].iloc[0]
    assert "odds" not in " ".join(sentences["sentence"])


@pytest.mark.parametrize("verb", ["card", "search", "contrast", "explain", "over_time"])
def test_methods_are_the_functions(verb):
    assert getattr(nanosae.Analysis, verb) is getattr(nanosae, verb)


def test_a_notebook_shows_what_is_printed(finished):
    shown = html.unescape(finished[2]._repr_html_())
    for line in finished[2].summary():
        assert line.strip().removeprefix("• ") in shown


def test_what_is_missing_comes_with_its_whole_command(finished):
    with pytest.raises(MissingError, match=f"nanosae evaluate {finished[1]}"):
        _ = finished[2].evaluation


@pytest.mark.slow
def test_rows_can_be_found_again_in_the_frame(tmp_path):
    frame = reviews().sample(frac=1, random_state=1)
    frame.loc[frame.index[[0, 7]], "review"] = [None, " "]
    analysis, _ = run(frame, tmp_path / "shuffled")
    kept = frame.drop(index=frame.index[[0, 7]])
    assert analysis.codes.column("index").tolist() == kept.index.tolist()
    by_column = analysis.contrast("sea", by="place", min_active=20)
    by_mask = analysis.contrast(frame["place"] == "sea", min_active=20)
    assert by_mask.table["p"].tolist() == by_column.table["p"].tolist()
    assert analysis.explain(frame["stars"]).to_dict() == (
        analysis.explain("stars").to_dict()
    )
    plain = frame.reset_index(drop=True)
    plan = make_plan(plain, embedder=Embedder())
    numbers = plan.table["index"].to_pylist()
    assert numbers == plain.index[plain["review"].fillna("").str.strip() != ""].tolist()
    whole = make_plan(reviews(), embedder=Embedder())
    assert "index" not in whole.table.column_names


def test_results_of_another_model_are_not_shown(finished, monkeypatch):
    assert nanosae.open(finished[1]).to_dict()["findings"]
    monkeypatch.setattr(Codes, "checksum", "changed")
    analysis = nanosae.open(finished[1])
    with pytest.raises(
        StaleError, match=r"findings\.parquet is stale.*has changed since"
    ):
        _ = analysis.findings
    with pytest.raises(StaleError):
        _ = analysis.topics
    said = "\n".join(analysis.summary())
    assert "The findings are stale and not shown" in said
    assert "make up" not in said
    assert analysis.to_dict()["findings"] == analysis.to_dict()["topics"] == []


def test_a_summary_says_that_the_model_has_been_replaced(finished, monkeypatch):
    assert "replaced" not in "\n".join(nanosae.open(finished[1]).summary())
    monkeypatch.setattr("nanosae.codes.reader.saved_checksum", lambda run: "another")
    first, *_ = nanosae.open(finished[1]).summary()
    assert "was encoded by a model that has since been replaced" in first


def test_the_number_of_findings_is_one_wherever_it_is_said(finished):
    _, folder, analysis, lines = finished
    (line,) = [line for line in lines if line.startswith("compare")]
    n_said = int(line.split()[1].replace(",", ""))
    facts = Page((folder / "report.html").read_text("utf-8")).blocks["facts"]
    assert n_said == facts["findings"] == len(of_comparisons(analysis.findings))
    assert n_said < len(analysis.findings)  # the others are about the texts as a whole


def test_what_the_texts_are_about_follows_the_tested_findings(finished):
    table = finished[2].findings
    is_tested = table["q"].notna()
    n_tested = is_tested.sum()
    assert is_tested[:n_tested].all()
    assert "topic" in table["side"][n_tested:].tolist()
    run(finished[0], finished[1], n_topics=1)
    again = nanosae.open(finished[1]).findings
    assert (again["side"] == "topic").sum() == 1  # and none of those before
    assert again["topic"][again["q"].notna()].isna().all()  # one topic differs nowhere
    assert again["q"].notna().any()
    run(finished[0], finished[1])


def test_topics_are_cut_into_another_number(finished):
    analysis = finished[2]
    cut = analysis.cut_topics(3)
    assert sorted(set(cut.row_topic)) == [0, 1, 2]
    assert len(cut.row_topic) == analysis.codes.n_rows
    assert len(analysis.topics) != 3  # those of the run are kept


def test_texts_written_as_html_are_planned_as_plain_ones():
    plain = reviews()["review"].tolist()
    texts = [f"<div>Dear,</div><p><b>{text}</b></p>" for text in plain]
    plan = make_plan({"mail": texts}, embedder=Embedder())
    assert plan.table["text"].to_pylist() == [f"Dear,\n{text}" for text in plain]
    assert "The texts are HTML: tags and quoted replies were removed." in plan.notes


def test_long_texts_are_noted():
    short = [f"{text} {'word ' * 900}" for text in reviews()["review"].tolist()]
    assert make_plan(short, embedder=Embedder()).notes == []
    (note,) = make_plan([f"{text}{text}" for text in short], embedder=Embedder()).notes
    assert note.startswith("The texts are long (9,")
    assert "a row for each page or paragraph" in note


def test_embedders_for_english_are_noted_beside_other_languages():
    english = [f"{text}, é" for text in reviews()["review"].tolist()]
    german = [f"Die Größe {chr(97 + i % 26)} passt gut dafür." for i in range(60)]

    def notes(texts, embedder):
        return make_plan(texts, embedder=embedder).notes

    assert notes(english, "wordllama") == []
    assert notes(german, Embedder()) == []
    (note,) = notes(german, "wordllama")
    assert "do not seem to be English, but wordllama was trained on English" in note


@pytest.mark.parametrize(
    ("name", "seconds", "rest"),
    [
        ("all-MiniLM-L6-v2", 0.1, ""),
        (
            "all-MiniLM-L6-v2",
            0.5,
            ", about 3 minutes; --embedder wordllama takes seconds, but is less accurate",
        ),
        ("another", 0.5, ", about 3 minutes"),
    ],
)
def test_embedding_that_takes_minutes_is_told_before(name, seconds, rest):
    plan = make_plan(reviews(), embedder=Embedder())
    embedder = replace(plan.embedder, name=name, note="a model", seconds=seconds)
    lines = replace(plan, embedder=embedder).lines()
    assert f"  embedder: {name} (a model){rest}" in lines


def test_copies_are_told_before_their_comparisons():
    def result(n_rows, n_independent):
        about = {"n_rows": n_rows, "n_independent": n_independent}
        return replace(EMPTY, about=about)

    assert module._note_on_copies([result(900, 450), result(80, 80)]) == []
    (note,) = module._note_on_copies([result(900, 18), result(80, 80)])
    assert "only 18 of the 900 texts are distinct" in note
    assert module._note_on_copies([]) == []


def test_texts_that_are_all_the_same_are_refused_before_anything_is_done():
    texts = [f"Ticket {number}: server DOWN" for number in range(200)]
    with pytest.raises(
        DataError, match=r"only 1 of the .* texts are distinct; at least 10"
    ):
        make_plan(texts, embedder=Embedder())
    kinds = [f"{text} {'x' * (i % 10 + 1)}" for i, text in enumerate(texts)]
    assert make_plan(kinds, embedder=Embedder()).has_texts


@pytest.mark.parametrize("given", [5, [1, 2], object()])
def test_what_holds_no_texts_is_refused(given):
    with pytest.raises(DataTypeError, match="Texts must be a file, a table or a list"):
        make_plan(given)


def test_a_series_of_texts_and_single_names_are_taken():
    table = reviews()
    assert make_plan(table["review"], embedder=Embedder()).has_texts
    plan = make_plan(table, by="place", time="day", target="stars", embedder=Embedder())
    assert (plan.groups, plan.times, plan.numbers) == (["place"], ["day"], ["stars"])


def test_the_run_folder_opens_again(finished):
    analysis = nanosae.open(finished[1])
    pd.testing.assert_frame_equal(analysis.findings, finished[2].findings)
    assert {"label", "density", "topic"} <= set(analysis.features.columns)
    assert 2 <= len(analysis.topics) <= 4  # fewer where words would not tell them apart
    assert (finished[1] / "report.html").stat().st_size > 10_000
    assert "400 rows" in repr(analysis)
    of_corpus = nanosae.open(finished[1] / "codes" / "default")
    pd.testing.assert_frame_equal(of_corpus.features, analysis.features)
    assert len(analysis.search("boat").to_frame())
    for compared, expected in (
        (analysis.contrast(by="place"), nanosae.contrast(analysis, by="place")),
        (analysis.explain("stars"), nanosae.explain(analysis, "stars")),
        (analysis.over_time("day"), nanosae.over_time(analysis, "day")),
    ):
        pd.testing.assert_frame_equal(compared.table, expected.table)


@pytest.mark.slow
def test_a_second_call_does_nothing_and_a_change_only_what_depends_on_it(
    finished, tmp_path
):
    _, lines = run(finished[0], finished[1])
    _, lines = run(finished[0], finished[1], n_topics=3)
    redone = [
        line.split()[0]
        for line in lines
        if line[0] not in " 0123456789" and "up to date" not in line
    ]
    assert redone == ["topics", "compare", "report"]
    run(finished[0], finished[1])


def test_labels_that_differ_in_every_row_withhold_no_report(finished):
    analysis, lines = run(finished[0], finished[1], classes="day")
    (told,) = [line for line in lines if line.startswith("evaluate")]
    assert "skipped day: none of 400 classes" in told
    assert any(line.startswith("report") for line in lines)
    assert analysis.report().exists()


@pytest.fixture(scope="module")
def evaluated(finished, tmp_path_factory):
    """Every stage there is, never interrupted."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    run(finished[0], folder, classes="place")
    return folder


def results(folder):
    """Return all that a run has found, as text."""
    analysis = nanosae.open(folder)
    tables = (analysis.findings, analysis.features, analysis.topics)
    values = [table.to_json(orient="records") for table in tables]
    objects = (analysis.families, analysis.evaluation)
    return [*values, *(result.to_dict() for result in objects)]


def interrupted(stage, when, monkeypatch):
    """Be interrupted in a stage: before it did anything, or when it has done all but say so."""
    original = getattr(module.Pipeline, stage)

    def killed(self, **options):
        if when == "after":
            original(self, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Pipeline, stage, killed)


@pytest.mark.slow
def test_killed_before_each_stage_in_turn_it_goes_on_there(
    finished, evaluated, tmp_path, monkeypatch
):
    """Each call does the stage in which the one before it was killed, and dies in the next."""
    for number, stage in enumerate(STAGES):
        lines = []
        interrupted(stage, "before", monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            run(finished[0], tmp_path / "run", lines, classes="place")
        monkeypatch.undo()
        assert up_to_date(lines) == list(STAGES[: max(number - 1, 0)])
    _, lines = run(finished[0], tmp_path / "run", classes="place")
    assert up_to_date(lines) == list(STAGES[:-1])
    assert results(tmp_path / "run") == results(evaluated)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_the_end_of_a_stage_it_goes_on_there(
    stage, finished, evaluated, tmp_path, monkeypatch
):
    interrupted(stage, "after", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(finished[0], tmp_path / "run", classes="place")
    monkeypatch.undo()
    _, lines = run(finished[0], tmp_path / "run", classes="place")
    assert up_to_date(lines) == list(STAGES[: STAGES.index(stage)])
    assert results(tmp_path / "run") == results(evaluated)


def up_to_date(lines):
    """The stages that had nothing to do."""
    return [line.split()[0] for line in lines if "up to date" in line]


@pytest.mark.slow
def test_killed_while_it_trains_it_goes_on_at_the_last_checkpoint(
    finished, evaluated, tmp_path, monkeypatch
):
    n_steps = 0
    original = loop.take_step

    def take_step(*arguments):
        nonlocal n_steps
        n_steps += 1
        if n_steps == 26:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(loop, "take_step", take_step)
    options = {"classes": "place", "config": replace(CONFIG, checkpoint_every=10)}
    with pytest.raises(KeyboardInterrupt):
        run(finished[0], tmp_path / "run", **options)
    run(finished[0], tmp_path / "run", **options)
    assert n_steps == 26 + (40 - 20)
    assert results(tmp_path / "run") == results(evaluated)


def test_stopped_by_a_signal_it_says_how_to_go_on(finished, tmp_path, monkeypatch):
    """A run is repeated as it was typed; `train` alone has --resume."""
    original = loop.take_step
    signals = iter([signal.SIGTERM])  # a second one would end the process

    def take_step(*arguments):
        original(*arguments)
        for number in signals:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(loop, "take_step", take_step)
    with pytest.raises(Stopped, match="repeat the command with the same run folder"):
        run(finished[0], tmp_path / "run")


@pytest.mark.slow
def test_added_texts_cost_only_themselves(finished, tmp_path):
    table = reviews()
    run(table, tmp_path / "run")
    more = pd.concat([table, reviews(410).tail(10)], ignore_index=True)
    embedder = Embedder()
    analysis, _ = run(more, tmp_path / "run", embedder=embedder)
    assert embedder.n_texts == 10 + 1  # one is embedded again, to compare
    assert analysis.codes.n_rows == 410


@pytest.mark.slow
def test_another_object_of_one_name_is_refused(tmp_path):
    table = reviews(120)
    run(table, tmp_path / "run")
    before = nanosae.open(tmp_path / "run").features
    other = Embedder()
    for word, vector in other.vectors.items():
        other.vectors[word] = np.roll(vector, 1)
    with pytest.raises(
        DataError, match=r"another embedder of the name Embedder: .*differs"
    ):
        run(table, tmp_path / "run", embedder=other)
    for rows in (np.ones((1, 20)), np.full((1, 16), np.nan)):
        strange = Embedder()
        strange.encode = lambda texts, rows=rows: np.repeat(rows, len(texts), axis=0)
        with pytest.raises(DataError, match="another embedder of the name"):
            run(table, tmp_path / "run", embedder=strange)
    run(table, tmp_path / "run")
    pd.testing.assert_frame_equal(nanosae.open(tmp_path / "run").features, before)


@pytest.mark.slow
def test_given_vectors_need_no_embedder(tmp_path):
    table = reviews(200)
    rows = Embedder().encode(table["review"].tolist())
    analysis, lines = run(table, tmp_path / "run", vectors=rows, embedder=None)
    assert analysis.codes.n_rows == 200
    assert not any(line.startswith("embed ") for line in lines)
    with pytest.raises(DataError, match="199 vectors for 200 rows"):
        make_plan(table, vectors=rows[:199])
    with pytest.raises(ConfigError, match="vectors and embedder cannot both be given"):
        make_plan(table, vectors=rows, embedder="wordllama")


@pytest.mark.slow
def test_a_training_or_codes_that_no_run_has_made_are_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "cfg.json"
    weights.write_text("{}")
    with pytest.raises(
        ExistsError, match="holds model, which nanosae run has not made"
    ):
        run(reviews(), tmp_path)
    assert weights.exists()
    weights.rename(tmp_path / "manifest.json")
    codes = tmp_path / "codes" / "default"
    codes.mkdir(parents=True)
    (tmp_path / "manifest.json").rename(codes / "manifest.json")
    with pytest.raises(ExistsError, match="holds codes/default, which"):
        run(reviews(), tmp_path)
    assert not (tmp_path / "embeddings").exists()


@pytest.mark.slow
def test_a_model_or_codes_changed_by_another_command_are_not_replaced(
    finished, tmp_path
):
    vectors = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)
    trained, appended = tmp_path / "trained", tmp_path / "appended"
    for folder in (trained, appended):
        shutil.copytree(finished[1], folder)
    nanosae.SAETrainer(CONFIG, run=trained).train(vectors, force=True)
    with pytest.raises(ExistsError, match="model has changed since nanosae run made"):
        run(finished[0], trained)
    model = nanosae.SAEModel.load(appended)
    codes = Codes.open(appended)
    columns = {name: codes.series(name)[:64] for name in ["text", *codes.columns]}
    model.encode_corpus(vectors, codes.path, metadata=columns, append=True)
    with pytest.raises(ExistsError, match="default has changed since nanosae run"):
        run(finished[0], appended)


@pytest.mark.slow
def test_what_was_deleted_is_made_again(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    (comparison, *_) = (folder / "contrasts").glob("over-time-*.json")
    deleted = {"report.html": "report", "families.json": "families", "model": "train"}
    deleted |= {
        "topic_rows.parquet": "topics",
        f"contrasts/{comparison.name}": "compare",
        "codes/default/00000/row_ptr.npy": "encode",
        "model/sae_weights.safetensors": "train",
    }
    stages = [stage for stage in STAGES if stage != "evaluate"]
    for name, stage in deleted.items():
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        analysis, lines = run(finished[0], folder)
        assert path.exists()
        needs_it = [] if stage == "families" else stages[stages.index(stage) :]
        assert set(up_to_date(lines)) == set(stages) - {stage, "report", *needs_it}
        assert analysis.findings.equals(finished[2].findings)


@pytest.mark.slow
def test_labels_are_fresh_after_another_column_has_changed(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    table = pd.read_csv(finished[0])
    run(table.assign(place=table["place"].str.upper()), folder)
    features = load_features(folder, Codes.open(folder))
    assert (features["n_active"] == 0).any()  # which have no labels
    assert features.attrs["stale"] == {}


@pytest.mark.slow
def test_what_was_damaged_is_made_again_as_its_message_says(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[1], folder)
    damaged = folder / "findings.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    analysis, lines = run(finished[0], folder)
    assert not {"compare", "report"} & set(up_to_date(lines))
    assert analysis.findings.equals(finished[2].findings)

    for part in ("codes/default/00000/rows.parquet", "model/sae_weights.safetensors"):
        whole = (folder / part).read_bytes()
        (folder / part).write_bytes(whole[:-100])
        analysis, _ = run(finished[0], folder)
        assert (folder / part).read_bytes() == whole
        assert analysis.findings.equals(finished[2].findings)

    manifest = folder / "codes" / "default" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    with pytest.raises(DamagedFileError, match="and repeat nanosae run to make it"):
        run(finished[0], folder)
    shutil.rmtree(manifest.parent)
    with pytest.raises(MissingError, match="Repeat nanosae run, which creates them"):
        Codes.open(folder)
    run(finished[0], folder)

    table = folder / "features.parquet"
    table.write_bytes(table.read_bytes()[:-100])
    with pytest.raises(DamagedFileError, match="Delete it, with all labels") as caught:
        run(finished[0], folder)
    command = str(caught.value).split("nanosae ")[-1].removesuffix(".")
    describe, bound = parse(command)
    with pytest.raises(DamagedFileError):
        describe(*bound.args, **bound.kwargs)
    table.unlink()
    describe(*bound.args, **bound.kwargs)
    run(finished[0], folder)
    assert nanosae.open(folder).features["label"].notna().any()


def test_a_full_disk_while_it_trains_says_to_repeat_the_command(tmp_path, monkeypatch):
    def full(path, fill):
        raise WriteError("No space left on device")

    monkeypatch.setattr("nanosae.runs.checkpoints.write_folder", full)
    with pytest.raises(
        WriteError, match=r"no earlier one\. Free .* repeat the command\.$"
    ):
        run(reviews(120), tmp_path / "run")


def test_the_prompts_are_kept_with_the_model(tmp_path):
    analysis, _ = run(
        reviews(120), tmp_path / "run", prompt="passage: ", query_prompt="query: "
    )
    metadata = analysis.codes.weights().metadata
    assert metadata["embedder"] == "Embedder"
    assert metadata["prompt"] == "passage: "
    assert metadata["query_prompt"] == "query: "


@pytest.mark.slow
def test_without_a_folder_nothing_is_left(monkeypatch):
    analysis, _ = run(reviews(120), None)
    folder = analysis.run
    assert folder.exists()
    del analysis
    assert not folder.exists()


def test_html_among_other_texts_and_placeholders_are_noted():
    table = reviews()
    table.loc[:19, "review"] = "<p>A text on the sea,</p> no " + table.index[
        :20
    ].astype(str)
    table.loc[20:22, "review"] = ["N/A", "", "-"]
    plan = make_plan(table, embedder=Embedder())
    assert plan.table["text"][3].as_py() == "A text on the sea,\nno 3"
    assert len(plan.table) == 397
    for note in (
        "20 texts are HTML: tags and quoted replies were removed.",
        "Skipped 3 rows without a text (empty, or only -, N/A).",
    ):
        assert note in plan.notes


def test_a_column_called_text_beside_the_texts_is_compared():
    table = reviews().rename(columns={"place": "text"}).assign(text_=range(400))
    plan = make_plan(table, embedder=Embedder(), classes="text")
    assert plan.table["text"].to_pylist() == table["review"].tolist()
    assert plan.table["text__"].to_pylist() == table["text"].tolist()
    assert "text__" in plan.groups
    assert plan.classes == "text__"
    assert (
        "The column 'text' is renamed to 'text__'; 'text' are the texts." in plan.notes
    )
    assert make_plan(table, embedder=Embedder(), by="text").groups == ["text__"]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("--by place,stars", ["place", "stars"]),
        ("--by place stars place", ["place", "stars"]),
        ("--by 'Sea, or land?' place,stars", ["Sea, or land?", "place", "stars"]),
    ],
)
def test_columns_are_named_between_commas_and_may_contain_some(by, groups, tmp_path):
    path = tmp_path / "reviews.csv"
    reviews().assign(**{"Sea, or land?": ["sea", "land"] * 200}).to_csv(path)
    words = ["run", str(path), "-o", str(tmp_path / "run"), *shlex.split(by)]
    _, bound = parse(words)
    columns = bound.arguments["columns"]
    plan = make_plan(path, embedder=Embedder(), by=columns.by)
    assert plan.groups == groups


DISTINCT = [f"{a} {b}" for a in WORDS["sea"].split() for b in "abcdefghijkl"]


def test_vectors_with_the_same_labels_in_another_order_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    index = pd.Index([f"row {i}" for i in range(60)])
    frame = pd.DataFrame({"text": DISTINCT}, index=index)
    vectors = pd.DataFrame(rng.normal(size=(60, 4)), index=index)
    shuffled = vectors.sample(frac=1, random_state=0)
    message = "the labels of the data's in another order"
    with pytest.raises(DataError, match=message):
        make_plan(frame, vectors=shuffled)
    for given in (shuffled.loc[frame.index], vectors.reset_index(drop=True)):
        assert (
            make_plan(frame, vectors=given).vectors == vectors.to_numpy(np.float32)
        ).all()
    trainer = nanosae.SAETrainer(hidden_size=8, k=2, steps=3)
    with pytest.raises(DataError, match=message):
        trainer.train(vectors, shuffled, progress=False)
    sae = trainer.train(vectors, progress=False)
    with pytest.raises(DataError, match=message):
        sae.encode_corpus(vectors, tmp_path / "c", metadata=frame.loc[shuffled.index])
    with pytest.raises(DataError, match=message):
        nanosae.write_codes(
            tmp_path / "d", np.eye(60), metadata=vectors, texts=frame["text"].iloc[::-1]
        )


def test_a_config_that_is_none_is_refused_before_anything_is_said():
    said = []
    frame = pd.DataFrame({"text": DISTINCT})
    with pytest.raises(ConfigError, match="config must be a TrainConfig, not dict"):
        nanosae.run(
            frame, text="text", embedder="wordllama", config={"k": 3}, say=said.append
        )
    assert said == []


def test_names_may_be_numbers_and_values_are_no_names():
    frame = pd.DataFrame({0: DISTINCT, 1: ["a", "b"] * 30})
    assert make_plan(frame, text=0, embedder="wordllama").groups == ["1"]  # pyright: ignore
    with pytest.raises(ConfigError, match="classes: there is no column 'a'"):
        make_plan(frame, classes=frame[1], embedder="wordllama")  # pyright: ignore


@pytest.mark.parametrize("kind", [tuple, np.array, pd.Index])
def test_names_of_columns_may_be_any_sequence(kind):
    plan = make_plan(reviews(), embedder=Embedder(), by=kind(["place", "stars"]))
    assert plan.groups == ["place", "stars"]


def test_a_users_mistake_is_named(tmp_path):
    with pytest.raises(ConfigError, match="by: there is no column 'nothing'"):
        make_plan(reviews(), by=["nothing"])
    with pytest.raises(ConfigError, match="time: 'review' is the text column"):
        make_plan(reviews(), text="review", time="review")
    with pytest.raises(DataError, match="No column looks like a text"):
        make_plan(pd.DataFrame({"a": [1, 2] * 50, "b": ["x", "y"] * 50}))
    with pytest.raises(DataError, match="20 rows have a text; at least 50"):
        make_plan(reviews(20))
    with pytest.raises(ConfigError, match="n_topics=0 must be at least 1"):
        run(reviews(), tmp_path / "run", n_topics=0)
    assert not (tmp_path / "run").exists()
