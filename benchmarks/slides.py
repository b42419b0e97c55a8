"""Time and memory of detection on slides of several sizes, each in a process of its own.

    python benchmarks/slides.py

The slide is an image of scikit-image's, repeated; a part is made when it is read. Where it can be
had in one piece, `detect` takes turns with the tiles.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

import dvfast
from dvfast.bench.machine import peak_memory
from dvfast.data import Slide

_TILE_SIZES = (4096, 2048, 1024)


class Repeated(Slide):
    """An image over and over."""

    def __init__(self, image: NDArray[np.uint8], side: int) -> None:
        self._image = image
        self.size = (side, side)
        self.sizes = [self.size]

    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> NDArray[Any]:
        rows, columns = np.arange(top, top + height), np.arange(left, left + width)
        return self._image[np.ix_(rows % self._image.shape[0], columns % self._image.shape[1])]


def slide_of(side: int) -> Repeated:
    from skimage.data import immunohistochemistry

    image = immunohistochemistry()
    mirrored = np.concatenate([image, image[::-1]])
    return Repeated(np.concatenate([mirrored, mirrored[:, ::-1]], axis=1), side)


def way(side: int, tile_size: int | None) -> Callable[[], int]:
    """Detection in tiles of so many pixels, or in one piece; gives the number of nuclei."""
    detector = dvfast.Detector.from_pretrained("ihc")
    slide = slide_of(side)
    if tile_size is None:
        image = slide.read(0, 0, side, side)
        return lambda: len(detector.detect(image))
    return lambda: len(detector.detect_slide(slide, tile_size=tile_size))


def times(side: int, tile_sizes: tuple[int | None, ...], rounds: int) -> list[list[float]]:
    ways = [way(side, tile_size) for tile_size in tile_sizes]
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for run, taken in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
    return seconds


def memory(side: int, tile_size: int | None) -> int | None:
    run = way(side, tile_size)
    way(256, None)()  # what the first detection makes once
    return peak_memory(run, torch.device("cpu"))


@click.command(help=__doc__.splitlines()[0])
@click.option("--rounds", default=5, show_default=True)
@click.option("--large", default=16384, show_default=True, help="Side of the slide in tiles only.")
def main(rounds: int, large: int) -> None:
    def alone(function: Callable[..., Any], *arguments: Any) -> Any:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            return process.submit(function, *arguments).result()

    for side, ways, count in ((4096, (None, *_TILE_SIZES), rounds), (large, _TILE_SIZES[:1], 1)):
        seconds = alone(times, side, ways, count)
        for tile_size, taken in zip(ways, seconds, strict=True):
            ratio = statistics.median(t / w for t, w in zip(taken, seconds[0], strict=True))
            used = alone(memory, side, tile_size)
            click.echo(
                f"{side} x {side}, {f'tiles of {tile_size}' if tile_size else 'in one piece'}: "
                f"{statistics.median(taken):.2f} s ({ratio:.2f}), "
                f"{side**2 / statistics.median(taken) / 1e6:.2f} Mpx/s, "
                + ("memory unknown" if used is None else f"{used / 2**20:,.0f} MiB")
            )


if __name__ == "__main__":
    main()
