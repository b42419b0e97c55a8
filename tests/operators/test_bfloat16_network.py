"""Trunk and head in bfloat16, as operators: values, layouts, threads, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from native import bfloat16, network
from support import (
    assert_near,
    convolved_and_pooled,
    map_layouts,
    over_threads,
    random_features,
    skip_without_kernel,
    votes_by_convolutions,
)
from torch import Tensor

trunk_layer = torch.ops.dvfast.bfloat16_trunk_layer
head = torch.ops.dvfast.bfloat16_head

# Float32 sums of exact products; of the trunk, half a unit in the last place more.
ABSOLUTE = 3e-5
HALF = 2.0**-8


@pytest.fixture(autouse=True)
def _kernel(device: torch.device) -> None:
    skip_without_kernel("bfloat16_trunk_layer", device)


def tensors(*arrays: Any, device: torch.device) -> list[Tensor]:
    """Halves travel as uint16."""
    converted = (torch.from_numpy(x).to(device) for x in arrays)
    return [x.view(torch.bfloat16) if x.dtype == torch.uint16 else x for x in converted]


def packed_layer(layer: network.Layer, channels: int, device: torch.device) -> list[Tensor]:
    return tensors(*bfloat16.packed(layer, channels), device=device)


def packed_head(
    layers: list[network.Layer], channels: int, device: torch.device
) -> tuple[Tensor, ...]:
    weights, biases = bfloat16.packed_head(layers, channels)
    weight, last_weight, bias, last_bias = tensors(*weights, *biases, device=device)
    return weight, bias, last_weight, last_bias


@pytest.mark.parametrize(
    "geometry", [(1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 1, 2), (4, 0, 1), (1, 3, 2)], ids=str
)
@pytest.mark.parametrize(("channels", "outputs", "kernel_size"), [(32, 32, 4), (64, 70, 3)])
def test_trunk_agrees_with_convolutions(
    device: torch.device,
    channels: int,
    outputs: int,
    kernel_size: int,
    geometry: tuple[int, int, int],
) -> None:
    layer = bfloat16.rounded(network.random_layer(channels, outputs, kernel_size, 0))
    weight, bias = packed_layer(layer, channels, device)
    for width in (16, 31, 40):
        columns = width + (kernel_size - 1) * geometry[0]
        features = random_features((2, 19, columns, channels)).to(device).bfloat16()
        expected = convolved_and_pooled(features, layer, geometry)
        results = [
            trunk_layer(x, weight, bias, kernel_size, *geometry) for x in map_layouts(features)
        ]
        assert results[0].dtype == torch.bfloat16
        assert_near(results[0][..., :outputs], expected, relative=HALF, absolute=ABSOLUTE)
        assert not results[0][..., outputs:].any()
        for result in results[1:]:
            assert result.is_contiguous()
            assert torch.equal(result, results[0])


@pytest.mark.parametrize(
    ("channels", "hidden", "num_votes", "kernel_size", "dilation", "stride"),
    [(32, 1024, 2, 5, 4, 1), (64, 40, 1, 5, 1, 3), (32, 288, 5, 3, 2, 1), (96, 16, 2, 1, 1, 1)],
)
def test_head_agrees_with_convolutions(
    device: torch.device,
    channels: int,
    hidden: int,
    num_votes: int,
    kernel_size: int,
    dilation: int,
    stride: int,
) -> None:
    first, last = network.random_head(channels, (hidden,), num_votes, kernel_size)
    layers = [bfloat16.rounded(first), last]
    packed = packed_head(layers, channels, device)
    reach = (kernel_size - 1) * dilation + 1
    for rows, columns in ((3, 16), (1, 17), (2, 37)):
        shape = (2, (rows - 1) * stride + reach, (columns - 1) * stride + reach, channels)
        features = random_features(shape).to(device).bfloat16()
        expected = votes_by_convolutions(features, layers, dilation, stride)
        geometry = (num_votes, kernel_size, dilation, stride)
        results = [head(x, *packed, *geometry) for x in map_layouts(features)]
        assert results[0].dtype == torch.float32
        assert_near(results[0], expected, absolute=ABSOLUTE)
        assert all(torch.equal(result, results[0]) for result in results[1:])


def test_every_number_of_threads_gives_the_same_bits(device: torch.device) -> None:
    features = random_features((2, 30, 40, 32)).to(device).bfloat16()
    layer = packed_layer(network.random_layer(32, 32, 3, 0), 32, device)
    layers = packed_head(network.random_head(32, (48,), 2, 3), 32, device)
    for run in (
        lambda: trunk_layer(features, *layer, 3, 1, 1, 1),
        lambda: head(features, *layers, 2, 3, 2, 1),
    ):
        one, *others = over_threads(run)
        assert all(torch.equal(one, other) for other in others)


def test_nothing_in_nothing_out(device: torch.device) -> None:
    layer = packed_layer(network.random_layer(32, 40, 3, 0), 32, device)
    layers = packed_head(network.random_head(32, (32,), 2, 3), 32, device)
    for shape, rows, columns in (
        ((0, 5, 18, 32), 3, 16),
        ((2, 0, 20, 32), 0, 18),
        ((2, 2, 18, 32), 0, 16),
        ((2, 5, 2, 32), 3, 0),
    ):
        features = torch.zeros(shape, device=device, dtype=torch.bfloat16)
        for x in (features, features.to("meta")):
            assert trunk_layer(x, *layer, 3, 1, 0, 1).shape == (shape[0], rows, columns, 64)
            assert head(x, *layers, 2, 3, 1, 1).shape == (shape[0], 6, rows, columns)


def test_errors_of_the_trunk(device: torch.device) -> None:
    features = random_features((1, 8, 20, 32)).to(device).bfloat16()
    weight, bias = packed_layer(network.random_layer(32, 40, 3, 0), 32, device)
    good: dict[str, Any] = {"features": features, "weight": weight, "bias": bias}
    good |= {"kernel_size": 3, "dilation": 1, "pool_stride": 1, "pool_dilation": 1}
    assert trunk_layer(**good).shape == (1, 5, 17, 64)
    packing = r"weight must be packed as a contiguous \[2, 288, 32\], got"
    for name, wrong, message in (
        ("features", features.float(), r"features must be one of bfloat16, got float32 \[1, 8, 20"),
        ("features", features[0], r"features must be \[B, h, w, C\] .* got bfloat16 \[8, 20, 32\]"),
        ("features", features.movedim(1, 3), "features must be .* side by side"),
        ("features", features[..., :16], "features must have a multiple of 32 channels, got"),
        ("features", features[:, :, :17], "features must leave at least 16 windows in a row, got"),
        ("weight", weight.float(), "weight must be one of bfloat16, got float32"),
        ("weight", weight[:1], packing),
        ("weight", weight[:, 32:], packing),
        ("bias", bias.bfloat16(), "bias must be one of float32, got bfloat16"),
        ("bias", bias[:48], "bias must be filled up to a multiple of 32"),
        ("bias", bias[:0], "bias must be filled up to a multiple of 32"),
        ("bias", bias[:32], r"weight must be packed as a contiguous \[1, 288, 32\]"),
        ("kernel_size", -3, "kernel_size"),
        ("dilation", 0, "dilation"),
        ("pool_stride", -1, "pool_stride at least 0, got 3, 1, 1 and -1"),
        ("pool_dilation", 0, "pool_dilation must be at least 1"),
    ):
        with pytest.raises(RuntimeError, match=message):
            trunk_layer(**{**good, name: wrong})


def test_errors_of_the_head(device: torch.device) -> None:
    features = random_features((1, 8, 20, 32)).to(device).bfloat16()
    names = ("weight", "bias", "last_weight", "last_bias")
    layers = network.random_head(32, (40,), 2, 3)
    packed = dict(zip(names, packed_head(layers, 32, device), strict=True))
    weight, bias, last_weight, last_bias = packed.values()
    good: dict[str, Any] = {"features": features, **packed, "num_votes": 2}
    good |= {"kernel_size": 3, "dilation": 1, "stride": 1}
    assert head(**good).shape == (1, 6, 6, 18)
    last_packing = r"the last weight must be a contiguous \[6, 64\] and its bias as long"
    for name, wrong, message in (
        ("features", features.float(), "features must be one of bfloat16, got float32"),
        ("features", features[:, :, :17], "features must leave at least 16 windows in a row, got"),
        ("features", features[..., :16], "features must have a multiple of 32 channels, got"),
        ("weight", weight.float(), "weight must be one of bfloat16, got float32"),
        ("weight", weight[:, 32:], r"weight must be packed as a contiguous \[2, 288, 32\], got"),
        ("bias", bias[:48], "bias must be filled up to a multiple of 32"),
        ("last_weight", last_weight.bfloat16(), "the last weight must be one of float32"),
        ("last_weight", last_weight[:, :40], last_packing),
        ("last_bias", last_bias[:5], last_packing),
        ("num_votes", 0, "num_votes, .* must be at least 1, got 0, 3, 1 and 1"),
        ("kernel_size", 0, "kernel_size, .* must be at least 1"),
        ("dilation", 0, "dilation and stride must be at least 1"),
        ("stride", 0, "stride must be at least 1, got 2, 3, 1 and 0"),
        ("stride", 2, "features must leave at least 16 windows in a row, got"),
    ):
        with pytest.raises(RuntimeError, match=message):
            head(**{**good, name: wrong})
