"""Maps that are made from top to bottom, and whose rows are let go when nothing needs them."""

from __future__ import annotations

from collections import deque

from torch import Tensor

__all__ = ["Rows"]


class Rows:
    """The rows of a map ``[B, h, w, C]`` that are still needed, in the bands they came in.

    Bands are never put together: whoever reads them takes them as they are.
    """

    def __init__(self, height: int) -> None:
        self.height = height
        self._bands: deque[tuple[int, Tensor]] = deque()  # and the row that each begins with
        self.end = 0  # the row that comes next

    def append(self, band: Tensor) -> None:
        """The rows that follow."""
        self._bands.append((self.end, band))
        self.end += band.shape[1]

    @property
    def with_neighbours(self) -> int:
        """Up to here all rows exist, and below each of them the next one, if there is one."""
        return self.end if self.end == self.height else max(0, self.end - 1)

    def between(self, begin: int, end: int) -> list[Tensor]:
        """Rows ``begin`` to ``end``, of which none was let go."""
        return [
            band[:, max(0, begin - first) : end - first]
            for first, band in self._bands
            if begin < first + band.shape[1] and first < end
        ]

    def let_go(self, before: int) -> None:
        """Forget the bands that end before this row."""
        while self._bands and self._bands[0][0] + self._bands[0][1].shape[1] <= before:
            self._bands.popleft()
