"""What is done of a slide, in a file that a later run goes on from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.json_files import differences
from ..data.paths import atomic_path
from ..errors import InputError
from ..nn import VotingNetwork

__all__: list[str] = []

_FORMAT = "dvfast unfinished slide 1"


class FoundInTile(NamedTuple):
    """The nuclei that are a tile's own."""

    points: NDArray[np.float64]  # [n, 2], pixels at the network's scale
    scores: NDArray[np.float64]  # [n]
    num_void: int = 0
    looked_at: int = 0  # pixels of the tile; the rest was blank


class Checkpoint:
    """A line of JSON for what the run is, and one for every tile, in their order.

    A process that dies while it writes leaves half a line, which does not count.

    Parameters
    ----------
    path
        The file; made if it is missing.
    run
        All that the nuclei of a tile depend on.

    Raises
    ------
    InputError
        If the file is of another run or none of this kind, or cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str], run: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self.finished: list[FoundInTile] = []
        # As it comes back from a file: tuples are lists there.
        run = json.loads(json.dumps(run))
        if self._path.exists():
            try:
                with open(self._path, "r+b") as file:
                    self._read(file, run)
            except OSError as error:
                raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
        if not self.finished:
            with atomic_path(path) as temporary:
                temporary.write_bytes(_line({"format": _FORMAT, "run": run}))

    def add(self, found: FoundInTile) -> None:
        """Keep the next tile."""
        values = {
            "tile": len(self.finished),
            "points": found.points.tolist(),
            "scores": found.scores.tolist(),
            "num_void": found.num_void,
            "looked_at": found.looked_at,
        }
        try:
            with open(self._path, "ab") as file:
                file.write(_line(values))
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from error
        self.finished.append(found)

    def _read(self, file: IO[bytes], run: Mapping[str, Any]) -> None:
        heading = _values(file.readline())
        began = heading.get("run")
        if heading.get("format") != _FORMAT or not isinstance(began, dict):
            raise InputError(
                f"{self._path}: holds no unfinished slide, or one of another version of dvfast; "
                "choose another name, or delete it"
            )
        whole = file.tell()
        while (found := _found(file.readline(), len(self.finished))) is not None:
            self.finished.append(found)
            whole = file.tell()
        # Of a run without a finished tile nothing is lost.
        if self.finished and (changed := differences(began, run)):
            raise InputError(
                f"{self._path}: the run in it began otherwise: {changed}; go on as it began, or "
                "delete the file to start over"
            )
        file.truncate(whole)


def digest_of_network(net: VotingNetwork) -> str:
    """Of its kind and its weights."""
    digest = hashlib.sha256(f"{type(net).__qualname__} {net.architecture}".encode())
    for name, tensor in net.state_dict().items():
        digest.update(f"{name} {tensor.dtype}".encode())
        digest.update(tensor.detach().double().cpu().contiguous().numpy())
    return digest.hexdigest()[:16]


def digest_of_picture(picture: NDArray[Any]) -> str:
    """Of what a slide looks like, thinned out."""
    heading = f"{picture.shape} {picture.dtype}".encode()
    return hashlib.sha256(heading + np.ascontiguousarray(picture).tobytes()).hexdigest()[:16]


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _values(line: bytes) -> dict[str, Any]:
    """Of a whole line; none otherwise."""
    try:
        values = json.loads(line) if line.endswith(b"\n") else {}
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _found(line: bytes, number: int) -> FoundInTile | None:
    values = _values(line)
    if values.get("tile") != number:
        return None
    try:
        return FoundInTile(
            np.array(values["points"], np.float64).reshape(-1, 2),
            np.array(values["scores"], np.float64),
            int(values["num_void"]),
            int(values["looked_at"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
