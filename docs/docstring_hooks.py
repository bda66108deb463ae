"""A Griffe extension that renders a docstring's `Example:` section as code."""

from __future__ import annotations

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Rename the section to `Examples:`, the name that Griffe knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in one docstring."""
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")
