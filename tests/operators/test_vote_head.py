"""The head: fully connected layers over windows of the features, and the hybrid activation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from native import network
from support import (
    assert_near,
    map_layouts,
    over_threads,
    packed_head,
    random_features,
    votes_by_convolutions,
)
from torch import Tensor

vote_head = torch.ops.dvfast.vote_head

# Two layers of up to 1200 products whose sums are about 1.
ABSOLUTE = 3e-5
# channels, hidden, number of votes, kernel size, dilation, stride
HEADS: list[tuple[int, tuple[int, ...], int, int, int, int]] = [
    (32, (1024,), 2, 5, 4, 1),
    (32, (272,), 1, 5, 2, 1),
    (48, (16,), 5, 5, 1, 1),
    (16, (), 2, 5, 4, 3),
    (3, (), 6, 2, 1, 1),
    (20, (40,), 3, 3, 1, 2),
    (1, (32, 48), 4, 2, 3, 1),
    (16, (16, 40, 8, 16, 16, 24, 16), 1, 1, 1, 5),
]


@pytest.mark.parametrize(
    ("channels", "hidden", "num_votes", "kernel_size", "dilation", "stride"), HEADS
)
def test_agrees_with_convolutions(
    device: torch.device,
    channels: int,
    hidden: tuple[int, ...],
    num_votes: int,
    kernel_size: int,
    dilation: int,
    stride: int,
) -> None:
    layers = network.random_head(channels, hidden, num_votes, kernel_size)
    reach = (kernel_size - 1) * dilation
    geometry = (num_votes, kernel_size, dilation, stride)
    for batch, height, width in ((2, 4, 9), (1, 1, 23), (5, 1, 1), (1, 13, 1)):
        features = random_features((batch, height + reach, width + reach, channels)).to(device)
        expected = votes_by_convolutions(features, layers, dilation, stride)
        weights, biases = packed_head(layers, channels, device)
        results = [vote_head(x, weights, biases, *geometry) for x in map_layouts(features)]
        assert_near(results[0], expected, absolute=ABSOLUTE)
        for result in results[1:]:
            assert result.is_contiguous()
            assert torch.equal(result, results[0])


def test_every_device_and_number_of_threads_gives_the_same_bits(device: torch.device) -> None:
    features = random_features((2, 30, 31, 16))
    weights, biases = packed_head(network.random_head(16, (272,), 2, 3), 16)

    def run(where: torch.device) -> Tensor:
        layers = ([x.to(where) for x in part] for part in (weights, biases))
        return vote_head(features.to(where), *layers, 2, 3, 2, 1).cpu()

    expected = run(torch.device("cpu"))
    for actual in over_threads(lambda: run(device)):
        assert torch.equal(actual, expected.flatten())


def test_a_vote_is_the_same_alone_and_in_a_larger_image(device: torch.device) -> None:
    features = random_features((2, 16, 40, 16)).to(device)
    for hidden in ((), (48,), (16, 32)):
        layers = packed_head(network.random_head(16, hidden, 2, 5), 16, device)
        whole = vote_head(features, *layers, 2, 5, 2, 1)
        for b, y, x in ((0, 0, 0), (1, 7, 31), (0, 3, 17)):
            alone = vote_head(features[b : b + 1, y : y + 9, x : x + 9], *layers, 2, 5, 2, 1)
            assert torch.equal(alone[0, :, 0, 0], whole[b, :, y, x])
        # All patches at once, as one batch.
        patches = features.unfold(1, 9, 1).unfold(2, 9, 1).permute(0, 1, 2, 4, 5, 3)
        votes = vote_head(patches.flatten(0, 2), *layers, 2, 5, 2, 1)
        assert torch.equal(votes.reshape(2, 8, 32, 6).movedim(3, 1), whole)


@pytest.mark.parametrize("hidden", [(), (32,), (16, 32)], ids=str)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_not_finite(device: torch.device, number: float, hidden: tuple[int, ...]) -> None:
    features = random_features((1, 7, 15, 16)).to(device)
    features[0, 3, 6, 5] = number
    layers = network.random_head(16, hidden, 2, 3)
    votes = vote_head(features, *packed_head(layers, 16, device), 2, 3, 1, 1)
    assert_near(votes, votes_by_convolutions(features, layers), absolute=ABSOLUTE)


def test_nothing_in_nothing_out(device: torch.device) -> None:
    weights, biases = packed_head(network.random_head(16, (16,), 2, 3), 16, device)
    for shape, stride, expected in (
        ((0, 5, 5, 16), 1, (0, 6, 3, 3)),
        ((0, 3, 3, 16), 1, (0, 6, 1, 1)),
        ((2, 0, 5, 16), 2, (2, 6, 0, 2)),
        ((2, 5, 2, 16), 1, (2, 6, 3, 0)),
    ):
        features = torch.zeros(shape, device=device)
        for x in (features, features.to("meta")):
            layers = ([tensor.to(x.device) for tensor in tensors] for tensors in (weights, biases))
            assert vote_head(x, *layers, 2, 3, 1, stride).shape == expected


def test_errors(device: torch.device) -> None:
    features = random_features((1, 8, 9, 16)).to(device)
    weights, biases = packed_head(network.random_head(16, (20, 33), 2, 3), 16, device)
    first, second, last = weights
    good: dict[str, Any] = {"features": features, "weights": weights, "biases": biases}
    good |= {"num_votes": 2, "kernel_size": 3, "dilation": 1, "stride": 1}
    assert vote_head(**good).shape == (1, 6, 6, 7)
    last_packing = r"the last weight must be a contiguous \[6, 48\] and its bias as long"
    layers = "weights and biases must be of 1 to 8 layers, got"
    for name, wrong, message in (
        ("features", features.double(), r"features must be one of float32, got float64 \[1, 8, 9"),
        ("features", features[0], r"features must be \[B, h, w, C\] .* got float32 \[8, 9, 16\]"),
        ("features", features.movedim(1, 3), "features must be .* side by side"),
        ("features", features[..., :8], r"weight must be packed as a contiguous \[1, 72, 32\]"),
        ("weights", [], f"{layers} 0 and 3"),
        ("weights", weights[:2], f"{layers} 2 and 3"),
        ("weights", [first, *[second] * 7, last], f"{layers} 9 and 3"),
        ("weights", [first.double(), second, last], "weight must be one of float32, got float64"),
        ("weights", [first[:, 1:], second, last], r"weight must be packed .*\[1, 144, 32\], got"),
        ("weights", [first, second[:1], last], r"weight must be packed .*\[2, 32, 32\], got"),
        ("weights", [first, second, last[:3]], last_packing),
        ("weights", [first, second, last[:, :33]], last_packing),
        ("weights", [first, second, last.T.contiguous().T], last_packing),
        ("weights", [first, second, last.half()], "the last weight must be one of float32"),
        ("biases", [*biases[:2], biases[2][:5]], last_packing),
        ("biases", [*biases[:2], biases[2].double()], "the last bias must be one of float32"),
        ("biases", [biases[0][:20], *biases[1:]], "bias must be filled up to a multiple of 16"),
        ("biases", [*biases[:2], biases[2][None]], "the last bias must be contiguous with one dim"),
        ("num_votes", 3, r"the last weight must be a contiguous \[9, 48\]"),
        ("num_votes", 0, "num_votes, .* must be at least 1, got 0, 3, 1 and 1"),
        ("kernel_size", 0, "kernel_size, .* must be at least 1"),
        ("dilation", 0, "dilation and stride must be at least 1"),
        ("stride", 0, "stride must be at least 1, got 2, 3, 1 and 0"),
    ):
        with pytest.raises(RuntimeError, match=message):
            vote_head(**{**good, name: wrong})
    alone = packed_head(network.random_head(16, (), 2, 3), 16, device)
    with pytest.raises(RuntimeError, match="the last layer has 16 outputs, 6 votes need 18"):
        vote_head(features, *alone, 6, 3, 1, 1)


@pytest.mark.cuda
def test_all_must_be_on_one_device() -> None:
    features = random_features((1, 8, 9, 16)).cuda()
    on_cpu = packed_head(network.random_head(16, (16,), 2, 3), 16)
    weights, biases = ([x.cuda() for x in part] for part in on_cpu)
    for wrong_weights, wrong_biases, name in (
        ([on_cpu[0][0], weights[1]], biases, "weight"),
        ([weights[0], on_cpu[0][1]], biases, "the last weight"),
        (weights, [on_cpu[1][0], biases[1]], "bias"),
        (weights, [biases[0], on_cpu[1][1]], "the last bias"),
    ):
        with pytest.raises(RuntimeError, match=f"{name} must be on the device of features"):
            vote_head(features, wrong_weights, wrong_biases, 2, 3, 1, 1)
