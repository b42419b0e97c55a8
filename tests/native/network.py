"""The layers of the network: packed weights, the kernels by name, and slow models of them.

Maps are [B, h, w, C]; weights come as convolutions have them, [outputs, inputs, k, k].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from native.kernels import Array, Split, whole

PANEL_WIDTH = 32  # these three as in csrc/core/network.h
CHANNEL_BLOCK = 16
PARTIAL_SUMS = 16
BFLOAT16_NAN = 0x7FC0
ROUNDING = 2.0**-24  # the relative error of one float32 operation


@dataclass(frozen=True)
class Layer:
    weight: Array
    bias: Array

    @property
    def kernel_size(self) -> int:
        return self.weight.shape[2]

    def filled_up(self, channels: int) -> Layer:
        """For maps of so many channels, and with a whole number of blocks of outputs."""
        weight = _filled_up(_filled_up(self.weight, 1, channels), 0, CHANNEL_BLOCK)
        return Layer(weight, _filled_up(self.bias, 0, CHANNEL_BLOCK))

    def packed(self, channels: int) -> tuple[Array, Array]:
        filled = self.filled_up(channels)
        rows = filled.weight.transpose(2, 3, 1, 0).reshape(-1, len(filled.bias))
        panels = _filled_up(rows, 1, PANEL_WIDTH).reshape(len(rows), -1, PANEL_WIDTH)
        return np.ascontiguousarray(panels.swapaxes(0, 1)), filled.bias

    def packed_as_last(self, channels: int) -> tuple[Array, Array]:
        return _filled_up(self.weight[:, :, 0, 0], 1, channels), self.bias


def _filled_up(values: Array, axis: int, block: int) -> Array:
    missing = [(0, -n % block if d == axis else 0) for d, n in enumerate(values.shape)]
    return np.pad(values, missing)


def random_layer(inputs: int, outputs: int, kernel_size: int, seed: int) -> Layer:
    """Weights under which the numbers neither grow nor vanish from layer to layer."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((outputs, inputs, kernel_size, kernel_size))
    weight *= (2 / weight[0].size) ** 0.5
    return Layer(weight.astype(np.float32), random.standard_normal(outputs).astype(np.float32))


def random_head(
    channels: int, hidden: Sequence[int], num_votes: int, kernel_size: int = 5, seed: int = 0
) -> list[Layer]:
    widths = [channels, *hidden, 3 * num_votes]
    return [
        random_layer(widths[i], widths[i + 1], 1 if i else kernel_size, seed + i)
        for i in range(len(widths) - 1)
    ]


def packed_head(layers: Sequence[Layer], channels: int) -> tuple[list[Array], list[Array]]:
    """Weights and biases."""
    weights, biases = [], []
    for i, layer in enumerate(layers):
        last = 0 < i == len(layers) - 1
        weight, bias = layer.packed_as_last(channels) if last else layer.packed(channels)
        weights.append(weight)
        biases.append(bias)
        channels = len(bias)
    return weights, biases


def random_map(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def no_number(dtype: np.dtype[Any]) -> Any:
    """NaN; halves travel as uint16."""
    return np.uint16(BFLOAT16_NAN) if dtype == np.uint16 else np.nan


def sliced(values: Array) -> Array:
    """Gaps of NaN between pixels, rows and images, in a buffer that ends with the last pixel."""
    if values.size == 0:
        return values
    steps = [1]
    for n, gap in zip(values.shape[:0:-1], (3, 5, 7), strict=True):
        steps.insert(0, n * steps[0] + gap)
    last = sum((n - 1) * step for n, step in zip(values.shape, steps, strict=True))
    buffer = np.full(last + 1, no_number(values.dtype), values.dtype)
    strides = [step * values.itemsize for step in steps]
    view = np.lib.stride_tricks.as_strided(buffer, values.shape, strides, writeable=True)
    view[...] = values
    return view


def buffer_of(view: Array) -> Array:
    """All that lies between the first and the last element, gaps included."""
    last = sum((n - 1) * step for n, step in zip(view.shape, view.strides, strict=True))
    return np.lib.stride_tricks.as_strided(
        view, (last // view.itemsize + 1,), (view.itemsize,), writeable=False
    )


def assert_gaps_untouched(view: Array) -> None:
    """Nothing was written between the pixels and rows of what `sliced` made."""
    buffer = buffer_of(view)
    if view.dtype == np.uint16:
        assert (buffer == BFLOAT16_NAN).sum() == buffer.size - (view != BFLOAT16_NAN).sum()
    else:
        assert np.isnan(buffer).sum() == buffer.size - view.size + np.isnan(view).sum()


def windows_with(where: Array, kernel_size: int, dilation: int = 1, stride: int = 1) -> Array:
    """Which windows of ``[B, h, w]`` hold one of the given places."""
    reach = (kernel_size - 1) * dilation + 1
    windows = np.lib.stride_tricks.sliding_window_view(where, (reach, reach), axis=(1, 2))
    return windows[:, ::stride, ::stride, ::dilation, ::dilation].any(axis=(3, 4))


def num_windows(size: int, kernel_size: int, dilation: int, stride: int = 1) -> int:
    return max(0, (size - (kernel_size - 1) * dilation - 1) // stride + 1)


# --- The kernels ----------------------------------------------------------------------------------


def shape_of_trunk(
    features: Array, kernel_size: int, dilation: int, pool_stride: int, pool_dilation: int
) -> tuple[int, int, int]:
    """Images, rows and columns of what a layer gives."""
    height, width = (num_windows(n, kernel_size, dilation) for n in features.shape[1:3])
    if pool_stride:
        height, width = (num_windows(n, 2, pool_dilation, pool_stride) for n in (height, width))
    return len(features), height, width


def trunk_layer(
    module: ModuleType,
    features: Array,
    layer: Layer,
    *,
    dilation: int = 1,
    pool_stride: int = 0,
    pool_dilation: int = 1,
    layout: Callable[[Array], Array] = np.asarray,
    split: Split = whole,
) -> Array:
    weight, bias = layer.packed(features.shape[3])
    geometry = (layer.kernel_size, dilation, pool_stride, pool_dilation)
    shape = shape_of_trunk(features, *geometry)
    output = layout(np.full((*shape, len(bias)), np.nan, np.float32))
    for part in split(shape[0] * shape[1]):
        module.trunk_layer(layout(features), weight, bias, output, *geometry, *part)
    return output


def empty_votes(
    features: Array,
    layers: Sequence[Layer],
    dilation: int,
    stride: int,
    layout: Callable[[Array], Array],
) -> Array:
    kernel_size = layers[0].kernel_size
    height, width = (num_windows(n, kernel_size, dilation, stride) for n in features.shape[1:3])
    shape = (len(features), height, width, len(layers[-1].bias))
    return np.moveaxis(layout(np.full(shape, np.nan, np.float32)), 3, 1)


def vote_head(
    module: ModuleType,
    features: Array,
    layers: Sequence[Layer],
    *,
    dilation: int = 1,
    stride: int = 1,
    layout: Callable[[Array], Array] = np.asarray,
    split: Split = whole,
) -> Array:
    kernel_size = layers[0].kernel_size
    votes = empty_votes(features, layers, dilation, stride, layout)
    packed = packed_head(layers, features.shape[3])
    arguments = (layout(features), *packed, votes, kernel_size, dilation, stride)
    for part in split(module.vote_head_runs(*arguments)):
        module.vote_head(*arguments, *part)
    return votes


# --- The order of the sums, in words that cannot go wrong -----------------------------------------


def fused_multiply_add(a: Array, b: Array, c: Array) -> Array:
    """a * b + c of float32, rounded once.

    The product is exact in float64. The sum is rounded to odd: wherever it is not exact, its last
    bit is set, so that rounding it once more, to float32, sees on which side of a tie it lies.
    """
    with np.errstate(all="ignore"):
        product = a.astype(np.float64) * b
        total = product + c
        other = total - product
        rest = (product - (total - other)) + (c - other)
        bits = total.view(np.int64)
        inexact = np.isfinite(total) & (rest != 0) & (bits & 1 == 0)
        away = (rest > 0) == (total > 0)
        odd = bits + np.where(inexact, np.where(away, 1, -1), 0)
        return odd.view(np.float64).astype(np.float32)


def rectify(x: Array) -> Array:
    return np.where(x < 0, np.float32(0), x)


def pool(a: Array, b: Array) -> Array:
    return np.where((a > b) | np.isnan(a), a, b)


def _convolve(features: Array, layer: Layer, dilation: int, stride: int) -> Array:
    filled = layer.filled_up(features.shape[3])
    size = filled.kernel_size
    height, width = (num_windows(n, size, dilation, stride) for n in features.shape[1:3])
    sums = np.broadcast_to(filled.bias, (len(features), height, width, len(filled.bias)))
    for row in range(size):
        for column in range(size):
            top, left = row * dilation, column * dilation
            tap = features[:, top::stride, left::stride][:, :height, :width]
            for channel in range(features.shape[3]):
                weight = filled.weight[:, channel, row, column]
                sums = fused_multiply_add(tap[..., channel, None], weight, sums)
    return sums


def model_of_trunk_layer(
    features: Array,
    layer: Layer,
    *,
    dilation: int = 1,
    pool_stride: int = 0,
    pool_dilation: int = 1,
) -> Array:
    x = rectify(_convolve(features, layer, dilation, 1))
    if not pool_stride:
        return x
    height, width = (num_windows(n, 2, pool_dilation, pool_stride) for n in x.shape[1:3])
    corners = [
        x[:, top::pool_stride, left::pool_stride][:, :height, :width]
        for top in (0, pool_dilation)
        for left in (0, pool_dilation)
    ]
    return functools.reduce(pool, corners)


def model_of_vote_head(
    module: ModuleType,
    features: Array,
    layers: Sequence[Layer],
    *,
    dilation: int = 1,
    stride: int = 1,
) -> Array:
    """Only the sigmoid is the module's own; test_core.py looks after that."""
    x = _convolve(features, layers[0], dilation, stride)
    for layer in layers[1:-1]:
        x = _convolve(rectify(x), layer, 1, 1)
    if len(layers) > 1:
        weight, bias = layers[-1].packed_as_last(x.shape[3])
        x = rectify(x)[..., None, :]
        parts = np.zeros((*x.shape[:3], len(bias), PARTIAL_SUMS), np.float32)
        for i in range(0, x.shape[4], PARTIAL_SUMS):
            part = slice(i, i + PARTIAL_SUMS)
            parts = fused_multiply_add(x[..., part], weight[:, part], parts)
        with np.errstate(all="ignore"):
            while parts.shape[4] > 1:
                half = parts.shape[4] // 2
                parts = parts[..., :half] + parts[..., half:]
            x = parts[..., 0] + bias
    votes = x[..., : len(layers[-1].bias)].copy()
    votes[..., ::3] = module.sigmoid_float32(votes[..., ::3])
    return np.moveaxis(votes, 3, 1)


# --- The same in float64, by other means ----------------------------------------------------------


def _exact_convolution(features: Array, layer: Layer, dilation: int, stride: int) -> Array:
    """``[B, O, h, w]`` of ``[B, C, h, w]``."""
    reach = (layer.kernel_size - 1) * dilation + 1
    windows = np.lib.stride_tricks.sliding_window_view(features, (reach, reach), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride, ::dilation, ::dilation]
    weight = layer.weight.astype(np.float64)
    return np.einsum("bchwij,ocij->bohw", windows, weight) + layer.bias[:, None, None]


def _largest(layer: Layer) -> Layer:
    return Layer(np.abs(layer.weight), np.abs(layer.bias))


def expected_trunk_layer(
    features: Array,
    layer: Layer,
    *,
    dilation: int = 1,
    pool_stride: int = 0,
    pool_dilation: int = 1,
) -> tuple[Array, Array]:
    """Without the outputs that fill up; and how far rounding may lead away from it."""

    def pooled(x: Array) -> Array:
        if pool_stride:
            shape = (pool_dilation + 1, pool_dilation + 1)
            windows = np.lib.stride_tricks.sliding_window_view(x, shape, axis=(2, 3))
            x = windows[:, :, ::pool_stride, ::pool_stride, ::pool_dilation, ::pool_dilation]
            x = x.max(axis=(4, 5))
        return np.moveaxis(x, 1, 3)

    maps = np.moveaxis(features.astype(np.float64), 3, 1)
    exact = np.maximum(_exact_convolution(maps, layer, dilation, 1), 0)
    largest = _exact_convolution(np.abs(maps), _largest(layer), dilation, 1)
    return pooled(exact), pooled(largest) * layer.weight[0].size * ROUNDING


def expected_vote_head(
    features: Array, layers: Sequence[Layer], *, dilation: int = 1, stride: int = 1
) -> tuple[Array, Array]:
    exact = np.moveaxis(features.astype(np.float64), 3, 1)
    largest, roundings = np.abs(exact), 0
    for i, layer in enumerate(layers):
        geometry = (1, 1) if i else (dilation, stride)
        exact = _exact_convolution(np.maximum(exact, 0) if i else exact, layer, *geometry)
        largest = _exact_convolution(largest, _largest(layer), *geometry)
        roundings += layer.weight[0].size + 1
    exact[:, ::3] = 1 / (1 + np.exp(-exact[:, ::3]))
    # The sigmoid's slope is at most 1/4; what it rounds itself comes on top.
    return exact, largest * roundings * ROUNDING + 4 * ROUNDING
