"""The embeddings of a run's texts, cached by text.

    embeddings/embedder.json          name of the embedder
    embeddings/rows.npy              (n, width) float16, in the order of the corpus
    embeddings/keys.npy              (n, 16) uint8: a hash of each row's text
    embeddings/NNNNN.rows.npy        the same for texts embedded by an unfinished command
    embeddings/NNNNN.keys.npy

A text that this embedder has embedded in this folder before is not embedded again. Keys are written
after their rows: rows without keys are incomplete and are not used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nanosae.atomic import make_folder, sweep_drafts, write_array, write_json
from nanosae.checked import read_json
from nanosae.errors import DamagedFileError, DataError
from nanosae.lock import Lock

BLOCK = 2048  # texts embedded between two writes
NAME = "embedder.json"
LOCK = ".lock"
AGAIN = "Delete its folder; the texts will be embedded again."
SAME = 0.999  # minimum cosine of two rows of a text by one embedder; float16 keeps more


class Embeddings:
    """The embedded texts of a run, by one embedder.

    Args:
        folder: `RUN/embeddings`; the first `add` deletes the rows of any other embedder.
        embedder: Name of the embedder.
    """

    def __init__(self, folder: Path, embedder: str) -> None:
        self.folder = folder
        self._embedder = embedder
        self._rows, self._places = np.empty((0, 0), np.float16), {}
        if folder.exists():
            with Lock(folder / LOCK):
                self._load()

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the distinct texts that are not embedded yet."""
        return list(
            dict.fromkeys(text for text in texts if _key(text) not in self._places)
        )

    def check(
        self, texts: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray]
    ) -> None:
        """Embed one known text again, and refuse an embedder that returns another row.

        Args:
            texts: Texts, some of which may be embedded already.
            encode: Returns the rows of some texts, (n, width).

        Raises:
            DataError: If the row is not the same.
        """
        known = next((text for text in texts if _key(text) in self._places), None)
        if known is None:
            return
        new = np.asarray(encode([known]), np.float64).ravel()
        old = self.rows([known])[0].astype(np.float64)
        is_same = False
        if new.shape == old.shape:
            lengths = np.linalg.norm(new) * np.linalg.norm(old)
            is_same = new @ old >= SAME * lengths  # false for NaN
        if not is_same:
            raise DataError(
                f"{self.folder} was made by another embedder of the name {self._embedder}: the row "
                f"of the text {known[:40]!r} differs.",
                file=self.folder,
                remedy="Choose another run folder, or delete this folder.",
            )

    def add(
        self,
        texts: Sequence[str],
        encode: Callable[[Sequence[str]], np.ndarray],
        advance: Callable[[float], None],
    ) -> int:
        """Embed the texts that are not embedded yet, block by block; return their number.

        Args:
            texts: The texts.
            encode: Returns the rows of some texts, (n, width).
            advance: Called after each block with the share of the new texts that is embedded.

        Raises:
            BusyError: If another process is writing in the folder.
            DataError: If the embedder returns a value that is not finite or too large for float16,
                or rows of another width than before.
        """
        if not self.missing(texts):
            return 0
        make_folder(self.folder)
        with Lock(self.folder / LOCK):
            self._prepare_folder()
            self._load()  # another process may have changed the rows
            new = self.missing(texts)
            self._add(new, encode, advance)
            self._load()
        return len(new)

    def _prepare_folder(self) -> None:
        """Delete drafts, and the rows of other embedders."""
        sweep_drafts(self.folder)
        if not self._is_ours():
            self._delete(self.folder.glob("*.npy"))
            write_json(self.folder / NAME, {"embedder": self._embedder})

    def _is_ours(self) -> bool:
        """Return whether the rows in the folder are by this embedder."""
        file = self.folder / NAME
        return file.exists() and read_json(file, AGAIN)["embedder"] == self._embedder

    def _add(
        self,
        new: list[str],
        encode: Callable[[Sequence[str]], np.ndarray],
        advance: Callable[[float], None],
    ) -> None:
        new.sort(key=len)  # batches of texts of similar length are faster
        n_characters = max(sum(map(len, new)), 1)
        n_done = 0
        for start in range(0, len(new), BLOCK):
            block = new[start : start + BLOCK]
            rows = as_float16(encode(block))
            self._check_width(rows)
            self._write_block(block, rows)
            n_done += sum(map(len, block))
            advance(n_done / n_characters)

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """Return the rows of embedded texts, in their order, (n, width) float16."""
        return self._rows[[self._places[_key(text)] for text in texts]]

    def write_rows(self, texts: Sequence[str]) -> Path:
        """Write `rows.npy` for these texts and delete the blocks; return its path."""
        rows, keys = self.rows(texts), _keys(texts)
        keys_file, rows_file = self.folder / "keys.npy", self.folder / "rows.npy"
        with Lock(self.folder / LOCK):
            self._prepare_folder()
            blocks = [*self.folder.glob("*.keys.npy"), *self.folder.glob("*.rows.npy")]
            self._delete([keys_file])
            write_array(rows_file, rows)
            write_array(keys_file, keys)
            self._delete(blocks)
        return rows_file

    def _check_width(self, rows: np.ndarray) -> None:
        """Refuse rows of another width than before."""
        width, known = rows.shape[1], self._rows.shape[1]
        if len(self._rows) and width != known:
            raise DataError(
                f"The embedder returned rows of width {width}; those in {self.folder} have "
                f"{known}.",
                file=self.folder,
                remedy=AGAIN,
            )

    def _write_block(self, texts: list[str], rows: np.ndarray) -> None:
        number = 1 + max(
            (int(path.name[:5]) for path in self.folder.glob("*.keys.npy")), default=-1
        )
        write_array(self.folder / f"{number:05d}.rows.npy", rows)
        write_array(self.folder / f"{number:05d}.keys.npy", _keys(texts))

    def _load(self) -> None:
        """Read all complete rows, and the place of each text among them, under the lock."""
        keys_files = sorted(self.folder.glob("*keys.npy")) if self._is_ours() else []
        parts = [_load_pair(keys_file) for keys_file in keys_files]
        if not parts:
            self._rows, self._places = np.empty((0, 0), np.float16), {}
            return
        self._rows = np.concatenate([part for part, _ in parts])
        keys = np.concatenate([part for _, part in parts])
        self._places = {key.tobytes(): place for place, key in enumerate(keys)}

    @staticmethod
    def _delete(paths) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def _load_pair(keys_file: Path) -> tuple[np.ndarray, np.ndarray]:
    rows_file = keys_file.with_name(keys_file.name.replace("keys.npy", "rows.npy"))
    try:
        rows, keys = np.load(rows_file), np.load(keys_file)
        if len(rows) != len(keys):
            raise ValueError(f"it has {len(rows)} rows, but there are {len(keys)} keys")
    except (ValueError, EOFError, OSError) as error:
        raise DamagedFileError(
            f"{rows_file} is damaged: {error}.", file=rows_file, remedy=AGAIN
        ) from error
    return rows, keys


def as_float16(rows: np.ndarray) -> np.ndarray:
    """Return rows as float16; refuse values that it cannot represent."""
    with np.errstate(over="ignore"):
        halves = np.asarray(rows).astype(np.float16)
    if not np.isfinite(halves).all():
        raise DataError(
            "The embedder returned values that are NaN, infinite or above 65,504."
        )
    return halves


def _keys(texts: Sequence[str]) -> np.ndarray:
    joined = b"".join(_key(text) for text in texts)
    return np.frombuffer(joined, np.uint8).reshape(-1, 16)


def _key(text: str) -> bytes:
    return hashlib.blake2b(
        text.encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
