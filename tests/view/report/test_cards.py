"""Cards of features, and how they are trimmed to size."""

import numpy as np
import pytest

from nanosae.codes import Codes, write_codes
from nanosae.runs.tables import load_features, save_features
from nanosae.view.report import cards as trimming
from nanosae.view.report.render import report
from reported import Page


@pytest.mark.slow
def test_cards_hold_the_strongest_rows_and_their_texts(page, run):
    cards, texts = page.cards()
    codes, table = Codes.open(run), load_features(run).set_index("feature")
    assert len(cards) == 48
    for j, card in cards.items():
        rows, acts = codes.top(j, 8)
        assert [row for row, _ in card["top"]] == rows.tolist()
        assert [act for _, act in card["top"]] == pytest.approx(acts.tolist(), rel=1e-2)
        assert [texts[str(row)] for row, _ in card["top"]] == codes.texts(rows).tolist()
        assert card["histogram"] == table["histogram"][j].tolist()
        assert all(act == 0 for _, act in card["near"])
        near = card["nearest"][0][0]
        cosine = codes.weights().directions() @ codes.weights().directions()[j]
        cosine[j] = -1
        assert near == cosine.argmax()


def test_codes_without_texts(tmp_path, no_umap):
    run = tmp_path / "run"
    write_codes(run / "codes" / "default", np.eye(4, 6, dtype=np.float32))
    from nanosae.analysis.describe import describe

    save_features(run, describe(Codes.open(run)))
    page = Page(report(run).read_text("utf-8"))
    cards, texts = page.cards()
    assert len(cards) == 4  # two features are dead
    assert set(texts.values()) == {""}
    assert "texts" in dict(page.blocks["facts"]["missing"])


@pytest.fixture(scope="module")
def large(tmp_path_factory, no_umap):
    rng = np.random.default_rng(0)
    rows, features = 10_000, 512
    acts = np.zeros((rows, features), np.float32)
    for i in range(rows):
        acts[i, rng.choice(features, 16, replace=False)] = rng.random(16) + 0.1
    words = np.array([rng.bytes(6).hex() for _ in range(3000)])
    texts = [" ".join(rng.choice(words, 150)) for _ in range(rows)]
    run = tmp_path_factory.mktemp("large") / "run"
    write_codes(run / "codes" / "default", acts, texts=texts)
    from nanosae.analysis.describe import describe

    save_features(run, describe(Codes.open(run), texts=False))
    return run


@pytest.mark.slow
def test_texts_become_fewer_and_shorter_until_they_fit(large, monkeypatch):
    sizes = []
    for limit in (trimming.TEXT_BYTES, 2_000_000, 400_000):
        monkeypatch.setattr(trimming, "TEXT_BYTES", limit)
        page = Page(report(large).read_text("utf-8"))
        cards, texts = page.cards()
        assert len(cards) == 512
        sizes.append(sum(map(len, texts.values())))
        assert max(map(len, texts.values())) <= 502
    assert sizes[0] > 2_500_000
    assert sizes[1] <= 2_000_000
    assert sizes[2] <= 400_000


@pytest.mark.slow
def test_the_weakest_cards_go_last(large, monkeypatch):
    monkeypatch.setattr(trimming, "CARD_BYTES", 200_000)
    page = Page(report(large).read_text("utf-8"))
    packed = sum(len(v) for k, v in page.blocks.items() if k.startswith("cards-"))
    assert packed < 200_000 + max(len(page.blocks["cards-0"]), 1)
    cards, _ = page.cards()
    assert list(cards) == page.blocks["features"]["feature"][: len(cards)]
    assert 0 < len(cards) < 512


@pytest.mark.parametrize(
    ("n_cards", "length", "most"),
    [
        # 22 texts of 115 bytes, 300 more: 2,830 bytes a card
        (10_000, 100, (10, 6, 6, 500)),
        (10_600, 100, (10, 6, 6, 500)),
        (10_601, 100, (8, 5, 4, 300)),
        # of texts cut to 300, 200, 140 bytes: 17 · 315 + 300 = 5,655; 2,880; 1,385
        (5_305, 9_999, (8, 5, 4, 300)),
        (5_306, 9_999, (5, 4, 3, 200)),
        (21_660, 9_999, (3, 2, 2, 140)),
        (21_661, 9_999, (2, 1, 1, 100)),
        (10**6, 9_999, (2, 1, 1, 100)),
    ],
)
def test_the_widest_limits_that_fit_are_taken(n_cards, length, most):
    limits = trimming.choose_limits(n_cards, [length])
    chosen = (
        limits.top_rows,
        limits.quantile_rows,
        limits.near_misses,
        limits.text_bytes,
    )
    assert chosen == most


def test_long_texts_are_cut_at_a_letter():
    assert trimming.truncated("é" * 10, 5) == "éé …"
    assert trimming.truncated("short", 5) == "short"
