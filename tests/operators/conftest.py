"""Operators run on one thread here, except where a test says otherwise."""

from support import one_thread

__all__ = ["one_thread"]
