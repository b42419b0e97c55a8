"""How a slide is cut into tiles that give what the whole would give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .._arguments import check_integers
from ..data import image_to_tensor
from ..data.images import Exposure, least_contrast, stretch
from ..data.slides import Slide
from ..errors import InputError
from ..nn import VotingNetwork
from ..scan import Precision, crop_grid
from .settings import DetectionSettings

__all__: list[str] = []

Region = tuple[int, int, int, int]
Spans = tuple[range, range]  # rows and columns

# Votes that go further than this do not count, as the pixels they come from would have to be read.
# Training asks for none beyond r2, which is 9 to 21 pixels in the weights that come along.
LONGEST_VOTE = 64

# Plateaus are recognised whole if they reach no further than this beyond a tile.
_PLATEAU = 16

# A cell whose pixels differ by no more than this, of the range 0 to 1, holds nothing; see
# benchmarks/faint_nuclei.py.
_CELL, BLANK = 64, 0.05

# Scales are taken as fractions, so that tiles begin on whole pixels both of the slide and at the
# network's scale.
_FINEST_FRACTION = 32

_BAND_ROWS = 256


@dataclass(frozen=True)
class View:
    """A slide as the network sees it: a level, and so many pixels of the network for its pixels."""

    slide: Slide
    level: int
    ratio: Fraction

    @classmethod
    def at(cls, slide: Slide, scale: float) -> View:
        """From the coarsest level that has all that is wanted: `scale` pixels per pixel of all."""
        fine_enough = [i for i, d in enumerate(slide.downsamples) if d * scale <= 1.02]
        level = max(fine_enough, key=lambda i: slide.downsamples[i], default=0)
        exact = slide.downsamples[level] * scale
        if exact >= 1:
            return cls(slide, level, Fraction(exact).limit_denominator(_FINEST_FRACTION))
        return cls(slide, level, 1 / Fraction(1 / exact).limit_denominator(_FINEST_FRACTION))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) at the network's scale."""
        height, width = (self._length(n) for n in self.slide.sizes[self.level])
        return height, width

    @property
    def factor(self) -> float:
        """Pixels of full resolution per pixel of the network."""
        return self.slide.downsamples[self.level] / float(self.ratio)

    def to_slide(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """From pixels of the network to those of full resolution."""
        return (points + 0.5) * self.factor - 0.5

    def from_slide(self, position: float) -> float:
        """The inverse, of one coordinate."""
        return (position + 0.5) / self.factor - 0.5

    def read(self, part: Spans, channels: int, exposure: Exposure | None) -> Tensor:
        """A part ``[C, h, w]`` that begins on whole pixels of the level.

        In bands, as at full resolution a tile may be many times as large.
        """
        rows, columns = part
        step = self.ratio.numerator
        band = -(-_BAND_ROWS // step) * step
        # Of the rows beside a band, resampling asks for one.
        beside = -(-2 // step) * step
        bands = []
        for begin in range(rows.start, rows.stop, band):
            end = min(begin + band, rows.stop)
            first = max(0, begin - beside) if self.ratio != 1 else begin
            last = min(self.size[0], end + beside) if self.ratio != 1 else end
            read = self._read_band((range(first, last), columns), channels, exposure)
            bands.append(read[:, begin - first : end - first])
        return torch.cat(bands, dim=1)

    def _read_band(self, part: Spans, channels: int, exposure: Exposure | None) -> Tensor:
        rows, columns = (
            self._on_level(span, length)
            for span, length in zip(part, self.slide.sizes[self.level], strict=True)
        )
        pixels = self.slide.read(rows.start, columns.start, len(rows), len(columns), self.level)
        image = image_to_tensor(pixels, channels, self.slide.name)
        if exposure is not None:
            image = stretch(image, exposure, least_contrast(pixels.dtype))
        if self.ratio == 1:
            return image
        if min(image.shape[1:]) * self.ratio < 1:
            size = [max(1, int(n * self.ratio)) for n in image.shape[1:]]
            return F.interpolate(
                image[None], size=size, mode="bilinear", align_corners=False, antialias=True
            )[0]
        # The ratio counts and not the quotient of sizes, or a part would differ from the whole.
        # PyTorch rounds sizes down, even such as miss a whole number by rounding alone.
        resized = F.interpolate(
            image[None],
            scale_factor=float(self.ratio) * (1 + 1e-12),
            mode="bilinear",
            align_corners=False,
            antialias=self.ratio < 1,
        )[0]
        return resized[:, : len(part[0]), : len(part[1])]

    def _on_level(self, span: range, length: int) -> range:
        first = math.floor(span.start / self.ratio)
        last = length if span.stop == self._length(length) else math.ceil(span.stop / self.ratio)
        return range(first, min(last, length))

    def _length(self, on_level: int) -> int:
        return max(1, int(on_level * self.ratio))


@dataclass(frozen=True)
class Tile:
    """Rows and columns whose nuclei are wanted, and with all that is needed to find them."""

    wanted: Spans
    crop: Spans

    @property
    def pixels(self) -> int:
        """How many are wanted."""
        return len(self.wanted[0]) * len(self.wanted[1])

    def place_of(self, part: Tile) -> tuple[slice, slice, slice]:
        """Of the crop of a part in this tile's own, with all channels."""
        rows, columns = (
            slice(inner.start - outer.start, inner.stop - outer.start)
            for inner, outer in zip(part.crop, self.crop, strict=True)
        )
        return slice(None), rows, columns


class Tiling:
    """Tiles that cover a slide, or a region of it, row by row.

    Their surroundings hold all that the votes for a nucleus depend on, and begin and end on the
    network's own grid: it answers as it would for the whole.
    """

    def __init__(
        self,
        net: VotingNetwork,
        view: View,
        settings: DetectionSettings,
        region: Region,
        tile_size: int,
        precision: Precision,
    ) -> None:
        self.view = view
        self._grid = crop_grid(net, settings.stride, precision)
        filtered = settings.window // 2 + settings.min_distance + _PLATEAU
        self._beside = int(settings.centroid_radius)  # so far a nucleus may lie from its peak
        self._margin = net.reach + self._grid + LONGEST_VOTE + filtered + self._beside
        rows, columns = self._spans_of(region, tile_size)
        on_level = math.lcm(self._grid, view.ratio.numerator)
        self.tiles = [Tile((i, j), self._around((i, j), on_level)) for i in rows for j in columns]

    def with_content(self, tile: Tile, image: Tensor) -> Tile | None:
        """The part of a tile outside which all is blank; None if there is nothing else."""
        wanted = []
        for span, crop, cells in zip(
            tile.wanted, tile.crop, _cells_with_content(image), strict=True
        ):
            first = max(span.start, crop.start + cells.start * _CELL)
            last = min(span.stop, crop.start + cells.stop * _CELL)
            if first >= last:
                return None
            wanted.append(range(first, last))
        part = (wanted[0], wanted[1])
        return Tile(part, self._around(part, self._grid))

    def _spans_of(self, region: Region, tile_size: int) -> tuple[list[range], list[range]]:
        """Rows and columns of the tiles, of nearly equal size."""

        def spans(first: int, length: int, size: int) -> Iterator[range]:
            begin = math.floor(self.view.from_slide(first - 0.5)) - self._beside
            begin = min(max(begin, 0), size - 1)
            last = math.ceil(self.view.from_slide(first + length - 0.5)) + 1 + self._beside
            end = min(max(last, begin + 1), size)
            parts = math.ceil((end - begin) / tile_size)
            for i in range(parts):
                yield range(*(begin + n * (end - begin) // parts for n in (i, i + 1)))

        height, width = self.view.size
        return list(spans(region[0], region[2], height)), list(spans(region[1], region[3], width))

    def _around(self, part: Spans, grid: int) -> Spans:
        """A part with its surroundings."""

        def crop(wanted: range, size: int) -> range:
            start = max(0, wanted.start - self._margin) // grid * grid
            # On the grid from the far end, too: the image is also looked at turned.
            beyond = max(0, size - wanted.stop - self._margin) // self._grid * self._grid
            return range(start, size - beyond)

        height, width = self.view.size
        return crop(part[0], height), crop(part[1], width)


def checked_region(region: Region | None, size: tuple[int, int]) -> Region:
    """A region as it was asked for, of a slide of this size: all of it unless one is."""
    if region is None:
        return (0, 0, *size)
    check_integers("region", region, "four integers, (top, left, height, width)")
    numbers = tuple(map(int, region))
    if len(numbers) != 4 or min(numbers) < 0 or min(numbers[2:]) < 1:
        raise InputError(
            f"region: came as {numbers}, expected (top, left, height, width), the latter two at "
            "least 1"
        )
    top, left, height, width = numbers
    if top + height > size[0] or left + width > size[1]:
        raise InputError(
            f"region: {numbers} reaches beyond the slide, which is {size[0]} pixels high and "
            f"{size[1]} wide"
        )
    return top, left, height, width


def _cells_with_content(image: Tensor) -> Spans:
    """Rows and columns of cells that hold all in which there is something."""
    height, width = image.shape[1:]
    framed = F.pad(image[None], (0, -width % _CELL, 0, -height % _CELL), mode="replicate")
    contrast = (F.max_pool2d(framed, _CELL) + F.max_pool2d(-framed, _CELL))[0].amax(dim=0)
    # With the cells around them: what is faint there may be the rim of a nucleus.
    marked = F.max_pool2d((contrast > BLANK).float()[None], 3, stride=1, padding=1)[0] > 0
    spans = []
    for dim in (1, 0):
        found = torch.nonzero(marked.any(dim=dim)).flatten().tolist() or [0, -1]
        spans.append(range(found[0], found[-1] + 1))
    return spans[0], spans[1]
