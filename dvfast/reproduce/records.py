"""The record of a data set: one JSON file from which all tables are made.

That of a comparison holds, for every method and seed, the parameters, the times, and for every test
image the points that were found and how they meet the annotations under every condition. Of the
annotations it holds numbers only.
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
    "COMPARISON",
    "CONDITIONS",
    "LITERAL",
    "PRIMARY",
    "WITHIN_RADIUS",
    "Condition",
    "Kind",
    "Record",
    "key_of",
    "load_record",
    "matches",
]


@dataclass(frozen=True)
class Kind:
    """What a record is of.

    Attributes
    ----------
    form : str
        The name of its format.
    part : str
        On which part of the data it was measured: the key of the list of images.
    what, command : str
        For messages: what it is a record of, and what writes it.
    """

    form: str
    part: str
    what: str
    command: str


COMPARISON = Kind("dvfast reproduce 1", "test", "a comparison", "dvfast reproduce table1 -o")


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
WITHIN_RADIUS = Condition(_WHOLE, "one-to-one")
CONDITIONS = (PRIMARY, WITHIN_RADIUS, LITERAL, Condition(_WHOLE, "literal"))


# What trainings depend on is in the keys of the entries: where it changes, others stay.
_OF_TRAININGS = (
    *("folder", "augmentation", "normalization", "scale", "unet_scale", "reach"),
    *("patch_steps", "unet_steps", "unet_channels", "unet_lam", "unet_density_weight"),
    "unet_centroid",
)


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

    def __init__(
        self,
        path: Path,
        data_set: DataSet,
        images: Sequence[dict[str, Any]],
        kind: Kind = COMPARISON,
    ) -> None:
        """Go on with the file at `path`, unless it is about other data or other images."""
        described = {
            name: value for name, value in asdict(data_set).items() if name not in _OF_TRAININGS
        }
        head = {
            "format": kind.form,
            "data_set": {
                **described,
                "fingerprint": fingerprint(data_set, tested=kind.part == "test"),
            },
            kind.part: list(images),
        }
        self._path = path
        self.data: dict[str, Any] = {**head, "entries": {}}
        if path.exists():
            found = load_record(path, kind)
            if all(found.get(name) == value for name, value in head.items()):
                self.data = found

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        return str(self.data["data_set"]["fingerprint"])

    def is_current(self, name: str, key: str) -> bool:
        """Whether there is an entry, and it depends on nothing else than what `key` is of."""
        entry = self.data["entries"].get(name)
        return entry is not None and entry["key"] == key

    def add(self, name: str, entry: dict[str, Any]) -> None:
        """Put in an entry, and write the file anew."""
        self.data["entries"][name] = entry
        write_json(self._path, self.data)


def load_record(path: str | os.PathLike[str], kind: Kind = COMPARISON) -> dict[str, Any]:
    """Read a record.

    Raises
    ------
    InputError
        If the file is not a record of this kind.
    """
    return read_record(path, kind.form, kind.what, kind.command)
