"""Chat messages as the text that a language model reads."""

from __future__ import annotations

from typing import Any

from nanosae.errors import ConfigError


def as_text(text: Any, tokenizer: Any) -> Any:
    """Write chat messages by the tokenizer's template; anything else stays as it is.

    The begin-of-text token in front is left out, because it is put before every text.

    Args:
        text: A text, or a list of {"role", "content"}.
        tokenizer: Of the model.

    Raises:
        ConfigError: If the tokenizer has no chat template.
    """
    is_chat = isinstance(text, list) and all(isinstance(part, dict) for part in text)
    if not is_chat:
        return text
    if not tokenizer.chat_template:
        raise ConfigError(
            "the tokenizer has no chat template, and a text is a list of messages.",
            remedy="Give texts, or a tokenizer with a template.",
        )
    written = tokenizer.apply_chat_template(text, tokenize=False)
    return written.removeprefix(tokenizer.bos_token or "")
