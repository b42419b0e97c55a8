"""Round nuclei, and what is measured of a run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# As dense as stained tissue is: 400 nuclei in 400 x 400 pixels.
_NUCLEI_PER_PIXEL = 1 / 400
RADIUS = 6.6
# A gap between nuclei, so that the number that comes out can be held against the one put in.
_GAP = 2.0
NOISE = 0.02


class Clock:
    """Seconds of the parts of one run, and CPU seconds of all its threads.

    `cpu_seconds` far below `seconds` times the threads that a tool uses: others were at work.
    """

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.cpu_seconds = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        cpu_start, start = time.process_time(), time.perf_counter()
        yield
        self.parts[name] = time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu_start

    def answer(self, **rest: Any) -> dict[str, Any]:
        return {
            "seconds": sum(self.parts.values()),
            "cpu_seconds": self.cpu_seconds,
            "parts": self.parts,
            **rest,
        }


def check(name: str, array: Any, shape: tuple[int, ...]) -> list[int]:
    """The shape of an output, if it is the right one and there is something in the output."""
    import numpy as np

    if tuple(array.shape) != shape:
        raise ValueError(f"{name} has the shape {tuple(array.shape)}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} is not finite")
    if array.size and array.min() == array.max():
        raise ValueError(f"{name} is constant")
    return list(shape)


@dataclass
class Scene:
    """Round nuclei that do not touch, on a jittered lattice."""

    shape: tuple[int, int]
    radius: float
    centers: Any  # N x 2: y, x
    labels: Any  # H x W: 0 is background
    offsets: Any  # 2 x H x W: from the pixel to the centre of its nucleus; 0 in the background

    @classmethod
    def make(cls, shape: tuple[int, int], radius: float, nuclei: int | None) -> Scene:
        import numpy as np

        height, width = shape
        wanted = round(height * width * _NUCLEI_PER_PIXEL) if nuclei is None else nuclei
        diameter = 2 * radius + _GAP
        rows = max(1, min(round(math.sqrt(wanted * height / width)), int(height / diameter)))
        columns = max(1, min(math.ceil(wanted / rows), int(width / diameter)))
        generator = np.random.default_rng(0)
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)[:, : max(1, wanted)]
        pitch = np.array([height / rows, width / columns])
        free = np.maximum(pitch - diameter, 0) * generator.uniform(-0.5, 0.5, (len(y), 2))
        centers = (np.stack([y, x], 1) + 0.5) * pitch - 0.5 + free
        labels = np.zeros(shape, np.int32)
        offsets = np.zeros((2, *shape), np.float32)
        for label, (center_y, center_x) in enumerate(centers, 1):
            top, left = max(0, int(center_y - radius)), max(0, int(center_x - radius))
            part = (
                slice(top, int(center_y + radius) + 2),
                slice(left, int(center_x + radius) + 2),
            )
            size = labels[part].shape
            dy = center_y - (top + np.arange(size[0]))[:, None]
            dx = center_x - (left + np.arange(size[1]))[None, :]
            inside = dy**2 + dx**2 <= radius**2
            labels[part][inside] = label
            offsets[0][part][inside] = np.broadcast_to(dy, size)[inside]
            offsets[1][part][inside] = np.broadcast_to(dx, size)[inside]
        return cls(shape, radius, centers, labels, offsets)

    def depth(self) -> Any:
        """0 at the rim of a nucleus and in the background, 1 in its centre."""
        import numpy as np

        depth = 1 - np.hypot(*self.offsets) / self.radius
        return np.where(self.labels > 0, depth.clip(0), 0).astype(np.float32)

    def image(self) -> Any:
        """The nuclei stained with haematoxylin, H x W x 3."""
        import numpy as np
        from skimage.color import hed2rgb

        stains = np.full((*self.shape, 3), 0.005, np.float32)
        stains[..., 0] += 0.1 * (self.labels > 0)
        return hed2rgb(stains).astype(np.float32)


def count_labels(labels: Any) -> int:
    import numpy as np

    return len(np.unique(labels[labels > 0]))
