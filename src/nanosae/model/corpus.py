"""Encode a corpus: from a model to codes on disk, in one process or several."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nanosae.atomic import make_folder, move_folder, sweep_drafts
from nanosae.checked import table_checksum
from nanosae.codes import Codes, CodesWriter, join_codes
from nanosae.codes import format as files
from nanosae.codes.joining import remove_parts
from nanosae.codes.tables import without_new_index
from nanosae.distributed import is_main_process, join
from nanosae.errors import (
    ConfigError,
    DamagedFileError,
    DataError,
    DataTypeError,
    ExistsError,
)
from nanosae.kernels import find_device
from nanosae.lock import Lock
from nanosae.model.architectures import rule, standardises_rows, subtracts_bias
from nanosae.model.tensors import float32
from nanosae.progress import tracked
from nanosae.schemas import refuse_other_order
from nanosae.sources import Rows
from nanosae.sources.frames import table_of_texts
from nanosae.sources.repeated_columns import with_own_names

if TYPE_CHECKING:
    from nanosae.model.sae import SAEModel

BLOCK_ROWS = 8192  # rows encoded at once


@dataclass(frozen=True)
class EncodeOptions:
    """The arguments of `SAEModel.encode_corpus` of these names."""

    metadata: Any = None
    columns: Sequence[str] | None = None
    resume: bool = False
    append: bool = False
    force: bool = False
    part: tuple[int, int] = (0, 1)
    device: str = "auto"


@dataclass(frozen=True)
class _Source:
    """The rows to encode.

    Attributes:
        rows: All rows of the data.
        table: Their texts and metadata, or None.
        first: The first row to encode.
        last: The row after the last one to encode.
        fingerprint: Fingerprint of rows and table.
        npy_file: The .npy file that holds the rows, or None.
        has_index: Whether the table has the index of a pandas object.
    """

    rows: Rows
    table: pa.Table | None
    first: int
    last: int
    fingerprint: str
    npy_file: str | Path | None
    has_index: bool

    @property
    def origin(self) -> dict[str, Any]:
        """The source as the manifest records it while it is being encoded."""
        return {"data": self.fingerprint, "first": self.first}

    @property
    def facts(self) -> dict[str, Any]:
        """The source as the manifest records it once it is encoded."""
        return self.origin | {"last": self.last}


def encode_corpus(
    model: SAEModel, data: Any, path: str | Path, options: EncodeOptions
) -> Codes:
    """Stream the features of a corpus to disk; see `SAEModel.encode_corpus`."""
    path = Path(path)
    if path.name in ("", ".."):
        raise ConfigError(
            f"path={str(path)!r} does not name a folder.",
            remedy="Give its name, such as RUN/codes/default.",
        )
    if options.force and (options.append or options.resume):
        raise ConfigError(
            "force cannot be given together with append or resume.",
            remedy="force (--force) deletes the old rows, append (--append) and resume (--resume) "
            "keep them.",
        )
    model = _on_device(model, options.device)
    following = path.with_name(f".{path.name}.next")
    if options.force and (path.exists() or following.exists()):
        _check_that_it_may_be_replaced(path)
        new = replace(options, resume=False, append=False)
        try:
            _encode(model, data, following, new)
        except (ExistsError, DamagedFileError):  # left behind by a killed process
            shutil.rmtree(following, ignore_errors=True)
            _encode(model, data, following, new)
        with Lock(files.lock_path(path)):
            move_folder(following, path)
            sweep_drafts(path.parent)
    else:
        _encode(model, data, path, options)
    return Codes(path)


def _check_that_it_may_be_replaced(path: Path) -> None:
    """Refuse to delete a folder that holds something other than a corpus."""
    make_folder(path)
    names = [entry.name for entry in path.iterdir()]
    if names and not any(files.is_of_corpus(name) for name in names):
        raise ExistsError(
            f"{path} holds {min(names)}, but no corpus.",
            file=path,
            remedy="Choose another folder, or empty this one.",
        )


def _on_device(model: SAEModel, name: str) -> SAEModel:
    """Return the model, or a copy on the device; with `auto`, it stays on a GPU that it is on."""
    if name == "auto" and model.device.type != "cpu":
        return model
    device = find_device(name)
    if device == model.device:
        return model
    return copy.deepcopy(model).to(device)


def _encode(model: SAEModel, data: Any, path: Path, options: EncodeOptions) -> None:
    """Encode into a new corpus, or continue or extend an existing one."""
    source = _open_source(model, data, options)
    info = {"model": model.checksum, "encoder": _encoder_checksum(model)}
    if (path / files.MANIFEST).exists():
        manifest = files.read_manifest(path)
        info = _without_unknown(info, manifest["info"])
        if _holds(manifest, source, info):
            return
        _check_that_it_fits(path, manifest, source, info, options)
        if manifest["n_rows"]:
            source = _like_corpus(source, manifest["columns"])
    with CodesWriter(
        path,
        n_features=model.cfg["d_sae"],
        source=source.npy_file,
        first=source.first,
        info=info,
        append=options.append,
        data=source.fingerprint,
    ) as writer:
        first = source.first + writer.n_written
        starts = range(first, source.last, BLOCK_ROWS)
        for start in tracked(starts, "encode"):
            block = source.rows.read(start, min(start + BLOCK_ROWS, source.last))
            table = None
            if source.table is not None:
                table = source.table.slice(start, len(block))
            vectors = block if source.npy_file is None else None
            writer.append(model.sparse_features(block), table, vectors)


def _encoder_checksum(model: SAEModel) -> str:
    """Return a checksum of all that decides the features of a row, such as thresholds and k."""
    cfg = model.cfg
    facts = [
        rule(cfg["architecture"]),
        cfg.get("k"),
        subtracts_bias(cfg),
        standardises_rows(cfg),
    ]
    checksum = zlib.crc32(json.dumps(facts).encode())
    for name, parameter in sorted(model.named_parameters()):
        if name not in ("W_dec", "W_skip"):
            checksum = zlib.crc32(float32(parameter).data, checksum)
    return f"{checksum:08x}"


def _without_unknown(info: files.Facts, recorded: files.Facts) -> files.Facts:
    """Leave out the encoder's checksum if a corpus, of an earlier version, has none."""
    return {name: info[name] for name in info if name in recorded or name == "model"}


def _open_source(model: SAEModel, data: Any, options: EncodeOptions) -> _Source:
    """Open the rows with their metadata.

    Raises:
        DataError: If their numbers differ.
        ConfigError: If there is no such part.
    """
    rows = model.open_rows(data, options.columns)
    given = options.metadata
    refuse_other_order(data, given, "metadata")
    table = rows.metadata() if given is None else _table_of_metadata(given)
    if table is not None and table.num_rows != rows.n_rows:
        raise DataError(
            f"there are {table.num_rows} texts for {rows.n_rows} rows.",
            remedy="Give one text per row.",
        )
    number, n_parts = _checked_part(options.part)
    return _Source(
        rows,
        table,
        first=rows.n_rows * number // n_parts,
        last=rows.n_rows * (number + 1) // n_parts,
        fingerprint=data_fingerprint(rows, table),
        npy_file=data if _is_npy_file(data) else None,
        has_index=hasattr(data if given is None else given, "reset_index"),
    )


def _checked_part(part: Any) -> tuple[int, int]:
    """Return a part of the rows, the number r and the number N of all parts."""
    is_pair = isinstance(part, tuple | list) and len(part) == 2
    if is_pair and all(isinstance(number, int) for number in part):
        number, n_parts = part
        if 0 <= number < n_parts:
            return number, n_parts
    raise ConfigError(
        f"part={part!r} must be (r, N) with r from 0 to N − 1, for N equal parts."
    )


def _table_of_metadata(given: Any) -> pa.Table:
    """Convert texts, records or columns in any form to a table."""
    if isinstance(given, str | Path):
        raise DataTypeError(
            f"metadata must be texts or a table of columns, not {str(given)!r:.60}.",
            remedy="Read a file with pandas first.",
        )
    return with_own_names(table_of_texts(given))


def _like_corpus(source: _Source, columns: list[str]) -> _Source:
    """Leave out an index without a name that continues the row numbers of the corpus."""
    if source.table is None or not source.has_index:
        return source
    return replace(source, table=without_new_index(source.table, columns))


def _is_npy_file(data: Any) -> bool:
    """Return whether data is the path of a single .npy file."""
    is_path = isinstance(data, str | Path)
    return is_path and Path(data).suffix == ".npy" and Path(data).is_file()


def _holds(manifest: files.Facts, source: _Source, info: files.Facts) -> bool:
    """Return whether a corpus already holds all of a source, encoded by the same model."""
    has_source = files.is_complete(manifest) and source.facts in manifest["sources"]
    return has_source and manifest["info"] == info


def _can_resume(manifest: files.Facts, source: _Source, info: files.Facts) -> bool:
    """Return whether an interrupted encoding in a corpus, if any, is this one."""
    draft = manifest["draft"]
    if draft is None:
        return True
    return draft["origin"] == source.origin and manifest["info"] == info


def _check_that_it_fits(
    path: Path,
    manifest: files.Facts,
    source: _Source,
    info: files.Facts,
    options: EncodeOptions,
) -> None:
    """Refuse to encode into a corpus of other data.

    Raises:
        DataError: If the encoding to resume is one of other data.
        ExistsError: If the corpus holds other data and `append` is not set.
        ConfigError: If another model is to add rows.
    """
    if options.resume and not _can_resume(manifest, source, info):
        raise DataError(
            f"the encoding to resume in {path} has other rows or texts, or another model.",
            file=path,
            remedy="Give the same data and model, or leave out resume (--resume) to start over.",
        )
    if files.is_complete(manifest) and not options.append:
        raise ExistsError(
            f"{path} already holds a corpus, of other rows or texts or by another model.",
            file=path,
            remedy="Add to it (append=True, --append), replace it (force=True, --force), or "
            "choose another name.",
        )
    if files.is_complete(manifest) and manifest["info"] != info:
        raise ConfigError(
            f"{path} was encoded by another model: rows cannot be added by this one.",
            file=path,
            remedy="Replace it (force=True, --force), or choose another name.",
        )


def data_fingerprint(rows: Rows, table: pa.Table | None) -> str:
    """Return a hash of vectors and metadata."""
    facts = rows.digest() + table_checksum(table)
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def encode_on_all_ranks(
    model: SAEModel, data: Any, path: str | Path, options: EncodeOptions
) -> None:
    """Encode a part of the corpus in each process of `torchrun`, then join the parts.

    Args:
        model: The model.
        data: The rows.
        path: The folder of the corpus.
        options: As for `encode_corpus`; `part` is set by this function.

    Raises:
        ExistsError: If there are several processes and the corpus exists already.
        ConfigError: If the processes have other rows or another model.
    """
    ranks = join(options.device)
    path = Path(path)
    if ranks.size == 1:
        encode_corpus(model, data, path, options)
        return
    folders = [path.with_name(f".{path.name}-{rank}") for rank in range(ranks.size)]
    if (path / files.MANIFEST).exists():
        if not any(folder.exists() for folder in folders):
            raise ExistsError(
                f"{path} already holds a corpus.",
                file=path,
                remedy="Several processes can only write a new corpus: choose another name.",
            )
        # the parts were joined, but not yet removed
        ranks.wait()  # until all have seen them
        if is_main_process():
            remove_parts(folders)
        return
    rows = model.open_rows(data, options.columns)
    ranks.check_agreement(model=model.checksum, rows=rows.fingerprint())
    own = replace(options, part=(ranks.rank, ranks.size))
    encode_corpus(model, data, folders[ranks.rank], own)
    ranks.wait()
    if is_main_process():
        join_codes(folders, path)
    ranks.wait()
