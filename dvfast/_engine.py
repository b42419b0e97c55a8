"""The scan engine: native kernels for trunk and head, and the weights as they want them.

The kernels' contract (layout of maps and packed weights, order of the sums) stands in
``csrc/core/network.h``; :func:`dvfast.scan` is the public face.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._library import cpu_info, ops
from .nn import POOLED_STRIDE, DeepVotingNet, trunk_geometry

__all__ = ["Engine", "engine_of", "why_not"]

_PANEL_WIDTH = 32  # these three as in csrc/core/network.h
_CHANNEL_BLOCK = 16
_MAX_HEAD_LAYERS = 8
_BFLOAT16_PIXELS = 16  # as in csrc/core/bfloat16_network.h
_TRUNK = 3  # layers

# F(4x4, 5x5), csrc/core/winograd.h. Its finite points, one more being infinity.
_WINOGRAD_OUTPUTS = 4
_WINOGRAD_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


class _Layer(NamedTuple):
    """Packed for a kernel; in the order of the operators' arguments."""

    weight: Tensor
    bias: Tensor
    kernel_size: int


class _Convolution:
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


class Engine:
    """A network with its weights packed for the native kernels."""

    def __init__(self, net: DeepVotingNet) -> None:
        self.num_votes = net.num_votes
        self._originals = [parameter.detach().clone() for parameter in net.parameters()]
        convolutions = [net.conv1, net.conv2, net.conv3, *cast(Sequence[nn.Conv2d], net.head)]
        self._convolutions = [_Convolution(layer) for layer in convolutions]
        self._layers = _pack(self._convolutions, net.in_channels)
        # Made when they are first needed.
        self._winograd: Tensor | None = None
        self._bfloat16: list[_Layer] | None = None

    def is_of(self, net: DeepVotingNet) -> bool:
        """Whether these are the weights that the network has now, however they may have changed."""
        parameters = list(net.parameters())
        return len(parameters) == len(self._originals) and all(
            now.device == then.device and torch.equal(now, then)
            for now, then in zip(parameters, self._originals, strict=True)
        )

    @property
    def num_hidden_layers(self) -> int:
        return len(self._layers) - _TRUNK - 1

    def why_not_bfloat16(self) -> str | None:
        """What keeps the engine from bfloat16; ``None`` if nothing does."""
        if self.num_hidden_layers != 1:
            return f"a network with one hidden layer, not {self.num_hidden_layers}"
        if not cpu_info()["matrix_unit"]:
            return "a CPU with AMX, on Linux"
        return None

    def block(self, precision: str, stride: int) -> tuple[int, int]:
        """Rows and columns of votes between which an image may be cut into tiles."""
        if precision == "bfloat16":
            return 1, _BFLOAT16_PIXELS
        if precision == "float32" and self.num_hidden_layers == 1 and POOLED_STRIDE % stride == 0:
            side = _WINOGRAD_OUTPUTS * POOLED_STRIDE // stride
            return side, side
        return 1, 1

    def votes(self, images: Tensor, stride: int, precision: str = "exact") -> Tensor:
        """Votes ``[B, 3k, h, w]`` of every ``stride``-th patch of ``[B, H, W, C]``."""
        if precision == "bfloat16":
            return self._bfloat16_votes(images, stride)
        features = images
        trunk, head = self._layers[:_TRUNK], self._layers[_TRUNK:]
        for layer, geometry in zip(trunk, trunk_geometry(stride), strict=True):
            features = ops.trunk_layer(features, *layer, *geometry)
        if self.block(precision, stride) > (1, 1):
            return self._winograd_votes(features, POOLED_STRIDE // stride)
        weights, biases, kernel_sizes = zip(*head, strict=True)
        votes: Tensor = ops.vote_head(
            features, weights, biases, self.num_votes, kernel_sizes[0], *_head_geometry(stride)
        )
        return votes

    def _winograd_votes(self, features: Tensor, dilation: int) -> Tensor:
        first, last = self._layers[_TRUNK:]
        if self._winograd is None:
            self._winograd = _winograd_weight(first.weight)
        votes: Tensor = ops.winograd_head(
            features, self._winograd, first.bias, last.weight, last.bias, self.num_votes, dilation
        )
        return votes

    def _bfloat16_votes(self, images: Tensor, stride: int) -> Tensor:
        if self._bfloat16 is None:
            self._bfloat16 = _pack_bfloat16(self._convolutions, images.shape[3])
        conv1, *others, first, last = self._bfloat16
        geometry = trunk_geometry(stride)
        # An image has few channels and needs its precision: the first layer stays in float32.
        features = ops.trunk_layer(images, *conv1, *geometry[0]).bfloat16()
        for layer, place in zip(others, geometry[1:], strict=True):
            features = ops.bfloat16_trunk_layer(features, *layer, *place)
        votes: Tensor = ops.bfloat16_head(
            features,
            first.weight,
            first.bias,
            last.weight,
            last.bias,
            self.num_votes,
            first.kernel_size,
            *_head_geometry(stride),
        )
        return votes


def _head_geometry(stride: int) -> tuple[int, int]:
    """Dilation and stride of the head over the features of :func:`trunk_geometry`."""
    step = math.gcd(stride, POOLED_STRIDE)
    return POOLED_STRIDE // step, stride // step


_engines: weakref.WeakKeyDictionary[DeepVotingNet, Engine] = weakref.WeakKeyDictionary()


def engine_of(net: DeepVotingNet) -> Engine:
    """The engine of a network, packed anew only if its weights have changed."""
    engine = _engines.get(net)
    # A CUDA graph holds the weights that were packed before it was captured, and cannot compare.
    capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
    if engine is None or not (capturing or engine.is_of(net)):
        engine = _engines[net] = Engine(net)
    return engine


def why_not(net: DeepVotingNet) -> str | None:
    """What keeps the engine from running a network; ``None`` if nothing does."""
    if type(net) is not DeepVotingNet:
        return f"it is a {type(net).__name__}, not a DeepVotingNet itself"
    replaced = {"forward", "dense", "trunk_pass", "head_pass"} & vars(net).keys()
    if replaced:
        return f"its {min(replaced)} was replaced"
    if net._forward_hooks or net._forward_pre_hooks:
        return "it has hooks"
    head = cast(Sequence[nn.Module], net.head)
    if len(head) > _MAX_HEAD_LAYERS:
        return f"its head has {len(head)} layers, more than {_MAX_HEAD_LAYERS}"
    layers = [
        ("conv1", net.conv1, 6),
        ("conv2", net.conv2, 4),
        ("conv3", net.conv3, 3),
        *((f"head[{i}]", layer, 1 if i else 5) for i, layer in enumerate(head)),
    ]
    channels = net.in_channels
    for name, layer, kernel_size in layers:
        if reason := _why_not_layer(layer, kernel_size, channels):
            return f"{name} {reason}"
        channels = cast(nn.Conv2d, layer).out_channels
    if channels != 3 * net.num_votes:
        return f"its last layer gives {channels} channels, not {3 * net.num_votes}"
    if type(net.dropout) not in (nn.Dropout, nn.Identity):
        return f"its dropout is a {type(net.dropout).__name__}"
    device = net.conv1.weight.device.type
    if device not in ("cpu", "cuda") or not torch._C._dispatch_has_kernel_for_dispatch_key(
        "dvfast::vote_head", device.upper()
    ):
        return f"it has no kernels for {device}"
    return None


def _why_not_layer(layer: nn.Module, kernel_size: int, channels: int) -> str | None:
    if type(layer) is not nn.Conv2d:
        return f"is a {type(layer).__name__}"
    expected = {
        "kernel_size": (kernel_size, kernel_size),
        "stride": (1, 1),
        "padding": (0, 0),
        "dilation": (1, 1),
        "groups": 1,
    }
    for attribute, value in expected.items():
        if getattr(layer, attribute) != value:
            return f"has {attribute} {getattr(layer, attribute)}, not {value}"
    if layer.in_channels != channels:
        return f"takes {layer.in_channels} channels, not {channels}"
    if layer.bias is None:
        return "has no bias"
    if layer.weight.dtype != torch.float32:
        return f"is {layer.weight.dtype}, not torch.float32"
    if layer._forward_hooks or layer._forward_pre_hooks:
        return "has hooks"
    if "forward" in vars(layer):
        return "has a forward of its own"
    return None


def _pack(convolutions: Sequence[_Convolution], channels: int) -> list[_Layer]:
    layers = []
    for i, layer in enumerate(convolutions):
        if _TRUNK < i == len(convolutions) - 1:
            layers.append(_pack_last(layer, channels))
        else:
            layers.append(_pack_panels(layer, channels, _CHANNEL_BLOCK))
        channels = len(layers[-1].bias)
    return layers


def _pack_panels(layer: _Convolution, channels: int, output_block: int) -> _Layer:
    """``[panel, tap * input channel, output of the panel]``, for maps of so many channels."""
    weight, _ = layer.filled_up(channels, _PANEL_WIDTH)
    _, bias = layer.filled_up(channels, output_block)
    panels = weight.flatten(0, 1).reshape(weight.shape[:2].numel(), -1, _PANEL_WIDTH)
    return _Layer(panels.transpose(0, 1).contiguous(), bias, layer.kernel_size)


def _pack_last(layer: _Convolution, channels: int) -> _Layer:
    """``[output, input]`` of the last of several layers."""
    weight, bias = layer.filled_up(channels, 1)
    return _Layer(weight[0].T.contiguous(), bias, 1)


def _pack_bfloat16(convolutions: Sequence[_Convolution], channels: int) -> list[_Layer]:
    """Of a network with one hidden layer; see ``csrc/core/bfloat16_network.h``."""
    layers = [_pack_panels(convolutions[0], channels, _PANEL_WIDTH)]
    for layer in convolutions[1:-1]:
        weight, bias = layer.filled_up(len(layers[-1].bias), _PANEL_WIDTH)
        # tap, block and pair of inputs, one of the pair; panel, half of it, output
        parts = weight.reshape(len(weight), -1, 16, 2, len(bias) // _PANEL_WIDTH, 2, 16)
        panels = parts.permute(4, 0, 1, 5, 2, 6, 3).reshape(
            len(bias) // _PANEL_WIDTH, -1, _PANEL_WIDTH
        )
        layers.append(_Layer(panels.bfloat16().contiguous(), bias, layer.kernel_size))
    return [*layers, _pack_last(convolutions[-1], len(layers[-1].bias))]


def _winograd_weight(weight: Tensor) -> Tensor:
    """Transform packed 5x5 kernels: ``[panel, 25 * C, 32]`` -> ``[panel, 64 * C, 32]``."""
    points = torch.tensor(_WINOGRAD_POINTS, dtype=torch.float64)
    others = (points[:, None] - points).fill_diagonal_(1).prod(dim=1)
    finite = points[:, None] ** torch.arange(5) / others[:, None]
    transform = torch.cat([finite, torch.eye(5, dtype=torch.float64)[-1:]]).to(weight.device)
    kernels = weight.double().reshape(len(weight), 5, 5, -1, _PANEL_WIDTH)
    products = torch.einsum("iy,jx,pyxco->pijco", transform, transform, kernels)
    return products.flatten(1, 3).to(weight.dtype).contiguous()
