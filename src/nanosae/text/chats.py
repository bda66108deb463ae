"""Chat messages formatted as the text that a language model reads."""

from __future__ import annotations

from typing import Any

from nanosae.errors import ConfigError, DataError, reason_of


def as_text(text: Any, tokenizer: Any) -> Any:
    """Format chat messages with the tokenizer's template; return anything else unchanged.

    The template's begin-of-text token is removed, because one is prepended to every text.

    Args:
        text: A text, or a list of {"role", "content"}.
        tokenizer: The model's tokenizer.

    Raises:
        ConfigError: If the tokenizer has no chat template.
        DataError: If the template refuses the messages, such as a role that it does not know.
    """
    is_chat = isinstance(text, list) and all(isinstance(part, dict) for part in text)
    if not is_chat:
        return text
    if not tokenizer.chat_template:
        raise ConfigError(
            "A text is a list of messages, but the tokenizer has no chat template.",
            remedy="Use plain texts, or a tokenizer with a chat template.",
        )
    from jinja2 import TemplateError  # a dependency of PyTorch

    try:
        formatted = tokenizer.apply_chat_template(text, tokenize=False)
    except TemplateError as error:
        raise DataError(
            f"The chat template refuses {text!r:.200}: {reason_of(error)}.",
            remedy="Drop or change these messages.",
        ) from error
    return formatted.removeprefix(tokenizer.bos_token or "")
