"""The errors that dvfast raises on purpose."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """A file or an argument from the user cannot be used.

    The message is written for people: it names the file or the argument, what came, what was
    expected and what to do. The command line prints it and exits with status 1.

    Examples
    --------
    >>> raise InputError("tile.png: the file is empty (0 bytes)")
    Traceback (most recent call last):
    ...
    dvfast.errors.InputError: tile.png: the file is empty (0 bytes)
    """
