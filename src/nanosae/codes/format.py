"""The files of a corpus of codes, and its manifest.

A corpus is one folder, `RUN/codes/NAME/`:

    manifest.json                        what the corpus holds: the only file that is ever replaced
    00000/ 00001/ …                      immutable shards of at most 2^20 rows
      row_values.npy row_indices.npy row_ptr.npy               CSR: float16, uint16/32, int64
      feature_values.npy feature_indices.npy feature_ptr.npy   CSC: float16, uint16/32, int64
      rows.parquet                       the column "text" and the metadata columns of these rows
      vectors.npy                        their embeddings, float16 (only if they were given)

A stored value times its shard's `scale` in the manifest is the activation. Scales are powers of
two: values down to 2⁻²⁹ of the shard's largest keep 11 significant bits, smaller ones fewer, and no
activation is rounded to zero.

The manifest lists the shards that make up the corpus, the `sources` that were encoded into them
(fingerprint of the data, first and last row), and under `draft` the shards of a source that is
being written, which join the corpus together once the source is complete. For every file it holds a
checksum per BLOCK of bytes, so that readers verify whatever they read.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa

from nanosae import checked
from nanosae.atomic import FORBIDDEN
from nanosae.errors import ConfigError, DamagedFileError, MissingError, command_line

FORMAT = 2
MANIFEST = "manifest.json"
DEFAULT_CORPUS = "default"  # name of the corpus of a run
STAGES = "stages.json"  # what `nanosae run` has finished, if it made the run folder
SHARD_NAME = re.compile(r"\d{5}")
BLOCK = 2**18  # bytes under one checksum
KEYS = {"n_features", "info", "n_rows", "nnz", "columns", "width", "shards"}
KEYS |= {"sources", "schema", "draft"}
SHARD_KEYS = {"name", "n_rows", "nnz", "scale", "vectors", "files"}
Facts = dict[str, Any]


def corpus_path(run: str | Path, name: str) -> Path:
    """Return the folder of a corpus in a run folder.

    Raises:
        ConfigError: If the name is not a plain folder name.
    """
    if not name or name.startswith(".") or FORBIDDEN & set(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a corpus.",
            remedy="Choose a name without slashes or special characters and without a leading dot.",
        )
    return Path(run) / "codes" / name


def has_corpus(run: str | Path) -> bool:
    """Return whether a run folder holds codes."""
    return any(Path(run).glob(f"codes/*/{MANIFEST}"))


def is_of_corpus(name: str) -> bool:
    """Return whether a file or folder with this name is the manifest or a shard."""
    return name == MANIFEST or SHARD_NAME.fullmatch(name) is not None


def shard_name(number: int) -> str:
    """Return the name of the folder of a shard."""
    return f"{number:05d}"


def lock_path(folder: Path) -> Path:
    """Return the path of the lock that a writer of the corpus holds."""
    return folder.parent / f".{folder.name}.lock"


def remedy(folder: Path) -> str:
    """Return a remedy for a damaged corpus."""
    run = folder.parent.parent
    if folder.parent.name != "codes":
        return f"Delete {folder} and encode the corpus again."
    if is_of_run(run, folder.name):
        return f"Delete {folder} and repeat nanosae run to make it again."
    command = command_line("encode", run, "DATA", "--name", folder.name, "--force")
    return f"Make it again: {command}."


def is_of_run(run: Path, name: str) -> bool:
    """Return whether `nanosae run` makes the corpus of this name in a folder, from texts."""
    return name == DEFAULT_CORPUS and (run / STAGES).exists()


def read_manifest(folder: Path) -> Facts:
    """Return the manifest of a corpus.

    Raises:
        MissingError: If there is none.
        DamagedFileError: If it was changed or damaged, or has another format.
    """
    path = folder / MANIFEST
    if folder.is_dir() and not path.exists():
        raise MissingError(
            f"{folder} is not the folder of a corpus: it has no {MANIFEST}.",
            file=path,
            remedy="Codes.open(RUN) opens the corpus of a run folder.",
        )
    manifest = checked.read_json(path, remedy(folder))
    checked.check_format(path, manifest, FORMAT, remedy(folder))
    with checked.naming(path, remedy(folder)):
        _check(manifest)
    return manifest


def _check(manifest: Facts) -> None:
    """Raise a ValueError if a manifest contradicts itself."""
    _check_keys("it", manifest, KEYS)
    for shard in manifest["shards"]:
        _check_keys(f"shard {shard.get('name')}", shard, SHARD_KEYS)
    n_rows = sum(shard["n_rows"] for shard in manifest["shards"])
    if n_rows != manifest["n_rows"]:
        raise ValueError(f"its shards have {n_rows} rows, not {manifest['n_rows']}")


def _check_keys(what: str, facts: Facts, keys: set[str]) -> None:
    missing = sorted(keys - facts.keys())
    if missing:
        raise ValueError(f"{what} lacks {', '.join(missing)}")


def write_manifest(folder: Path, manifest: Facts) -> None:
    """Replace the manifest atomically."""
    checked.write_sealed_json(folder / MANIFEST, manifest)


def is_complete(manifest: Facts) -> bool:
    """Return whether any source has been encoded completely."""
    return bool(manifest["sources"])


def unfinished(folder: Path) -> MissingError:
    """Return the error for a corpus that has not been encoded completely."""
    return MissingError(
        f"{folder} is incomplete: its encoding was interrupted.",
        file=folder / MANIFEST,
        remedy="Repeat the command that encodes it.",
    )


def file_facts(path: Path) -> Facts:
    """Return size and checksums of a file, for the manifest."""
    checksums = []
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            checksums.append(f"{zlib.crc32(block):08x}")
    return {"bytes": path.stat().st_size, "block": BLOCK, "crc32": "".join(checksums)}


def fingerprint(path: str | Path) -> str:
    """Return size and checksum of the first and last MiB of a file: enough to notice a change."""
    size = Path(path).stat().st_size
    with Path(path).open("rb") as stream:
        head = stream.read(2**20)
        stream.seek(max(0, size - 2**20))
        crc = zlib.crc32(stream.read(), zlib.crc32(head))
    return f"{size}-{crc:08x}"


def schema_to_text(schema: pa.Schema) -> str:
    """Return a schema as text for the manifest."""
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def schema_from_text(text: str | None) -> pa.Schema | None:
    """Return the schema that `schema_to_text` converted."""
    if text is None:
        return None
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def shards_checksum(manifest: Facts) -> str:
    """Return a checksum of everything that a corpus holds."""
    held = json.dumps([manifest["columns"], manifest["shards"]], sort_keys=True)
    return f"{zlib.crc32(held.encode()):08x}"


def damaged(path: Path, reason: str, folder: Path) -> DamagedFileError:
    """Return the error for a damaged file of a corpus."""
    return checked.damaged(path, reason, remedy(folder))


def has_all_files(folder: Path, manifest: Facts) -> bool:
    """Return whether the files of all shards are there, in the sizes that the manifest says."""
    for shard in manifest["shards"]:
        for name, facts in shard["files"].items():
            file = folder / shard["name"] / name
            if not file.is_file() or file.stat().st_size != facts["bytes"]:
                return False
    return True
