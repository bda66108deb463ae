"""Optional dependencies: imported on use, with their pip command in the error if missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from nanosae.errors import ExtraError


def extra(name: str, module: str, what: str) -> ModuleType:
    """Import a module that an extra of this package installs.

    Args:
        name: Name of the extra.
        module: Full name of the module.
        what: What needs the module; the message begins with it.

    Raises:
        ExtraError: If the module is not installed or cannot be imported; an ImportError.

    Example:
        >>> extra("hub", "no_such_module", "the hub")
        Traceback (most recent call last):
        nanosae.errors.ExtraError: the hub needs pip install "nanosae[hub]"
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package, _, _ = module.partition(".")
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == package
        if is_missing:
            message = f'{what} needs pip install "nanosae[{name}]"'
            raise ExtraError(message) from error
        raise ExtraError(
            f"{what} needs {package}, which is installed but cannot be imported: {error}.",
            remedy=_remedy(error),
        ) from error


def _remedy(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        missing, _, _ = error.name.partition(".")
        return f"Install {missing}."
    return "Install compatible versions of its packages."
