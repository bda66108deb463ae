"""Small corpora and models that several test files build."""

import numpy as np
import scipy.sparse as sp

from nanosae.codes import write_codes
from nanosae.model.weights import Weights

N, M, D = 400, 30, 8  # rows, features and width of the corpus that is described
DEAD, DENSE, TWIN, LONE = 5, 6, 7, 8
NOISE = [a + b + c for a in "bdfg" for b in "aeiou" for c in "lmn"]


def corpus(path, active, texts, **more):
    return write_codes(
        path, sp.csr_array(np.asarray(active, np.float32)), texts=texts, **more
    )


def active_with_target(tmp_path, active, y, **metadata):
    """Write codes of a matrix of activations and a column y; neither texts nor vectors."""
    metadata = {"y": np.asarray(y), **metadata}
    return write_codes(
        tmp_path / "codes", sp.csr_array(np.float32(active)), metadata=metadata
    )


def save_model(run, directions, b_dec=None):
    m, d = directions.shape
    cfg = {
        "architecture": "standard",
        "d_in": d,
        "d_sae": m,
        "metadata": {"embedder": None},
    }
    b_dec = np.zeros(d, np.float32) if b_dec is None else b_dec
    zero = np.zeros(m, np.float32)
    Weights(directions.T.copy(), directions.copy(), b_dec, cfg, zero).save(
        run / "model"
    )


def sae(directions, b_dec, bias=-0.2, architecture="standard", **tensors):
    m, d = directions.shape
    cfg = {
        "architecture": architecture,
        "d_in": d,
        "d_sae": m,
        "k": 3,
        "metadata": {"embedder": None},
    }
    b_enc = np.full(m, bias, np.float32)
    return Weights(directions.T.copy(), directions.copy(), b_dec, cfg, b_enc, **tensors)
