"""Chat messages formatted as the text that a language model reads."""

from __future__ import annotations

from typing import Any

from nanosae.errors import ConfigError


def as_text(text: Any, tokenizer: Any) -> Any:
    """Format chat messages with the tokenizer's template; return anything else unchanged.

    The template's begin-of-text token is removed, because one is prepended to every text.

    Args:
        text: A text, or a list of {"role", "content"}.
        tokenizer: The model's tokenizer.

    Raises:
        ConfigError: If the tokenizer has no chat template.
    """
    is_chat = isinstance(text, list) and all(isinstance(part, dict) for part in text)
    if not is_chat:
        return text
    if not tokenizer.chat_template:
        raise ConfigError(
            "A text is a list of messages, but the tokenizer has no chat template.",
            remedy="Use plain texts, or a tokenizer with a chat template.",
        )
    formatted = tokenizer.apply_chat_template(text, tokenize=False)
    return formatted.removeprefix(tokenizer.bos_token or "")
