"""Search by features outside nanoSAE: with a saved SparseEncoder, Qdrant and PostgreSQL.

    python bench/elsewhere.py FOLDER [--k 64] [--hidden-size 2048] [--queries 100] [--save]

FOLDER holds clinc150.minilm.f16.npy and clinc150.parquet. An SAE is trained on the training
requests, saved as a SparseEncoder, and loaded by sentence-transformers to encode the texts. Recall
is the share of the ten nearest training requests that have the intent of a test request, for this
encoder and the dense one. The exported vectors of the training requests are ranked by Qdrant's
local mode and by PostgreSQL with pgvector, and compared with dot products in NumPy. Needs the
extras `embed` and `stores`; PostgreSQL is optional.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import machine
from nanosae import Codes, SAETrainer, TrainConfig
from nanosae.export.sparse_encoder import sparse_encoder
from nanosae.export.stores import to_store
from nanosae.extras import extra
from nanosae.text.embed import MODEL, _packaged_model

library = extra("embed", "sentence_transformers", "this benchmark")

NEAREST = 10
TIE = 1e-6  # scores with a smaller relative difference may come in either order
Ranker = Callable[[np.ndarray], list[int]]


def requests(folder: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """Return embeddings and texts of the requests with a known intent."""
    rows = np.load(folder / "clinc150.minilm.f16.npy").astype(np.float32)
    table = pd.read_parquet(folder / "clinc150.parquet")[["text", "intent", "split"]]
    known = np.flatnonzero(table["intent"] != "oos")
    return rows[known], table.iloc[known].reset_index(drop=True)


def recall(scores: np.ndarray, stored: np.ndarray, asked: np.ndarray) -> float:
    """Return the mean share of the ten best rows that have the query's label."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]
    return float((stored[best] == asked[:, None]).mean())


def encoders(
    run: Path, saved: Path, stored: pd.DataFrame, asked: pd.DataFrame
) -> tuple[dict[str, float], np.ndarray]:
    """Return the recall of the dense and of the saved sparse encoder, and the sparse queries."""
    dense = library.SentenceTransformer(
        str(_packaged_model(MODEL) or MODEL), device="cpu"
    )
    sparse_encoder(run, dense).save(str(saved))
    loaded = library.SparseEncoder(str(saved), device="cpu", trust_remote_code=True)
    found: dict[str, float] = {}
    queries: Any = None
    for name, encoder in {"dense": dense, "sparse": loaded}.items():
        documents: Any = encoder.encode_document(stored["text"].tolist(), batch_size=64)
        queries = encoder.encode_query(asked["text"].tolist(), batch_size=64)
        scores = encoder.similarity(queries, documents)
        if scores.is_sparse:
            scores = scores.to_dense()
        found[name] = recall(
            scores.numpy(), stored["intent"].to_numpy(), asked["intent"].to_numpy()
        )
    active = queries.to_dense().numpy()  # the sparse encoder comes last
    return {**found, "active": float((active > 0).sum(1).mean())}, active


@contextmanager
def qdrant(codes: Codes, folder: Path) -> Iterator[Ranker]:
    """Fill a collection in Qdrant's local mode; yield a function that ranks its rows."""
    from qdrant_client import QdrantClient, models

    to_store(codes, folder, "qdrant", "requests")
    client = QdrantClient(path=str(folder))

    def rank(query: np.ndarray) -> list[int]:
        (active,) = query.nonzero()
        vector = models.SparseVector(
            indices=active.tolist(), values=query[active].tolist()
        )
        hits = client.query_points(
            "requests", query=vector, using="features", limit=NEAREST
        )
        return [int(hit.id) for hit in hits.points]

    try:
        yield rank
    finally:
        client.close()


@contextmanager
def postgresql(codes: Codes, folder: Path) -> Iterator[Ranker]:
    """Start a PostgreSQL server, run the exported SQL; yield a function that ranks its rows."""
    printed = subprocess.run(
        ["pg_config", "--bindir"], check=True, capture_output=True, text=True
    )
    tools, user = Path(printed.stdout.strip()), []
    folder.mkdir()
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]

    def run(*words: Any, **options: Any) -> str:
        call = [*user, *map(str, words)]
        options = {"check": True, "text": True, "stdout": subprocess.PIPE} | options
        return subprocess.run(call, cwd=folder, **options).stdout

    data = folder / "data"
    run(tools / "initdb", "-D", data, "-U", "tester", "--auth", "trust", "-E", "UTF8")
    listen = f"-k {folder} -c listen_addresses= -c fsync=off"
    control = [tools / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    run(*control, "-o", listen, "start", stdout=subprocess.DEVNULL)
    ask = [tools / "psql", "-h", folder, "-U", "tester", "-d", "postgres", "-Atq"]
    ask += ["-v", "ON_ERROR_STOP=1"]
    file = folder.with_suffix(".sql")
    to_store(codes, file, "pgvector", "requests")

    def rank(query: np.ndarray) -> list[int]:
        (active,) = query.nonzero()
        entries = ",".join(f"{feature + 1}:{query[feature]!s}" for feature in active)
        vector = f"'{{{entries}}}/{len(query)}'"
        sql = f"SELECT id FROM requests ORDER BY features <#> {vector}, id"
        return [
            int(line) for line in run(*ask, input=f"{sql} LIMIT {NEAREST};").split()
        ]

    try:
        run(*ask, input=file.read_text(encoding="utf-8"))
        yield rank
    finally:
        run(*control, "-m", "immediate", "stop")


def compare(rank: Ranker, matrix: Any, queries: np.ndarray) -> dict[str, Any]:
    """Count the queries whose ten best rows a store ranks by their dot products."""
    equal = ties = 0
    for query in queries:
        scores = matrix @ query.astype(np.float64)
        wanted = np.argsort(-scores, kind="stable")[:NEAREST]
        found = rank(query)
        equal += found == wanted.tolist()
        ties += np.allclose(scores[found], scores[wanted], rtol=TIE, atol=0)
    return {"queries": len(queries), "equal": equal, "equal_but_for_ties": int(ties)}


def main() -> None:
    """Train, save, load, rank; print and keep the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hidden-size", type=int, default=2048)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    rows, table = requests(args.folder)
    is_stored = (table["split"] == "train").to_numpy()
    stored: Any = table[is_stored]
    asked: Any = table[table["split"] == "test"]
    config = TrainConfig(hidden_size=args.hidden_size, k=args.k, steps=args.steps)
    stores = {"qdrant": qdrant}
    if shutil.which("pg_config"):
        stores["pgvector"] = postgresql
    with tempfile.TemporaryDirectory(prefix="nanosae-", dir="/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)  # another user's PostgreSQL works inside
        run = folder / "run"
        model = SAETrainer(config, run=run).train(rows[is_stored], progress=False)
        codes = model.encode_corpus(
            rows[is_stored], run / "codes" / "default", metadata=stored
        )
        found, active = encoders(run, folder / "encoder", stored, asked)
        results: dict[str, Any] = dict(found)
        print(json.dumps(results), flush=True)
        chosen = np.random.default_rng(0).permutation(len(active))[: args.queries]
        matrix = codes.rows(0, codes.n_rows).astype(np.float64)
        for name, opened in stores.items():
            with opened(codes, folder / name) as rank:
                results[name] = compare(rank, matrix, active[chosen])
            print(name, json.dumps(results[name]), flush=True)
    if args.save:
        asked_for = {
            name: value for name, value in vars(args).items() if name != "folder"
        }
        report = {"asked": asked_for, "results": results, "machine": machine.facts()}
        machine.save("elsewhere", report)


if __name__ == "__main__":
    main()
