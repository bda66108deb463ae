"""Search against brute force over dense arrays and planted topics."""

import html
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from nanosae.analysis.search import text_index
from nanosae.analysis.search.feature_query import set_features
from nanosae.analysis.search.search import search
from nanosae.analysis.search.text_index import find_texts
from nanosae.codes import write_codes
from nanosae.errors import DataError
from nanosae.text import embed, static
from oracles import cosines, dense_rows, order_of


def test_a_vector_finds_the_rows_of_highest_cosine(codes):
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    found = search(codes, vector)
    expected = cosines(codes, vector)
    assert [h.row for h in found.hits] == order_of(expected)
    np.testing.assert_allclose(
        [h.score for h in found.hits], np.sort(expected)[::-1][:10], atol=1e-5
    )
    dots = codes.vectors() @ vector  # favours long rows
    assert [h.row for h in found.hits] != order_of(dots)


def test_a_row_finds_rows_like_it_but_not_itself(codes):
    found = search(codes, row=5, n=7)
    assert [h.row for h in found.hits] == order_of(
        cosines(codes, codes.vectors([5])[0]), 7, [5]
    )
    assert "row 5" in found.note
    assert {j for j, *_ in found.features} == set(codes.row(5)[0].tolist())


def test_a_feature_finds_its_strongest_rows_by_number_and_by_label(codes, planted):
    for j in (0, 7, 20):
        rows, acts = codes.top(j, 5)
        for key in (j, planted.names[j], planted.names[j].upper()):
            found = search(codes, feature=key, n=5)
            assert [h.row for h in found.hits] == rows.tolist()
            np.testing.assert_allclose([h.score for h in found.hits], acts)
            assert found.features == [(j, planted.names[j], 1.0)]


def test_weighted_features_with_signs(codes):
    found = search(codes, feature={3: 1.0, 7: 0.5, 20: -2.0}, n=20)
    scores = dense_rows(codes)[:, [3, 7, 20]] @ [1.0, 0.5, -2.0]
    scores[scores <= 0] = -np.inf
    assert [h.row for h in found.hits] == order_of(scores, 20)
    assert [(j, w) for j, _, w in found.features] == [(3, 1.0), (7, 0.5), (20, -2.0)]
    assert all(j in (3, 7) for h in found.hits for j, *_ in h.shared)


def test_weights_may_be_a_series(codes):
    weights = pd.Series({3: 2.0, 5: -0.5})
    for given in (weights, weights.astype("Float32")):
        found = search(codes, feature=given)
        assert found.hits == search(codes, feature={3: 2.0, 5: -0.5}).hits
    numbers = pd.Series([3, 5], index=[7, 9])
    assert search(codes, feature=numbers).hits == search(codes, feature=[3, 5]).hits


def test_the_number_of_a_row_may_be_a_fraction(codes):
    assert search(codes, row=5.0).hits == search(codes, row=5).hits
    with pytest.raises(DataError, match=r"row 5\.5 is not an integer"):
        search(codes, row=5.5)


def test_several_features_weigh_the_same(codes, planted):
    numbers = search(codes, feature=[3, 8], n=5)
    weights = search(codes, feature={3: 1.0, 8: 1.0}, n=5)
    assert [hit.row for hit in numbers] == [hit.row for hit in weights]
    names = search(codes, feature=[planted.names[3], 8], n=5)
    assert [hit.row for hit in names] == [hit.row for hit in weights]


def test_results_are_a_sequence_of_hits(codes):
    results = search(codes, row=3, n=4)
    assert len(results) == 4
    assert list(results) == results.hits
    assert results[-1] is results.hits[3]
    assert results.to_frame()["row"].tolist() == [hit.row for hit in results]


def test_several_texts_are_not_one_query(codes):
    with pytest.raises(DataError, match="one text or one vector"):
        search(codes, ["medical", "imaging"])
    with pytest.raises(DataError, match="given by its number, not by 'a row'"):
        search(codes, row="a row")  # pyright: ignore


@pytest.mark.parametrize("row", [3, 3.0, np.float32(3), np.uint8(3), np.array(3)])
def test_a_row_is_a_whole_number_of_any_type(codes, row):
    found = search(codes, row=row, n=5)
    assert found.note.startswith("rows like row 3")
    assert found.hits == search(codes, row=3, n=5).hits


@pytest.mark.parametrize("row", [True, 3.5, -1, 10**9, [3], np.nan])
def test_what_is_no_row_is_an_error_of_the_user(codes, row):
    with pytest.raises(DataError):
        search(codes, row=row)


def test_without_embeddings_shared_activation_ranks(tmp_path, codes):
    model = codes.weights()
    model.save(tmp_path / "b" / "model")
    bare = write_codes(tmp_path / "b" / "codes" / "c", codes.rows(0, 700))
    acts = dense_rows(codes)
    found = search(bare, row=9)
    assert [h.row for h in found.hits] == order_of(
        acts @ acts[9].astype(np.float32), 10, [9]
    )
    vector = codes.vectors([9])[0]
    again = search(bare, vector)
    asked = model.encode(vector).toarray()[0]
    assert [h.row for h in again.hits] == order_of((acts @ asked).astype(np.float32))
    assert again.hits[0].text == ""


def test_every_hit_says_which_features_it_shares(codes, planted):
    found = search(codes, row=12)
    acts = dense_rows(codes)
    for hit in found.hits:
        both = np.flatnonzero((acts[12] > 0) & (acts[hit.row] > 0))
        both = sorted(both.tolist(), key=lambda j: -acts[12, j] * acts[hit.row, j])
        assert [j for j, *_ in hit.shared] == both
        for j, label, asked, has in hit.shared:
            assert label == planted.names[j]
            assert (asked, has) == (acts[12, j], acts[hit.row, j])
        assert hit.text == planted.texts[hit.row]
    assert any(hit.shared for hit in found.hits)


def test_a_text_is_encoded_by_a_callable(codes, planted):
    def encode(texts):
        return [
            planted.embeddings[planted.texts.tolist().index(text)] for text in texts
        ]

    model = SimpleNamespace(encode=encode)
    found = search(codes, planted.texts[33], embedder=encode)
    assert search(codes, planted.texts[33], embedder=model).hits == found.hits
    assert (
        found.hits[0].row == 33 or planted.texts[found.hits[0].row] == planted.texts[33]
    )
    assert found.note.split("; ")[0] == "rows like the text"
    assert "meaning (the scores shown) and words together" in found.note
    assert found.vector is not None


def test_a_missing_extra_is_named(codes, monkeypatch, planted):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    embed._load_embedder.cache_clear()
    found = search(codes, planted.words[0][0], embedder="some-model")
    assert 'some-model needs pip install "nanosae[embed]": ' in found.note
    assert found.hits


def test_the_embedder_of_the_run_is_used_where_it_can_be_loaded(
    codes, monkeypatch, planted
):
    class Library:
        class SentenceTransformer:
            device = SimpleNamespace(type="cpu")

            def __init__(self, name, *, trust_remote_code, local_files_only):
                assert not trust_remote_code
                assert local_files_only  # it is never downloaded
                if name == "gone":
                    raise OSError("offline")
                assert name == "model-of-the-run"

            def encode(self, texts, **_):
                return planted.embeddings[[3] * len(texts)]

    monkeypatch.setitem(sys.modules, "sentence_transformers", Library)
    embed._load_embedder.cache_clear()
    model = codes.weights()
    model.cfg["metadata"]["embedder"] = "model-of-the-run"
    model.save(codes.run / "model")
    found = search(codes, "anything")
    assert (
        found.note.split("; ")[0] == "rows like the text, encoded by model-of-the-run"
    )
    assert found.hits[0].row == 3
    assert (
        "gone could not be loaded: "
        in search(codes, planted.words[0][0], embedder="gone").note
    )
    embed._load_embedder.cache_clear()


@pytest.mark.parametrize("prompt", ["query: ", "", None])
def test_the_query_prompt_of_the_run_comes_before_the_query(
    codes, monkeypatch, planted, prompt
):
    model = codes.weights()
    model.cfg["metadata"] |= {"embedder": static.NAME, "query_prompt": prompt}
    model.save(codes.run / "model")
    asked = []

    def encode(texts):
        asked.extend(texts)
        return planted.embeddings[[3]]

    monkeypatch.setattr(static, "encode_static", encode)
    search(codes, "anything")
    assert asked == [f"{prompt or ''}anything"]
    given = []
    search(codes, "anything", embedder=lambda texts: given.extend(texts) or encode([]))
    assert given == ["anything"]  # who gives a function says what it gets


def test_a_query_is_encoded_by_static_word_vectors_where_the_run_names_them(
    codes, monkeypatch, planted
):
    model = codes.weights()
    model.cfg["metadata"]["embedder"] = static.NAME
    model.save(codes.run / "model")
    monkeypatch.setattr(static, "encode_static", lambda _: planted.embeddings[[3]])
    found = search(codes, "anything")
    assert found.note.split("; ")[0] == f"rows like the text, encoded by {static.NAME}"
    assert found.hits[0].row == 3


def test_mistakes_are_named(tmp_path, codes, planted):
    with pytest.raises(ValueError, match="exactly one of query, row and feature"):
        search(codes)
    with pytest.raises(ValueError, match="exactly one"):
        search(codes, "word", row=3)
    for blank in ("", " \n"):
        with pytest.raises(ValueError, match="the query is blank"):
            search(codes, blank)
    with pytest.raises(ValueError, match="bytes that are not UTF-8"):
        search(codes, "caf\udce9")
    for n in (0, -1, 2.0):
        with pytest.raises(ValueError, match=f"n={n} must be"):
            search(codes, row=3, n=n)
    with pytest.raises(ValueError, match=r"feature 1\.5 is not an integer"):
        search(codes, feature=1.5)
    with pytest.raises(
        ValueError, match="feature 48 is out of range: there are 0 … 47"
    ):
        search(codes, feature=48)
    with pytest.raises(ValueError, match="no label contains 'zzz'; none of the 48"):
        search(codes, feature="zzz")
    common = planted.names[0][0]
    with pytest.raises(
        ValueError, match=rf"\d+ labels contain '{common}': \d+ \(.*; give a number"
    ):
        search(codes, feature=common)
    with pytest.raises(ValueError, match="there are 0 … 699"):
        search(codes, row=700)
    with pytest.raises(ValueError, match="width 5, but this SAE expects 64"):
        search(codes, np.ones(5))
    bare = write_codes(tmp_path / "bare", sp.csr_array(np.eye(3)))
    with pytest.raises(ValueError, match="an edit needs the run's model"):
        search(bare, row=0, edit={1: 1.0})
    with pytest.raises(ValueError, match="neither texts nor labels: give embedder"):
        search(bare, "word")
    with pytest.raises(ValueError, match="neither embeddings nor a model"):
        search(bare, np.ones(3))


def test_rows_and_features_without_activations(tmp_path):
    codes = write_codes(
        tmp_path, sp.csr_array(np.diag([1.0, 0.0, 2.0])), texts=["a", "b", "c"]
    )
    assert search(codes, row=1).hits == []
    assert search(codes, feature=1).hits == []
    assert search(codes, feature={0: -1.0}).hits == []
    empty = write_codes(tmp_path / "e", sp.csr_array((0, 3), dtype=np.float32))
    assert search(empty, feature=0).hits == []


def test_results_are_a_frame_text_and_escaped_html(tmp_path):
    evil = "<script>alert(1)</script> & more"
    codes = write_codes(
        tmp_path, sp.csr_array(np.ones((3, 2))), texts=[evil, f"{evil} 1", evil]
    )
    found = search(codes, feature=1, n=2)
    frame = found.to_frame()
    assert frame.columns.tolist()[:4] == ["row", "score", "text", "shared"]
    assert frame["row"].tolist() == [0, 1]
    page = found._repr_html_()
    assert "<script>" not in page
    assert html.escape(evil) in page
    text = str(found)
    assert "row 0" in text
    assert "feature (1)" in text
    nothing = search(
        write_codes(tmp_path / "n", sp.csr_array((1, 2))), feature=0
    ).to_frame()
    assert nothing.columns.tolist() == frame.columns.tolist()


ENGLISH = [
    "the bank closed my account",
    "banks and banking",
    "a river bank in spring",
    "my savings are with them",
    "Straße und Brücke",
    "İstanbul at night",
    "nothing to see",
]


@pytest.fixture
def english(tmp_path):
    """Seven texts whose embeddings put the fourth beside the first."""
    vectors = np.eye(7, 8, dtype=np.float32)
    vectors[3, 0] = 3
    return write_codes(
        tmp_path, sp.csr_array(np.eye(7)), texts=ENGLISH, vectors=vectors
    )


def test_meaning_and_words_are_merged_by_reciprocal_rank(english):
    found = search(english, "bank account", embedder=lambda texts: np.eye(1, 8), n=7)
    cosine = np.array([1, 0, 0, 3 / np.sqrt(10), 0, 0, 0])
    by_meaning = np.argsort(-cosine, kind="stable").tolist()
    by_words = find_texts(english, "bank account", 7)[0].tolist()
    assert set(by_words) == {0, 1, 2}
    earned = np.zeros(7)
    for ranking in (by_meaning, by_words):
        for place, row in enumerate(ranking, start=1):
            earned[row] += 1 / (60 + place)
    expected = sorted(range(7), key=lambda row: (-earned[row], row))
    assert [hit.row for hit in found.hits] == expected
    assert expected != by_meaning
    how = {hit.row: (hit.match, hit.weak) for hit in found.hits}
    assert how[0] == ("meaning + words", False)
    assert how[3] == ("meaning", False)
    assert how[6] == ("meaning", True)
    np.testing.assert_allclose(
        [hit.score for hit in found.hits], cosine[expected], atol=1e-6
    )


@pytest.mark.parametrize(
    ("query", "row", "said"),
    [
        ("STRASSE", 4, ""),
        ("istanbul", 5, ""),
        ("rivers", 2, ""),
        ("acount", 0, "no text has 'acount'; searched for account instead"),
        ("savi", 3, "no text has 'savi'; searched for savings instead"),
    ],
)
def test_words_are_found_as_people_write_them(english, query, row, said):
    found = search(english, query)
    assert found.hits[0].row == row
    assert said in found.note
    assert all(hit.weak for hit in found.hits) == bool(said)
    assert ("all hits are weak" in found.note) == bool(said)


def test_of_rows_with_equal_texts_the_best_is_a_hit(tmp_path):
    """Case and digits tell texts apart, and rows without a text are no copies."""
    texts = ["error 404", "error 500", "error 404", "", "", "Error 404", "error 404"]
    cosine = np.array([0.9, 0.8, 0.95, 0.7, 0.6, 0.5, 0.4])
    vectors = np.stack([cosine, np.sqrt(1 - cosine**2)], axis=1).astype(np.float32)
    activations = sp.csr_array(np.ones((7, 1), np.float32))
    codes = write_codes(tmp_path, activations, texts=texts, vectors=vectors)
    found = search(codes, np.array([1.0, 0.0]), n=3)
    assert [hit.row for hit in found] == [2, 1, 3]
    assert "; 1 row with the same texts left out" in found.note
    every = search(codes, np.array([1.0, 0.0]))
    assert [hit.row for hit in every] == [2, 1, 3, 4, 5]
    assert "2 rows with the same texts left out" in every.note
    assert "left out" not in search(codes, np.array([1.0, 0.0]), n=1).note


def test_copies_do_not_crowd_out_the_other_hits(tmp_path):
    """A form letter is nearer to the query than all other texts, more often than any depth."""
    rng = np.random.default_rng(0)
    others = [
        f"thanks for {first}{second}" for first in "abcde" for second in "fghijkl"
    ]
    texts = np.array(["thanks"] * 900 + others, dtype=object)
    vectors = rng.normal(size=(len(texts), 4)).astype(np.float32)
    vectors[:900] = [1, 0, 0, 0]
    active = sp.csr_array(np.ones((len(texts), 1), np.float32))
    codes = write_codes(tmp_path, active, texts=texts.tolist(), vectors=vectors)
    query = np.array([1.0, 0.1, 0, 0], np.float32)
    by_cosine = np.array(order_of(cosines(codes, query), len(texts)))
    distinct = pd.Series(texts[by_cosine], by_cosine).drop_duplicates()
    found = search(codes, query, n=20)
    assert [hit.row for hit in found] == distinct.index[:20].tolist()
    assert "899 rows with the same texts left out" in found.note
    by_words = search(codes, "thanks", n=20, embedder=lambda _: query[None])
    assert len({hit.text for hit in by_words}) == 20


def test_a_number_of_hits_may_be_of_numpy(english):
    few, as_many = (search(english, "bank", n=n) for n in (2, np.int64(2)))
    assert few.to_frame().equals(as_many.to_frame())


def test_what_is_not_found_is_said_with_what_helps(english):
    found = search(english, "qqqzzz")
    assert found.hits == []
    assert "no text has 'qqqzzz' or a similar word" in found.note
    many = search(english, " ".join(f"qqq{letter}zzz" for letter in "abcdefgh"))
    assert many.note.count("no text has") == 5
    assert "3 more words are in no text" in many.note
    assert "try other or fewer words" in found.note
    assert "embedder=NAME" in found.note


def test_of_a_long_query_the_first_words_are_looked_up_once(english, monkeypatch):
    asked = []
    look_up = text_index._known_terms

    def counted(index, word):
        asked.append(word)
        return look_up(index, word)

    monkeypatch.setattr(text_index, "_known_terms", counted)
    numbers = [f"a{number}b" for number in range(100)]
    found = search(english, " ".join([*numbers[:99], "straße", "istanbul"]))
    assert "only the first 100 of its 101 words were looked up" in found.note
    assert asked == [*numbers[:99], "strasse"]
    assert [hit.row for hit in found.hits] == [4]
    assert "only the first" not in search(english, " ".join(numbers)).note


def test_an_unknown_feature_lists_the_nearest(codes, planted):
    asked = planted.names[7].split()[0][:-1] + "qq"
    labels = dict(enumerate(planted.names))
    with pytest.raises(ValueError, match="no label contains"):
        search(codes, feature=asked)
    with pytest.raises(ValueError, match=r"'bnak'; similar labels: 3 \(bank\)"):
        set_features(np.zeros(48), {"bnak": 1}, {3: "bank"} | {9: labels[9]})


@pytest.mark.slow
def test_no_torch_is_imported():
    code = (
        "import nanosae.analysis.search.search, sys; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
