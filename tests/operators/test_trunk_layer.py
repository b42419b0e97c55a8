"""A layer of the trunk: convolution, ReLU and max-pooling over maps [B, h, w, C]."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from native import network
from support import (
    assert_near,
    convolved_and_pooled,
    map_layouts,
    over_threads,
    packed,
    random_features,
)
from torch import Tensor

from dvfast.nn.deep_voting_net import trunk_geometry

trunk_layer = torch.ops.dvfast.trunk_layer

# Up to 1728 products whose sum is about 1, each rounded once.
ABSOLUTE = 2e-5
# (dilation, pool_stride, pool_dilation): all that scanning asks for, and others.
GEOMETRIES = [
    *sorted({geometry for stride in (1, 2, 4) for geometry in trunk_geometry(stride)}),
    (1, 3, 2),
    (3, 1, 4),
]
# channels, outputs, kernel size
LAYERS = [(3, 32, 6), (1, 16, 2), (16, 48, 4), (48, 80, 6), (20, 5, 3), (300, 16, 1)]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(("channels", "outputs", "kernel_size"), LAYERS)
def test_agrees_with_convolution(
    device: torch.device,
    channels: int,
    outputs: int,
    kernel_size: int,
    geometry: tuple[int, int, int],
) -> None:
    layer = network.random_layer(channels, outputs, kernel_size, 0)
    features = random_features((2, 21, 27, channels)).to(device)
    weight, bias = packed(layer, channels, device)
    expected = convolved_and_pooled(features, layer, geometry)
    results = [trunk_layer(x, weight, bias, kernel_size, *geometry) for x in map_layouts(features)]
    assert_near(results[0][..., :outputs], expected, absolute=ABSOLUTE)
    assert results[0].shape[3] == len(bias)
    assert not results[0][..., outputs:].any()
    for result in results[1:]:
        assert result.is_contiguous()
        assert torch.equal(result, results[0])


def test_every_device_and_number_of_threads_gives_the_same_bits(device: torch.device) -> None:
    features = random_features((3, 40, 41, 16))
    layer = packed(network.random_layer(16, 32, 4, 0), 16)

    def run(where: torch.device) -> Tensor:
        return trunk_layer(*(x.to(where) for x in (features, *layer)), 4, 1, 2, 1).cpu()

    expected = run(torch.device("cpu"))
    for actual in over_threads(lambda: run(device)):
        assert torch.equal(actual, expected.flatten())


def test_an_image_gives_what_it_gives_in_a_batch_or_a_larger_one(device: torch.device) -> None:
    features = random_features((3, 30, 33, 3)).to(device)
    layer = packed(network.random_layer(3, 32, 6, 0), 3, device)
    whole = trunk_layer(features, *layer, 6, 1, 1, 1)
    for b, y, x, h, w in ((0, 0, 0, 30, 33), (1, 3, 5, 9, 8), (2, 23, 26, 7, 7), (2, 0, 7, 30, 7)):
        part = trunk_layer(features[b : b + 1, y : y + h, x : x + w], *layer, 6, 1, 1, 1)
        assert torch.equal(part[0], whole[b, y : y + h - 6, x : x + w - 6])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_not_finite(device: torch.device, number: float) -> None:
    features = random_features((1, 9, 11, 3)).to(device)
    features[0, 4, 6, 1] = number
    layer = network.random_layer(3, 16, 3, 0)
    for geometry in ((1, 0, 1), (1, 1, 1), (1, 2, 1)):
        result = trunk_layer(features, *packed(layer, 3, device), 3, *geometry)
        expected = convolved_and_pooled(features, layer, geometry)
        assert_near(result, expected, absolute=ABSOLUTE)
        assert result.isfinite().logical_not().any()


def test_nothing_in_nothing_out(device: torch.device) -> None:
    weight, bias = packed(network.random_layer(3, 16, 3, 0), 3, device)
    for shape, geometry, expected in (
        ((0, 5, 5, 3), (1, 0, 1), (0, 3, 3, 16)),
        ((2, 0, 5, 3), (1, 0, 1), (2, 0, 3, 16)),
        ((2, 5, 2, 3), (1, 0, 1), (2, 3, 0, 16)),
        ((2, 5, 4, 3), (2, 0, 1), (2, 1, 0, 16)),
        ((2, 3, 5, 3), (1, 2, 1), (2, 0, 1, 16)),
        ((2, 1, 1, 3), (1, 1, 9), (2, 0, 0, 16)),
    ):
        features = torch.zeros(shape, device=device)
        for x in (features, features.to("meta")):
            layer = weight.to(x.device), bias.to(x.device)
            assert trunk_layer(x, *layer, 3, *geometry).shape == expected


def test_errors(device: torch.device) -> None:
    features = random_features((1, 8, 9, 3)).to(device)
    weight, bias = packed(network.random_layer(3, 40, 3, 0), 3, device)
    good: dict[str, Any] = {"features": features, "weight": weight, "bias": bias}
    good |= {"kernel_size": 3, "dilation": 1, "pool_stride": 1, "pool_dilation": 1}
    assert trunk_layer(**good).shape == (1, 5, 6, 48)
    packing = r"weight must be packed as a contiguous \[2, 27, 32\], got"
    side_by_side = r"features must be \[B, h, w, C\] with the channels of a pixel side by side, got"
    for name, wrong, message in (
        ("features", features.double(), r"features must be one of float32, got float64 \[1, 8, 9"),
        ("features", features[0], side_by_side + r" float32 \[8, 9, 3\]"),
        ("features", features.movedim(1, 3), side_by_side),
        ("features", features[..., ::2], side_by_side),
        ("features", features[..., :2], r"weight must be packed as a contiguous \[2, 18, 32\]"),
        ("weight", weight.half(), "weight must be one of float32, got float16"),
        ("weight", weight[:1], packing),
        ("weight", weight[:, 1:], packing),
        ("weight", weight[..., :16], packing),
        ("weight", weight.flatten(1), packing),
        ("weight", weight.transpose(0, 1).contiguous().transpose(0, 1), packing),
        ("bias", bias.double(), "bias must be one of float32, got float64"),
        ("bias", bias[:40], r"bias must be filled up to a multiple of 16, got float32 \[40\]"),
        ("bias", bias[:0], "bias must be filled up to a multiple of 16"),
        ("bias", bias[:, None], "bias must be contiguous with one dimension"),
        ("bias", bias[:32], "weight must be packed as a contiguous .1, 27, 32."),
        ("bias", bias.new_zeros(96)[::2], "bias must be contiguous with one dimension"),
        ("kernel_size", -3, "kernel_size, .* must be at least 1 .* got -3, 1, 1 and 1"),
        ("kernel_size", 4, r"weight must be packed as a contiguous \[2, 48, 32\]"),
        ("dilation", 0, "dilation .* must be at least 1"),
        ("pool_stride", -1, "pool_stride at least 0, got 3, 1, 1 and -1"),
        ("pool_dilation", 0, "pool_dilation must be at least 1"),
    ):
        with pytest.raises(RuntimeError, match=message):
            trunk_layer(**{**good, name: wrong})


@pytest.mark.cuda
def test_all_must_be_on_one_device() -> None:
    features = random_features((1, 8, 9, 3)).cuda()
    weight, bias = packed(network.random_layer(3, 32, 3, 0), 3)
    with pytest.raises(RuntimeError, match="weight must be on the device of features"):
        trunk_layer(features, weight, bias.cuda(), 3, 1, 0, 1)
    with pytest.raises(RuntimeError, match="bias must be on the device of features"):
        trunk_layer(features, weight.cuda(), bias, 3, 1, 0, 1)
