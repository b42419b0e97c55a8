"""The head by Winograd's algorithm, as an operator: values, layouts, threads, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from native import network, winograd
from support import (
    assert_near,
    map_layouts,
    over_threads,
    packed_head,
    random_features,
    skip_without_kernel,
    votes_by_convolutions,
)
from torch import Tensor

winograd_head = torch.ops.dvfast.winograd_head

# A few times what has been seen, of votes of about 1.
ABSOLUTE = 1e-4


@pytest.fixture(autouse=True)
def _kernel(device: torch.device) -> None:
    skip_without_kernel("winograd_head", device)


def packed_for_winograd(
    layers: list[network.Layer], channels: int, device: torch.device
) -> tuple[Tensor, ...]:
    """Weight and bias of the first layer and of the last."""
    first, last = layers
    weights, biases = packed_head([winograd.transformed(first), last], channels, device)
    return weights[0], biases[0], weights[1], biases[1]


@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("channels", "hidden", "num_votes"), [(32, 1024, 2), (16, 40, 1), (48, 16, 5)]
)
def test_agrees_with_convolutions(
    device: torch.device, channels: int, hidden: int, num_votes: int, dilation: int
) -> None:
    layers = network.random_head(channels, (hidden,), num_votes)
    packed = packed_for_winograd(layers, channels, device)
    reach = 4 * dilation
    for batch, height, width in ((2, 4, 9), (1, 1, 23), (5, 1, 1), (1, 13, 2)):
        features = random_features((batch, height + reach, width + reach, channels)).to(device)
        expected = votes_by_convolutions(features, layers, dilation)
        results = [winograd_head(x, *packed, num_votes, dilation) for x in map_layouts(features)]
        assert_near(results[0], expected, absolute=ABSOLUTE)
        for result in results[1:]:
            assert result.is_contiguous()
            assert torch.equal(result, results[0])


def test_every_number_of_threads_gives_the_same_bits(device: torch.device) -> None:
    features = random_features((2, 30, 31, 16)).to(device)
    packed = packed_for_winograd(network.random_head(16, (48,), 2), 16, device)
    one, *others = over_threads(lambda: winograd_head(features, *packed, 2, 2))
    assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_not_finite(device: torch.device, number: float) -> None:
    features = random_features((1, 16, 16, 16)).to(device)
    features[0, 5, 5, 3] = number
    layers = network.random_head(16, (32,), 1)
    votes = winograd_head(features, *packed_for_winograd(layers, 16, device), 1, 1)
    # Only tiles that see it differ, and there every vote whose window holds it.
    expected = votes_by_convolutions(features, layers)
    assert_near(votes[:, :, 8:], expected[:, :, 8:], absolute=ABSOLUTE)
    assert_near(votes[:, :, :, 8:], expected[:, :, :, 8:], absolute=ABSOLUTE)
    assert not votes[0, :, 1:6, 1:6].isfinite().any()


def test_nothing_in_nothing_out(device: torch.device) -> None:
    packed = packed_for_winograd(network.random_head(16, (16,), 2), 16, device)
    for shape, dilation, expected in (
        ((0, 7, 7, 16), 1, (0, 6, 3, 3)),
        ((2, 0, 5, 16), 1, (2, 6, 0, 1)),
        ((2, 9, 8, 16), 2, (2, 6, 1, 0)),
    ):
        features = torch.zeros(shape, device=device)
        for x in (features, features.to("meta")):
            layers = (tensor.to(x.device) for tensor in packed)
            assert winograd_head(x, *layers, 2, dilation).shape == expected


def test_errors(device: torch.device) -> None:
    features = random_features((1, 8, 9, 16)).to(device)
    layers = network.random_head(16, (40,), 2)
    names = ("weight", "bias", "last_weight", "last_bias")
    packed = dict(zip(names, packed_for_winograd(layers, 16, device), strict=True))
    weight, bias, last_weight, last_bias = packed.values()
    good: dict[str, Any] = {"features": features, **packed, "num_votes": 2, "dilation": 1}
    assert winograd_head(**good).shape == (1, 6, 4, 5)
    packing = r"weight must be packed as a contiguous \[2, 1024, 32\], got"
    last_packing = r"the last weight must be a contiguous \[6, 48\] and its bias as long"
    for name, wrong, message in (
        ("features", features.double(), r"features must be one of float32, got float64 \[1, 8, 9"),
        ("features", features[0], r"features must be \[B, h, w, C\] .* got float32 \[8, 9, 16\]"),
        ("features", features.movedim(1, 3), "features must be .* side by side"),
        ("features", features[..., :12], "features must have a multiple of 16 channels, got"),
        ("weight", weight.double(), "weight must be one of float32, got float64"),
        ("weight", weight[:, :400], packing),
        ("weight", weight[:1], packing),
        ("bias", bias[:40], "bias must be filled up to a multiple of 16"),
        ("bias", bias[:32], r"weight must be packed as a contiguous \[1, 1024, 32\]"),
        ("last_weight", last_weight[:, :40], last_packing),
        ("last_weight", last_weight.half(), "the last weight must be one of float32"),
        ("last_bias", last_bias[:5], last_packing),
        ("last_bias", last_bias[None], "the last bias must be contiguous with one dim"),
        ("num_votes", 3, r"the last weight must be a contiguous \[9, 48\]"),
        ("num_votes", 0, "num_votes, .* must be at least 1, got 0, 5, 1 and 1"),
        ("dilation", 0, "dilation and stride must be at least 1, got 2, 5, 0 and 1"),
    ):
        with pytest.raises(RuntimeError, match=message):
            winograd_head(**{**good, name: wrong})
