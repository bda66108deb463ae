"""The readable files of a folder, and the folders that they are in."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from nanosae.sources.detection import natural_key

# files that describe a folder
ABOUT = re.compile(r"(readme|licen[cs]e|changelog|contributing)(\.|$)", re.IGNORECASE)
MARKDOWN = ".md"
COMPRESSED = (".gz", ".bz2", ".zst")


def files_of(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the readable files of a folder, in the natural order of their names.

    Subfolders are searched only if the folder itself has no readable files, or only Markdown.

    Args:
        path: The folder.
        suffixes: Suffixes of readable files.
    """
    folder = glob.escape(str(path))
    own = readable(f"{folder}/*", suffixes)
    if any(suffix_of(file) != MARKDOWN for file in own):
        return own
    return readable(f"{folder}/**/*", suffixes) or own


def readable(pattern: str, suffixes: Sequence[str]) -> list[Path]:
    """Return the readable files of a glob, without a README and Markdown notes beside others."""
    found = [file for file in matching(pattern) if suffix_of(file) in suffixes]
    texts = [file for file in found if not ABOUT.match(file.name)] or found
    others = [file for file in texts if suffix_of(file) != MARKDOWN]
    return others or texts


def matching(pattern: str) -> list[Path]:
    """Return the paths of a glob, in the natural order of their names."""
    names = sorted(glob.glob(pattern, recursive=True), key=natural_key)  # noqa: PTH207
    return [Path(name) for name in names]


def suffix_of(file: Path) -> str:
    """Return the suffix of a file, ignoring that of compression."""
    if file.suffix.lower() in COMPRESSED:
        file = file.with_suffix("")
    return file.suffix.lower()


def open_stream(path: Path) -> Any:
    """Open a file, which may be compressed, for reading bytes."""
    return pa.input_stream(str(path), compression="detect")


def folder_columns(files: Sequence[Path]) -> dict[str, list[str | None]]:
    """Return the folder and subfolders of each file, by level, where they differ.

    Example:
        >>> folder_columns([Path("talks/sea/old/1.md"), Path("talks/sky/old/2.md")])
        {'folder': ['sea', 'sky']}
        >>> list(folder_columns([Path("sea/old/1.md"), Path("sky/new/2.md")]))
        ['folder', 'subfolder']
    """
    parents = [file.parent for file in files]
    common = os.path.commonpath(parents)
    parts = [parent.relative_to(common).parts for parent in parents]
    columns: dict[str, list[str | None]] = {}
    for level in range(max(map(len, parts))):
        names = [names[level] if level < len(names) else None for names in parts]
        if len(set(names)) > 1:
            columns[_level_name(len(columns))] = names
    return columns


def _level_name(number: int) -> str:
    return ("folder", "subfolder")[number] if number < 2 else f"subfolder {number}"
