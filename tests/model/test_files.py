"""The files of a saved SAE: what is written, what is read, and what is refused by name."""

import json
import os
import stat

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from nanosae.errors import DamagedFileError, DataError, MissingError, WriteError
from nanosae.model.files import (
    checksum,
    model_folder,
    read_model,
    saved_checksum,
    write_model,
)
from nanosae.model.sae import SAEModel
from nanosae.model.weights import Weights

SETTINGS, TENSORS = "cfg.json", "sae_weights.safetensors"
CFG = {
    "architecture": "jumprelu",
    "d_in": 3,
    "d_sae": 5,
    "metadata": {"k": 2, "columns": ["é"]},
}


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "W_enc": (3, 5),
        "W_dec": (5, 3),
        "b_dec": (3,),
        "b_enc": (5,),
        "threshold": (5,),
    }
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "model", CFG, arrays())
    return tmp_path / "model"


def other_writer(folder, cfg=None, **tensors):
    """Write as another program does: without checksums."""
    folder.mkdir(exist_ok=True)
    save_file(arrays() | tensors, folder / TENSORS)
    (folder / SETTINGS).write_text(json.dumps(cfg or CFG))


def test_what_is_written_is_read(folder):
    for place in (folder, folder.parent, folder / TENSORS):
        cfg, tensors = read_model(place)
        assert cfg == CFG
        assert tensors.keys() == arrays().keys()
        for name, array in arrays().items():
            np.testing.assert_array_equal(tensors[name], array)
            assert tensors[name].flags.writeable
    assert load_file(folder / TENSORS).keys() == arrays().keys()
    assert saved_checksum(folder) == checksum(arrays()["W_dec"])
    assert saved_checksum(folder) != checksum(arrays(seed=1)["W_dec"])


def test_files_have_ordinary_modes_and_no_draft_is_left(folder):
    mask = os.umask(0)
    os.umask(mask)
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask
    assert {file.name for file in folder.iterdir()} == {SETTINGS, TENSORS}


def test_a_model_that_cannot_be_written_leaves_the_old_one(folder, monkeypatch):
    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_model(folder, CFG, arrays(seed=1))
    np.testing.assert_array_equal(read_model(folder)[1]["W_enc"], arrays()["W_enc"])


def damaged_copies(data):
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 8
    return {
        "empty": b"",
        "truncated": data[: len(data) // 2],
        "without its end": data[:-1],
        "junk": b"junk" * 50,
        "flipped": bytes(flipped),
    }


@pytest.mark.parametrize("damage", damaged_copies(b"x"))
@pytest.mark.parametrize("name", [SETTINGS, TENSORS])
@pytest.mark.parametrize(
    "load",
    [read_model, Weights.load, SAEModel.load, saved_checksum],
    ids=["read_model", "Weights", "SAEModel", "saved_checksum"],
)
def test_a_damaged_file_is_named(folder, name, damage, load):
    file = folder / name
    file.write_bytes(damaged_copies(file.read_bytes())[damage])
    if load is saved_checksum and name == TENSORS:  # which does not read it
        assert load(folder) == checksum(arrays()["W_dec"])
        return
    with pytest.raises(DamagedFileError, match=name) as error:
        load(folder)
    assert error.value.file == file
    assert "--resume" in str(error.value)


@pytest.mark.parametrize("damage", ["empty", "truncated", "without its end", "junk"])
def test_damage_is_noticed_in_files_of_other_programs_too(tmp_path, damage):
    other_writer(tmp_path)
    file = tmp_path / TENSORS
    file.write_bytes(damaged_copies(file.read_bytes())[damage])
    with pytest.raises(DamagedFileError, match=TENSORS):
        read_model(tmp_path)


@pytest.mark.parametrize(
    "cfg",
    [
        {"d_in": 3, "d_sae": 5},
        CFG | {"d_sae": "five"},
        CFG | {"architecture": 7},
        CFG | {"d_sae": None},
        CFG | {"architecture": "topk"},
        CFG | {"architecture": "topk", "k": 0},
        [CFG],
    ],
    ids=["no architecture", "word", "number", "null", "no k", "k of 0", "list"],
)
def test_settings_that_make_no_sense_are_damage(tmp_path, cfg):
    other_writer(tmp_path, cfg)
    with pytest.raises(DamagedFileError, match=r"cfg\.json"):
        read_model(tmp_path)


def test_shapes_must_be_those_of_the_settings(tmp_path):
    other_writer(tmp_path, W_enc=np.zeros((3, 4), np.float32))
    with pytest.raises(
        DamagedFileError, match=r"W_enc is \(3, 4\) on disk.*needs \(3, 5\)"
    ):
        read_model(tmp_path)


def test_missing_files_are_named(folder, tmp_path):
    (folder / TENSORS).unlink()
    with pytest.raises(MissingError, match=TENSORS):
        read_model(folder)
    (folder / SETTINGS).unlink()
    for load in (read_model, saved_checksum, model_folder):
        with pytest.raises(
            MissingError, match=r"no saved model in .*cfg\.json is missing"
        ):
            load(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_other_floats_become_float32(tmp_path, dtype):
    tensors = {
        name: torch.from_numpy(array).to(dtype) for name, array in arrays().items()
    }
    save_torch_file(tensors, tmp_path / TENSORS)
    (tmp_path / SETTINGS).write_text(json.dumps(CFG))
    _, read = read_model(tmp_path)
    for name, tensor in tensors.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], tensor.float().numpy())
    assert SAEModel.load(tmp_path).features(np.ones((2, 3))).dtype == np.float32


def test_tensors_that_are_no_floats_are_refused(tmp_path):
    other_writer(tmp_path, b_enc=np.zeros(5, np.int64))
    with pytest.raises(
        DataError, match=r"safetensors: b_enc has numbers of type I64.*BF16"
    ):
        read_model(tmp_path)


def test_a_file_of_the_first_version_has_no_checksum_of_its_model(tmp_path):
    other_writer(tmp_path)
    assert saved_checksum(tmp_path) == checksum(arrays()["W_dec"])


@pytest.mark.parametrize("k", ["2", 2.5, None, 0])
def test_a_k_that_is_no_number_is_damage(k, tmp_path):
    other_writer(tmp_path / "model", CFG | {"architecture": "topk", "k": k})
    with pytest.raises(DamagedFileError, match=f"k is {k!r}"):
        read_model(tmp_path)


@pytest.mark.parametrize("metadata", [None, []])
def test_metadata_that_are_no_object_are_none(metadata, tmp_path):
    other_writer(tmp_path / "model", CFG | {"metadata": metadata})
    assert "metadata" not in read_model(tmp_path)[0]
    assert SAEModel.load(tmp_path).config["input_size"] == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_damage(value, tmp_path):
    W_enc = arrays()["W_enc"]
    W_enc[1, 2] = value
    other_writer(tmp_path / "model", W_enc=W_enc)
    with pytest.raises(DamagedFileError, match="W_enc has values that are NaN or inf"):
        read_model(tmp_path)
    for name in ("b_enc", "threshold"):
        other_writer(tmp_path / "model", **{name: np.full(5, np.nan, np.float32)})
        with pytest.raises(DamagedFileError, match=f"{name} has values that are NaN"):
            read_model(tmp_path)
    endless = np.full(5, np.inf, np.float32)
    other_writer(tmp_path / "model", b_enc=endless)  # activations would be infinite
    with pytest.raises(DamagedFileError, match="b_enc has values that are NaN or inf"):
        read_model(tmp_path)
    for off in ({"threshold": endless}, {"b_enc": -endless}):
        other_writer(tmp_path / "model", **off)
        rows = np.ones((2, 3), np.float32)
        assert SAEModel.load(tmp_path).features(rows).nnz == 0


@pytest.mark.parametrize("format", ["sae_lens", "sparsify"])
def test_a_file_stands_for_its_folder(tmp_path, format):
    tensors = {name: torch.tensor(array) for name, array in arrays().items()}
    del tensors["threshold"]
    model = SAEModel(CFG | {"architecture": "topk", "k": 2}, tensors)
    model.save(tmp_path, format)
    for file in tmp_path.iterdir():
        assert SAEModel.load(file).checksum == model.checksum
        assert saved_checksum(file) == model.checksum


@pytest.mark.parametrize("format", ["sae_lens", "sparsify", "dictionary_learning"])
@pytest.mark.parametrize("path", ["file", "file/model"])
def test_a_model_is_not_saved_onto_a_file(tmp_path, format, path):
    (tmp_path / "file").write_text("x")
    tensors = {name: torch.tensor(array) for name, array in arrays().items()}
    del tensors["threshold"]
    model = SAEModel(CFG | {"architecture": "topk", "k": 2}, tensors)
    with pytest.raises(WriteError, match=r"cannot be created.*Choose another folder"):
        model.save(tmp_path / path, format)
    assert (tmp_path / "file").read_text() == "x"
