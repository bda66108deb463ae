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
        DamagedFileError: If a shard of a part is missing.
        DataError: If the parts, or values in them, do not fit together, or a part is given twice.
        ExistsError: If the folder already holds a corpus, or an interrupted call left shards of
            other parts.
    """
    path = Path(path)
    folders = [Path(part) for part in parts]
    _check_that_they_differ(folders)
    with Lock(files.lock_path(path), WAIT):
        if (path / files.MANIFEST).exists():
            if not _were_joined(folders, path):
                raise ExistsError(
                    f"{path} already holds a corpus.",
                    file=path,
                    remedy="Choose another name.",
                )
            remove_parts(folders)
            return Codes(path)
        manifests = [_complete_manifest(folder) for folder in folders]
        joined = _joined(manifests)
        draft = path.with_name(f".{path.name}.joining")
        if not draft.exists():
            _check_values(folders, manifests, joined)
        old = _shard_folders(folders, manifests)
        new = [draft / shard["name"] for shard in joined["shards"]]
        remaining = _not_moved_yet(old, new)
        draft.mkdir(exist_ok=True)
        for source, target in remaining:
            source.rename(target)
        files.write_manifest(draft, joined)
        draft.rename(path)
        remove_parts(folders)
    return Codes(path)


def remove_parts(folders: Sequence[Path]) -> None:
    """Delete parts that have been joined, the manifest of each last: it says what is left."""
    for folder in folders:
        if not folder.exists():
            continue
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != files.MANIFEST:
                entry.unlink()
        shutil.rmtree(folder)


def _were_joined(folders: list[Path], path: Path) -> bool:
    """Return whether a corpus was joined of parts that were not all removed afterwards."""
    joined = [_content(shard) for shard in files.read_manifest(path)["shards"]]
    left = [folder for folder in folders if (folder / files.MANIFEST).exists()]
    shards = []
    for folder in left:
        for shard in files.read_manifest(folder)["shards"]:
            if (folder / shard["name"]).exists():
                return False
            shards.append(_content(shard))
    return len(shards) > 0 and all(shard in joined for shard in shards)


def _content(shard: Facts) -> Facts:
    """Return the facts on a shard without its name, which joining changes."""
    return {key: value for key, value in shard.items() if key != "name"}


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


def _check_that_they_differ(folders: list[Path]) -> None:
    for folder in folders:
        same = [other for other in folders if other.resolve() == folder.resolve()]
        if len(same) > 1:
            raise DataError(f"{folder} is given twice.", file=folder)


def _check_values(folders: list[Path], manifests: list[Facts], joined: Facts) -> None:
    """Refuse parts with a value that does not fit the common type of its column."""
    schema = files.schema_from_text(joined["schema"])
    for folder, manifest in zip(folders, manifests, strict=True):
        if schema is not None and manifest["n_rows"]:
            Codes(folder, manifest).check_values(schema)


def _not_moved_yet(old: list[Path], new: list[Path]) -> list[tuple[Path, Path]]:
    """Return the shards that an interrupted call, if any, has not moved: old and new folder.

    Raises:
        DamagedFileError: If a shard is at neither place.
        ExistsError: If another shard has its new place.
    """
    remaining = []
    for source, target in zip(old, new, strict=True):
        if source.exists() and target.exists():
            raise ExistsError(
                f"{target.parent} holds shards of other parts, from an interrupted join_codes.",
                file=target,
                remedy="Repeat that call first, or choose another name.",
            )
        if source.exists():
            remaining.append((source, target))
        elif not target.exists():
            raise files.damaged(source, "it is missing", source.parent)
    return remaining


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
