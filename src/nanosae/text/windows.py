"""Cut texts of any length into windows of tokens, such that each token is processed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae.errors import ConfigError, DataError, DataTypeError
from nanosae.text.provenance import TokenRules

TEXTS = 64  # texts tokenised at once


@dataclass(frozen=True)
class Window:
    """Successive tokens of one or several texts, with the special tokens that the model needs.

    Attributes:
        texts: Number of each token's text within its block, (tokens,).
        ids: Token ids, (tokens,).
        offsets: Start and end of each token in its text, in characters, (tokens, 2).
        kept: Which tokens have a row, bool (tokens,).
    """

    texts: np.ndarray
    ids: Tensor
    offsets: np.ndarray
    kept: Tensor


class Cutter:
    """Cuts texts into windows.

    Args:
        tokenizer: A fast tokenizer.
        rules: The rules by which tokens become rows. With `bos`, the begin-of-text token is
            prepended to each window if the tokenizer has one but does not add it itself.
        model_length: Maximum number of tokens of the model, or None if unknown.

    Raises:
        ConfigError: If windows have no room for text, or texts are to be packed and the tokenizer
            has no token to separate them.
    """

    def __init__(
        self, tokenizer: Any, rules: TokenRules, model_length: int | None
    ) -> None:
        self._tokenizer = tokenizer
        self._special_tokens = rules.special_tokens
        self._separator = _separator(tokenizer) if rules.pack else None
        unknown = tokenizer.unk_token_id
        self._special_ids = sorted({*tokenizer.all_special_ids} - {unknown})
        limits = (rules.max_length, tokenizer.model_max_length, model_length, 2**20)
        self._max_length = min(limit for limit in limits if limit)
        self._head: list[int] = []  # tokens prepended to each window
        begin = tokenizer.bos_token_id
        if rules.bos and begin is not None:
            is_added = begin in tokenizer("a")["input_ids"][:1]
            self._head = [] if is_added else [begin]
        n_special = len(self._head) + tokenizer.num_special_tokens_to_add()
        if self._max_length <= n_special:
            raise ConfigError(
                f"max_length={self._max_length} leaves no room for text: special tokens take "
                f"{n_special} of each window.",
                remedy="Give a larger max_length.",
            )

    def blocks(
        self, texts: Iterable[str], n_tokens: int
    ) -> Iterator[tuple[list[str], list[Window]]]:
        """Yield successive texts and their windows as soon as these have `n_tokens` tokens.

        Raises:
            DataError: If a text is not a string.
        """
        texts = iter(texts)
        block: list[str] = []
        windows: list[Window] = []
        while more_texts := list(islice(texts, TEXTS)):
            cut = self._cut if self._separator is None else self._pack
            windows += cut(more_texts, first_text=len(block))
            block += more_texts
            if sum(len(window.ids) for window in windows) >= n_tokens:
                yield block, sorted(windows, key=_position)
                block, windows = [], []
        if windows:
            yield block, sorted(windows, key=_position)

    def _cut(self, texts: list[str], first_text: int) -> Iterator[Window]:
        """Yield the windows of texts, except windows without kept tokens."""
        check_strings(texts)
        encoded = self._tokenizer(
            texts,
            max_length=self._max_length - len(self._head),
            truncation=True,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        n_head = len(self._head)
        for number, text in enumerate(encoded["overflow_to_sample_mapping"]):
            ids = self._head + encoded["input_ids"][number]
            offsets = [(0, 0)] * n_head + encoded["offset_mapping"][number]
            is_added = [1] * n_head + encoded["special_tokens_mask"][number]
            texts_of_tokens = np.full(len(ids), first_text + text)
            yield from self._window(texts_of_tokens, ids, offsets, is_added)

    def _pack(self, texts: list[str], first_text: int) -> Iterator[Window]:
        """Yield windows filled with successive texts."""
        check_strings(texts)
        encoded = self._tokenizer(
            texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        numbers: list[int] = []
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for number, own in enumerate(encoded["input_ids"]):
            numbers += [first_text + number] * (1 + len(own))
            ids += [self._separator, *own]
            offsets += [(0, 0), *encoded["offset_mapping"][number]]
        size = self._max_length - len(self._head)
        for start in range(0, len(ids), size):
            part = slice(start, start + size)
            own_ids = ids[part]
            # a text at the start of a window already has its separator
            head = [] if own_ids[:1] == self._head else self._head
            n_head = len(head)
            texts_of_tokens = np.array([numbers[start]] * n_head + numbers[part])
            window_offsets = [(0, 0)] * n_head + offsets[part]
            is_added = [1] * n_head + [0] * len(own_ids)
            yield from self._window(
                texts_of_tokens, head + own_ids, window_offsets, is_added
            )

    def _window(
        self, texts: np.ndarray, ids: list[int], offsets: list, is_added: list[int]
    ) -> Iterator[Window]:
        """Yield a window, unless none of its tokens is kept."""
        tokens = torch.tensor(ids, device="cpu")
        kept = torch.ones(len(ids), dtype=torch.bool, device="cpu")
        if not self._special_tokens:
            special_ids = torch.tensor(self._special_ids, device="cpu")
            is_special = torch.isin(tokens, special_ids)
            kept = ~(is_special | torch.tensor(is_added, device="cpu").bool())
        if kept.any():
            yield Window(texts, tokens, np.array(offsets, np.int32), kept)


def _separator(tokenizer: Any) -> int:
    """Return the token before each packed text: begin-of-text or, if there is none, end-of-text."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return token
    raise ConfigError(
        "pack=True needs a token to separate texts, but the tokenizer has neither a begin-of-text "
        "nor an end-of-text token.",
        remedy="Do not use pack.",
    )


def as_texts(texts: Any) -> Iterable[Any]:
    """Return texts as they are, or a single one in a list.

    Raises:
        DataTypeError: If they are a table, a mapping or nothing.
    """
    if isinstance(texts, str):
        return [texts]
    is_table = isinstance(texts, Mapping) or hasattr(texts, "columns")
    if is_table or not isinstance(texts, Iterable):
        raise DataTypeError(
            f"texts is a {type(texts).__name__}; needed: a list of texts.",
            remedy="Of a table, give the column of texts.",
        )
    return texts


def check_strings(texts: Iterable[Any]) -> None:
    """Raise a DataError if a text is not a string, or no valid Unicode."""
    for text in texts:
        if not isinstance(text, str):
            raise DataError(
                f"A text is {text!r}, but all texts must be strings.",
                remedy="Drop the others.",
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"The text {text!r:.60} has half of a surrogate pair.",
                remedy="Drop or replace it: text.encode(errors='replace').decode().",
            ) from error


def _position(window: Window) -> tuple[int, int]:
    # tokenizers that truncate on the left return a text's last window first
    return int(window.texts[0]), int(window.offsets.max())
