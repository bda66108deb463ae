"""An agent's questions about a run, asked by the official client, in process and over pipes."""

import asyncio
import json
import os
import shutil
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest

import nanosae
from complete_run import make_run
from nanosae.analysis.groups.topic_rows import save_topics
from nanosae.runs.tables import save_features
from needs import needs
from small_corpora import corpus, save_model

pytestmark = [needs("mcp", extra="mcp"), pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents") / "run"
    make_run(folder)
    return folder


def ask(server, *questions):
    """Return the answers to (tool, arguments), in one session."""
    import mcp

    async def session():
        async with mcp.Client(server) as client:
            answers = []
            for tool, arguments in questions:
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, result
                answers.append(json.loads(result.content[0].text))
            return answers

    return asyncio.run(session())


def in_process(run, *questions):
    from nanosae.agents.server import make_server

    return ask(make_server(run), *questions)


def test_every_tool_is_read_only_and_says_what_it_does(run):
    import mcp

    from nanosae.agents.server import make_server

    async def session():
        async with mcp.Client(make_server(run)) as client:
            return (await client.list_tools()).tools

    tools = asyncio.run(session())
    names = {tool.name for tool in tools}
    wanted = {"overview", "search", "row", "steer", "features", "feature"}
    assert names == wanted | {"compare", "topics", "findings"}
    for tool in tools:
        assert tool.annotations.read_only_hint is True
        assert tool.description


def test_ten_questions_are_answered_rightly(run):
    codes = nanosae.Codes.open(run)
    groups = codes.column("group")
    dense = codes.rows(0, codes.n_rows).toarray()
    feature = int(np.argmax(codes.counts))
    strongest = np.argsort(-dense[:, feature], kind="stable")[:3].tolist()
    value = str(groups[0])
    answers = in_process(
        run,
        ("overview", {}),
        ("search", {"feature": feature, "n": 3}),
        ("search", {"row": strongest[0], "n": 4}),
        ("row", {"row": strongest[0]}),
        ("feature", {"feature": feature}),
        ("features", {"n": 5}),
        ("compare", {"by": "group", "a": value}),
        ("topics", {"n": 2}),
        ("steer", {"row": strongest[0], "edit": {str(feature): 0.0}, "n": 4}),
        ("findings", {}),
    )
    seen, by_feature, near, row, card, features, compared, topics, steered, none = (
        answers
    )
    assert seen["rows"] == codes.n_rows
    assert seen["columns"]["group"] == dict(Counter(groups.astype(str).tolist()))
    assert [hit["row"] for hit in by_feature["hits"]] == strongest
    found = nanosae.search(codes, row=strongest[0], n=4)
    assert [hit["row"] for hit in near["hits"]] == [hit.row for hit in found.hits]
    assert near["hits"][0]["text"] == codes.texts([found.hits[0].row])[0]
    assert row["features"][0]["feature"] == int(np.argmax(dense[strongest[0]]))
    assert row["columns"]["group"] == groups[strongest[0]]
    assert card["facts"]["n_active"] == int((dense[:, feature] > 0).sum())
    assert card["examples"]["top_rows"][0]["row"] == strongest[0]
    related = {line["feature"]: line["label"] for line in card["related"]}
    nearest = nanosae.card(codes, feature).facts["nearest"]
    assert related[nearest[0]] == nanosae.card(codes, nearest[0]).label != ""
    rows = [line["rows"] for line in features["features"]]
    assert rows == sorted(rows, reverse=True)
    direct = nanosae.contrast(codes, value, by="group")
    assert compared["of"] == len(direct.findings)
    assert compared["sentences"] == direct.sentences(min(20, compared["of"]))
    assert len(topics["topics"]) == 2
    assert topics["of"] > 2
    edited = nanosae.search(codes, row=strongest[0], edit={feature: 0.0}, n=4)
    assert [hit["row"] for hit in steered["hits"]] == [hit.row for hit in edited.hits]
    assert "findings" in json.dumps(none)


def test_answers_are_bounded_and_mistakes_are_answers(run):
    many, missing, column, both = in_process(
        run,
        ("search", {"feature": 0, "n": 10**6}),
        ("row", {"row": 10**6}),
        ("compare", {"by": "no such column"}),
        ("search", {"row": 1, "feature": 1}),
    )
    assert len(many["hits"]) <= 50
    for edit, reason in (
        ({"no such label": 0}, "no label contains"),
        ({"-1": 0}, "label"),
    ):
        (answer,) = in_process(run, ("steer", {"row": 0, "edit": edit}))
        assert reason in answer["error"]
    assert "There is no row 1000000" in missing["error"]
    assert "no such column" in column["error"]
    assert "exactly one" in both["error"]


def longest(value):
    """Return the lengths of the longest text and the longest list inside an answer."""
    if isinstance(value, str):
        return len(value), 0
    if not isinstance(value, list | dict):
        return 0, 0
    is_list = isinstance(value, list)
    inside = [*value] if is_list else [*value, *value.values()]
    lengths = [longest(item) for item in inside]
    texts, lists = zip(*lengths, strict=True) if lengths else ((0,), (0,))
    return max(texts), max([*lists, len(value) if is_list else 0])


def test_texts_and_lists_of_all_answers_are_bounded(tmp_path):
    rng = np.random.default_rng(0)
    group = np.repeat(["a", "b"], 100)
    acts = rng.random((200, 80)) * (rng.random((200, 80)) < 0.1)
    acts[:, 0] = group == "a"
    long = [f"{value} " + "x" * 900 for value in group]
    metadata = {"group": long, "row": np.arange(200)}
    folder = tmp_path / "codes" / "default"
    words = rng.choice([*"abcdefgh"], (200, 450))
    texts = [" ".join(letters) for letters in words]
    codes = corpus(
        folder, acts, texts, vectors=rng.normal(size=(200, 4)), metadata=metadata
    )
    save_model(tmp_path, np.float32(rng.normal(size=(80, 4))))
    save_topics(codes, nanosae.topics(codes, 1))
    save_features(tmp_path, pd.DataFrame({"feature": [0], "label": ["y" * 900]}), codes)
    asked = (
        ("overview", {}),
        ("search", {"feature": 0}),
        ("row", {"row": 0}),
        ("features", {}),
        ("feature", {"feature": 0}),
        ("compare", {"by": "group"}),
        ("topics", {}),
    )
    answers = in_process(tmp_path, *asked)
    for (tool, _), answer in zip(asked, answers, strict=True):
        text_length, list_length = longest(answer)
        assert text_length <= 501, tool
        assert list_length <= 50, tool
    assert sorted(answers[0]["columns"]["group"].values()) == [100, 100]
    assert answers[5]["of"] > 0
    assert answers[6]["topics"][0]["n_features"] > 50


@pytest.mark.parametrize("is_stale", [False, True])
def test_a_feature_without_valid_statistics_is_described_anew(tmp_path, is_stale):
    rng = np.random.default_rng(0)
    folder = tmp_path / "codes" / "default"
    acts = rng.random((60, 6)) * (rng.random((60, 6)) < 0.3)
    codes = corpus(folder, acts, ["text"] * 60)
    some = nanosae.describe(codes, features=[0, 1])
    save_features(tmp_path, some, codes)
    save_features(tmp_path, pd.DataFrame({"feature": range(6), "label": "a"}), codes)
    if is_stale:
        shutil.rmtree(folder)
        acts[::2] = 0
        codes = corpus(folder, acts, ["text"] * 60)
    answers = in_process(tmp_path, *[("feature", {"feature": j}) for j in (0, 3)])
    for feature, answer in zip((0, 3), answers, strict=True):
        assert answer["facts"]["n_active"] == (acts[:, feature] > 0).sum()
        rows = [line["row"] for line in answer["examples"]["top_rows"]]
        assert set(rows) <= set(np.flatnonzero(acts[:, feature]).tolist())


def test_nothing_is_written(run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    in_process(run, ("overview", {}), ("compare", {"by": "group"}), ("topics", {}))
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert after == before


@pytest.mark.slow
def test_the_verb_speaks_over_pipes(run):
    import mcp

    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "nanosae", "mcp", str(run)],
        env=dict(os.environ),
    )
    (seen,) = ask(command, ("overview", {}))
    assert seen["rows"] == nanosae.Codes.open(run).n_rows


def test_numbers_and_times_are_summarised_by_their_range():
    from nanosae.agents.answers import MAX_VALUES, _values

    n = MAX_VALUES + 1
    days = pd.date_range("2024-05-01", periods=n)
    ends = {"from": "2024-05-01T00:00:00", "to": "2024-05-13T00:00:00"}
    assert _values(pd.Series([*days, None])) == ends
    zoned = {"from": "2024-05-01T00:00:00+02:00", "to": "2024-05-13T00:00:00+02:00"}
    assert _values(pd.Series(days.tz_localize("Europe/Berlin"))) == zoned
    dates = {"from": "2024-05-01", "to": "2024-05-13"}
    assert _values(pd.Series([*days.date, None], dtype=object)) == dates
    whole = pd.Series([*range(n), None], dtype="Int64")
    assert _values(whole) == {"from": 0, "to": n - 1}
    assert _values(pd.Series(days[[0, 1, 1]])) == {"2024-05-02": 2, "2024-05-01": 1}
    lists = pd.Series([["a", "b"], np.array(["a"]), [], None])
    assert _values(lists) == {"a": 2, "b": 1}  # values that `compare` takes
