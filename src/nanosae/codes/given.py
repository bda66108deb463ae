"""What the verbs take for a corpus: its codes, a run folder, or anything that holds codes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from nanosae.codes.reader import Codes
from nanosae.errors import DataTypeError, MissingError


class HoldsCodes(Protocol):
    """What has a corpus, such as an `Analysis`."""

    codes: Codes


Corpus = Codes | HoldsCodes | str | Path


def as_codes(corpus: Corpus) -> Codes:
    """Return the codes of a corpus.

    Args:
        corpus: Codes, a run folder or a corpus' folder, or what has `codes`, such as an `Analysis`.

    Raises:
        MissingError: If there is no corpus in the folder.
        DataTypeError: If it is nothing of these.
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
    """Return the run folder of a corpus; a path is taken as it is.

    Raises:
        MissingError: If the codes lie in no run folder.
    """
    if isinstance(corpus, str | Path):
        return Path(corpus)
    codes = as_codes(corpus)
    if codes.run is None:
        raise MissingError(
            f"{codes.path} lies in no run folder.",
            file=codes.path,
            remedy="Encode to RUN/codes/NAME to keep results.",
        )
    return codes.run
