"""A U-Net by Winograd's algorithm: run from top to bottom, and layer by layer over whole maps."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from native import network, winograd, winograd_convolution
from native.kernels import Array
from native.network import Layer

CENTRE = np.float32(0.5)  # kImageCentre of csrc/core/winograd.h


@dataclass(frozen=True)
class Unet:
    """A network of so many channels a level, over a window of an image."""

    widths: tuple[int, ...]
    size: tuple[int, int]
    finest: int = 1
    channels: int = 3
    num_votes: int = 1
    special: bool = False

    @functools.cached_property
    def layers(self) -> list[Layer]:
        """In the order of csrc/core/winograd.h."""
        levels = range(len(self.widths))
        pairs = [((self.channels, *self.widths)[level], self.widths[level]) for level in levels]
        pairs += [
            (self.widths[level + 1] + self.widths[level], self.widths[level])
            for level in reversed(levels[self.finest : -1])
        ]
        shapes = [
            shape for inputs, outputs in pairs for shape in ((inputs, outputs), (outputs,) * 2)
        ]
        layers = [network.random_layer(*shape, 3, seed) for seed, shape in enumerate(shapes)]
        head = network.random_layer(self.widths[self.finest], 3 * self.num_votes, 1, 99)
        return [*layers, head]

    @functools.cached_property
    def image(self) -> Array:
        image = np.random.default_rng(0).random((self.channels, 9, 11), np.float32)
        if self.special:
            image[0, 4, 5] = np.nan
            image[-1, 6, 2] = np.inf
        return image

    @functools.cached_property
    def places(self) -> tuple[Array, Array]:
        """Which row and column of the image stands where; some are outside."""
        random = np.random.default_rng(1)
        rows, columns = (
            random.integers(-1, size, length)
            for size, length in zip(self.image.shape[1:], self.size, strict=True)
        )
        return rows, columns

    def run(self, module: ModuleType, threads: int = 1, at_once: bool = False) -> tuple[Array, int]:
        """The votes, and how many numbers of memory they took."""
        first, *inner, head = self.layers
        filled = -(-self.widths[self.finest] // network.CHANNEL_BLOCK) * network.CHANNEL_BLOCK
        packed = [
            first.packed(self.channels),
            *(winograd.transformed(x).packed(x.weight.shape[1]) for x in inner),
            head.packed(filled),
        ]
        inputs = [self.channels, *(x.weight.shape[1] for x in inner), filled]
        shape = (1, 3 * self.num_votes, *(side >> self.finest for side in self.size))
        votes = np.full(shape, np.nan, np.float32)
        workspace = module.winograd_unet(
            self.image, *self.places, *map(list, zip(*packed, strict=True)), inputs, self.widths,
            self.finest, votes, threads, at_once,
        )  # fmt: skip
        return votes, workspace

    def layer_by_layer(self, module: ModuleType) -> Array:
        """By the kernels of the layers, with all maps whole."""
        rows, columns = self.places
        seen = self.image[:, rows][:, :, columns]
        seen = np.where((rows[:, None] < 0) | (columns < 0), np.float32(0), seen) - CENTRE
        layers = iter(self.layers)

        def convolved(maps: list[Array], *, full: bool = True, pooled: bool = False) -> list[Array]:
            layer = next(layers)
            made = winograd_convolution.winograd_convolution(
                module, maps, layer, full=full, pooled=pooled
            )
            return [x[..., : len(layer.weight)] for x in made]

        framed = winograd_convolution.framed(seen.transpose(1, 2, 0)[None])
        inner = network.trunk_layer(module, framed, next(layers))[..., : self.widths[0]]
        maps = []
        deepest = len(self.widths) - 1
        for level in range(deepest + 1):
            full, pooled = level >= self.finest, level < deepest
            made = convolved([inner], full=full, pooled=pooled)
            maps.append(made[0])
            if pooled:
                (inner,) = convolved(made[-1:])
        features = maps[-1]
        for skipped in reversed(maps[self.finest : -1]):
            (inner,) = convolved([features, skipped])
            (features,) = convolved([inner])
        missing = -features.shape[3] % network.CHANNEL_BLOCK
        filled = np.pad(features, ((0, 0), (0, 0), (0, 0), (0, missing)))
        return network.vote_head(module, filled, [next(layers)])


CASES = [
    Unet((4, 8), (2, 2), 0),
    Unet((4, 8), (2, 40), 1),
    Unet((16, 20), (66, 14), 0, channels=1),
    Unet((4, 20, 8), (44, 52), 1, num_votes=2),
    Unet((4, 20, 8), (4, 8), 2),
    Unet((20, 8, 36), (100, 24), 0, channels=4),
    Unet((8, 24, 4, 12), (136, 104), 1),
    Unet((8, 24, 4, 12), (72, 200), 2),
    Unet((4, 4, 4, 4), (8, 8), 3),
    Unet((4, 4, 4, 4, 4), (208, 48), 1),
    Unet((4, 20, 8), (52, 44), 1, special=True),
]
