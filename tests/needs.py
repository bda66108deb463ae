"""Marks for tests that need a library that takes seconds to import."""

from importlib.util import find_spec

import pytest


def needs(library: str, extra: str) -> pytest.MarkDecorator:
    """Skip tests without a library, which is not imported when they are collected."""
    missing = find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"needs the extra {extra!r}")
