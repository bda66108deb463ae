"""Files with some bytes changed are read, or refused by an error that a user can understand."""

import random
import warnings
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import torch
from pyarrow import feather
from safetensors.numpy import save_file

import foreign_files as written
import sae_formulas as formulas
from nanosae import SAEModel
from nanosae.errors import NanoSAEError
from nanosae.sources import open_rows
from nanosae.sources.texts import read_texts

ROWS = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
VECTORS = pd.DataFrame(ROWS, columns=[f"e{i}" for i in range(5)])
TEXTS = pd.DataFrame({"text": [f'a text, no "{i}"' for i in range(40)], "y": range(40)})
WRITERS = {
    "rows.csv": lambda path: VECTORS.to_csv(path, index=False),
    "rows.parquet": VECTORS.to_parquet,
    "rows.feather": lambda path: feather.write_feather(VECTORS, path),
    "rows.npy": lambda path: np.save(path, ROWS),
    "rows.npz": lambda path: np.savez(path, x=ROWS),
    "rows.safetensors": lambda path: save_file({"x": ROWS}, path),
    "rows.pt": lambda path: torch.save(torch.from_numpy(ROWS), path),
    "texts.csv": lambda path: TEXTS.to_csv(path, index=False),
    "texts.jsonl": lambda path: TEXTS.to_json(path, orient="records", lines=True),
    "texts.json": lambda path: TEXTS.to_json(path, orient="records"),
    "texts.xlsx": lambda path: TEXTS.to_excel(path, index=False),
    "texts.csv.gz": lambda path: TEXTS.to_csv(path, index=False),
    "model/cfg.json": None,
    "model/sae_weights.safetensors": None,
    "model.pt": lambda path: written.openai(path, formulas.parameters()),
}
KINDS = list(WRITERS)
FEW, MANY = 25, 400  # damages that the fast and the slow test try


def read(path):
    """Read all that a file holds, as a user would."""
    if path.name.startswith("rows"):
        rows = open_rows(path)
        rows.read(0, rows.n_rows)
        rows.metadata()
    elif path.name.startswith("texts"):
        read_texts(path, "text")
    else:
        model = SAEModel.load(path.parent if path.parent.name == "model" else path)
        model.features(np.zeros((2, model.cfg["d_in"]), np.float32))


def damaged(content, seed):
    """Change, take out, repeat or add some bytes, often near the beginning."""
    draw = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        place = draw.randrange(max(len(damaged), 1))
        if draw.random() < 0.4:
            place = min(place, draw.randrange(200))
        some = draw.randrange(1, 50)
        change = draw.choice(["set", "flip", "cut", "add", "repeat", "end"])
        if change == "set":
            damaged[place : place + 1] = bytes([draw.randrange(256)])
        elif change == "flip" and damaged:
            damaged[place] ^= 1 << draw.randrange(8)
        elif change == "cut":
            del damaged[place : place + some]
        elif change == "add":
            damaged[place:place] = draw.randbytes(some)
        elif change == "repeat":
            damaged += damaged[place : place + some]
        elif change == "end":
            del damaged[place:]
    return bytes(damaged)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(params=KINDS)
def file(request, folder):
    pytest.importorskip("openpyxl", reason="needs the extra 'excel'")
    path = folder / request.param
    if path.parent.name == "model":
        cfg = {"architecture": "topk", "k": 3}
        tensors = written.sae_lens_tensors(formulas.parameters())
        written.sae_lens(path.parent, cfg, tensors)
    else:
        WRITERS[request.param](path)
    return path


def read_damaged(file, seeds):
    """Read a file that is damaged in one way after the other; any defect is raised."""
    whole = file.read_bytes()
    read(file)  # undamaged, it is read
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in seeds:
            file.write_bytes(damaged(whole, seed))
            with suppress(NanoSAEError, OSError):
                read(file)


def test_damaged_files_are_read_or_refused(file):
    read_damaged(file, range(FEW))


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(file):
    read_damaged(file, range(FEW, MANY))


def test_a_defect_would_be_raised(folder, monkeypatch):
    path = folder / "rows.npy"
    np.save(path, ROWS)
    failures = iter([None, ZeroDivisionError])

    def fail(_path):
        error = next(failures)
        if error is not None:
            raise error

    monkeypatch.setitem(globals(), "read", fail)
    with pytest.raises(ZeroDivisionError):
        read_damaged(path, range(1))
