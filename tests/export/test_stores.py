"""Corpora in vector stores: what comes back, and in which order, beside plain dot products."""

import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from nanosae import Codes, write_codes
from nanosae.cli import main
from nanosae.errors import BusyError, ConfigError, ExistsError, ServerError, WriteError
from nanosae.export import stores
from nanosae.export.stores import to_store
from nanosae.export.vectors import vectors

N, M = 60, 12


@pytest.fixture
def codes(tmp_path):
    rng = np.random.default_rng(0)
    dense = rng.uniform(0.1, 2, (N, M)) * (rng.random((N, M)) < 0.3)
    dense[5] = 0
    table = {
        "text": [f'text {i} "quoted"\tand\\n{"é" * (i % 3)}\nline' for i in range(N)],
        "year": [2000 + i for i in range(N)],
        "score": [float("nan") if i == 3 else i / 2 for i in range(N)],
    }
    matrix = sp.csr_array(dense.astype(np.float32))
    folder = tmp_path / "run" / "codes" / "default"
    texts = table.pop("text")
    write_codes(folder, matrix, texts=texts, metadata=table)
    return Codes.open(tmp_path / "run")


def dense_of(codes):
    return codes.rows(0, N).toarray()


def ranking(dense, query):
    return np.argsort(-(dense @ dense[query]), kind="stable")


def test_json_lines_hold_every_row_once(codes, tmp_path):
    assert to_store(codes, tmp_path / "x.jsonl", "jsonl") == N
    lines = (tmp_path / "x.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    found = np.zeros((N, M), np.float32)
    for line in map(json.loads, lines):
        found[line["id"], line["indices"]] = line["values"]
    np.testing.assert_array_equal(found, dense_of(codes))
    first = json.loads(lines[3])["payload"]
    assert first == {"text": codes.texts([3])[0], "year": 2003, "score": None}


def test_opensearch_s_bulk_format(codes, tmp_path):
    to_store(codes, tmp_path / "x.ndjson", "opensearch", "papers")
    text = (tmp_path / "x.ndjson").read_text(encoding="utf-8")
    assert text.endswith("\n")
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    assert len(lines) == 2 * N
    found = np.zeros((N, M), np.float32)
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        assert action["index"]["_index"] == "papers"
        row = int(action["index"]["_id"])
        for feature, value in document["features"].items():
            assert value > 0  # what rank_features takes
            found[row, int(feature)] = value
    np.testing.assert_array_equal(found, dense_of(codes))
    mapping = json.loads((tmp_path / "x.ndjson.mapping.json").read_text())
    assert mapping["mappings"]["properties"]["features"] == {"type": "rank_features"}


def unescaped(text):
    """What PostgreSQL's COPY makes of a field in text format."""
    known = {"\\\\": "\\", "\\t": "\t", "\\n": "\n"}
    return re.sub(r"\\.", lambda match: known[match[0]], text)


def test_sql_for_pgvector(codes, tmp_path):
    to_store(codes, tmp_path / "x.sql", "pgvector", "papers")
    lines = (tmp_path / "x.sql").read_text(encoding="utf-8").split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith('COPY "papers"'))
    assert f"features sparsevec({M})" in lines[start - 1]
    stop = lines.index("\\.")
    assert stop - start - 1 == N
    found = np.zeros((N, M), np.float32)
    for line in lines[start + 1 : stop]:
        row, vector, payload = line.split("\t")
        entries, size = vector.split("/")
        assert int(size) == M
        for entry in filter(None, entries.strip("{}").split(",")):
            place, value = entry.split(":")
            found[int(row), int(place) - 1] = float(value)
        read = json.loads(unescaped(payload))
        assert read["text"] == codes.texts([int(row)])[0]
    np.testing.assert_array_equal(found, dense_of(codes))


def test_sql_has_no_nul_which_jsonb_refuses(tmp_path):
    texts = np.array(["a\0b", "c"], dtype=object)
    tags = np.empty(2, dtype=object)
    tags[:] = [["x\0y", "z"], []]
    notes = np.array([{"a\0": "x\0y"}, {"a\0": "z"}])
    metadata = {"text": texts, "tags": tags, "notes": notes}
    write_codes(tmp_path / "codes", sp.csr_array(np.eye(2)), metadata=metadata)
    to_store(Codes(tmp_path / "codes"), tmp_path / "x.sql", "pgvector", "papers")
    written = (tmp_path / "x.sql").read_text(encoding="utf-8")
    assert "\0" not in written
    assert "u0000" not in written
    assert '"xy"' in written


@pytest.fixture(scope="module")
def psql():
    """A PostgreSQL of its own, with pgvector: a function that runs SQL in it."""
    tools = Path(_output("pg_config", "--bindir") or "/nowhere")
    extension = Path(_output("pg_config", "--sharedir"), "extension", "vector.control")
    if not (tools / "initdb").exists() or not extension.exists():
        pytest.skip("needs PostgreSQL with pgvector")
    # not /tmp/pytest-of-root, which another user cannot enter; and the path of a socket is short
    folder = tempfile.mkdtemp(prefix="pg-")
    user = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]

    def run(*words, **options):
        call = [*user, *map(str, words)]
        options = {"check": True, "text": True, "capture_output": True} | options
        return subprocess.run(call, cwd=folder, **options)

    data = f"{folder}/data"
    run(tools / "initdb", "-D", data, "-U", "tester", "--auth", "trust", "-E", "UTF8")
    listen = f"-k {folder} -c listen_addresses= -c fsync=off"
    start = [tools / "pg_ctl", "-D", data, "-o", listen, "-w", "-l", f"{folder}/log"]
    # the server would hold a pipe open
    run(*start, "start", capture_output=False, stdout=subprocess.DEVNULL)
    ask = [tools / "psql", "-h", folder, "-U", "tester", "-d", "postgres"]
    ask += ["-v", "ON_ERROR_STOP=1", "-At", "-q"]
    try:
        yield lambda sql: run(*ask, input=sql).stdout
    finally:
        run(tools / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


def _output(*words):
    if shutil.which(words[0]) is None:
        return ""
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["papers", "order"])  # the second one is a keyword
def test_postgresql_ranks_rows_like_dot_products(codes, psql, tmp_path, name):
    to_store(codes, tmp_path / "x.sql", "pgvector", name)
    psql((tmp_path / "x.sql").read_text(encoding="utf-8"))
    dense = dense_of(codes)
    for query in (0, 7, 31):
        found = psql(
            f'SELECT b.id FROM "{name}" a, "{name}" b WHERE a.id = {query} '
            "ORDER BY a.features <#> b.features, b.id LIMIT 10;"
        )
        assert list(map(int, found.split())) == ranking(dense, query)[:10].tolist()
    found = psql(f'SELECT payload FROM "{name}" WHERE id = 3;')
    wanted = {"text": codes.texts([3])[0], "year": 2003, "score": None}
    assert json.loads(found) == wanted
    assert int(psql(f'SELECT count(*) FROM "{name}";')) == N


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # its dependencies' own
def test_qdrant_ranks_rows_like_dot_products(codes, tmp_path):
    qdrant = pytest.importorskip("qdrant_client", reason="needs the extra 'stores'")
    place = str(tmp_path / "qdrant")
    assert to_store(codes, place, "qdrant", "papers") == N
    with pytest.raises(ExistsError, match="'papers'"):
        to_store(codes, place, "qdrant", "papers")
    dense = dense_of(codes)
    client = qdrant.QdrantClient(path=place)
    for query in (0, 7, 31):
        (entries,) = dense[query].nonzero()
        vector = qdrant.models.SparseVector(
            indices=entries.tolist(), values=dense[query, entries].tolist()
        )
        hits = client.query_points("papers", query=vector, using="features", limit=10)
        ids = [hit.id for hit in hits.points]
        assert ids == ranking(dense, query)[:10].tolist()
        assert hits.points[0].payload["text"] == codes.texts([ids[0]])[0]
    client.close()


@pytest.mark.filterwarnings("ignore")  # its dependencies' own
def test_a_collection_is_in_qdrant_whole_or_not_at_all(codes, tmp_path, monkeypatch):
    qdrant = pytest.importorskip("qdrant_client", reason="needs the extra 'stores'")
    place = str(tmp_path / "qdrant")

    def interrupted(codes):
        yield from itertools.islice(vectors(codes), stores.BATCH + 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(stores, "BATCH", 10)
    with monkeypatch.context() as patched:
        patched.setattr(stores, "vectors", interrupted)
        with pytest.raises(KeyboardInterrupt):
            to_store(codes, place, "qdrant", "papers")
    assert to_store(codes, place, "qdrant", "papers") == N
    client = qdrant.QdrantClient(path=place)
    assert client.count("papers").count == N
    with pytest.raises(BusyError, match=f"Another program uses {place}"):
        to_store(codes, place, "qdrant", "other")
    client.close()


def test_a_file_is_no_folder_for_qdrant(codes, tmp_path):
    pytest.importorskip("qdrant_client")
    file = tmp_path / "rows.jsonl"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(WriteError, match=r"rows\.jsonl cannot be the folder"):
        to_store(codes, file, "qdrant")
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.filterwarnings("ignore")  # its dependencies' own
def test_a_qdrant_server_that_is_not_there(codes):
    pytest.importorskip("qdrant_client", reason="needs the extra 'stores'")
    with pytest.raises(ServerError, match=r"^http://127.0.0.1:9 cannot be reached"):
        to_store(codes, "http://127.0.0.1:9", "qdrant", "papers")
    with pytest.raises(ConfigError, match="Give http://localhost:6333"):
        to_store(codes, "localhost:6333", "qdrant", "papers")


def test_numbers_and_dates_of_payloads_are_kept(tmp_path):
    days = pd.to_datetime(["2024-05-01", None])
    metadata = pd.DataFrame({"day": days, "p": [1e-20, 1 / 3], "tags": [["a"], []]})
    write_codes(tmp_path / "codes", sp.csr_array(np.eye(2)), metadata=metadata)
    to_store(Codes(tmp_path / "codes"), tmp_path / "x.jsonl", "jsonl")
    lines = (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = (json.loads(line)["payload"] for line in lines)
    assert first == {"day": "2024-05-01T00:00:00", "p": 1e-20, "tags": ["a"]}
    assert second == {"day": None, "p": 1 / 3, "tags": []}


def test_the_verb_and_its_mistakes(codes, tmp_path, capsys):
    run, out = str(codes.run), str(tmp_path / "x.jsonl")
    assert main(["export", run, "-o", out, "--to", "jsonl"]) == 0
    assert "60 rows as jsonl" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="to='postgres' must be one of jsonl, open"):
        to_store(codes, tmp_path / "x.sql", "postgres")
    for name in ("a; DROP TABLE b", "Papers", "_papers", "1st", "é", ""):
        with pytest.raises(ConfigError, match="cannot be the name"):
            to_store(codes, tmp_path / "x.sql", "pgvector", name)


def test_payloads_hold_the_values_of_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr("nanosae.export.vectors.BLOCK", 2)
    berlin = pa.timestamp("us", "Europe/Berlin")
    columns = {
        "n": pa.array([2**60 + 1, None, 3, 4]),
        "at": pa.array([datetime(2024, 5, 1, 8), None, None, None], berlin),
        "day": pa.array([date(2024, 5, 1), None, None, None]),
    }
    folder = tmp_path / "codes"
    write_codes(folder, sp.csr_array(np.eye(4)), metadata=pa.table(columns))
    to_store(Codes(folder), tmp_path / "x.jsonl", "jsonl")
    lines = (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()
    first, *others = (json.loads(line)["payload"] for line in lines)
    assert first == {
        "n": 2**60 + 1,
        "at": "2024-05-01T10:00:00+02:00",
        "day": "2024-05-01",
    }
    assert [repr(other["n"]) for other in others] == ["None", "3", "4"]
