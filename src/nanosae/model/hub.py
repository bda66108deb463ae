"""SAEs on the Hugging Face hub: download and upload."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanosae.errors import MissingError, ServerError, reason_of
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
    hub = extra("hub", "huggingface_hub", f"{name} is not a folder here, and the hub")
    patterns = list(ENDINGS)
    if subfolder:
        patterns = [f"{subfolder}/{ending}" for ending in ENDINGS]
    try:
        folder = hub.snapshot_download(name, revision=revision, allow_patterns=patterns)
    except (OSError, ValueError) as error:  # what all errors of the hub are
        raise MissingError(
            f"{name} is not a folder here, and the hub does not give it: {reason_of(error)}",
            file=name,
        ) from error
    return Path(folder)


def upload(
    save: Callable[[Path], None],
    name: str,
    *,
    private: bool | None,
    revision: str | None,
    subfolder: str | None,
    token: str | None,
    message: str,
) -> str:
    """Write files to a repository in one commit; return the commit's address.

    Args:
        save: Writes the files into a folder.
        name: `owner/name`; the repository is made if there is none.
        private: Whether a new repository is private; None leaves it to the hub.
        revision: Branch; the main branch by default.
        subfolder: Where the files lie in the repository.
        token: Of the hub; None takes the one that `hf auth login` stored.
        message: Of the commit.

    Raises:
        ServerError: If the hub cannot be reached or refuses.
    """
    hub = extra("hub", "huggingface_hub", "push_to_hub")
    api = hub.HfApi(token=token)
    options: dict[str, Any] = {"path_in_repo": subfolder, "revision": revision}
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name, folder_path=folder, commit_message=message, **options
            )
        except (OSError, ValueError) as error:
            raise ServerError(
                f"the hub did not take {name}: {reason_of(error)}",
                remedy="`hf auth login` stores a token that may write.",
            ) from error
    return str(commit.commit_url)
