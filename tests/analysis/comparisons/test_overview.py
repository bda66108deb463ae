"""What a corpus holds without comparing columns: counted again by hand and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors

from nanosae.analysis.comparisons import overview as module
from nanosae.analysis.comparisons.overview import NEAREST, closeness, overview
from nanosae.analysis.reading import drawn_rows
from nanosae.analysis.statistics import unit
from nanosae.codes import write_codes
from nanosae.runs.tables import save_features

N = 400
LABELS = [
    "sea",
    "boat",
    "farm",
    "farm animals",
    "doubted",
    "everywhere",
    "waves",
    "salt",
]


@pytest.fixture(scope="module")
def codes(tmp_path_factory):
    """Boats are at sea, animals on farms; one text is there four times, another twice."""
    run = tmp_path_factory.mktemp("overview")
    rng = np.random.default_rng(0)
    active = np.zeros((N, len(LABELS)), np.float32)
    active[:60, 0] = 1  # sea
    active[:40, 1] = 1  # 40 of 45 boats are at sea
    active[60:65, 1] = 1
    active[100:160, 2] = 1  # farm
    active[100:150, 3] = 1  # animals, always on farms, share a word
    active[:60, 4] = 1  # as the sea
    active[:, 5] = 1
    active[:15, 6] = 1  # waves, always at sea
    active[45:55, 7] = 1  # 10 of 16 salty texts are at sea
    active[200:206, 7] = 1
    words = rng.choice(["alpha", "beta", "gamma", "delta"], (N, 6))
    texts = [
        f"{' '.join(line)} {chr(97 + i % 26) * (1 + i // 26)}"
        for i, line in enumerate(words)
    ]
    texts[10] = "The same again"
    texts[11] = "the same, again!"
    texts[12] = texts[13] = texts[10]
    texts[20] = texts[21] = "twice"
    texts[300] = f"odd {'word ' * 30}"
    vectors = rng.normal(size=(N, 8)).astype(np.float32) * [
        1,
        1,
        1,
        1,
        0.1,
        0.1,
        0.1,
        0.1,
    ]
    vectors[300] = [0, 0, 0, 0, 9, 0, 0, 0]
    path = run / "codes" / "default"
    codes = write_codes(path, active, texts=texts, vectors=vectors.astype(np.float32))
    table = pd.DataFrame({"feature": range(len(LABELS)), "label": LABELS})
    table["label_doubtful"] = table["label"] == "doubted"
    save_features(run, table, codes)
    return codes


TOPICS = pd.DataFrame(
    {
        "Topic": range(5),
        "Count": [40, 200, 100, 50, 10],
        "Name": ["0_sea_boat", "1_farm", "2_unnamed", "3_feature 7", "4_odd"],
        "Representation": [["sea", "boat"], ["farm"], [], ["feature 7"], ["odd"]],
        "Features": [[0, 1], [2], [3], [3], []],
    }
)


def said(table, side):
    return table.loc[table["side"] == side, "sentence"].tolist()


def test_topics_come_by_their_size_and_never_by_numbers(codes):
    table = overview(codes, TOPICS)
    assert said(table, "topic") == [
        "The topic “farm” makes up 50 % of the texts.",
        "The topic “sea, boat” makes up 10 % of the texts.",
        "The topic “odd” makes up 2.5 % of the texts.",
    ]
    of_topics = table[table["side"] == "topic"]
    assert of_topics["feature"].tolist() == [2, 0, pd.NA]


def test_repeated_texts_are_counted_but_for_case_and_punctuation(codes):
    (sentence,) = said(overview(codes), "repeated")
    assert sentence == (
        "4 texts (1 %) repeat another one; the most frequent occurs 4 times: "
        "“The same again”."
    )


def test_features_that_go_together_are_told_by_their_shares(codes):
    (sentence,) = said(overview(codes), "together")
    # the sea's rows 10 to 13 are one text, and 20 and 21: 4 fewer, of boats as well
    of_boats, of_others = 36 / 41, 20 / (396 - 41)
    assert sentence == (
        f"Of the texts about “boat”, {of_boats:.0%} are also about “sea”; of the others, "
        f"{100 * of_others:.1f} %."
    ).replace("88%", "88 %")
    line = overview(codes).set_index("side").loc["together"]
    assert line["strength"] == pytest.approx(of_boats - of_others)


def test_a_family_is_told_by_the_kinds_that_lie_in_its_root(codes):
    families = [
        {"root": 5, "members": [5, 0, 1]},  # its root is nearly everywhere
        {"root": 0, "members": [0, 4]},  # its child has a doubtful name
        {"root": 1, "members": [1, 2, 3]},  # no boats on farms
        {"root": 0, "members": [0, 1, 6, 7, 2]},
        {"root": 0, "members": [0, 6, 7]},  # told already
    ]
    (sentence,) = said(overview(codes, families=families), "family")
    assert sentence == (
        "Texts about “sea” (15 %) fall into kinds: “boat”, “waves” and “salt”."
    )


@pytest.mark.parametrize(
    ("waves", "salt", "kinds"),
    [
        ("waves", "boat", "“boat” and “waves”"),
        ("waves", "sea", "“boat” and “waves”"),
        ("boat", "sea", None),
    ],
)
def test_kinds_with_the_same_label_are_one(codes, monkeypatch, waves, salt, kinds):
    """Copies of a feature are no kinds of it, and one label is not enough."""
    labels = dict(enumerate(LABELS)) | {6: waves, 7: salt}
    monkeypatch.setattr(module, "known_labels", lambda codes: labels)
    families = [{"root": 0, "members": [0, 1, 6, 7]}]
    sentences = said(overview(codes, families=families), "family")
    expected = f"Texts about “sea” (15 %) fall into kinds: {kinds}."
    assert sentences == ([expected] if kinds else [])


def test_the_unusual_text_is_quoted_and_cut_at_a_word(codes):
    (sentence,) = said(overview(codes), "unusual")
    assert sentence.startswith("The most unusual texts are “odd word word")
    assert "word …”" in sentence


def test_closeness_is_the_cosine_of_the_sixth_nearest():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, 5)) + 3
    search = NearestNeighbors(n_neighbors=NEAREST + 1, metric="cosine").fit(vectors)
    distance, _ = search.kneighbors(vectors)
    every_row = np.arange(len(vectors))
    found = closeness(unit(vectors), every_row, every_row[::-1])
    np.testing.assert_allclose(found, 1 - distance[:, -1], atol=1e-9)
    assert np.abs(found - 1 + distance[:, -2]).max() > 1e-3  # the fifth


@pytest.mark.parametrize("n_rows", [7, 40, 600])
@pytest.mark.parametrize("seed", range(10))
def test_rows_that_are_not_compared_with_all_are_not_furthest(
    n_rows, seed, monkeypatch
):
    monkeypatch.setattr(module, "FIRST_ROWS", 20)
    monkeypatch.setattr(module, "LIKELY_ROWS", 5)
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(30, 4))
    vectors = middles[rng.integers(0, 30, n_rows)] + 0.3 * rng.normal(size=(n_rows, 4))
    search = NearestNeighbors(n_neighbors=NEAREST + 1, metric="cosine").fit(vectors)
    distance, _ = search.kneighbors(vectors)
    furthest = module.furthest_rows(vectors, 3)
    assert len(set(furthest)) == 3
    # two rows may be the sixth-nearest of each other
    largest = np.sort(distance[:, -1])[::-1][:3]
    np.testing.assert_allclose(distance[furthest, -1], largest, atol=1e-9)


def test_nothing_is_made_up_without_texts_and_topics(tmp_path):
    codes = write_codes(tmp_path / "codes", np.eye(60, dtype=np.float32))
    assert overview(codes).empty


def test_a_sample_stands_for_all_rows(codes, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 100)
    table = overview(codes, TOPICS)
    assert {"topic", "unusual"} <= set(table["side"])


def test_counts_in_a_sample_are_not_said_of_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 100)
    texts = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(200)]
    texts += ["No comment"] * 200
    codes = write_codes(tmp_path, np.ones((400, 1), np.float32), texts=texts)
    (sentence,) = said(overview(codes), "repeated")
    n_drawn = int((drawn_rows(codes, 100) >= 200).sum())
    assert sentence == (
        f"Of 100 texts drawn at random, {n_drawn - 1} ({n_drawn - 1} %) repeat another one; "
        f"the most frequent occurs {n_drawn} times: “No comment”."
    )


def test_what_is_there_often_is_not_unusual_and_tags_are_not_quoted(tmp_path):
    rng = np.random.default_rng(0)
    texts = [f"<p class='a'>text</p> <br/>{chr(97 + i)} 3 < 4" for i in range(20)]
    texts[5] = texts[6] = texts[7] = "No comment"
    vectors = rng.normal(size=(20, 4)) + np.array([9, 0, 0, 0])
    vectors[5:8] = [-9, 0, 0, 0]  # far from all others
    vectors[2] = [0, 9, 0, 0]
    active = np.eye(20, dtype=np.float32)
    path = tmp_path / "codes"
    codes = write_codes(path, active, texts=texts, vectors=vectors.astype("f4"))
    (sentence,) = said(overview(codes), "unusual")
    assert sentence.startswith("The most unusual texts are “text c 3 < 4”")
    assert "No comment" not in sentence


def test_rows_without_a_text_or_an_embedding_are_not_unusual(tmp_path):
    rng = np.random.default_rng(0)
    texts = [f"text {chr(97 + i)}" for i in range(20)]
    vectors = rng.normal(size=(20, 4)).astype(np.float32) + np.array([9, 0, 0, 0])
    vectors[2] = [0, 9, 0, 0]
    vectors[4:7] = 0  # calls to the embedder that failed
    vectors[7] = [-9, 0, 0, 0]
    texts[7] = " "
    active = np.eye(20, dtype=np.float32)
    codes = write_codes(tmp_path / "codes", active, texts=texts, vectors=vectors)
    (sentence,) = said(overview(codes), "unusual")
    assert sentence.startswith("The most unusual texts are “text c”")
    assert not any(f"“text {letter}”" in sentence for letter in "efg")
    assert "“”" not in sentence
