"""Layers by matrix instructions: their weights, and what they have to make of them.

Numbers that lie together are those that a lane takes at once: see csrc/cuda/matrix_precision.h.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from emulation.build import Device
from native.kernels import Array
from native.network_cases import Head, Trunk

PRECISIONS = {"bfloat16": 0, "tf32": 1, "float32": 2}  # MatrixPrecision

Layout = Callable[[Array], Array]


def filled_up(values: Array, *blocks: int) -> Array:
    missing = [(0, -n % block) for n, block in zip(values.shape, blocks, strict=True)]
    return np.pad(values, missing)


def bfloat16_bits(values: Array) -> Array:
    """To the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def from_bfloat16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_tf32(values: Array) -> Array:
    """To the nearest, ties away from zero."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x1000) & 0xFFFFE000).view(np.float32)


def rounded(values: Array, precision: str) -> Array:
    """As the products take them."""
    if precision == "bfloat16":
        values = from_bfloat16(bfloat16_bits(values))
    elif precision == "tf32":
        values = to_tf32(values)
    return values.astype(np.float64)


def pack_first(weight: Array, precision: str) -> Array:
    """``[outputs, inputs, k, k]`` -> ``[panel, chunk, part, step, pair, lane, 4]``.

    Words of 32 bits, called float32 whatever they hold.
    """
    words = _words(weight, precision, 32, 16)
    # [part, panel, pair, half, output, chunk, step, odd, t]
    words = words.reshape(len(words), -1, 2, 2, 8, words.shape[2] // 16, 2, 2, 4)
    # [panel, chunk, part, step, pair, (output, t), (half, odd)]
    return np.ascontiguousarray(words.transpose(1, 5, 0, 6, 2, 4, 8, 3, 7)).view(np.float32)


def _words(weight: Array, precision: str, outputs: int, words: int) -> Array:
    """``[part, output, word of the depth]``, filled up to multiples of so many."""
    rows = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    if precision == "bfloat16":
        bits = bfloat16_bits(filled_up(rows, outputs, 2 * words))
        parts = [bits[:, ::2] | bits[:, 1::2] << 16]
    else:
        numbers = filled_up(rows, outputs, words)
        parts = [to_tf32(numbers)]
        if precision == "float32":
            parts.append(to_tf32(numbers - parts[0]))
    return np.stack([part.view(np.uint32) for part in parts])


def pack_for_warpgroups(weight: Array, precision: str) -> Array:
    """``[outputs, inputs, k, k]`` -> ``[tile, chunk, part, step, piece, 128 outputs, 4]``.

    See csrc/cuda/vote_head_warpgroups.h.
    """
    steps = 2 if precision == "float32" else 4
    words = _words(weight, precision, 128, 8 * steps)
    # [part, tile, output, chunk, step, piece, word]
    words = words.reshape(len(words), -1, 128, words.shape[2] // (8 * steps), steps, 2, 4)
    return np.ascontiguousarray(words.transpose(1, 3, 0, 4, 5, 2, 6)).view(np.float32)


def pack_last(weight: Array) -> Array:
    """``[3k, inputs]`` -> ``[panel, group, half, lane, 4]``."""
    full = filled_up(weight, 8, 32)
    # [group, output, panel, half, i, t, 2]
    numbers = full.reshape(-1, 8, full.shape[1] // 32, 2, 2, 4, 2)
    # [panel, group, half, (output, t), (i, 2)]
    return np.ascontiguousarray(numbers.transpose(2, 0, 3, 1, 5, 4, 6))


def stored(values: Array, precision: str) -> Array:
    return bfloat16_bits(values).astype(np.uint16) if precision == "bfloat16" else values


def run_trunk(
    device: Device,
    case: Trunk,
    precision: str,
    layout: Layout = np.ascontiguousarray,
    major: int = 8,
) -> Array | None:
    """The map; None where the kernels leave it to others."""
    assert device.extras is not None
    layer = case.layer.filled_up(case.channels)
    shape = (case.batch, *_pooled(case), len(layer.bias))
    output = layout(stored(np.full(shape, np.nan, np.float32), precision))
    done = device.extras.matrix_trunk_layer(
        layout(stored(case.features, precision)), pack_first(layer.weight, precision), layer.bias,
        output, case.kernel_size, *case.geometry, PRECISIONS[precision], major,
    )  # fmt: skip
    if not done:
        return None
    return from_bfloat16(output) if precision == "bfloat16" else output


def _pooled(case: Trunk) -> tuple[int, int]:
    _, stride, dilation = case.geometry
    if stride == 0:
        return case.size
    height, width = (max(0, (n - dilation - 1) // stride + 1) for n in case.size)
    return height, width


def _sums(
    case: Trunk | Head, weight: Array, bias: Array, stride: int, precision: str
) -> tuple[Array, Array]:
    """Of float64 over rounded factors, and the sums of their magnitudes."""
    features, weight = rounded(case.features, precision), rounded(weight, precision)
    dilation = case.geometry[0]
    sums = np.zeros((case.batch, *case.size, len(weight))) + bias
    most = np.abs(sums)
    for y in range(case.kernel_size):
        for x in range(case.kernel_size):
            seen = features[:, y * dilation :: stride, x * dilation :: stride]
            seen = seen[:, : case.size[0], : case.size[1]]
            sums += seen @ weight[:, :, y, x].T
            most += np.abs(seen) @ np.abs(weight[:, :, y, x].T)
    return sums, most


def expected_trunk(case: Trunk, precision: str) -> tuple[Array, Array]:
    """The map, and how far from it the kernels may be."""
    layer = case.layer.filled_up(case.channels)
    sums, most = _sums(case, layer.weight, layer.bias, 1, precision)
    maps, (_, stride, dilation) = np.maximum(sums, 0), case.geometry
    if stride:
        height, width = _pooled(case)
        corners = [(y, x) for y in (0, dilation) for x in (0, dilation)]
        maps, most = (
            np.max([m[:, y::stride, x::stride][:, :height, :width] for y, x in corners], axis=0)
            for m in (maps, most)
        )
    tolerance = _share_cut_off(case, precision) * most
    return maps, tolerance + (2.0**-8 * maps if precision == "bfloat16" else 0)


def _share_cut_off(case: Trunk | Head, precision: str) -> float:
    """Of what the magnitudes of a sum's terms add up to."""
    if precision == "float32":
        return 2.0**-21
    sums = case.kernel_size**2 * case.channels / (4 if precision == "tf32" else 8)
    return 2.0**-22 * max(2, sums)


def run_head(
    device: Device,
    case: Head,
    precision: str,
    layout: Layout = np.ascontiguousarray,
    major: int = 8,
    *,
    warpgroups: bool = False,
) -> Array | None:
    """Votes; None where the kernels leave them to others."""
    assert device.extras is not None
    kernel = device.extras.warpgroup_vote_head if warpgroups else device.extras.matrix_vote_head
    pack = pack_for_warpgroups if warpgroups else pack_first
    first = case.layers[0].filled_up(case.channels)
    last_weight, last_bias = case.layers[1].packed_as_last(len(first.bias))
    votes = layout(np.full((case.batch, len(last_bias), *case.size), np.nan, np.float32))
    done = kernel(
        layout(stored(case.features, precision)),
        [pack(first.weight, precision), pack_last(last_weight)], [first.bias, last_bias],
        votes, case.kernel_size, *case.geometry, PRECISIONS[precision], major,
    )  # fmt: skip
    return votes if done else None


def expected_head(device: Device, case: Head, precision: str) -> tuple[Array, Array]:
    """Votes, and how far from them the kernels may be."""
    first, last = case.layers
    sums, most = _sums(case, first.weight, first.bias, case.geometry[1], precision)
    last_precision = "float32" if precision == "float32" else "tf32"
    units = rounded(np.maximum(sums, 0).astype(np.float32), last_precision)
    weight = rounded(last.weight[:, :, 0, 0], last_precision)
    votes = np.moveaxis(units @ weight.T + last.bias, 3, 1)
    votes[:, ::3] = device.kernels.sigmoid_float64(votes[:, ::3])
    # What sums lose, and hidden units so near to a tie that they are rounded to the other side.
    lost = _share_cut_off(case, precision) + (
        len(weight.T) * 2.0**-24 if precision != "float32" else 0
    )
    tolerance = lost * (most @ np.abs(weight.T) + np.abs(last.bias))
    if last_precision == "tf32":
        tolerance += 2.0**-10 * np.max(units, -1, keepdims=True) * np.abs(weight).max()
    return votes, np.moveaxis(tolerance, 3, 1)
