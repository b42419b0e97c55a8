"""The record of a data set: one JSON file from which all tables are made.

It holds, for every method and seed, the parameters, the times, and for every test image the points
that were found and how they meet the annotations under every condition. Of the annotations it holds
numbers only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..data.json_files import read_record, write_json
from ..evaluation import MatchMode, match_points
from .data_sets import DataSet, fingerprint

__all__ = [
    "CONDITIONS",
    "LITERAL",
    "PRIMARY",
    "Condition",
    "Record",
    "key_of",
    "load_record",
    "matches",
]

_FORMAT = "dvfast reproduce 1"


@dataclass(frozen=True)
class Condition:
    """What counts as found.

    Attributes
    ----------
    share : float
        Of the mean radius of a nucleus, within which a detection must lie.
    mode : str
        See :func:`dvfast.evaluation.match_points`.
    """

    share: float
    mode: MatchMode

    @property
    def key(self) -> str:
        """For the record."""
        return f"{self.share:g} {self.mode}"


_HALF, _WHOLE = 0.5, 1.0
PRIMARY = Condition(_HALF, "one-to-one")
LITERAL = Condition(_HALF, "literal")  # how the paper counts
CONDITIONS = (PRIMARY, Condition(_WHOLE, "one-to-one"), LITERAL, Condition(_WHOLE, "literal"))


def matches(points: NDArray[Any], truth: NDArray[Any], radius: float) -> dict[str, list[float]]:
    """For every condition: true positives, annotations found, sum of distances, and of squares."""
    result = {}
    for condition in CONDITIONS:
        m = match_points(points, truth, condition.share * radius, mode=condition.mode)
        result[condition.key] = [
            m.true_positives,
            m.found,
            round(float(m.distances.sum()), 6),
            round(float(np.square(m.distances).sum()), 6),
        ]
    return result


def key_of(**what: Any) -> str:
    """A digest of all that a result depends on, with dvfast's version."""
    text = json.dumps({**what, "dvfast": __version__}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Record:
    """A file of results that grows entry by entry, so that a run can be taken up again."""

    def __init__(self, path: Path, data_set: DataSet, test: Sequence[dict[str, Any]]) -> None:
        """Go on with the file at `path`, unless it is about other data; `test`: every image."""
        described = {
            name: value
            for name, value in asdict(data_set).items()
            if name not in ("folder", "augmentation", "unet_channels")
        }
        head = {
            "format": _FORMAT,
            "data_set": {**described, "fingerprint": fingerprint(data_set)},
            "test": list(test),
        }
        self._path = path
        self.data: dict[str, Any] = {**head, "entries": {}}
        if path.exists():
            found = load_record(path)
            if all(found.get(name) == value for name, value in head.items()):
                self.data = found

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        return str(self.data["data_set"]["fingerprint"])

    def is_current(self, method: str, seed: int, key: str) -> bool:
        """Whether there is an entry, and it depends on nothing else than what `key` is of."""
        entry = self.data["entries"].get(f"{method}/{seed}")
        return entry is not None and entry["key"] == key

    def add(self, method: str, seed: int, entry: dict[str, Any]) -> None:
        """Put in an entry, and write the file anew."""
        self.data["entries"][f"{method}/{seed}"] = entry
        write_json(self._path, self.data)


def load_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a record.

    Raises
    ------
    InputError
        If the file is not a record of this format.
    """
    return read_record(path, _FORMAT, "a comparison", "dvfast reproduce table1 -o")
