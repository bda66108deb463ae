"""SAEs on the Hugging Face hub: download and upload."""

from __future__ import annotations

from pathlib import Path

from nanosae.errors import MissingError
from nanosae.extras import extra

ENDINGS = ("*.json", "*.safetensors", "*.npz", "*.pt")


def download(name: str, revision: str | None, subfolder: str | None) -> Path:
    """Return the local folder of a repository, with its models' files.

    Args:
        name: `owner/name`.
        revision: Branch, tag or commit.
        subfolder: Only this part of the repository is downloaded.

    Raises:
        MissingError: If the hub does not give it.
    """
    hub = extra("hub", "huggingface_hub", f"{name} is no folder here, and the hub")
    patterns = list(ENDINGS)
    if subfolder:
        patterns = [f"{subfolder}/{ending}" for ending in ENDINGS]
    try:
        folder = hub.snapshot_download(name, revision=revision, allow_patterns=patterns)
    except (OSError, ValueError) as error:  # what all errors of the hub are
        reason = " ".join(str(error).split())
        raise MissingError(
            f"{name} is no folder here, and the hub does not give it: {reason}",
            file=name,
        ) from error
    return Path(folder)
