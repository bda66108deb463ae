"""The device to compute on, by name."""

import torch

from nanosae.errors import ConfigError, first_line_of


def find_device(name: str) -> torch.device:
    """Return the device of a name, after checking that it works.

    Args:
        name: `auto`, which is a GPU if PyTorch finds one, or a name as PyTorch has it.

    Raises:
        ConfigError: If there is no such device here.

    Example:
        >>> find_device("cpu")
        device(type='cpu')
    """
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    if name.startswith("cuda") and not has_gpu:
        raise ConfigError(f"device={name!r} needs a GPU, but torch finds none.")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = first_line_of(error)
        raise ConfigError(
            f"device={name!r} cannot be used here: {reason.rstrip('.')}.",
            remedy="Choose another device, or leave it out.",
        ) from error
