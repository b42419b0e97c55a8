"""The convolution by Winograd's algorithm, as an operator: values, layouts, threads, errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from native import network, winograd
from support import (
    assert_near,
    map_layouts,
    over_threads,
    packed,
    random_features,
    skip_without_kernel,
)
from torch import Tensor, nn
from torch.nn import functional as F

from dvfast._packing import Convolution, pack_convolution, winograd_weight

winograd_convolution = torch.ops.dvfast.winograd_convolution

# A few times what has been seen, of outputs of about 1.
ABSOLUTE = 2e-4


@pytest.fixture(autouse=True)
def _kernel(device: torch.device) -> None:
    skip_without_kernel("winograd_convolution", device)


def random_maps(
    widths: Sequence[int], batch: int, height: int, width: int, enlarged: bool = False
) -> list[Tensor]:
    """So many channels each; the first of half the height and width, to be enlarged."""
    factors = [2 if enlarged and m == 0 else 1 for m in range(len(widths))]
    return [
        random_features((batch, height // n, width // n, channels), seed)
        for seed, (channels, n) in enumerate(zip(widths, factors, strict=True))
    ]


def joined(maps: Sequence[Tensor]) -> Tensor:
    """As one map ``[B, C, h, w]`` of float64."""
    size = maps[-1].shape[1:3]
    return torch.cat([F.interpolate(x.double().movedim(3, 1), size) for x in maps], dim=1)


def convolved(maps: Sequence[Tensor], layer: network.Layer) -> Tensor:
    """By PyTorch in float64."""
    weight, bias = (torch.from_numpy(x).to(maps[0].device) for x in (layer.weight, layer.bias))
    return F.conv2d(joined(maps), weight.double(), bias.double(), padding=1).relu().movedim(1, 3)


def maxima(output: Tensor) -> Tensor:
    return F.max_pool2d(output.movedim(3, 1), 2).movedim(1, 3)


def packed_for_winograd(
    layer: network.Layer, channels: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    return packed(winograd.transformed(layer), channels, device)


@pytest.mark.parametrize("outputs", [16, 40, 80])
@pytest.mark.parametrize(
    ("widths", "enlarged"), [((16,), False), ((48,), False), ((16, 32), True), ((32, 16), False)]
)
def test_agrees_with_convolution(
    device: torch.device, widths: tuple[int, ...], enlarged: bool, outputs: int
) -> None:
    layer = network.random_layer(sum(widths), outputs, 3, 0)
    weight, bias = packed_for_winograd(layer, sum(widths), device)
    sizes = [(2, 12, 10), (1, 2, 28), (3, 14, 2)]
    if not enlarged:
        sizes += [(1, 7, 13), (5, 1, 1), (1, 23, 4)]
    for batch, height, width in sizes:
        maps = [x.to(device) for x in random_maps(widths, batch, height, width, enlarged)]
        expected = convolved(maps, layer)
        even = height % 2 == 0 and width % 2 == 0
        results = [
            winograd_convolution([*parts], weight, bias, 0, 0, True, even)
            for parts in zip(*map(map_layouts, maps), strict=True)
        ]
        output, pooled = results[0]
        assert_near(output[..., :outputs], expected, absolute=ABSOLUTE)
        assert output.shape[3] == len(bias)
        assert not output[..., outputs:].any()
        assert torch.equal(pooled, maxima(output) if even else pooled[:0])
        for result in results[1:]:
            for x, y in zip(result, results[0], strict=True):
                assert x.is_contiguous()
                assert torch.equal(x, y)


def test_what_is_not_wanted_is_empty(device: torch.device) -> None:
    maps = [x.to(device) for x in random_maps((16, 16), 2, 10, 14, enlarged=True)]
    weight, bias = packed_for_winograd(network.random_layer(32, 32, 3, 0), 32, device)
    output, pooled = winograd_convolution(maps, weight, bias, 0, 0, True, True)
    nothing, no_maxima = output[:0], pooled[:0]
    for full, wants_maxima, expected in (
        (True, False, (output, no_maxima)),
        (False, True, (nothing, pooled)),
        (False, False, (nothing, no_maxima)),
    ):
        results = winograd_convolution(maps, weight, bias, 0, 0, full, wants_maxima)
        for x, y in zip(results, expected, strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("outputs", [16, 48])
def test_rows_above_and_below_are_seen_but_not_made(device: torch.device, outputs: int) -> None:
    features = random_features((2, 30, 8, 16)).to(device)
    layer = network.random_layer(16, outputs, 3, 0)
    arguments = packed_for_winograd(layer, 16, device)
    expected = convolved([features], layer)
    output, pooled = winograd_convolution([features], *arguments, 0, 0, True, True)
    for begin, end in ((0, 30), (0, 12), (6, 18), (12, 30), (4, 20), (20, 22), (29, 29), (5, 30)):
        above, below = min(1, begin), min(1, 30 - end)
        band = features[:, begin - above : end + below]
        even = (end - begin) % 2 == 0
        rows, rows_pooled = winograd_convolution([band], *arguments, above, below, True, even)
        assert_near(rows, expected[:, begin:end], absolute=ABSOLUTE)
        if begin % 6 == 0 and end % 6 == 0:  # whole tiles
            assert torch.equal(rows, output[:, begin:end])
            assert torch.equal(rows_pooled, pooled[:, begin // 2 : end // 2])
        every = winograd_convolution([features], *arguments, begin, 30 - end, True, False)[0]
        assert_near(every, expected[:, begin:end], absolute=ABSOLUTE)


def test_every_number_of_threads_gives_the_same_bits(device: torch.device) -> None:
    maps = [x.to(device) for x in random_maps((16, 16), 2, 60, 62, enlarged=True)]
    weight, bias = packed_for_winograd(network.random_layer(32, 48, 3, 0), 32, device)
    one, *others = over_threads(lambda: winograd_convolution(maps, weight, bias, 0, 0, True, True))
    assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_not_finite(device: torch.device, number: float) -> None:
    features = random_features((1, 18, 18, 16)).to(device)
    features[0, 8, 8, 3] = number
    layer = network.random_layer(16, 32, 3, 0)
    weight, bias = packed_for_winograd(layer, 16, device)
    output, pooled = winograd_convolution([features], weight, bias, 0, 0, True, True)
    # Only the tile that sees it differs, and there every output whose window holds it.
    outside = torch.ones(18, 18, dtype=torch.bool, device=device)
    outside[6:12, 6:12] = False
    expected = convolved([features], layer)
    assert_near(output[:, outside], expected[:, outside], absolute=ABSOLUTE)
    assert not output[0, 7:10, 7:10].isfinite().any()
    assert pooled[0, 3:5, 3:5].isfinite().logical_not().all()
    assert torch.equal(pooled.isfinite(), maxima(output).isfinite())


def test_packs_as_the_kernel_takes_it(device: torch.device) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(12 + 20, 24, 3, padding=1).to(device)
    layer = pack_convolution(Convolution(plain), [12, 20], 16)
    weight = winograd_weight(layer.weight, layer.kernel_size)
    maps = [x.to(device) for x in random_maps((12, 20), 1, 8, 12, enlarged=True)]
    filled = [F.pad(x, (0, -x.shape[3] % 16)) for x in maps]
    output, _ = winograd_convolution(filled, weight, layer.bias, 0, 0, True, False)
    expected = plain.double()(joined(maps)).relu().movedim(1, 3)
    assert_near(output[..., :24], expected, absolute=ABSOLUTE)
    assert not output[..., 24:].any()


def test_nothing_in_nothing_out(device: torch.device) -> None:
    weight, bias = packed_for_winograd(network.random_layer(32, 48, 3, 0), 32, device)
    for widths, shape, around in (
        ((32,), (0, 8, 6), (1, 3)),
        ((32,), (2, 0, 6), (0, 0)),
        ((32,), (2, 8, 0), (1, 1)),
        ((32,), (2, 3, 6), (1, 2)),
        ((16, 16), (0, 8, 6), (0, 0)),
        ((16, 16), (2, 0, 6), (0, 0)),
        ((16, 16), (2, 8, 0), (0, 0)),
    ):
        batch, height, width = shape[0], shape[1] - sum(around), shape[2]
        for place in (device, "meta"):
            maps = [x.to(place) for x in random_maps(widths, *shape, enlarged=len(widths) > 1)]
            output, pooled = winograd_convolution(maps, weight, bias, *around, True, True)
            assert output.shape == (batch, height, width, 48)
            assert pooled.shape == (batch, height // 2, width // 2, 48)


def test_errors(device: torch.device) -> None:
    fine = random_features((1, 8, 12, 16)).to(device)
    coarse = random_features((1, 4, 6, 16)).to(device)
    weight, bias = packed_for_winograd(network.random_layer(32, 40, 3, 0), 32, device)
    good: dict[str, Any] = {"maps": [coarse, fine], "weight": weight, "bias": bias}
    good |= {"above": 0, "below": 0, "full": True, "pooled": True}
    assert winograd_convolution(**good)[0].shape == (1, 8, 12, 48)
    side_by_side = r"maps must be \[B, h, w, C\] with the channels of a pixel side by side, got"
    sizes = r"maps must have the size of the last of them or half of it, got float32 "
    packing = r"weight must be packed as a contiguous \[2, 2048, 32\], got"
    around = "above and below must be at least 0 and together at most"
    for name, wrong, message in (
        ("maps", [], "maps must be 1 to 2, got 0"),
        ("maps", [coarse, fine, fine], "maps must be 1 to 2, got 3"),
        ("maps", [coarse.double(), fine], r"maps must be one of float32, got float64 \[1, 4, 6"),
        ("maps", [coarse, fine.half()], r"maps must be one of float32, got float16 \[1, 8, 12"),
        ("maps", [fine[0]], side_by_side + r" float32 \[8, 12, 16\]"),
        ("maps", [coarse.movedim(1, 3), fine], side_by_side),
        ("maps", [coarse, fine.movedim(1, 3).contiguous().movedim(3, 1)], side_by_side),
        ("maps", [coarse[..., :12], fine], r"maps must have a multiple of 16 channels, got .*12\]"),
        ("maps", [coarse, fine[..., :8]], r"maps must have a multiple of 16 channels, got .*8\]"),
        ("maps", [coarse[:, :3], fine], sizes + r"\[1, 3, 6, 16\] for float32 \[1, 8, 12, 16\]"),
        ("maps", [coarse[:, :, :5], fine], sizes + r"\[1, 4, 5, 16\]"),
        ("maps", [fine[:, :4], fine], sizes + r"\[1, 4, 12, 16\]"),
        ("maps", [fine[:, :, :6], fine], sizes + r"\[1, 8, 6, 16\]"),
        ("maps", [coarse, fine[:, :7]], sizes + r"\[1, 4, 6, 16\] for float32 \[1, 7, 12, 16\]"),
        ("maps", [fine, coarse], sizes + r"\[1, 8, 12, 16\] for float32 \[1, 4, 6, 16\]"),
        ("maps", [coarse[:0], fine], sizes + r"\[0, 4, 6, 16\]"),
        ("maps", [fine], r"weight must be packed as a contiguous \[2, 1024, 32\], got"),
        ("maps", [fine[:, :, 1:].repeat(1, 1, 1, 2)], "even sides .* got 8 x 11"),
        ("above", 1, f"{around} 0, got 1 and 0"),
        ("below", 1, f"{around} 0, got 0 and 1"),
        ("above", -1, f"{around} 0, got -1 and 0"),
        ("weight", weight.double(), "weight must be one of float32, got float64"),
        ("weight", weight[:, 64:], packing),
        ("weight", weight[:1], packing),
        ("weight", weight.flatten(1), packing),
        ("weight", weight.transpose(0, 1).contiguous().transpose(0, 1), packing),
        ("bias", bias.double(), "bias must be one of float32, got float64"),
        ("bias", bias[:40], r"bias must be filled up to a multiple of 16, got float32 \[40\]"),
        ("bias", bias[:0], "bias must be filled up to a multiple of 16"),
        ("bias", bias[:32], r"weight must be packed as a contiguous \[1, 2048, 32\], got"),
        ("bias", bias[:, None], "bias must be contiguous with one dimension"),
    ):
        with pytest.raises(RuntimeError, match=message):
            winograd_convolution(**{**good, name: wrong})
    # One map may have rows above and below.
    good |= {"maps": [torch.cat((fine, fine), dim=3)]}
    largest = 2**63 - 1
    for above, below, message in (
        (-1, 0, f"{around} 8, got -1 and 0"),
        (0, -1, f"{around} 8, got 0 and -1"),
        (9, 0, f"{around} 8, got 9 and 0"),
        (4, 5, f"{around} 8, got 4 and 5"),
        (largest, largest, f"{around} 8, got {largest} and {largest}"),
        (1, 0, "the output must have even sides where there is pooling, got 7 x 12"),
    ):
        with pytest.raises(RuntimeError, match=message):
            winograd_convolution(**{**good, "above": above, "below": below})
    assert winograd_convolution(**{**good, "above": 4, "below": 4})[0].shape == (1, 0, 12, 48)
