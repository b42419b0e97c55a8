"""Whole tools of the field."""

from .contest import Entry

ENTRIES: tuple[Entry, ...] = ()
