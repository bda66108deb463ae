"""Labels by a language model: protocol and scores."""

import inspect
import json
import re
import sqlite3
from contextlib import closing

import numpy as np
import pytest
import scipy.sparse as sp

from nanosae.analysis.inactive import hard_inactive
from nanosae.analysis.llm import prompts
from nanosae.analysis.llm.answers import parse_matches
from nanosae.analysis.llm.chat import Chat
from nanosae.analysis.llm.labels import llm_label
from nanosae.analysis.splits import duplicate_groups, held_out
from nanosae.cli import main
from nanosae.codes import Codes, write_codes
from nanosae.runs.tables import save_features

FEATURES = [16, 21, 44]  # frequent ones without parent


BIG = {"features": FEATURES, "scoring": "detect"}


@pytest.mark.slow
def test_names_and_scores_of_an_able_model(codes, server, planted):
    frame = llm_label(codes, Chat("able", server.url), FEATURES)
    assert frame.llm_label.tolist() == [planted.names[j] for j in FEATURES]
    assert (frame.llm_f1 > 0.9).all()
    assert (frame.llm_pearson > 0.85).all()
    assert (frame.llm_n >= 40).all()  # 20 active and 20 silent texts
    assert (frame.llm_unparsed == 0).all()
    assert frame.llm_negatives.unique().tolist() == ["random"]
    assert len(server.requests) == 3 * (1 + 40)
    assert frame.attrs["usage"][0]["calls"] == 123
    assert frame.attrs["usage"][0]["prompt_tokens"] == 7 * 123


def test_detection_costs_a_tenth_and_says_the_same(codes, server):
    frame = llm_label(codes, Chat("able", server.url), **BIG)
    assert (frame.llm_f1 > 0.9).all()
    assert len(server.requests) == 3 * (1 + 4)
    assert frame.llm_scoring.unique().tolist() == ["detect"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("judge", "pearson"),
    [
        (
            lambda prompt: (
                f"PREDICTION: {np.random.default_rng(len(prompt)).uniform(-1, 1)}"
            ),
            0.35,
        ),
        (lambda prompt: "PREDICTION: 1", None),
    ],
)
def test_a_model_that_guesses_is_found_out(codes, server, judge, pearson):
    server.judge = judge
    frame = llm_label(codes, Chat("blind", server.url), FEATURES)
    if pearson is None:  # it always says yes
        assert frame.llm_pearson.isna().all()
        assert frame.llm_f1.tolist() == pytest.approx([2 / 3] * 3, abs=0.02)
    else:
        assert abs(frame.llm_pearson.mean()) < pearson
        assert frame.llm_f1.mean() < 0.75


def seen(server):
    """Active and inactive texts shown, and texts judged, for each feature's turn."""
    shown = [p for p in server.prompts if p.startswith(prompts.INTERPRET[:30])]
    pick = lambda part: re.findall("<text>(.*?)</text>", part, re.DOTALL)  # noqa: E731
    sides = [p.split("\nACTIVE:\n")[-1].split("\nINACTIVE:\n") for p in shown]
    judged = [t for p in server.prompts if p not in shown for t in pick(p)]
    return [pick(a) for a, _ in sides], [pick(s) for _, s in sides], judged


def test_shown_texts_are_the_strongest_and_judged_ones_are_unseen(
    codes, server, planted
):
    llm_label(codes, Chat("able", server.url, concurrency=1), [16], words=1000)
    (active,), (silent,), judged = seen(server)
    held, texts = held_out(duplicate_groups(codes), 0.5, 0), planted.texts.tolist()
    acts = planted.activations.toarray()[:, 16]
    assert [texts.index(t) for t in active] == sorted(
        (texts.index(t) for t in active), key=lambda i: -acts[i]
    )
    weakest = min(acts[texts.index(t)] for t in active)
    # near-copies are shown once
    assert np.sum(acts[~held] > weakest) <= 2 * len(active)
    assert not any(acts[texts.index(t)] for t in silent)
    assert len(judged) == 40
    assert all(held[texts.index(t)] for t in judged)
    assert not held[[texts.index(t) for t in active + silent]].any()
    strengths = [acts[texts.index(t)] for t in judged if acts[texts.index(t)]]
    # of any strength
    assert min(strengths) < np.median(acts[acts > 0]) < max(strengths)


@pytest.mark.slow
def test_each_feature_gets_other_silent_texts(codes, server):
    llm_label(codes, Chat("able", server.url), FEATURES)
    _, silent, _ = seen(server)
    assert len({frozenset(texts) for texts in silent}) == 3
    shared = set(silent[0]) & set(silent[1]) & set(silent[2])
    assert len(shared) <= 1  # with the first rows for all it would be all of them


def test_the_activations_printed_are_those_of_their_texts(codes, server, planted):
    llm_label(codes, Chat("able", server.url), [16], words=1000)
    question = next(p for p in server.prompts if p.startswith(prompts.INTERPRET[:30]))
    lines = re.findall(r"\[(\d\.\d\d)\] <text>(.*?)</text>", question, re.DOTALL)
    acts, texts = planted.activations.toarray()[:, 16], planted.texts.tolist()
    own = np.array([acts[texts.index(text)] for _, text in lines])
    assert len(lines) == 10
    assert [float(printed) for printed, _ in lines] == pytest.approx(
        own / own[0], abs=0.01
    )


def test_hard_negatives_are_the_nearest_and_stated(codes, server, planted):
    frame = llm_label(
        codes, Chat("able", server.url), [16], negatives="hard", words=1000
    )
    _, (silent,), _ = seen(server)
    texts = planted.texts.tolist()
    held = held_out(duplicate_groups(codes), 0.5, 0)
    near = hard_inactive(codes, np.array([16]), np.flatnonzero(~held), 20)[0]
    assert {texts.index(t) for t in silent} <= set(near.tolist())
    assert frame.llm_negatives[0] == "hard"


def test_groups_stay_on_one_side(codes, server, planted):
    llm_label(codes, Chat("able", server.url), [16], groups="source", words=1000)
    (active,), (silent,), judged = seen(server)
    texts, source = planted.texts.tolist(), planted.columns["source"]
    sides = [
        {source[texts.index(t)] for t in part} for part in (active + silent, judged)
    ]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("content", ["", None])
def test_empty_answers_make_no_name_and_no_score(codes, server, content):
    server.say = lambda prompt: content
    frame = llm_label(codes, Chat("mute", server.url), FEATURES)
    assert len(frame) == 0
    assert frame.attrs["unlabelled"] == FEATURES
    assert frame.attrs["usage"][0]["failed"] == 3
    assert frame.attrs["usage"][0]["error"] == "empty answer"
    assert len(server.requests) == 3  # nothing is asked about no name
    with closing(sqlite3.connect(codes.run / "llm.sqlite")) as db:
        assert db.execute("SELECT COUNT(*) FROM answers").fetchone() == (0,)


@pytest.mark.slow
def test_answers_of_no_use_are_counted_and_no_guesses(codes, server):
    server.judge = lambda prompt: "I cannot say."
    frame = llm_label(codes, Chat("coy", server.url), FEATURES)
    assert (frame.llm_unparsed == frame.llm_n).all()
    assert (frame.llm_f1 == 0).all()


def test_a_wrong_number_of_matches_does_no_harm(codes, server):
    server.judge = lambda prompt: "MATCHES: 1, 2, 77, 0"
    frame = llm_label(codes, Chat("odd", server.url), **BIG)
    assert (frame.llm_n >= 40).all()
    assert frame.llm_f1.between(0, 0.6).all()
    assert parse_matches("MATCHES: 77", 3).tolist() == [0, 0, 0]


def test_another_model_may_judge(codes, server):
    frame = llm_label(
        codes, Chat("namer", server.url), predictor=Chat("judge", server.url), **BIG
    )
    assert [bill["model"] for bill in frame.attrs["usage"]] == ["namer", "judge"]
    models = [request["model"] for request in server.requests]
    assert (models.count("namer"), models.count("judge")) == (3, 12)


def test_a_corpus_without_texts_is_refused(tmp_path, server):
    codes = write_codes(tmp_path / "c", sp.csr_array(np.eye(8, dtype=np.float32)))
    with pytest.raises(ValueError, match="no column 'text'"):
        llm_label(codes, Chat("able", server.url))
    assert server.requests == []


def test_defaults_are_enough_texts_to_decide_on():
    defaults = {
        k: p.default for k, p in inspect.signature(llm_label).parameters.items()
    }
    assert defaults["tests"] >= 20  # active ones, and as many silent ones
    assert defaults["shown"] >= 10


@pytest.mark.slow
def test_on_the_command_line(codes, server, capsys):
    run, flags = str(codes.run), ["--llm", "--model", "able", "--base-url", server.url]
    some = ["--features", *map(str, FEATURES)]
    assert main(["label", run, *flags, *some, "--dry-run", "--price", "1", "2"]) == 0
    shown = capsys.readouterr().out
    assert "123" in shown
    assert "cost" in shown
    assert not (codes.run / "features.parquet").exists()
    assert main(["label", run, *flags, *some, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {line["llm_label"] for line in found} <= set(server.names)
    assert (codes.run / "features.parquet").exists()
    assert (
        main(["label", run, "--llm", "--base-url", "http://127.0.0.1:9/v1", *some]) == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert Codes.open(run).n_rows == 900


def test_a_limited_or_failing_run_keeps_the_labels_that_are_there(codes, server):
    good = llm_label(codes, Chat("able", server.url), **BIG)
    save_features(codes.run, good)
    with pytest.warns(UserWarning, match="Stopped at max_calls"):
        limited = llm_label(
            codes, Chat("other", server.url, max_calls=7, concurrency=1), **BIG
        )
    assert 0 < len(limited) < 3
    assert sorted([*limited.feature, *limited.attrs["unlabelled"]]) == FEATURES
    table = save_features(codes.run, limited).set_index("feature").loc[FEATURES]
    assert (table.llm_label == good.set_index("feature").llm_label).all()
    assert table.llm_f1.notna().all()
    assert table.llm_model.tolist().count("other") == len(limited)
    server.say = lambda prompt: ""
    nothing = llm_label(codes, Chat("mute", server.url), **BIG)
    assert nothing.columns.tolist() == good.columns.tolist()
    after = save_features(codes.run, nothing).set_index("feature").loc[FEATURES]
    assert after.llm_label.tolist() == table.llm_label.tolist()
    assert after.llm_f1.tolist() == table.llm_f1.tolist()


def test_a_name_counts_if_half_of_its_texts_are_judged(codes, server):
    judged = []

    def some(prompt):
        judged.append(prompt)
        return "" if len(judged) <= unanswered else "PREDICTION: 1"

    server.judge = some
    for unanswered, lines in ((20, 1), (21, 0)):  # of 40
        judged.clear()
        frame = llm_label(codes, Chat(f"{unanswered}", server.url, concurrency=1), [16])
        assert len(judged) == 40
        assert len(frame) == lines
        if lines:
            assert frame.llm_n[0] == 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scoring": "guess"}, "scoring='guess' must be"),
        ({"negatives": "soft"}, "negatives='soft' must be one of"),
        ({"shown": 0}, "shown=0 must be at least 1"),
        ({"tests": -1}, "tests=-1 must be at least 0"),
        ({"words": 0}, "words=0 must be at least 1"),
        ({"features": [48]}, "feature 48 is out of range: there are 0"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_asked(
    codes, server, settings, message
):
    with pytest.raises(ValueError, match=message):
        llm_label(codes, Chat("able", server.url), **settings)
    assert server.requests == []


def test_names_without_a_judgement_may_be_asked_for(codes, server, planted):
    frame = llm_label(codes, Chat("able", server.url), FEATURES, tests=0)
    assert frame.llm_label.tolist() == [planted.names[j] for j in FEATURES]
    assert frame.llm_f1.isna().all()
    assert len(server.requests) == 3


def test_mixed_negatives_are_half_hard_ones(codes, server, planted):
    llm_label(codes, Chat("able", server.url), [16], negatives="mixed", words=1000)
    _, (silent,), judged = seen(server)
    texts, held = planted.texts.tolist(), held_out(duplicate_groups(codes), 0.5, 0)
    acts = planted.activations.toarray()[:, 16]
    for rows, sample, n in (
        (np.flatnonzero(~held), silent, 5),
        (np.flatnonzero(held), [t for t in judged if not acts[texts.index(t)]], 10),
    ):
        near = set(hard_inactive(codes, np.array([16]), rows, n)[0].tolist())
        drawn = {texts.index(text) for text in sample}
        assert len(drawn) == 2 * n
        assert near <= drawn


def test_texts_are_cut_to_words_and_characters(codes, server):
    llm_label(codes, Chat("able", server.url), [16], words=3)
    active, silent, judged = seen(server)
    cut = [*active[0], *silent[0], *judged]
    assert max(len(text.split()) for text in cut) == 3
    assert max(len(text) for text in cut) <= 24
