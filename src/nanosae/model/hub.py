"""SAEs on the Hugging Face hub: download and upload."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from nanosae.errors import MissingError, ServerError, reason_of
from nanosae.extras import extra

ENDINGS = ("*.json", "*.safetensors", "*.npz", "*.pt")


def download(name: str, revision: str | None, subfolder: str | None) -> Path:
    """Download the model files of a repository; return their local folder.

    Args:
        name: `owner/name`.
        revision: Branch, tag or commit.
        subfolder: Part of the repository to download.

    Raises:
        MissingError: If the hub does not provide it.
    """
    hub = extra("hub", "huggingface_hub", f"{name} is not a folder here, and the hub")
    patterns = list(ENDINGS)
    if subfolder:
        patterns = [f"{subfolder}/{ending}" for ending in ENDINGS]
    try:
        folder = hub.snapshot_download(name, revision=revision, allow_patterns=patterns)
    except (OSError, ValueError) as error:  # the bases of all errors of the hub
        raise MissingError(
            f"{name} is not a folder here, and the hub does not provide it: {reason_of(error)}",
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
    """Upload files to a repository in one commit; return the URL of the commit.

    Args:
        save: Writes the files to a folder.
        name: `owner/name`; the repository is created if it does not exist.
        private: Whether a new repository is private; if None, the hub decides.
        revision: Branch; the main branch by default.
        subfolder: Folder in the repository.
        token: Access token; if None, the one stored by `hf auth login`.
        message: Commit message.

    Raises:
        ServerError: If the hub cannot be reached or refuses.
    """
    hub = extra("hub", "huggingface_hub", "push_to_hub")
    api = hub.HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            api.create_repo(name, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=name,
                folder_path=folder,
                path_in_repo=subfolder,
                revision=revision,
                commit_message=message,
            )
        except Exception as error:
            failure = _failure(error, name)
            if failure is None:
                raise
            raise failure from error
    return str(commit.commit_url)


def _failure(error: Exception, name: str) -> ServerError | None:
    """Return the error of an upload, or None if neither the hub nor the network is its cause."""
    is_of_httpx = type(error).__module__.startswith("httpx")
    if is_of_httpx or isinstance(error, ConnectionError):
        return ServerError(
            f"the hub cannot be reached: {reason_of(error)}.",
            remedy="Upload the model when this machine is online.",
        )
    if isinstance(error, OSError | ValueError):  # the bases of all errors of the hub
        return ServerError(
            f"the hub did not accept {name}: {reason_of(error)}",
            remedy="Store a token with write access: hf auth login.",
        )
    return None
