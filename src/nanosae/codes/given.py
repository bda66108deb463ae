"""What functions accept as a corpus: codes, a run folder, or an object that holds codes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from nanosae.codes.reader import Codes
from nanosae.errors import DataTypeError, MissingError


class HoldsCodes(Protocol):
    """An object that holds codes, such as an `Analysis`."""

    codes: Codes


Corpus = Codes | HoldsCodes | str | Path


def as_codes(corpus: Corpus) -> Codes:
    """Return the codes of a corpus.

    Args:
        corpus: Codes, a run folder, the folder of a corpus, or an object with `codes`, such as an
            `Analysis`.

    Raises:
        MissingError: If there is no corpus in the folder.
        DataTypeError: If it is none of these.
    """
    if isinstance(corpus, Codes):
        return corpus
    if isinstance(corpus, str | Path):
        return Codes.open(corpus)
    held = getattr(corpus, "codes", None)
    if isinstance(held, Codes):
        return held
    raise DataTypeError(
        f"Codes, a run folder or an Analysis is needed, not {type(corpus).__name__}."
    )


def run_folder(corpus: Corpus) -> Path:
    """Return the run folder of a corpus; a path is returned unchanged.

    Raises:
        MissingError: If the codes are not in a run folder.
    """
    if isinstance(corpus, str | Path):
        return Path(corpus)
    codes = as_codes(corpus)
    if codes.run is None:
        raise MissingError(
            f"{codes.path} is not in a run folder.",
            file=codes.path,
            remedy="Encode to RUN/codes/NAME to keep results.",
        )
    return codes.run
