"""Selections of rows against brute force."""

import numpy as np
import pytest

from explored import rows_of
from nanosae.runs import annotations
from nanosae.view.explorer.selections import inside_polygon


def test_several_features_keep_the_rows_that_have_all_of_them(client, dense):
    both = np.argwhere((dense > 0).astype(int).T @ (dense > 0) >= 20)
    a, b = next((a, b) for a, b in both.tolist() if a < b)
    wanted = np.flatnonzero((dense[:, a] > 0) & (dense[:, b] > 0))
    score = dense[:, a] / dense[:, a].max() + dense[:, b] / dense[:, b].max()
    assert rows_of(client, features=[a, b]) == sorted(
        wanted, key=lambda i: (-score[i], i)
    )
    assert len(rows_of(client, features=[a])) > len(wanted)


def test_each_condition_keeps_the_rows_that_meet_it(client, planted, corpus):
    word = planted.words[0][0]
    has = [i for i in range(1, 900) if word in planted.texts[i].split()]
    assert sorted(rows_of(client, words=word.upper())) == has
    in_b = np.flatnonzero(planted.columns["group"] == "B").tolist()
    assert rows_of(client, value=["group", "B"]) == in_b
    assert rows_of(client, value=["group", "nosuch"]) == []
    annotations.tag(corpus.run, "default", "mine", [7, 3, 5])
    assert rows_of(client, tag="mine") == [3, 5, 7]
    assert sorted(rows_of(client, words=word, value=["group", "B"])) == sorted(
        {*has} & {*in_b}
    )
    assert len(rows_of(client)) == 900


def test_texts_are_ranked_when_words_alone_are_asked_for(client, planted):
    word = planted.words[0][0]
    found = rows_of(client, words=word)
    often = [
        planted.texts[i].split().count(word) / len(planted.texts[i].split())
        for i in found
    ]
    assert np.mean(often[:5]) > 1.5 * np.mean(often[-5:])


@pytest.mark.parametrize("seed", range(5))
def test_a_lasso_holds_what_a_walk_around_it_says(seed):
    rng = np.random.default_rng(seed)
    corners, points = rng.normal(size=(7, 2)), rng.normal(size=(300, 2))

    def crossings(x, y):  # a ray to the right, edge by edge
        found = 0
        for (a, b), (c, d) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if (b > y) != (d > y):
                found += a + (y - b) * (c - a) / (d - b) > x
        return found % 2 == 1

    wanted = [crossings(x, y) for x, y in points]
    assert inside_polygon(points, corners.tolist()).tolist() == wanted
    assert 0 < sum(wanted) < 300


def test_a_lasso_selects_rows_on_one_map_and_leading_features_on_the_other(
    client, corpus, dense
):
    xy = corpus.map["rows"]
    left, middle = float(xy.min()) - 1, float(np.median(xy[:, 0]))
    box = [[left, left], [middle, left], [middle, -left * 9], [left, -left * 9]]
    assert rows_of(client, lasso=box) == np.flatnonzero(xy[:, 0] < middle).tolist()
    of = corpus.map["features"]
    half = float(of[:, 0].mean())
    right = [[half, -99], [99, -99], [99, 99], [half, 99]]
    wanted = np.flatnonzero(of[:, 0] > half)
    dense[:, dense.astype(bool).mean(0) > 0.2] = 0
    led = np.where(dense.any(1), dense.argmax(1), -1)
    assert rows_of(client, led=right) == np.flatnonzero(np.isin(led, wanted)).tolist()
