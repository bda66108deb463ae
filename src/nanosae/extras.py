"""Optional dependencies: imported on use, with their pip command in the error if missing."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
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
            raise _missing(name, what) from error
        raise ExtraError(
            f"{what} needs {package}, which is installed but cannot be imported: {error}.",
            remedy=_remedy(error),
        ) from error


def require_extra(name: str, module: str, what: str) -> None:
    """Raise the error of `extra` if the module is not installed, without importing it."""
    if not is_installed(module):
        raise _missing(name, what)


def is_installed(module: str) -> bool:
    """Return whether a top-level module is installed, without importing it."""
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None


def _missing(name: str, what: str) -> ExtraError:
    return ExtraError(f'{what} needs pip install "nanosae[{name}]"')


def _remedy(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        missing, _, _ = error.name.partition(".")
        return f"Install {missing}."
    return "Install compatible versions of its packages."
