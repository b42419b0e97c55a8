"""What a run may be told, and how it says what it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import track

__all__ = ["Progress", "Settings", "evenly"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Settings:
    """The size of a run.

    Attributes
    ----------
    seeds : int
        Methods are prepared anew with the seeds 0, 1, ..., each with a validation part of its own.
    seeded : tuple of str or None
        Keys of the methods that get all seeds, while others have seed 0; None: all get all.
    steps : int or None
        Of every training; None: as the settings of the method say.
    tuning_images : int
        Of each part of ``train/`` at most so many are shown to a classical method.
    sliding_images : int
        Of ``test/``, for the rows that slide.
    test_images : int or None
        At most so many; None: all.
    device : str
        For networks.
    """

    seeds: int = 1
    seeded: tuple[str, ...] | None = None
    steps: int | None = None
    tuning_images: int = 15
    sliding_images: int = 2
    test_images: int | None = None
    device: str = "cpu"

    def seeds_of(self, key: str) -> int:
        """How many seeds a method gets."""
        return self.seeds if self.seeded is None or key in self.seeded else 1


class Progress:
    """What is going on, on the standard error, or nothing at all."""

    def __init__(self, shown: bool = False) -> None:
        self.shown = shown
        self._console = Console(stderr=True, quiet=not shown)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, markup=False, highlight=False)

    def track(self, items: Sequence[_T], what: str) -> Iterator[_T]:
        """Count items while they are worked on."""
        # Into a file it would write nothing but empty lines.
        hidden = not self._console.is_terminal
        yield from track(items, what, console=self._console, transient=True, disable=hidden)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something takes its time of which no part can be counted."""
        if not self.shown:
            yield
            return
        with self._console.status(what):
            yield


def evenly(items: Sequence[_T], count: int | None) -> list[_T]:
    """At most so many of the items, from all over them.

    >>> evenly("abcdef", 3), evenly("ab", 3), evenly("abc", None)
    (['a', 'c', 'e'], ['a', 'b'], ['a', 'b', 'c'])
    """
    if count is None or count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]
