"""Ten and more files as people have them: what they are taken for, and findings without a flag."""

import pandas as pd
import pytest

import files_of_users as files
import nanosae
from nanosae import TrainConfig
from nanosae.errors import DataError
from nanosae.pipeline.plan import make_plan

CONFIG = TrainConfig(hidden_size=64, k=4, steps=60, batch_size=128)
UNUSED = ("id", "unused")
VEHICLES = set(files.THINGS["vehicles"].split())

# what each file's columns are, but for those that are not used
ROLES = {
    files.semicolons: {
        "Kommentar": "text",
        "Note": "number",
        "Datum": "date",
        "Filiale": "category",
    },
    files.excel: {"Feedback": "text", "Team": "category", "Score": "number"},
    files.reviews: {
        "review": "text",
        "rating": "number",
        "verified_purchase": "category",
        "helpful_votes": "number",
        "review_date": "date",
    },
    files.tickets: {
        "created_at": "date",
        "closed_at": "date",
        "description": "text",
        "priority": "category",
        "tags": "tags",
    },
    files.tweets: {
        "created_at": "date",
        "text": "text",
        "lang": "category",
        "retweet_count": "number",
    },
    files.survey: {
        "Timestamp": "date",
        "How old are you?": "category",
        "How likely is it that you would recommend us to a friend or colleague?": (
            "number"
        ),
        "What should we do better?": "text",
    },
    files.lines: {"text": "text"},
    files.chats: {
        "model": "category",
        "messages": "text",
        "metadata.tokens": "number",
    },
    files.papers: {"abstract": "text", "categories": "tags", "year": "date"},
    files.shards: {"embedding": "vectors", "text": "text", "tags": "tags"},
    files.headerless: {"column1": "category", "column3": "date", "column6": "text"},
    files.vectors_as_text: {
        "embedding": "vectors",
        "combined": "text",
        "Score": "number",
    },
    files.letters: {"embedding": "vectors", "letter": "text", "edition": "category"},
}
WITHOUT_COMPARISON = (files.lines,)


@pytest.mark.parametrize("make", ROLES, ids=lambda make: make.__name__)
def test_columns_are_taken_for_what_they_are(make, tmp_path):
    plan = make_plan(make(tmp_path), embedder=None)
    used = {c.name: c.role for c in plan.columns if c.role not in UNUSED}
    assert used == ROLES[make]
    assert len(plan.table) >= 0.8 * files.N


def test_two_likely_texts_are_one_question(tmp_path):
    path = files.questions_and_answers(tmp_path)
    with pytest.raises(DataError, match=r"text='question' or text='answer' \(--text"):
        make_plan(path)
    assert make_plan(path, text="answer").table["text"][0].as_py()


OVERVIEW = ("topic", "repeated", "family", "together", "unusual")


@pytest.mark.slow
@pytest.mark.parametrize("make", ROLES, ids=lambda make: make.__name__)
def test_findings_without_a_flag(make, tmp_path):
    lines = []
    analysis = nanosae.run(
        make(tmp_path),
        tmp_path / "run",
        embedder=None if "embedding" in ROLES[make] else "wordllama",
        config=CONFIG,
        n_topics=5,
        say=lines.append,
        progress=False,
    )
    is_compared = ~analysis.findings["side"].isin(OVERVIEW)
    assert len(is_compared) > 0
    assert is_compared.any() == (make not in WITHOUT_COMPARISON)
    assert (tmp_path / "run" / "report.html").exists()
    subjects = files.THINGS if make is files.letters else files.SUBJECTS
    known = set(" ".join(subjects.values()).split())
    said = set(" ".join(analysis.features["label"].fillna("")).replace(",", "").split())
    assert known & said
    assert not any("was not compared" in line for line in lines)


@pytest.mark.slow
def test_what_is_spread_over_many_features_is_told_by_its_topic(tmp_path):
    path = files.letters(tmp_path)

    def first_finding(n_topics):
        folder = tmp_path / f"run{n_topics}"
        analysis = nanosae.run(
            path, folder, config=CONFIG, n_topics=n_topics, say=str, progress=False
        )
        return analysis.findings.iloc[0]

    frame = pd.read_parquet(path)
    is_vehicle = frame["letter"].str.split().str[-1].isin(VEHICLES)
    share = is_vehicle.groupby(frame["edition"]).mean()
    found = first_finding(4)
    assert found["side"] == "evening"
    assert set(found["label"].split(", ")) <= VEHICLES
    told = sorted(found[["share", "other_share"]])
    assert told == pytest.approx([share["morning"], share["evening"]], abs=0.03)
    without_topics = first_finding(1)  # no feature alone tells as much as half of it
    assert abs(without_topics["strength"]) < 0.5 * abs(found["strength"])
