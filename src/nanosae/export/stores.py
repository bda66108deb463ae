"""Write a corpus for a vector store, as sparse vectors with texts and columns.

Dot products of these vectors rank rows as `search` by features does. A query is the vector of a row
or the activations of a text, from `SAEModel.features`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from nanosae.atomic import write_file
from nanosae.codes import Codes
from nanosae.errors import (
    BusyError,
    ConfigError,
    ExistsError,
    ServerError,
    WriteError,
    reason_of,
    require_choice,
)
from nanosae.export.vectors import Vector, vectors
from nanosae.extras import extra

Store = Literal["jsonl", "opensearch", "pgvector", "qdrant"]
LineFormat = Callable[[Codes, str], Iterator[str]]
NAME = re.compile(r"[a-z][a-z0-9_]*")  # of a collection
HOST_AND_PORT = re.compile(r"[\w.-]+:\d+/?")
BATCH = 256  # points sent to Qdrant at once
LARGEST_SQL_VECTOR = 16_000  # maximal number of non-zero entries in a sparsevec


def to_store(
    codes: Codes, output: str | Path, to: Store, collection: str = "features"
) -> int:
    """Write a corpus for a store; return the number of rows.

    Args:
        codes: The corpus.
        output: A file for `jsonl` (one object per line), `opensearch` (its bulk format, for
            `/_bulk`, with FILE.mapping.json to create the index) and `pgvector` (SQL for psql); a
            folder or the http(s) URL of a server for `qdrant`.
        to: The store.
        collection: Name of the collection, index or table.

    Raises:
        ConfigError: If there is no such store, or `collection` is not a lower-case identifier.
        ExistsError: If Qdrant already has a collection of that name.
        ServerError: If Qdrant cannot be reached or refuses.
        BusyError: If another program uses the folder of Qdrant.
        WriteError: If the output cannot be written.
        ExtraError: If qdrant-client is needed and not installed.
    """
    require_choice("to", to, get_args(Store))
    if not NAME.fullmatch(collection):
        raise ConfigError(
            f"{collection!r} cannot be the name of a collection.",
            remedy="Use lower-case letters, digits and _, with a letter first.",
        )
    if to == "qdrant":
        return _to_qdrant(codes, str(output), collection)
    formats: dict[str, LineFormat] = {
        "jsonl": json_lines,
        "opensearch": bulk_lines,
        "pgvector": sql_lines,
    }
    path = Path(output)
    lines_of = formats[to]
    _write_lines(path, lines_of(codes, collection))
    if to == "opensearch":
        mapping_path = path.with_name(f"{path.name}.mapping.json")
        mapping = json.dumps(opensearch_mapping(), indent=1)
        _write_lines(mapping_path, iter([mapping]))
    return codes.n_rows


def json_lines(codes: Codes, name: str) -> Iterator[str]:
    """Yield one JSON object per row: id, indices, values, and text and columns."""
    for vector in vectors(codes):
        entry = {
            "id": vector.id,
            "indices": vector.features,
            "values": vector.activations,
            "payload": vector.payload,
        }
        yield json.dumps(entry, ensure_ascii=False)


def bulk_lines(codes: Codes, name: str) -> Iterator[str]:
    """Yield the lines of OpenSearch's bulk format: an action, then the document."""
    for vector in vectors(codes):
        place = {"_index": name, "_id": str(vector.id)}
        action = {"index": place}
        yield json.dumps(action)
        names = map(str, vector.features)
        features = dict(zip(names, vector.activations, strict=True))
        document = {"features": features, "payload": vector.payload}
        yield json.dumps(document, ensure_ascii=False)


def opensearch_mapping() -> dict[str, Any]:
    """Return the mapping of an index for `bulk_lines`; `rank_features` holds sparse vectors."""
    fields = {
        "features": {"type": "rank_features"},
        "payload": {"type": "object"},
    }
    return {"mappings": {"properties": fields}}


def sql_lines(codes: Codes, name: str) -> Iterator[str]:
    """Yield SQL that creates a table with a column of pgvector's type sparsevec."""
    size = codes.n_features
    table = f'"{name}"'  # quoted, as it may be a keyword such as "user"
    yield "CREATE EXTENSION IF NOT EXISTS vector;"
    columns = f"id bigint PRIMARY KEY, features sparsevec({size}), payload jsonb"
    yield f"CREATE TABLE {table} ({columns});"
    yield f"COPY {table} (id, features, payload) FROM stdin;"
    for vector in vectors(codes):
        features = sparse_literal(vector, size)
        payload = _copy_text(vector.payload)
        yield f"{vector.id}\t{features}\t{payload}"
    yield "\\."
    yield ""
    yield "-- the nearest rows of row 0 by dot product:"
    yield f"-- SELECT b.id FROM {table} a, {table} b WHERE a.id = 0"
    yield "--   ORDER BY a.features <#> b.features LIMIT 10;"


def sparse_literal(vector: Vector, size: int) -> str:
    """Return a vector as a sparsevec literal, whose indices start at 1.

    Example:
        >>> sparse_literal(Vector(7, [0, 4], [0.5, 2.0], {}), 6)
        '{1:0.5,5:2.0}/6'
    """
    n_active = len(vector.features)
    if n_active > LARGEST_SQL_VECTOR:
        raise ConfigError(
            f"row {vector.id} has {n_active:,} active features; pgvector supports at most "
            f"{LARGEST_SQL_VECTOR:,}."
        )
    entries = []
    for feature, value in zip(vector.features, vector.activations, strict=True):
        entries.append(f"{feature + 1}:{value}")
    joined = ",".join(entries)
    return f"{{{joined}}}/{size}"


def _copy_text(payload: dict[str, Any]) -> str:
    """Return a payload as JSON in the text format of COPY, which doubles backslashes."""
    text = json.dumps(_without_nul(payload), ensure_ascii=False)
    return text.replace("\\", "\\\\")


def _without_nul(value: Any) -> Any:
    """Return a value without NUL characters, which jsonb does not accept."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    def write(stream: Any) -> None:
        for line in lines:
            stream.write(f"{line}\n".encode())

    write_file(path, write)


def _to_qdrant(codes: Codes, place: str, name: str) -> int:
    library = extra("stores", "qdrant_client", "export to Qdrant")
    errors = extra("stores", "qdrant_client.http.exceptions", "export to Qdrant")
    if HOST_AND_PORT.fullmatch(place):
        raise ConfigError(
            f"{place} is not the URL of a server.", remedy=f"Give http://{place}."
        )
    where: dict[str, Any] = {"path": place}
    if place.startswith(("http://", "https://")):
        where = {"url": place, "check_compatibility": False}
    try:
        client = library.QdrantClient(**where)
    except RuntimeError as error:
        raise BusyError(
            f"Another program uses {place}.",
            file=place,
            remedy="Stop it, or start a Qdrant server and give its URL.",
        ) from error
    except OSError as error:
        raise WriteError(
            f"{place} cannot be the folder of a collection: {reason_of(error)}.",
            file=place,
            remedy="Give another folder, or the URL of a server.",
        ) from error
    try:
        with closing(client):
            _fill_collection(client, codes, place, name)
    except errors.ApiException as error:
        raise ServerError(
            f"{place} cannot be reached, or refused: {reason_of(error)}.",
            remedy="Start the server, or give a folder to write the collection to.",
        ) from error
    return codes.n_rows


def _fill_collection(client: Any, codes: Codes, place: str, name: str) -> None:
    """Create a collection of all rows; if that fails, delete it.

    Raises:
        ExistsError: If there is a collection of that name.
    """
    if client.collection_exists(name):
        raise ExistsError(
            f"{place} already has a collection {name!r}.",
            remedy="Choose another name.",
        )
    models = extra("stores", "qdrant_client.models", "export to Qdrant")
    sparse = {"features": models.SparseVectorParams()}
    client.create_collection(name, vectors_config={}, sparse_vectors_config=sparse)
    try:
        rows = vectors(codes)
        while batch := list(islice(rows, BATCH)):
            points = [_point(models, vector) for vector in batch]
            client.upsert(name, points)
    except BaseException:
        with suppress(Exception):
            client.delete_collection(name)
        raise


def _point(models: Any, vector: Vector) -> Any:
    sparse = models.SparseVector(indices=vector.features, values=vector.activations)
    return models.PointStruct(
        id=vector.id, vector={"features": sparse}, payload=vector.payload
    )
