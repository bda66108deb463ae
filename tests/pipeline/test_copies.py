"""Runs in which most texts are copies of a few."""

import numpy as np
import pandas as pd
import pytest

import files_of_users as files
import nanosae
from nanosae import TrainConfig
from nanosae.pipeline.run import without_copies

CONFIG = TrainConfig(hidden_size=64, k=4, steps=60, batch_size=128)


def test_one_of_each_row_is_trained_on_where_many_are_copies(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 8)).astype(np.float16)
    repeated = rows[rng.integers(0, 200, 1000)]
    distinct = np.unique(repeated, axis=0)
    path = tmp_path / "rows.npy"
    np.save(path, repeated)
    for given in (repeated, str(path)):
        kept = without_copies(given)
        assert len(kept) == len(distinct)
        assert (np.unique(kept, axis=0) == distinct).all()
    assert without_copies(rows) is rows
    few = rows[:40].repeat(9, axis=0)
    assert without_copies(few) is few  # nothing to be learned from 40 rows


@pytest.mark.slow
def test_no_comment_is_told_and_leaves_the_features_of_the_others(tmp_path):
    subjects, texts, rng = files.drawn(1200)
    group = rng.choice(["online", "shop"], 1200)
    says_nothing = rng.random(1200) < np.where(group == "shop", 0.95, 0.7)
    frame = pd.DataFrame(
        {
            "comment": np.where(says_nothing, "No comment", texts),
            "bought": group,
            "stars": files.by_subject(
                subjects, {"delivery": 1, "price": 2, "screen": 5}
            ),
        }
    )
    analysis = nanosae.run(
        frame,
        tmp_path / "run",
        embedder="wordllama",
        config=CONFIG,
        n_topics=5,
        say=lambda line: None,
        progress=False,
    )
    said = analysis.findings["sentence"]
    shares = frame.groupby("bought")["comment"].apply(
        lambda c: (c == "No comment").mean()
    )
    first = said[said.str.startswith("Texts that read like “No comment”")].iloc[0]
    assert f"{100 * shares['shop']:.0f} % of shop" in first
    assert f"{100 * shares['online']:.0f} % of" in first
    of_screen = said.str.contains("stars is on average") & said.str.contains("higher")
    assert of_screen.any()
    n_active = np.diff(analysis.codes.take(np.arange(1200)).indptr)
    assert n_active[says_nothing].max() <= 4 * CONFIG.k
    labels = analysis.features["label"].fillna("")
    assert (labels == "No comment").sum() <= 2
