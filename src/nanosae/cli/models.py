"""Commands that convert and upload SAEs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import nanosae
from nanosae.cli.output import say_next, show_facts
from nanosae.cli.parameters import FileName, Output
from nanosae.errors import ExistsError, command_line

Saved = Annotated[
    FileName,
    Parameter(
        help="A run or model folder; a folder or file of SAELens, dictionary_learning, sparsify, "
        "HypotheSAEs, OpenAI, Gemma Scope or Llama Scope; or `owner/name/subfolder` on the hub."
    ),
]


def convert(
    model: Saved,
    /,
    *,
    output: Output,
    format: Literal["sae_lens", "sparsify", "dictionary_learning"] = "sae_lens",
    force: bool = False,
) -> None:
    """Convert an SAE to the format of another library without changing its activations.

    Args:
        output: Output folder; with sae_lens, it can be used as a run, starting with `encode`.
        format: The library whose format to write.
        force: Write into a folder that is not empty.
    """
    if not force and Path(output).exists() and any(Path(output).iterdir()):
        raise ExistsError(
            f"{output} is not empty.",
            file=output,
            remedy="Choose another folder, or use --force.",
        )
    sae = nanosae.SAEModel.load(model)
    sae.save(output, format=format)
    facts = {"output": output, "format": format, "model": sae.config}
    show_facts(facts, f"{output}: {sae} as {format}")
    if format == "sae_lens":
        say_next(command_line("encode", output, "DATA"))


def push(
    model: Saved,
    name: str,
    /,
    *,
    private: bool = False,
    revision: str | None = None,
    subfolder: str | None = None,
) -> None:
    """Upload an SAE, with a model card, to the Hugging Face hub.

    Args:
        name: `owner/name`; the repository is created if it does not exist.
        private: Make a new repository private.
        revision: Branch of the repository, which is created if it does not exist.
        subfolder: Folder in the repository.
    """
    from nanosae.runs.folder import is_finished, last_line

    sae = nanosae.SAEModel.load(model)
    run = Path(model)
    metrics = last_line(run) if is_finished(run) else None
    address = sae.push_to_hub(
        name,
        private=private or None,
        revision=revision,
        subfolder=subfolder,
        metrics=metrics,
    )
    show_facts({"commit": address}, address)
