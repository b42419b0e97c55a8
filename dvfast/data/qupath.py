"""What QuPath means by the names that it gives."""

from __future__ import annotations

from typing import Any

__all__ = ["is_ignored_class"]


def is_ignored_class(name: Any) -> bool:
    """Whether objects of a class count as nothing in QuPath, such as ``Ignore*``.

    Examples
    --------
    >>> is_ignored_class("Ignore*"), is_ignored_class("Tumor"), is_ignored_class(None)
    (True, False, False)
    """
    return isinstance(name, str) and name.strip().endswith("*")
