"""Results on disk: one JSON file per machine, written after every contest."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.json_files import read_record, write_json
from ..errors import InputError

__all__ = ["Record", "load_record"]

_FORMAT = 1


def load_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a record.

    Raises
    ------
    InputError
        If the file is not a record of this format.
    """
    return read_record(path, _FORMAT, "benchmarks", "dvfast bench -o")


class Record:
    """A file of results that grows contest by contest, so that a run can be taken up again."""

    def __init__(
        self,
        path: Path | None,
        conditions: dict[str, Any],
        *,
        fresh: bool,
        again: Sequence[str] = (),
    ) -> None:
        """`again`: contests to measure anew; the record may then be one of another commit."""
        self._path = path
        self._commit = conditions["machine"]["commit"]
        self._data: dict[str, Any] = {
            "format": _FORMAT,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **conditions,
            "contests": {},
        }
        if path is not None and not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
        if path is None or fresh or not path.exists():
            return
        found = load_record(path)
        there = _flat({key: found.get(key) for key in conditions})
        differences = [
            f"{key} {there.get(key)!r} there, {value!r} now"
            for key, value in _flat(conditions).items()
            if there.get(key) != value and not (again and key == "commit")
        ]
        if differences:
            raise InputError(
                f"{path}: was measured under other conditions ({'; '.join(differences)}); name "
                "another file, or start anew with --fresh"
            )
        self._data = found
        for name in set(again) & found["contests"].keys():  # each keeps its place
            found["contests"][name] = {**found["contests"][name], "skipped": "to be measured anew"}
            found["contests"][name].pop("rows", None)

    @property
    def data(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return self._data

    def has(self, name: str) -> bool:
        """Whether this contest has been measured."""
        return "rows" in self._data["contests"].get(name, {})

    def add(self, name: str, result: dict[str, Any]) -> None:
        """Put in a result, and write the file anew."""
        if self._commit != self._data["machine"]["commit"]:
            result = {**result, "commit": self._commit}
        self._data["contests"][name] = result
        if self._path is not None:
            write_json(self._path, self._data, indent=1)


def _flat(conditions: dict[str, Any]) -> dict[str, Any]:
    """Without the levels, so that a message can name what differs."""
    flat: dict[str, Any] = {}
    for key, value in conditions.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return flat
