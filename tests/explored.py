"""A planted run with everything that the corpus shows, and how tests ask its server."""

import json

import numpy as np
import pandas as pd

from nanosae.codes import write_codes
from nanosae.model.weights import Weights
from nanosae.runs.results import save_result
from nanosae.runs.tables import save_features
from nanosae.view.explorer.prepare import make_map

HOSTILE = "<script>alert(1)</script> \"'&; שלום ‮ 👩‍👩‍👧 =1+1"


def make_run(run, planted, *, model=True, texts=True, vectors=True, labels=True):
    acts, more = planted.activations, {}
    if model:
        m, d = planted.directions.shape
        cfg = {
            "architecture": "standard",
            "d_in": d,
            "d_sae": m,
            "metadata": {"embedder": None},
        }
        tensors = planted.directions.T.copy(), planted.directions.copy()
        weights = Weights(
            *tensors, np.zeros(d, np.float32), cfg, np.full(m, -0.2, np.float32)
        )
        weights.save(run / "model")
    if texts:
        more["texts"] = [HOSTILE, *planted.texts[1:]]
    dates = [f"{year}-03-01" for year in planted.columns["year"]]
    more["metadata"] = dict(planted.columns) | {"date": dates}
    if vectors:
        more["vectors"] = planted.embeddings
    codes = write_codes(run / "codes" / "default", acts, **more)
    if labels:
        n = len(planted.names)
        table = {
            "feature": np.arange(n),
            "label": planted.names,
            "label_auc": np.linspace(0, 1, n),
            "label_auc_low": np.linspace(0, 0.9, n),
            "label_f1": np.linspace(0, 0.5, n),
            "label_doubtful": np.linspace(0, 0.9, n) < 0.5,
        }
        table |= {"family": np.arange(n) % 9, "topic": np.arange(n) % 5}
        save_features(run, pd.DataFrame(table))
        lines = [{"family": i, "label": f"family {i}"} for i in range(9)]
        empty = {"format": 1, "edges": [], "stats": {}, "parameters": {}}
        save_result(codes, "families.json", empty | {"families": lines}, {})
    make_map(codes)
    return run


def get(client, path, **params):
    params = {k: json.dumps(v) for k, v in params.items()}
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows_of(client, **where):
    """All rows of a selection, page by page."""
    found, total = [], None
    while total is None or len(found) < total:
        page = get(client, "/api/texts", where=where, at=len(found))
        total = page["total"]
        found += [line["row"] for line in page["lines"]]
    return found


def points(client, kind, **params):
    params = {k: json.dumps(v) for k, v in params.items()}
    data = client.get(f"/api/points/{kind}", params=params).content
    size = int(np.frombuffer(data, np.uint32, 1)[0])
    head = json.loads(data[4 : 4 + size])
    n, at = head["n"], 4 + size
    found = {}
    for name, kind_of, count in (
        ("ids", "u4", n),
        ("xy", "f4", 2 * n),
        ("values", "f4", n),
    ):
        found[name] = np.frombuffer(data, kind_of, count, at)
        at += 4 * count
    found["marks"] = np.frombuffer(data, "u1", n, at)
    found["density"] = np.frombuffer(data, "u1", -1, at + n).reshape(
        head["raster"][::-1]
    )
    return head | found | {"xy": found["xy"].reshape(-1, 2)}


def post(client, path, body, **headers):
    headers = {"content-type": "application/json"} | headers
    return client.post(path, content=json.dumps(body), headers=headers)
