"""The parameters that several verbs share."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

import nanosae

if TYPE_CHECKING:
    import pandas as pd

    from nanosae.codes import Codes


app = tyro.extras.SubcommandApp()
Positional = tyro.conf.Positional
Run = Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
Data = Annotated[Positional[str], tyro.conf.arg(metavar="DATA")]
Texts = Annotated[Positional[str], tyro.conf.arg(metavar="TEXTS")]
Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
OptionalOutput = Annotated[Path | None, tyro.conf.arg(aliases=["-o"])]
Number = Annotated[int, tyro.conf.arg(aliases=["-n"])]
Json = Annotated[bool, tyro.conf.arg(name="json")]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Say which corpus to look into, and how to answer: what most commands begin with.

    Args:
        run: The run folder.
        name: Which corpus of the run.
        as_json: Print JSON.
    """

    run: Run
    name: str | None = None
    as_json: Json = False

    def codes(self) -> Codes:
        """Open the corpus; say so if there are no texts."""
        codes = nanosae.Codes.open(self.run, self.name)
        if not codes.has_texts:
            note = "describe, families, topics, search by row or feature, contrast, evaluate"
            print(f"note: {codes.path} has no texts; what works: {note}, export.", file=sys.stderr)
        return codes

    def save(self, table: pd.DataFrame, *, unless_empty: str | None = None) -> None:
        """Add columns to the run's feature table; see `save_features`."""
        from nanosae.runs.tables import save_features

        codes = nanosae.Codes.open(self.run, self.name)
        save_features(self.run, table, codes, unless_empty=unless_empty)
