"""Weights as the scan engine's kernels want them; the layouts stand in ``csrc/core/network.h``."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "CHANNEL_BLOCK",
    "TRUNK_LAYERS",
    "WINOGRAD_OUTPUTS",
    "Convolution",
    "Layer",
    "pack",
    "pack_bfloat16",
    "pack_convolution",
    "pack_for_warpgroups",
    "pack_matrices",
    "winograd_weight",
]

TRUNK_LAYERS = 3
_PANEL_WIDTH = 32  # these two as in csrc/core/network.h
CHANNEL_BLOCK = 16

# csrc/core/winograd.h: outputs of F(4x4, 5x5), and the finite points, one more being infinity.
WINOGRAD_OUTPUTS = 4
_WINOGRAD_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


class Layer(NamedTuple):
    """Packed for a kernel; in the order of the operators' arguments."""

    weight: Tensor
    bias: Tensor
    kernel_size: int


class Convolution:
    """The weights of a layer as ``[tap, input channel, output]``, row of taps by row."""

    def __init__(self, layer: nn.Conv2d) -> None:
        assert layer.bias is not None
        self.kernel_size = layer.kernel_size[0]
        self.weight = layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 1).clone()
        self.bias = layer.bias.detach().clone()

    def filled_up(self, inputs: int, output_block: int) -> tuple[Tensor, Tensor]:
        """Weight and bias with zeros for inputs and outputs that only a packing has."""
        missing = -len(self.bias) % output_block
        weight = F.pad(self.weight, (0, missing, 0, inputs - self.weight.shape[1]))
        return weight, F.pad(self.bias, (0, missing))


def pack(convolutions: Sequence[Convolution], channels: int) -> list[Layer]:
    layers = []
    for i, layer in enumerate(convolutions):
        if TRUNK_LAYERS < i == len(convolutions) - 1:
            layers.append(_pack_last(layer, channels))
        else:
            layers.append(_pack_panels(layer, channels, CHANNEL_BLOCK))
        channels = len(layers[-1].bias)
    return layers


def pack_convolution(layer: Convolution, widths: Sequence[int], block: int) -> Layer:
    """Over maps of so many channels that follow one another, each filled up to whole blocks."""
    parts = torch.split(layer.weight, list(widths), dim=1)
    filled = [F.pad(part, (0, 0, 0, -part.shape[1] % block)) for part in parts]
    together = copy.copy(layer)
    together.weight = torch.cat(filled, dim=1)
    return _pack_panels(together, together.weight.shape[1], CHANNEL_BLOCK)


def _pack_panels(layer: Convolution, channels: int, output_block: int) -> Layer:
    """``[panel, tap * input channel, output of the panel]``, for maps of so many channels."""
    weight, _ = layer.filled_up(channels, _PANEL_WIDTH)
    _, bias = layer.filled_up(channels, output_block)
    panels = weight.flatten(0, 1).reshape(weight.shape[:2].numel(), -1, _PANEL_WIDTH)
    return Layer(panels.transpose(0, 1).contiguous(), bias, layer.kernel_size)


def _pack_last(layer: Convolution, channels: int) -> Layer:
    """``[output, input]`` of the last of several layers."""
    weight, bias = layer.filled_up(channels, 1)
    return Layer(weight[0].T.contiguous(), bias, 1)


def pack_bfloat16(convolutions: Sequence[Convolution], channels: int) -> list[Layer]:
    """Of a network with one hidden layer; see ``csrc/core/bfloat16_network.h``."""
    layers = [_pack_panels(convolutions[0], channels, _PANEL_WIDTH)]
    for layer in convolutions[1:-1]:
        weight, bias = layer.filled_up(len(layers[-1].bias), _PANEL_WIDTH)
        # tap, block and pair of inputs, one of the pair; panel, half of it, output
        parts = weight.reshape(len(weight), -1, 16, 2, len(bias) // _PANEL_WIDTH, 2, 16)
        panels = parts.permute(4, 0, 1, 5, 2, 6, 3).reshape(
            len(bias) // _PANEL_WIDTH, -1, _PANEL_WIDTH
        )
        layers.append(Layer(panels.bfloat16().contiguous(), bias, layer.kernel_size))
    return [*layers, _pack_last(convolutions[-1], len(layers[-1].bias))]


def winograd_weight(weight: Tensor, kernel_size: int) -> Tensor:
    """Transform packed kernels: ``[panel, taps * C, 32]`` -> ``[panel, 64 * C, 32]``."""
    points = weight.new_tensor(_WINOGRAD_POINTS, dtype=torch.float64)
    powers = torch.arange(kernel_size, device=weight.device)
    others = (points[:, None] - points).fill_diagonal_(1).prod(dim=1)
    finite = points[:, None] ** powers / others[:, None]
    infinite = (powers == kernel_size - 1).double()[None]
    transform = torch.cat([finite, infinite])
    kernels = weight.double().reshape(len(weight), kernel_size, kernel_size, -1, _PANEL_WIDTH)
    products = torch.einsum("iy,jx,pyxco->pijco", transform, transform, kernels)
    return products.flatten(1, 3).to(weight.dtype).contiguous()


def pack_matrices(
    convolutions: Sequence[Convolution], channels: int, precision: str
) -> list[Layer]:
    """Of a network with one hidden layer, for tensor cores: ``csrc/cuda/matrix_precision.h``."""
    layers = [_pack_panels(convolutions[0], channels, CHANNEL_BLOCK)]
    for layer in convolutions[1:-1]:
        weight, bias = layer.filled_up(len(layers[-1].bias), CHANNEL_BLOCK)
        layers.append(
            Layer(_matrix_words(weight.flatten(0, 1).T, precision), bias, layer.kernel_size)
        )
    last = convolutions[-1]
    weight, _ = last.filled_up(len(layers[-1].bias), 1)
    return [*layers, Layer(_last_matrix(weight[0].T), last.bias, 1)]


def pack_for_warpgroups(layer: Convolution, channels: int, precision: str) -> Tensor:
    """The head's first layer ``[tile of 128 outputs, chunk, part, step, piece, output, 4]``.

    Words of 32 bits, as ``csrc/cuda/vote_head_warpgroups.h`` has them.
    """
    weight, _ = layer.filled_up(channels, CHANNEL_BLOCK)
    steps = 2 if precision == "float32" else 4
    words = _words(weight.flatten(0, 1).T, precision, 128, 8 * steps)
    words = words.reshape(len(words), -1, 128, words.shape[2] // (8 * steps), steps, 2, 4)
    return words.permute(1, 3, 0, 4, 5, 2, 6).contiguous()


def _matrix_words(rows: Tensor, precision: str) -> Tensor:
    """``[output, depth]`` -> ``[panel, chunk, part, step, pair, lane, 4]`` words of 32 bits."""
    words = _words(rows, precision, _PANEL_WIDTH, 16)
    # part, panel, pair, half, output, chunk, step, odd, t
    words = words.reshape(len(words), -1, 2, 2, 8, words.shape[2] // 16, 2, 2, 4)
    packed = words.permute(1, 5, 0, 6, 2, 4, 8, 3, 7).contiguous()
    return packed.reshape(*packed.shape[:5], 32, 4)


def _words(rows: Tensor, precision: str, outputs: int, words: int) -> Tensor:
    """``[part, output, word of the depth]``, filled up to whole multiples of so many."""
    numbers = 2 * words if precision == "bfloat16" else words
    rows = F.pad(rows, (0, -rows.shape[1] % numbers, 0, -rows.shape[0] % outputs)).contiguous()
    if precision == "bfloat16":
        parts = [rows.bfloat16().view(torch.float32)]  # two neighbours of the depth in a word
    else:
        parts = [_to_tf32(rows)]
        if precision == "float32":
            parts.append(_to_tf32(rows - parts[0]))
    return torch.stack(parts)


def _last_matrix(rows: Tensor) -> Tensor:
    """``[output, input]`` -> ``[panel of inputs, group of outputs, half, lane, 4]``."""
    rows = F.pad(rows, (0, -rows.shape[1] % _PANEL_WIDTH, 0, -rows.shape[0] % 8))
    # group, output, panel, half, i, t, one of two
    numbers = rows.reshape(-1, 8, rows.shape[1] // _PANEL_WIDTH, 2, 2, 4, 2)
    packed = numbers.permute(2, 0, 3, 1, 5, 4, 6).contiguous()
    return packed.reshape(*packed.shape[:3], 32, 4)


def _to_tf32(values: Tensor) -> Tensor:
    """The nearest numbers with ten bits after the point, ties away from zero."""
    bits = values.contiguous().view(torch.int32)
    rounded = ((bits + 0x1000) & ~0x1FFF).view(torch.float32)
    # A NaN of a GPU has all bits set, and would wrap around to a zero.
    return torch.where(values.isnan(), values, rounded)
