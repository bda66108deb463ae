"""The cache of embedded texts in a run folder."""

import numpy as np
import pytest

from nanosae.errors import BusyError, DamagedFileError, DataError
from nanosae.lock import Lock
from nanosae.runs import embeddings as module
from nanosae.runs.embeddings import Embeddings

TEXTS = [f"text {i}" for i in range(50)]


class Embedder:
    """Count calls; a text's row says which text it is."""

    def __init__(self, die_after=None):
        self.texts, self.die_after = [], die_after

    def __call__(self, texts):
        if self.die_after is not None and len(self.texts) >= self.die_after:
            raise KeyboardInterrupt
        self.texts += texts
        return np.array([[hash(text) % 1000, len(text)] for text in texts], np.float32)


def expected(texts):
    return np.array([[hash(text) % 1000, len(text)] for text in texts], np.float16)


def embed(folder, texts, embedder, name="model"):
    store = Embeddings(folder, name)
    store.add(texts, embedder, advance=lambda share: None)
    return store


def test_rows_come_in_the_order_of_the_texts(tmp_path):
    store = embed(tmp_path / "e", TEXTS[::-1] + TEXTS[:3], Embedder())
    np.testing.assert_array_equal(store.rows(TEXTS), expected(TEXTS))
    path = store.write_rows(TEXTS)
    np.testing.assert_array_equal(np.load(path), expected(TEXTS))
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "embedder.json",
        "keys.npy",
        "rows.npy",
    ]


def test_added_texts_cost_only_themselves(tmp_path):
    embed(tmp_path / "e", TEXTS, Embedder()).write_rows(TEXTS)
    embedder = Embedder()
    more = ["new", *TEXTS, "newer"]
    store = embed(tmp_path / "e", more, embedder)
    assert sorted(embedder.texts) == ["new", "newer"]
    np.testing.assert_array_equal(store.rows(more), expected(more))


def test_a_killed_command_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 8)
    first = Embedder(die_after=20)
    with pytest.raises(KeyboardInterrupt):
        embed(tmp_path / "e", TEXTS, first)
    second = Embedder()
    store = embed(tmp_path / "e", TEXTS, second)
    assert len(first.texts) == 24
    assert not set(first.texts) & set(second.texts)
    np.testing.assert_array_equal(store.rows(TEXTS), expected(TEXTS))


def test_rows_without_keys_are_embedded_again(tmp_path):
    embed(tmp_path / "e", TEXTS, Embedder())
    (tmp_path / "e" / "00000.keys.npy").unlink()
    embedder = Embedder()
    embed(tmp_path / "e", TEXTS, embedder)
    assert len(embedder.texts) == len(TEXTS)


def test_another_embedder_starts_anew(tmp_path):
    embed(tmp_path / "e", TEXTS, Embedder()).write_rows(TEXTS)
    embedder = Embedder()
    embed(tmp_path / "e", TEXTS, embedder, name="another")
    assert len(embedder.texts) == len(TEXTS)


def test_damaged_rows_are_named(tmp_path):
    embed(tmp_path / "e", TEXTS, Embedder()).write_rows(TEXTS)
    path = tmp_path / "e" / "rows.npy"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(
        DamagedFileError, match=r"rows\.npy is damaged.*Delete its folder"
    ):
        Embeddings(tmp_path / "e", "model")


def test_values_that_float16_cannot_hold_are_refused(tmp_path):
    store = Embeddings(tmp_path / "e", "model")
    for bad in (np.nan, np.inf, 1e6):
        with pytest.raises(DataError, match=r"NaN, infinite or above 65,504"):
            store.add(
                ["a"],
                lambda texts, bad=bad: np.full((len(texts), 2), bad),
                advance=lambda share: None,
            )


def test_surrogates_are_texts(tmp_path):
    texts = ["half \ud83d", "half", "\ud83d"]
    store = embed(tmp_path / "e", texts, Embedder())
    assert store.rows(texts).shape == (3, 2)


def test_rows_of_another_width_are_not_mixed_in(tmp_path):
    embed(tmp_path / "e", TEXTS[:3], Embedder())
    with pytest.raises(DataError, match=r"width 5; those in .* have 2\. Delete"):
        embed(tmp_path / "e", TEXTS, lambda texts: np.ones((len(texts), 5)))
    store = embed(tmp_path / "e", TEXTS, Embedder())
    np.testing.assert_array_equal(store.rows(TEXTS), expected(TEXTS))


def test_asking_for_another_embedder_s_rows_deletes_none(tmp_path):
    embed(tmp_path / "e", TEXTS, Embedder()).write_rows(TEXTS)
    assert Embeddings(tmp_path / "e", "another").missing(TEXTS) == TEXTS
    assert Embeddings(tmp_path / "e", "model").missing(TEXTS) == []


def test_two_commands_do_not_mix_their_rows(tmp_path):
    def encode(texts):
        with pytest.raises(BusyError, match="is being written by process"):
            embed(tmp_path / "e", ["other"], Embedder())
        return expected(texts)

    store = embed(tmp_path / "e", TEXTS, encode)
    np.testing.assert_array_equal(store.rows(TEXTS), expected(TEXTS))


def test_rows_are_read_under_the_lock(tmp_path):
    """A reader between two files of a writer would give texts the rows of others."""
    embed(tmp_path / "e", TEXTS, Embedder()).write_rows(TEXTS)
    with (
        Lock(tmp_path / "e" / module.LOCK),
        pytest.raises(BusyError, match="is being written by process"),
    ):
        Embeddings(tmp_path / "e", "model")
    assert Embeddings(tmp_path / "e", "model").missing(TEXTS) == []


def test_what_another_command_changed_since_is_embedded_again(tmp_path):
    folder = tmp_path / "e"
    embed(folder, TEXTS, Embedder()).write_rows(TEXTS)
    store = Embeddings(folder, "model")
    embed(folder, ["other"], lambda texts: np.ones((len(texts), 5)), name="another")
    more = [*TEXTS, "new"]
    store.add(more, Embedder(), advance=lambda share: None)
    np.testing.assert_array_equal(store.rows(more), expected(more))
    store.write_rows(more)
    assert Embeddings(folder, "model").missing(more) == []


def test_rows_are_never_written_under_the_name_of_another_embedder(tmp_path):
    folder = tmp_path / "e"
    store = embed(folder, TEXTS, Embedder())
    embed(folder, ["other"], lambda texts: np.ones((len(texts), 5)), name="another")
    store.write_rows(TEXTS)
    assert Embeddings(folder, "another").missing(TEXTS) == TEXTS
    read = Embeddings(folder, "model")
    np.testing.assert_array_equal(read.rows(TEXTS), expected(TEXTS))
