"""Test images that adjoin training images: tiles that one picture was cut into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..bench.tables import Table
from ..data import Sample, image_to_tensor, read_image
from .methods import METHODS
from .records import Condition
from .statistics import counts_of, f1_of
from .tables import Entries, RecordData, condition_text

__all__ = ["adjoining", "adjoining_table"]

# Lines on both sides of a cut are as alike as this, and differ by hardly more than the last two
# lines of one image do. Lines that are nearly plain are like all others.
_CORRELATION, _STEP = 0.95, 1.4
_LEAST_DEVIATION = 0.01

_Lines = NDArray[np.float64]  # the border and the line beside it, [2, length * channels]


def adjoining(samples: Sequence[Sample], others: Sequence[Sample]) -> list[bool]:
    """Whether each image goes on, to the pixel, in one of the others.

    By their borders alone: the last row of one and the first of the other, or columns.
    """
    theirs = [list(_borders(sample)) for sample in others]
    found = []
    for sample in samples:
        ours = list(_borders(sample))
        found.append(
            any(
                _go_on(ours[side], of[opposite])
                for of in theirs
                for side, opposite in ((0, 1), (1, 0), (2, 3), (3, 2))
            )
        )
    return found


def adjoining_table(
    record: RecordData, entries: Entries, adjoin: Sequence[bool], condition: Condition
) -> Table:
    """F1 of every method on the test images that adjoin training images, and on the others."""
    inside = np.array(adjoin)
    cells = []
    for key, of in entries.items():
        counts = counts_of(record, of, condition)
        cells.append(
            [METHODS[key].name, *(f"{f1_of(counts[..., part]):.3f}" for part in (inside, ~inside))]
        )
    headings = ["", f"{inside.sum()} that adjoin", f"{(~inside).sum()} others"]
    return Table(f"F1, {condition_text(record, condition)}", headings, cells, [])


def _borders(sample: Sample) -> Iterator[_Lines]:
    """Top, bottom, left and right."""
    image = image_to_tensor(read_image(sample.image), 3, str(sample.image)).double().numpy()
    for rows in (image, image.swapaxes(1, 2)):
        for lines in (rows[:, :2], rows[:, :-3:-1]):
            yield lines.swapaxes(0, 1).reshape(2, -1)


def _go_on(ours: _Lines, theirs: _Lines) -> bool:
    if ours.shape != theirs.shape or min(ours[0].std(), theirs[0].std()) < _LEAST_DEVIATION:
        return False
    if np.corrcoef(ours[0], theirs[0])[0, 1] < _CORRELATION:
        return False
    within = min(np.abs(lines[0] - lines[1]).mean() for lines in (ours, theirs))
    return bool(np.abs(ours[0] - theirs[0]).mean() <= _STEP * max(within, 1 / 255))
