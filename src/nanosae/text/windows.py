"""Texts cut into windows of tokens, so that each token is seen once, however long the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanosae.errors import DataError
from nanosae.text.provenance import TokenRules

TEXTS = 64  # texts tokenised together


@dataclass(frozen=True)
class Window:
    """Successive tokens of a text, with those that the model needs before and after.

    Attributes:
        text: Number of the text among those of its block.
        ids: Token numbers, (tokens,).
        offsets: First character of each token in the text and the one after its last, (tokens, 2).
        kept: Which tokens give a row, bool (tokens,).
    """

    text: int
    ids: Tensor
    offsets: np.ndarray
    kept: Tensor


class Cutter:
    """Cuts texts into windows.

    Args:
        tokenizer: A fast tokenizer.
        rules: Which tokens give rows. A begin-of-text token is put before each window if the
            tokenizer has one but does not add it itself.
        model_length: Tokens that the model takes, None if that is not known.
    """

    def __init__(
        self, tokenizer: Any, rules: TokenRules, model_length: int | None
    ) -> None:
        self._tokenizer = tokenizer
        self._special_tokens = rules.special_tokens
        limits = (rules.max_length, tokenizer.model_max_length, model_length, 2**20)
        self._max_length = min(limit for limit in limits if limit)
        self._head: list[int] = []  # tokens before each window
        begin = tokenizer.bos_token_id
        if rules.bos and begin is not None:
            is_added = begin in tokenizer("a")["input_ids"][:1]
            self._head = [] if is_added else [begin]

    def blocks(
        self, texts: Iterable[str], n_tokens: int
    ) -> Iterator[tuple[list[str], list[Window]]]:
        """Yield successive texts and their windows, as soon as these hold `n_tokens`.

        Raises:
            DataError: If a text is not a string.
        """
        texts = iter(texts)
        block: list[str] = []
        windows: list[Window] = []
        while more_texts := list(islice(texts, TEXTS)):
            windows += self._cut(more_texts, first_text=len(block))
            block += more_texts
            if sum(len(window.ids) for window in windows) >= n_tokens:
                yield block, sorted(windows, key=_position)
                block, windows = [], []
        if windows:
            yield block, sorted(windows, key=_position)

    def _cut(self, texts: list[str], first_text: int) -> Iterator[Window]:
        """Yield the windows of some texts that have tokens to be kept."""
        _check_strings(texts)
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
            offsets = [(0, 0)] * n_head + encoded["offset_mapping"][number]
            is_special = [1] * n_head + encoded["special_tokens_mask"][number]
            kept = torch.tensor(is_special) == 0
            if self._special_tokens:
                kept = torch.ones_like(kept)
            if kept.any():
                yield Window(
                    first_text + text,
                    torch.tensor(self._head + encoded["input_ids"][number]),
                    np.array(offsets, np.int32),
                    kept,
                )


def _check_strings(texts: list[str]) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise DataError(
                f"a text is {text!r}: every text must be a string;",
                remedy="drop the others.",
            )


def _position(window: Window) -> tuple[int, int]:
    # A tokenizer that truncates on the left gives a text's last window first
    return window.text, int(window.offsets.max())
