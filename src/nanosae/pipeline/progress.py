"""A progress bar over all stages of a run, with the remaining time."""

from __future__ import annotations

from collections.abc import Callable

from tqdm.auto import tqdm

BAR = "{l_bar}{bar}| {elapsed} elapsed, {remaining} left"


class Progress:
    """A progress bar through stages of different lengths, with lines above it.

    Args:
        say: Prints a line.
        show: Whether to show the bar on a terminal.
    """

    def __init__(self, say: Callable[[str], None], show: bool) -> None:
        self._say = say
        self._bar = tqdm(
            total=0,
            bar_format=BAR,
            disable=None if show else True,  # None shows the bar on a terminal only
            leave=False,
            dynamic_ncols=True,
        )
        self._length = 0.0  # of the current stage
        self._before = 0.0  # length of the stages before it

    def plan(self, lengths: list[float]) -> None:
        """Set the expected durations of the remaining stages in seconds."""
        self._bar.total = sum(lengths)
        self._bar.refresh()

    def begin(self, name: str, length: float) -> None:
        """Begin a stage."""
        self._length = length
        self._bar.set_description(name)

    def advance(self, share: float) -> None:
        """Set how much of the current stage is done, from 0 to 1."""
        reached = self._before + self._length * share
        self._bar.update(reached - self._bar.n)

    def end(self) -> None:
        """End the current stage."""
        self.advance(1.0)
        self._before += self._length

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        with tqdm.external_write_mode():
            self._say(line)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
