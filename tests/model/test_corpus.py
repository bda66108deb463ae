"""Encoding a corpus: repeated, appended, resumed and replaced commands."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from nanosae.codes import Codes
from nanosae.codes.format import read_manifest, write_manifest
from nanosae.distributed import Ranks
from nanosae.errors import (
    ConfigError,
    DamagedFileError,
    DataError,
    DataTypeError,
    ExistsError,
    WriteError,
)
from nanosae.model import corpus as module
from nanosae.model.sae import SAEModel

WIDTH, FEATURES = 5, 9


def model(seed=0):
    import torch

    generator = torch.Generator().manual_seed(seed)
    encoder = torch.randn(WIDTH, FEATURES, generator=generator)
    tensors = {
        "W_enc": encoder,
        "W_dec": encoder.T.contiguous(),
        "b_dec": torch.zeros(WIDTH),
    }
    cfg = {"architecture": "topk", "d_in": WIDTH, "d_sae": FEATURES, "k": 2}
    return SAEModel(cfg, tensors | {"b_enc": torch.zeros(FEATURES)})


def rows(n=90, seed=0):
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)


def texts(n=90, word="text"):
    return [f"{word} {i}" for i in range(n)]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 16)
    monkeypatch.setattr("nanosae.codes.writer.SHARD_ROWS", 32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "codes" / "c"


class Stop(Exception):
    pass


def interrupted(monkeypatch, after, *args, **more):
    """Encode, and die after so many blocks."""
    real, calls = SAEModel.sparse_features, []

    def stops(self, block):
        calls.append(1)
        if len(calls) > after:
            raise Stop
        return real(self, block)

    monkeypatch.setattr(SAEModel, "sparse_features", stops)
    with pytest.raises(Stop):
        model().encode_corpus(*args, **more)
    monkeypatch.setattr(SAEModel, "sparse_features", real)


def content(path):
    files = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*.*")}
    return {name: data for name, data in files.items() if not name.startswith(".")}


def test_a_repeated_command_is_continued_and_ends_the_same(path, tmp_path, monkeypatch):
    interrupted(monkeypatch, 4, rows(), path, metadata=texts())
    with pytest.raises(FileNotFoundError, match="is incomplete"):
        Codes(path)
    model().encode_corpus(rows(), path, metadata=texts())
    model().encode_corpus(rows(), tmp_path / "whole", metadata=texts())
    assert content(path) == content(tmp_path / "whole")


def test_a_repeated_append_neither_doubles_nor_leaves_out_rows(
    path, tmp_path, monkeypatch
):
    for folder in (path, tmp_path / "whole"):
        model().encode_corpus(rows(), folder, metadata=texts())
    new = rows(70, seed=1), path
    for blocks, resume in ((3, False), (2, True)):
        options = {"append": True, "resume": resume}
        interrupted(monkeypatch, blocks, *new, metadata=texts(70, "new"), **options)
        assert Codes(path).n_rows == 90  # nobody sees a part
    model().encode_corpus(*new, metadata=texts(70, "new"), append=True, resume=True)
    # it is in already
    model().encode_corpus(*new, metadata=texts(70, "new"), append=True)
    model().encode_corpus(
        new[0], tmp_path / "whole", metadata=texts(70, "new"), append=True
    )
    assert content(path) == content(tmp_path / "whole")
    assert Codes(path).n_rows == 160
    np.testing.assert_allclose(
        Codes(path).vectors(), [*rows(), *new[0]], rtol=2e-3, atol=1e-3
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_parts_of_one_file_find_their_embeddings_in_any_order(path, tmp_path, order):
    np.save(tmp_path / "rows.npy", rows())
    for number in order:
        model().encode_corpus(
            tmp_path / "rows.npy", path, part=(number, 2), append=path.exists()
        )
    halves = np.split(rows(), 2)
    expected = np.concatenate([halves[number] for number in order])
    np.testing.assert_array_equal(Codes(path).vectors(), expected)


INDICES = {
    "a name": pd.Index([f"id {i}" for i in range(90)], name="id"),
    "gaps": pd.Index(np.arange(90) * 3),
    "two levels": pd.MultiIndex.from_product([range(45), ["x", "y"]]),
    "times": pd.date_range("2024-01-01", periods=90, name="day"),
    "row numbers": pd.RangeIndex(90),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
@pytest.mark.parametrize("is_beside", [True, False])
def test_the_index_of_a_frame_is_kept(path, index, is_beside):
    frame = pd.DataFrame({"text": texts()}, index=index)
    vectors = pd.DataFrame(rows(), index=index).add_prefix("e")
    if is_beside:
        codes = model().encode_corpus(rows(), path, metadata=frame)
    else:
        codes = model().encode_corpus(vectors.join(frame), path)
    is_numbered = isinstance(index, pd.RangeIndex)
    expected = frame if is_numbered else frame.reset_index()
    assert sorted([*codes.columns, "text"]) == sorted(expected.columns)
    assert list(codes.texts(marks="")) == texts()
    for name in codes.columns:
        assert list(codes.column(name)) == expected[name].tolist()
    without = model().features(vectors.reset_index(drop=True))
    assert (model().features(vectors) != without).nnz == 0  # ids are no vectors


@pytest.mark.parametrize("is_beside", [True, False])
def test_frames_whose_numbers_go_on_are_appended(path, is_beside):
    vectors = pd.DataFrame(rows()).add_prefix("e")
    frame = vectors.assign(text=texts())
    for part in (slice(0, 50), slice(50, 90)):
        some = frame.iloc[part]
        metadata = some[["text"]] if is_beside else None
        data = some.filter(like="e").drop(columns="text", errors="ignore")
        data = data if is_beside else some
        codes = model().encode_corpus(data, path, metadata=metadata, append=True)
    assert codes.columns == []
    assert list(codes.texts(marks="")) == texts()


@pytest.mark.parametrize("change", ["k", "W_enc", "b_enc", "b_dec"])
def test_a_model_that_encodes_otherwise_is_another_though_its_decoder_is_the_same(
    change, path
):
    sae = model()
    before = sae.encode_corpus(rows(), path).rows(0, 90).toarray()
    other = model()
    if change == "k":
        other.cfg["k"] = 1
    else:
        getattr(other, change).data[2] += 1
    assert other.checksum == sae.checksum
    for options in ({}, {"append": True}):
        with pytest.raises((ExistsError, ConfigError), match="another model"):
            other.encode_corpus(rows(), path, **options)
    found = other.encode_corpus(rows(), path, force=True).rows(0, 90)
    assert not np.allclose(found.toarray(), before)
    assert Codes(path).n_rows == 90


def test_a_corpus_that_does_not_know_the_encoder_is_continued(path):
    model().encode_corpus(rows(), path)
    manifest = read_manifest(path)
    del manifest["info"]["encoder"]
    write_manifest(path, manifest)
    assert model().encode_corpus(rows(), path).n_rows == 90
    more = model().encode_corpus(rows(20, seed=1), path, append=True)
    assert more.n_rows == 110


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0), "1/2", (1,), (0.0, 2.0)])
def test_a_part_that_does_not_exist_is_named(part, path):
    with pytest.raises(ConfigError, match=r"part=.* must be \(r, N\) with r from 0"):
        model().encode_corpus(rows(), path, part=part)


def test_other_data_is_not_resumed(path, monkeypatch):
    interrupted(monkeypatch, 4, rows(), path, metadata=texts())
    changed = rows()
    changed[77, 3] += 1
    for data, words, sae in (
        (changed, texts(), model()),
        (rows(), [*texts(89), "another"], model()),
        (rows(), None, model()),
        (rows(), texts(), model(1)),
    ):
        with pytest.raises(DataError, match="other rows or texts, or another model"):
            sae.encode_corpus(data, path, metadata=words, resume=True)
    model().encode_corpus(rows(), path, metadata=texts(), resume=True)
    assert Codes(path).n_rows == 90


def test_a_failed_command_does_not_block_the_corrected_one(path, monkeypatch):
    bad = rows()
    bad[80, 0] = np.nan
    with pytest.raises(DataError):
        model().encode_corpus(bad, path, metadata=texts())
    assert not path.exists()
    interrupted(monkeypatch, 4, rows(seed=3), path, metadata=texts())
    model(1).encode_corpus(rows(), path)
    codes = Codes(path)
    assert (codes.n_rows, codes.has_texts) == (90, False)
    assert sorted(p.name for p in path.iterdir()) == [
        "00000",
        "00001",
        "00002",
        "manifest.json",
    ]


def test_arrays_in_files_are_appended_without_a_copy(path, tmp_path):
    for seed in (0, 1):
        np.save(tmp_path / f"{seed}.npy", rows(50, seed))
        model().encode_corpus(tmp_path / f"{seed}.npy", path, append=seed > 0)
    codes = Codes(path)
    assert not list(path.rglob("vectors.npy"))
    np.testing.assert_array_equal(codes.vectors(), [*rows(50), *rows(50, 1)])
    np.testing.assert_array_equal(
        codes.vectors([60, 3]), [rows(50, 1)[10], rows(50)[3]]
    )


def test_a_column_of_another_type_is_refused_before_anything_is_written(path):
    frame = pd.DataFrame({"text": texts(), "n": range(90)})
    model().encode_corpus(rows(), path, metadata=frame)
    before = content(path)
    new = rows(40, 1)
    with pytest.raises(
        DataError, match=r"column 'n' is int64 in .*, but .*string in the new"
    ):
        model().encode_corpus(
            new, path, metadata=pd.DataFrame({"text": texts(40), "n": "x"}), append=True
        )
    assert content(path) == before
    assert Codes(path).column("n", [3]).tolist() == [3]
    more = pd.DataFrame({"text": texts(40), "n": np.arange(40) + 0.5})
    model().encode_corpus(new, path, metadata=more, append=True)
    codes = Codes(path)
    assert codes.column("n", [3]).dtype == codes.column("n", [95]).dtype == np.float64
    assert codes.column("n", [3, 95]).tolist() == [3, 5.5]


def test_a_missing_manifest_is_not_a_new_beginning(path):
    model().encode_corpus(rows(), path)
    (path / "manifest.json").unlink()
    before = content(path)
    for options in ({"append": True}, {"resume": True}, {}):
        with pytest.raises(
            DamagedFileError, match=r"manifest\.json is damaged: it is missing"
        ):
            model().encode_corpus(rows(), path, **options)
    assert content(path) == before
    assert model().encode_corpus(rows(), path, force=True).n_rows == 90


def test_a_corpus_is_replaced_only_by_a_complete_one(path, monkeypatch):
    model().encode_corpus(rows(), path, metadata=texts())
    before = content(path)
    with pytest.raises(ExistsError, match=r"--append.*--force"):
        model(1).encode_corpus(rows(), path, metadata=texts())
    interrupted(monkeypatch, 4, rows(seed=2), path, force=True)
    assert content(path) == before
    model().encode_corpus(rows(seed=2), path, force=True)
    assert Codes(path).has_texts is False
    assert [p.name for p in path.parent.iterdir()] == ["c"]


def test_the_manifest_knows_its_sources(path):
    model().encode_corpus(rows(), path)
    model().encode_corpus(rows(7, 1), path, append=True)
    manifest = json.loads((path / "manifest.json").read_text())
    assert [(s["first"], s["last"]) for s in manifest["sources"]] == [(0, 90), (0, 7)]
    assert manifest["draft"] is None
    assert len({source["data"] for source in manifest["sources"]}) == 2


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", ".hidden", "a\\b", "c:"]
)
def test_a_corpus_has_a_plain_name(tmp_path, name):
    from nanosae.codes import corpus_path

    with pytest.raises(ConfigError, match="cannot be the name of a corpus"):
        corpus_path(tmp_path, name)
    assert corpus_path(tmp_path, "größe 2.1") == tmp_path / "codes" / "größe 2.1"


def test_several_arrays_in_files_are_copied(path, tmp_path):
    for number, part in enumerate(np.split(rows(), 3)):
        np.save(tmp_path / f"{number}.npy", part)
    codes = model().encode_corpus(str(tmp_path / "*.npy"), path)
    np.testing.assert_allclose(codes.vectors(), rows(), rtol=2e-3, atol=1e-3)


def test_a_part_is_replaced_by_the_same_part(path):
    for seed in (0, 1):
        codes = model().encode_corpus(rows(90, seed), path, part=(1, 3), force=True)
        assert codes.n_rows == 30
        np.testing.assert_allclose(
            codes.vectors(), rows(90, seed)[30:60], rtol=2e-3, atol=1e-3
        )


@pytest.mark.parametrize("damaged", [False, True])
def test_what_a_killed_replacement_left_is_no_dead_end(path, damaged):
    model().encode_corpus(rows(), path)
    following = path.with_name(".c.next")
    model().encode_corpus(rows(seed=1), following)  # complete, but not yet in its place
    if damaged:
        (following / "manifest.json").unlink()
    model().encode_corpus(rows(seed=2), path, force=True)
    np.testing.assert_allclose(
        Codes(path).vectors(), rows(seed=2), rtol=2e-3, atol=1e-3
    )
    assert [p.name for p in path.parent.iterdir()] == ["c"]


def test_parts_of_different_data_or_models_are_not_joined(path, monkeypatch):
    known = []

    class OneOfTwo(Ranks):
        def check_agreement(self, **facts):
            known.append(facts)
            raise ConfigError("they differ")

    monkeypatch.setattr(module, "join", lambda _device: OneOfTwo(0, 2))
    for sae, data in ((model(), rows()), (model(), rows(seed=1)), (model(1), rows())):
        with pytest.raises(ConfigError, match="they differ"):
            module.encode_on_all_ranks(sae, data, path, module.EncodeOptions())
    first, other_rows, other_model = known
    assert first["model"] == other_rows["model"] != other_model["model"]
    assert first["rows"] == other_model["rows"] != other_rows["rows"]
    assert not path.parent.exists()


def test_no_rank_removes_joined_parts_before_all_have_seen_them(path, monkeypatch):
    model().encode_corpus(rows(), path)
    part = path.with_name(f".{path.name}-0")
    part.mkdir()  # left by a command that was killed after joining
    seen = []

    class OneOfTwo(Ranks):
        def wait(self):
            seen.append(part.exists())

    monkeypatch.setattr(module, "join", lambda _device: OneOfTwo(0, 2))
    module.encode_on_all_ranks(model(), rows(), path, module.EncodeOptions())
    assert seen == [True]
    assert not part.exists()


@pytest.mark.parametrize(
    ("asked", "own", "has_gpu", "used"),
    [
        ("auto", "cpu", True, "cuda"),
        ("auto", "cpu", False, "cpu"),
        ("cpu", "cpu", True, "cpu"),
        ("meta", "cpu", True, "meta"),
        ("auto", "meta", True, "meta"),  # a model stays where its user moved it
    ],
)
def test_a_corpus_is_encoded_on_a_gpu_if_there_is_one(
    path, monkeypatch, asked, own, has_gpu, used
):
    import torch

    moves, encoded = [], []
    original = model().to(own)

    def to(self, device):
        moves.append(device.type)
        return self

    def sparse_features(self, block):
        encoded.append((self, moves[-1] if moves else own))
        return sp.csr_array((len(block), FEATURES), dtype=np.float32)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(SAEModel, "to", to)
    monkeypatch.setattr(SAEModel, "sparse_features", sparse_features)
    monkeypatch.setattr(SAEModel, "checksum", "0")
    monkeypatch.setattr(module, "_encoder_checksum", lambda sae: "0")
    original.encode_corpus(rows(), path, device=asked)
    sae, device = encoded[0]
    assert device == used
    assert (sae is original) == (used == own)  # the model itself is not moved


def test_a_device_that_is_not_there_is_refused(path):
    with pytest.raises(ConfigError, match="device='nowhere' cannot be used here"):
        model().encode_corpus(rows(), path, device="nowhere")
    assert not path.exists()


INTERVALS = pd.cut(pd.Series(np.arange(90.0)), [-1, 44, 90])
METADATA = {
    "records": ([{"text": text, "n": i} for i, text in enumerate(texts())], ["n"]),
    "tuple": (tuple(texts()), []),
    "mixed types": (pd.DataFrame({"text": texts(), "m": [1, "a"] * 45}), ["m"]),
    "intervals": (pd.DataFrame({"text": texts(), "in": INTERVALS}), ["in"]),
    "equal names": (
        pd.DataFrame(
            [[text, "a", "b"] for text in texts()], columns=["text", "c", "c"]
        ),
        ["c", "c (2)"],
    ),
}


@pytest.mark.parametrize(
    ("metadata", "columns"), METADATA.values(), ids=METADATA.keys()
)
def test_metadata_are_taken_in_every_form(path, metadata, columns):
    codes = model().encode_corpus(rows(), path, metadata=metadata)
    assert list(codes.texts(marks="")) == texts()
    assert codes.columns == columns


def test_metadata_that_are_not_are_refused(path):
    for other, reason in (
        ("texts.csv", "not 'texts.csv'"),
        ([1] * 90, "list of strings"),
        ([*texts(89), "cut \ud83d"], r"row 89 \(0-based\), column text"),
    ):
        with pytest.raises((DataError, DataTypeError), match=reason):
            model().encode_corpus(rows(), path, metadata=other)
    assert not path.exists()


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_a_part_that_does_not_exist_is_refused(path, part):
    with pytest.raises(ConfigError, match=r"part=\(.*must be \(r, N\)"):
        model().encode_corpus(rows(), path, part=part)
    assert not path.exists()


def test_force_replaces_only_a_corpus(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExistsError, match=r"holds thesis.txt, but no corpus"):
        model().encode_corpus(rows(), tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    run = tmp_path / "run"
    corpus = run / "codes" / "default"
    model().encode_corpus(rows(), corpus)
    with pytest.raises(ExistsError, match="holds codes, but no corpus"):
        model().encode_corpus(rows(), run, force=True)
    assert Codes(corpus).n_rows == 90
    (run / "empty").mkdir()
    assert model().encode_corpus(rows(), run / "empty", force=True).n_rows == 90


@pytest.mark.parametrize("force", [False, True])
def test_a_corpus_needs_a_folder_with_a_name(tmp_path, monkeypatch, force):
    monkeypatch.chdir(tmp_path)
    for path in ("", ".", ".."):
        with pytest.raises(ConfigError, match="does not name a folder"):
            model().encode_corpus(rows(), path, force=force)
    (tmp_path / "file").write_text("x")
    for path in ("file", "file/codes"):
        with pytest.raises(WriteError, match=f"the folder {path} cannot be created"):
            model().encode_corpus(rows(), path, force=force)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("other", ["append", "resume"])
def test_rows_to_be_kept_are_not_deleted_by_force(path, other):
    model().encode_corpus(rows(), path)
    before = content(path)
    with pytest.raises(ConfigError, match="force cannot be given together with append"):
        model().encode_corpus(rows(40, 1), path, force=True, **{other: True})
    assert content(path) == before
