"""Records as JSON: read with a check of what they are, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from .paths import atomic_path

__all__ = ["differences", "read_record", "write_json"]


def read_record(
    path: str | os.PathLike[str], form: object, what: str, command: str
) -> dict[str, Any]:
    """Read a JSON object whose ``format`` is `form`.

    Parameters
    ----------
    path
        The file.
    form
        What the object has under ``format``.
    what, command
        What it is a record of, and what writes one: for the message.

    Raises
    ------
    InputError
        If the file cannot be read, or is none of this format.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a record of {what}: {error}") from error
    if not isinstance(record, dict) or record.get("format") != form:
        raise InputError(f"{path}: not a record of {what} in format {form}; `{command}` writes one")
    return record


def write_json(
    path: str | os.PathLike[str], document: Mapping[Any, Any], indent: int | None = None
) -> None:
    """Write a JSON object; on one line unless there is an indent."""
    with atomic_path(path) as temporary:
        text = json.dumps(document, indent=indent, ensure_ascii=False)
        # Names of files are any bytes.
        temporary.write_text(text + "\n", encoding="utf-8", errors="surrogateescape")


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Which values differ, in words; empty if none do."""
    return ", ".join(
        f"{name} was {theirs.get(name)!r}, is {ours.get(name)!r}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    )
