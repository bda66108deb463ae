"""One progress bar over all stages of a run, with the time that is left."""

from __future__ import annotations

from collections.abc import Callable

from tqdm.auto import tqdm

BAR = "{l_bar}{bar}| {elapsed} gone, {remaining} left"


class Progress:
    """A bar that moves through stages of different length, and lines above it.

    Args:
        say: Takes each line.
        show: Show a bar, on a terminal.
    """

    def __init__(self, say: Callable[[str], None], show: bool) -> None:
        self._say = say
        self._bar = tqdm(
            total=0,
            bar_format=BAR,
            disable=None if show else True,  # None shows it on a terminal only
            leave=False,
            dynamic_ncols=True,
        )
        self._length = 0.0  # of the current stage
        self._before = 0.0  # length of the stages before it

    def plan(self, lengths: list[float]) -> None:
        """Say how long the stages to come will take, in seconds, roughly."""
        self._bar.total = sum(lengths)
        self._bar.refresh()

    def begin(self, name: str, length: float) -> None:
        """Show that a stage begins."""
        self._length = length
        self._bar.set_description(name)

    def advance(self, share: float) -> None:
        """Show how much of the current stage is done, from 0 to 1."""
        reached = self._before + self._length * share
        self._bar.update(reached - self._bar.n)

    def end(self) -> None:
        """Show that the current stage is done."""
        self.advance(1.0)
        self._before += self._length

    def say(self, line: str) -> None:
        """Show a line above the bar."""
        with tqdm.external_write_mode():
            self._say(line)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
