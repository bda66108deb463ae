"""Join corpora that were encoded in parallel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from nanosae.codes import format as files
from nanosae.codes.format import Facts
from nanosae.codes.reader import Codes
from nanosae.errors import DataError, ExistsError
from nanosae.lock import Lock
from nanosae.schemas import common_schema

EQUAL = ("n_features", "columns", "width", "info")
WAIT = 5.0  # seconds to wait for another writer


def join_codes(parts: Sequence[str | Path], path: str | Path) -> Codes:
    """Join several corpora, in their order, by moving their shards; the parts are removed.

    An interrupted call can be repeated.

    Args:
        parts: Folders of corpora with the same features, columns and kind of vectors.
        path: Folder of the new corpus.

    Raises:
        BusyError: If another process is writing the corpus.
        DataError: If the parts do not fit together.
        ExistsError: If the folder already holds a corpus.
    """
    path = Path(path)
    folders = [Path(part) for part in parts]
    with Lock(files.lock_path(path), WAIT):
        if (path / files.MANIFEST).exists():
            raise ExistsError(
                f"{path} already holds a corpus.",
                file=path,
                remedy="Choose another name.",
            )
        manifests = [_complete_manifest(folder) for folder in folders]
        joined = _joined(manifests)
        draft = path.with_name(f".{path.name}.joining")
        draft.mkdir(parents=True, exist_ok=True)
        shard_folders = _shard_folders(folders, manifests)
        for old, shard in zip(shard_folders, joined["shards"], strict=True):
            if old.exists():  # otherwise an interrupted call has moved it
                old.replace(draft / shard["name"])
        files.write_manifest(draft, joined)
        draft.rename(path)
        remove_parts(folders)
    return Codes(path)


def remove_parts(folders: Sequence[Path]) -> None:
    """Delete parts that have been joined."""
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)


def _complete_manifest(folder: Path) -> Facts:
    manifest = files.read_manifest(folder)
    if not files.is_complete(manifest):
        raise files.unfinished(folder)
    return manifest


def _shard_folders(folders: list[Path], manifests: list[Facts]) -> list[Path]:
    found = []
    for folder, manifest in zip(folders, manifests, strict=True):
        found += [folder / shard["name"] for shard in manifest["shards"]]
    return found


def _joined(manifests: list[Facts]) -> Facts:
    """Return the manifest of the joined corpus."""
    filled = [manifest for manifest in manifests if manifest["n_rows"]] or manifests[:1]
    for key in EQUAL:
        given = {json.dumps(manifest[key]) for manifest in filled}
        if len(given) > 1:
            raise DataError(
                f"the parts differ in {key}: {' and '.join(sorted(given))}."
            )
    joined = dict(filled[0])
    joined["shards"] = _renumbered_shards(manifests)
    for key in ("n_rows", "nnz"):
        joined[key] = sum(manifest[key] for manifest in filled)
    joined["sources"] = _joined_sources(manifests)
    schemas = [files.schema_from_text(manifest["schema"]) for manifest in filled]
    known = [schema for schema in schemas if schema is not None]
    if known:
        joined["schema"] = files.schema_to_text(common_schema(known))
    return joined | {"format": files.FORMAT, "draft": None}


def _renumbered_shards(manifests: list[Facts]) -> list[Facts]:
    """Return the shards of all parts, renamed by their order."""
    shards: list[Facts] = []
    for manifest in manifests:
        for shard in manifest["shards"]:
            shards.append(shard | {"name": files.shard_name(len(shards))})
    return shards


def _joined_sources(manifests: list[Facts]) -> list[Facts]:
    """Return the sources of all parts; adjacent rows of the same data become one source."""
    joined: list[Facts] = []
    for manifest in manifests:
        for source in manifest["sources"]:
            if joined and _follows(joined[-1], source):
                joined[-1] = joined[-1] | {"last": source["last"]}
            else:
                joined.append(source)
    return joined


def _follows(before: Facts, source: Facts) -> bool:
    """Return whether the rows of a source directly follow those of another in the same data."""
    if source["data"] is None or source["data"] != before["data"]:
        return False
    return before["last"] == source["first"]
