"""SAEs on the Hugging Face hub: download and upload."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nanosae.errors import MissingError, ServerError, near_names, reason_of
from nanosae.extras import extra
from nanosae.model.files import SETTINGS, TENSORS
from nanosae.model.formats import (
    dictionary_learning,
    gemma_scope,
    llama_scope,
    pickles,
    sae_lens,
    sparsify,
)
from nanosae.sources.detection import natural_key

TENSOR_FILES = (
    TENSORS,
    sparsify.TENSORS,
    gemma_scope.ARCHIVE,
    gemma_scope.TENSORS,
    llama_scope.TENSORS,
    pickles.TENSORS,
)
SETTINGS_FILES = (
    SETTINGS,
    sae_lens.SCALER,
    dictionary_learning.SETTINGS,
    llama_scope.SETTINGS,
)


def download(name: str, revision: str | None, subfolder: str | None) -> Path:
    """Download the files of one SAE; return the local folder of its repository.

    Args:
        name: `owner/name`.
        revision: Branch, tag or commit.
        subfolder: Folder of the SAE in the repository, or its file.

    Raises:
        MissingError: If the hub does not provide the repository, or there is no SAE in the folder.
    """
    hub = extra("hub", "huggingface_hub", f"{name} is not a folder here, and the hub")
    try:
        listed = _listed(hub, name, revision)
        # without the hub, all that is needed of a downloaded repository is its folder
        needed = [] if listed is None else _needed(listed, name, subfolder)
        patterns = list(map(glob.escape, needed))
        folder = hub.snapshot_download(name, revision=revision, allow_patterns=patterns)
    except MissingError:
        raise
    except (OSError, ValueError) as error:  # the bases of all errors of the hub
        raise MissingError(
            f"{name} is not a folder here, and the hub does not provide it: {reason_of(error)}",
            file=name,
        ) from error
    return Path(folder)


def _listed(hub: Any, name: str, revision: str | None) -> list[str] | None:
    """Return the files of a repository, or None if only downloaded ones are within reach."""
    try:
        facts = hub.HfApi().model_info(name, revision=revision)
    except Exception as error:
        if _is_out_of_reach(error):
            return None
        raise
    return [file.rfilename for file in facts.siblings]


def _needed(listed: Sequence[str], name: str, subfolder: str | None) -> list[str]:
    """Return the files of the SAE in a folder of a repository.

    Args:
        listed: All files of the repository.
        name: `owner/name`.
        subfolder: The folder, or the file of the SAE.

    Raises:
        MissingError: If there is no SAE; the message names the folders that have one.
    """
    files = set(map(PurePosixPath, listed))
    saes = _files_by_sae(files)
    place = PurePosixPath(subfolder or ".")
    if place in files and place not in saes:
        saes[place] = [place, *_existing(files, place.parent, SETTINGS_FILES)]
    for folder in (place / "model", place):  # of a run, or of the SAE itself
        if folder in saes:
            return list(map(str, saes[folder]))
    found = sorted(map(str, saes), key=natural_key)
    where = subfolder or "its main folder"
    raise MissingError(
        f"{name} has no SAE in {where}; {near_names(subfolder or '', found)}.",
        file=name,
        remedy=f"Name one as in {name}/{found[0]}." if found else None,
    )


def _files_by_sae(
    files: Collection[PurePosixPath],
) -> dict[PurePosixPath, list[PurePosixPath]]:
    """Return the files of each SAE by its folder, or by its file if several share a folder."""
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in files:
        by_folder.setdefault(file.parent, []).append(file)
    saes = {}
    for folder, inside in by_folder.items():
        settings = _existing(files, folder, SETTINGS_FILES)
        tensors = _existing(files, folder, TENSOR_FILES)
        pickled = [file for file in inside if file.suffix in pickles.ENDINGS]
        if tensors or len(pickled) == 1:
            saes[folder] = [*(tensors or pickled), *settings]
        else:
            saes |= {file: [file, *settings] for file in pickled}
    return saes


def _existing(
    files: Collection[PurePosixPath], folder: PurePosixPath, names: Sequence[str]
) -> list[PurePosixPath]:
    return [folder / name for name in names if folder / name in files]


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
        revision: Branch, which is created if it does not exist; the main branch by default.
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
            if revision is not None and not revision.startswith("refs/"):
                api.create_branch(name, branch=revision, exist_ok=True)
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
    if _is_out_of_reach(error):
        return ServerError(
            f"the hub cannot be reached: {reason_of(error)}.",
            remedy="Upload the model when this machine is online.",
        )
    if not isinstance(error, OSError | ValueError):  # bases of all errors of the hub
        return None
    remedy = "Store a token with write access: hf auth login."
    if isinstance(error, ValueError):  # an invalid name
        remedy = None
    return ServerError(
        f"the hub did not accept {name}: {reason_of(error)}", remedy=remedy
    )


def _is_out_of_reach(error: Exception) -> bool:
    """Return whether the network is the cause of an error, or that it must not be used."""
    is_of_client = type(error).__module__.startswith(("httpx", "requests"))
    return is_of_client or isinstance(error, ConnectionError)
