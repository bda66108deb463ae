"""Encode a corpus: the bridge from a model to codes on disk, on one process or several."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from nanosae.atomic import move_folder, sweep_drafts
from nanosae.checked import table_checksum
from nanosae.codes import Codes, CodesWriter, as_table, join_codes
from nanosae.codes import format as files
from nanosae.codes.joining import remove_parts
from nanosae.distributed import is_main_process, join
from nanosae.errors import DamagedFileError, DataError, ExistsError
from nanosae.lock import Lock
from nanosae.model.files import checksum
from nanosae.sources import Rows, open_rows

if TYPE_CHECKING:
    from nanosae.model.sae import SAEModel

BLOCK_ROWS = 8192  # rows encoded at once
HASHED_VALUES = 2**24  # values of data that are all hashed; of larger data a sample is
SAMPLED_ROWS = 4096


def encode_corpus(
    model: SAEModel,
    data: Any,
    path: str | Path,
    *,
    metadata: Any = None,
    columns: Iterable[str] | None = None,
    resume: bool = False,
    append: bool = False,
    force: bool = False,
    part: tuple[int, int] = (0, 1),
) -> Codes:
    """Write the features of a corpus to disk in a stream; see `SAEModel.encode_corpus`."""
    path = Path(path)
    columns = list(columns or model.config.get("columns") or []) or None
    if force:
        following = path.with_name(f".{path.name}.next")
        if path.exists() or following.exists():
            options = {"metadata": metadata, "columns": columns, "part": part}
            try:
                encode_corpus(model, data, following, **options)
            except (ExistsError, DamagedFileError):  # of a command that was killed
                shutil.rmtree(following, ignore_errors=True)
                encode_corpus(model, data, following, **options)
            with Lock(files.lock_path(path)):
                move_folder(following, path)
                sweep_drafts(path.parent)
            return Codes(path)
    rows = open_rows(data, columns=columns, input_size=model.cfg["d_in"])
    table = rows.metadata() if metadata is None else as_table(metadata)
    if table is not None and table.num_rows != rows.n_rows:
        raise DataError(
            f"there are {table.num_rows} texts for {rows.n_rows} rows.",
            remedy="Give one each.",
        )
    number, n_parts = part
    first = rows.n_rows * number // n_parts
    last = rows.n_rows * (number + 1) // n_parts
    source = {"data": data_fingerprint(rows, table), "first": first, "last": last}
    info = {"model": checksum(model.W_dec.detach().cpu().numpy())}
    if (path / files.MANIFEST).exists() and _is_done(
        path, source, info, resume, append
    ):
        return Codes(path)

    mapped = _is_npy_file(data)
    with CodesWriter(
        path,
        n_features=model.cfg["d_sae"],
        source=data if mapped else None,
        first=first,
        info=info,
        append=append,
        data=source["data"],
    ) as writer:
        for start in range(first + writer.n_written, last, BLOCK_ROWS):
            block = rows.read(start, min(start + BLOCK_ROWS, last))
            part_of_table = None if table is None else table.slice(start, len(block))
            vectors = None if mapped else block
            writer.append(
                model.sparse_features(block), table=part_of_table, vectors=vectors
            )
    return Codes(path)


def _is_npy_file(data: Any) -> bool:
    """Return whether data is the path of one .npy file, not a pattern of several."""
    is_path = isinstance(data, str | Path)
    return is_path and Path(data).suffix == ".npy" and Path(data).is_file()


def _is_done(
    path: Path, source: dict[str, Any], info: dict[str, Any], resume: bool, append: bool
) -> bool:
    """Return whether a corpus holds this data already.

    Raises:
        DataError: If other data is to be resumed.
        ExistsError: If it holds other data, and nothing is to be added.
    """
    manifest = files.read_manifest(path)
    complete = files.is_complete(manifest)
    if complete and source in manifest["sources"] and manifest["info"] == info:
        return True
    draft = manifest["draft"]
    if resume and draft is not None:
        origin = {"data": source["data"], "first": source["first"]}
        if draft["origin"] != origin or manifest["info"] != info:
            raise DataError(
                f"the encoding to resume in {path} is one of other rows, texts or another model.",
                file=path,
                remedy="Give the same data, or leave out --resume to begin anew.",
            )
    if complete and not append:
        raise ExistsError(
            f"{path} holds a corpus of other rows, texts or another model.",
            file=path,
            remedy="Add to it (--append), replace it (--force), or choose another name.",
        )
    return False


def data_fingerprint(rows: Rows, table: pa.Table | None) -> str:
    """Return a hash of vectors and metadata; of many vectors, a sample is hashed."""
    digest = hashlib.sha256(rows.fingerprint().encode())
    if rows.n_rows * rows.width <= HASHED_VALUES:
        for block in rows.blocks(BLOCK_ROWS):
            digest.update(block.tobytes())
    elif not rows.group_starts:
        places = np.linspace(0, rows.n_rows - 1, SAMPLED_ROWS).astype(np.int64)
        digest.update(rows.take(np.unique(places)).tobytes())
    digest.update(table_checksum(table).encode())
    return digest.hexdigest()[:32]


def encode_on_all_ranks(
    model: SAEModel, data: Any, path: str | Path, **options: Any
) -> None:
    """Let each process of `torchrun` encode its part of a corpus, then make one corpus of them.

    Args:
        model: The model.
        data: The rows.
        path: The corpus' folder.
        **options: Of `encode_corpus`.

    Raises:
        ExistsError: If several processes are to write to an existing corpus.
    """
    ranks = join(model.W_dec.device.type)
    path = Path(path)
    if ranks.size == 1:
        encode_corpus(model, data, path, **options)
        return
    parts = [path.with_name(f".{path.name}-{rank}") for rank in range(ranks.size)]
    if (path / files.MANIFEST).exists():
        if not any(part.exists() for part in parts):
            raise ExistsError(
                f"{path} holds a corpus.",
                file=path,
                remedy="Several processes write only a new one: choose another name.",
            )
        # they were joined, and then interrupted
        remove_parts(parts if is_main_process() else [])
        return
    encode_corpus(
        model, data, parts[ranks.rank], part=(ranks.rank, ranks.size), **options
    )
    ranks.any(False)  # all have finished
    if is_main_process():
        join_codes(parts, path)
    ranks.any(False)
