"""An extension of Griffe: a docstring's `Example:` is rendered as code."""

from __future__ import annotations

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Name the section as Griffe knows it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename it in one docstring."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")
