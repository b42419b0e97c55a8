"""Detection on whole slides: tile by tile, with the result of the whole."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from .._arguments import limit
from ..data import image_to_tensor
from ..data.images import EXPOSURE_PERCENTILES, Exposure, channel_in_colour
from ..nn import VotingNetwork
from ..nn.network import tensor_of
from ..scan import Precision
from .checkpoint import Checkpoint, FoundInTile, digest_of_network, digest_of_picture
from .finding import find_nuclei
from .peaks import Peaks
from .settings import DetectionSettings
from .tiling import LONGEST_VOTE, Region, Tile, Tiling, View

__all__: list[str] = []

_GREYS = 65536
_EXPOSURE_SIDE = 4096


class Found(NamedTuple):
    """What the tiles of a slide gave together."""

    points: NDArray[np.float64]  # at full resolution, in raster order
    scores: NDArray[np.float64]
    num_void: int
    share_looked_at: float  # of the pixels: the rest was blank


def detect_tiles(
    net: VotingNetwork,
    view: View,
    settings: DetectionSettings,
    *,
    region: Region,
    tile_size: int,
    precision: Precision,
    progress: Callable[[float], object] | None,
    checkpoint: str | os.PathLike[str] | None,
    picture: NDArray[Any],
) -> Found:
    """The nuclei of a region of a slide, which looks like `picture`."""
    tiling = Tiling(net, view, settings, region, tile_size, precision)
    done: list[FoundInTile] = []
    keep: Callable[[FoundInTile], None] = done.append
    if checkpoint is not None:
        run = {
            "dvfast": __version__,
            "slide": digest_of_picture(picture),
            "network": digest_of_network(net),
            "device": tensor_of(net).device.type,
            "level": view.level,
            "scale": str(view.ratio),
            "region": region,
            "tile_size": int(tile_size),
            "precision": precision,
            **settings.to_dict(),
        }
        kept = Checkpoint(checkpoint, run)
        done, keep = kept.finished, kept.add
    if len(done) < len(tiling.tiles):
        for found in _find(net, tiling, settings, precision, len(done), progress):
            keep(found)
    points = np.concatenate([found.points for found in done])
    scores = np.concatenate([found.scores for found in done])
    if settings.relative:
        high = scores >= settings.threshold * scores.max(initial=0.0)
        points, scores = points[high], scores[high]
    order = np.lexsort((points[:, 1], points[:, 0]))
    placed = view.to_slide(points[order])
    inside = _within(placed, region)
    return Found(
        placed[inside],
        scores[order][inside],
        sum(found.num_void for found in done),
        sum(found.looked_at for found in done) / sum(tile.pixels for tile in tiling.tiles),
    )


def _find(
    net: VotingNetwork,
    tiling: Tiling,
    settings: DetectionSettings,
    precision: Precision,
    first: int,
    progress: Callable[[float], object] | None,
) -> Generator[FoundInTile, None, None]:
    """What lies in every tile from the `first` on."""
    channels, weight = net.in_channels, tensor_of(net)
    exposure = _exposure(tiling.view, channels) if settings.normalization == "percentiles" else None
    of_tiles = dataclasses.replace(
        settings,
        # Whatever is a peak, until the highest of all is known.
        threshold=0.0 if settings.relative else settings.threshold,
        relative=False,
        max_offset=min(limit("max_offset", settings.max_offset), LONGEST_VOTE),
    )
    total = sum(tile.pixels for tile in tiling.tiles)
    done = sum(tile.pixels for tile in tiling.tiles[:first])

    def advance(pixels: int, share: float) -> None:
        if progress is not None:
            progress((done + share * pixels) / total)

    advance(0, 0.0)
    # Closed at once if a tile fails: nothing may be read any more when the slide is closed.
    with closing(_read_ahead(tiling, first, channels, exposure)) as ahead:
        for tile, image in ahead:
            wanted = tiling.with_content(tile, image)
            found = FoundInTile(np.empty((0, 2)), np.empty(0))
            if wanted is not None:
                peaks = find_nuclei(
                    net,
                    image[tile.place_of(wanted)].to(weight),
                    of_tiles,
                    precision=precision,
                    progress=partial(advance, tile.pixels),
                )
                found = FoundInTile(*_own(peaks, wanted), int(peaks.num_void), wanted.pixels)
            done += tile.pixels
            yield found
            advance(0, 0.0)


def _read_ahead(
    tiling: Tiling, first: int, channels: int, exposure: Exposure | None
) -> Generator[tuple[Tile, Tensor], None, None]:
    """Tiles from the `first` on, and their pixels; the next is read while one is worked on."""
    with ThreadPoolExecutor(max_workers=1) as reader:

        def start(tile: Tile) -> Future[Tensor]:
            return reader.submit(tiling.view.read, tile.crop, channels, exposure)

        ahead = start(tiling.tiles[first])
        for tile, following in pairwise([*tiling.tiles[first:], None]):
            image = ahead.result()
            if following is not None:
                ahead = start(following)
            if tile is not None:
                yield tile, image


def _own(peaks: Peaks, tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The nuclei whose peaks are the tile's own, at the network's scale, and their heights."""
    place = np.array([span.start for span in tile.crop], np.float64)
    points = peaks.points.double().cpu().numpy() + place
    centres = peaks.centres.double().cpu().numpy() + place
    first = np.array([span.start for span in tile.wanted])
    beyond = np.array([span.stop for span in tile.wanted])
    own = ((points >= first) & (points < beyond)).all(axis=1)
    return centres[own], peaks.scores.double().cpu().numpy()[own]


def _within(points: NDArray[np.float64], region: Region) -> NDArray[np.bool_]:
    first = np.array(region[:2])
    beyond = first + np.array(region[2:])
    # A pixel reaches half a pixel around its centre.
    return np.asarray(((points >= first - 0.5) & (points < beyond - 0.5)).all(axis=1))


def _exposure(view: View, channels: int) -> Exposure:
    """Of the whole level, as of an image of 16 bits."""
    counts = np.zeros((channels, _GREYS), np.int64)
    height, width = view.slide.sizes[view.level]
    for top in range(0, height, _EXPOSURE_SIDE):
        for left in range(0, width, _EXPOSURE_SIDE):
            rows, columns = (min(_EXPOSURE_SIDE, n) for n in (height - top, width - left))
            part = view.slide.read(top, left, rows, columns, view.level)
            greys = image_to_tensor(part, channels, view.slide.name).mul(_GREYS - 1).round().long()
            for of_channel, values in zip(counts, greys, strict=True):
                of_channel += torch.bincount(values.flatten(), minlength=_GREYS).numpy()
    channel = channel_in_colour([int(of_channel.nonzero()[0][-1]) for of_channel in counts])
    below = (counts.sum(axis=0) if channel is None else counts[channel]).cumsum()
    ends = []
    for percentile in EXPOSURE_PERCENTILES:
        position = percentile / 100 * (int(below[-1]) - 1)
        lower, upper = np.searchsorted(below, [math.floor(position), math.ceil(position)], "right")
        ends.append(float(lower + (upper - lower) * (position % 1)) / (_GREYS - 1))
    return Exposure(ends[0], ends[1], channel)
