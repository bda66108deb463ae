"""Which files of a folder are read, and in which folders they lie."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from nanosae.sources.detection import natural_key

# files on a folder, not in it
ABOUT = re.compile(r"(readme|licen[cs]e|changelog|contributing)(\.|$)", re.IGNORECASE)
MARKDOWN = ".md"


def files_of(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of a folder that can be read, in the natural order of their names.

    Folders in it are looked into where it holds no such file itself, or only Markdown.

    Args:
        path: The folder.
        suffixes: Of files that can be read.
    """
    folder = glob.escape(str(path))
    own = readable(f"{folder}/*", suffixes)
    if any(suffix_of(file) != MARKDOWN for file in own):
        return own
    return readable(f"{folder}/**/*", suffixes) or own


def readable(pattern: str, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of a glob that can be read; notes beside others are left out."""
    names = sorted(glob.glob(pattern, recursive=True), key=natural_key)  # noqa: PTH207
    found = [file for file in map(Path, names) if suffix_of(file) in suffixes]
    texts = [file for file in found if not ABOUT.match(file.name)] or found
    others = [file for file in texts if suffix_of(file) != MARKDOWN]
    return others or texts


def suffix_of(file: Path) -> str:
    """Return the suffix of a file, but for that of a compression."""
    if file.suffix.lower() in COMPRESSED:
        file = file.with_suffix("")
    return file.suffix.lower()


COMPRESSED = (".gz", ".bz2", ".zst")


def folder_columns(files: Sequence[Path]) -> dict[str, list[str | None]]:
    """Return the folder of each file, and the folders in it, where they are not all the same.

    Example:
        >>> folder_columns([Path("talks/sea/old/1.md"), Path("talks/sky/old/2.md")])
        {'folder': ['sea', 'sky']}
        >>> list(folder_columns([Path("sea/old/1.md"), Path("sky/new/2.md")]))
        ['folder', 'subfolder']
    """
    parents = [file.parent for file in files]
    common = os.path.commonpath(parents) if len(set(parents)) > 1 else parents[0]
    parts = [parent.relative_to(common).parts for parent in parents]
    columns: dict[str, list[str | None]] = {}
    for level in range(max(map(len, parts))):
        names = [names[level] if level < len(names) else None for names in parts]
        if len(set(names)) > 1:
            columns[_level_name(len(columns))] = names
    return columns


def _level_name(number: int) -> str:
    return ("folder", "subfolder")[number] if number < 2 else f"subfolder {number}"
