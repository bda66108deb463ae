"""Optional dependencies: imported on use, named with their pip command where they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType


def extra(name: str, module: str, what: str) -> ModuleType:
    """Return a module that an extra of this package installs.

    Args:
        name: Of the extra.
        module: Of the module, with its package.
        what: What needs it, as the message begins.

    Raises:
        ImportError: If it is not installed.

    Example:
        >>> extra("hub", "no_such_module", "the hub")
        Traceback (most recent call last):
        ImportError: the hub needs pip install "nanosae[hub]"
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{what} needs pip install "nanosae[{name}]"') from error
