"""What the tests of operators share: layouts, random inputs, thread counts, comparisons."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from native import network
from torch import Tensor, nn
from torch.nn import functional as F

import dvfast
from dvfast import reference
from dvfast._library import cpu_info
from dvfast.nn import DeepVotingNet, VotingUNet
from dvfast.nn.deep_voting_net import PATCH_SIZE
from dvfast.scan import pad_image

# Shapes of votes [B, 3k, h, w]: odd sizes, k from 1 to 7, one pixel, nothing at all.
VOTE_SHAPES = [
    (1, 3, 1, 1),
    (2, 3, 5, 7),
    (3, 6, 13, 9),
    (1, 9, 1, 33),
    (2, 12, 31, 1),
    (1, 15, 17, 16),
    (2, 18, 3, 8),
    (1, 21, 11, 10),
    (0, 6, 4, 4),
    (2, 6, 0, 5),
    (2, 6, 5, 0),
]
REAL_DTYPES = [torch.float32, torch.float64]
FLOATING_DTYPES = [*REAL_DTYPES, torch.bfloat16, torch.float16]
THREAD_COUNTS = (1, 2, 7)

# Half a unit in the last place is what rounding a result costs; the rest of the float32 and
# float64 figures is for the handful of roundings on the way.
ROUNDING = {
    torch.float64: 1e-14,
    torch.float32: 2e-6,
    torch.bfloat16: 2.0**-8,
    torch.float16: 2.0**-10,
}
FIXED_POINT = 2.0**-30  # unit in which votes are summed


# The operators that sum votes, each as a function of (votes, size, **grid).
DENSITIES: dict[str, Callable[..., Tensor]] = {
    "vote_map": dvfast.vote_map,
    "vote_map_bilinear": partial(dvfast.vote_map, interpolation="bilinear"),
    "vote_density": dvfast.vote_density,
    "vote_density_bilinear": partial(dvfast.vote_density, interpolation="bilinear"),
    "parzen_density": dvfast.parzen_density,
    "parzen_density_disc": partial(dvfast.parzen_density, radius=9.0, area="disc"),
}


def tiny_net(hidden: tuple[int, ...] = (8,), seed: int = 0) -> DeepVotingNet:
    torch.manual_seed(seed)
    return DeepVotingNet(num_votes=2, channels=(4, 4, 4), hidden=hidden)


def small_unet(**settings: Any) -> VotingUNet:
    """With normalisation as after training, and votes that differ from pixel to pixel."""
    torch.manual_seed(0)
    net = VotingUNet(**{"num_votes": 2, "channels": (4, 6, 8), **settings})
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
        net.head.weight.mul_(5)
        net.head.bias.normal_()
    return net.eval()


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(seed))


# What PyTorch's convolutions may differ by: float32 sums in another order.
AGREEMENT = 1e-5


def votes_of_patches(net: DeepVotingNet, image: Tensor) -> Tensor:
    """Of every pixel, by PyTorch and in float64."""
    net = copy.deepcopy(net).double().eval()
    patches = pad_image(image.double(), PATCH_SIZE // 2)
    patches = patches.unfold(2, PATCH_SIZE, 1).unfold(3, PATCH_SIZE, 1)[0].permute(1, 2, 0, 3, 4)
    with torch.no_grad():
        votes = dvfast.hybrid_activation(net(patches.flatten(0, 1)))
    return votes.T.reshape(1, -1, *image.shape[2:])


def random_logits(
    shape: Sequence[int], seed: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Normal numbers: confidences on both sides of one half, offsets of a few pixels."""
    return (3 * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)).to(dtype)


def random_votes(
    shape: Sequence[int],
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    reach: float = 6.0,
) -> Tensor:
    """Confidences in [0, 1), offsets in (-reach, reach), as the dtype holds them."""
    numbers = torch.rand(*shape, generator=generator(seed), dtype=torch.float64)
    is_offset = (torch.arange(shape[1]) % 3 > 0).reshape(1, -1, *[1] * (len(shape) - 2))
    return torch.where(is_offset, (2 * numbers - 1) * reach, numbers).to(dtype)


def random_features(shape: Sequence[int], seed: int = 0) -> Tensor:
    """A map ``[B, h, w, C]`` of the network."""
    return torch.randn(*shape, generator=generator(seed))


def map_layouts(features: Tensor) -> list[Tensor]:
    """The same map, and the same as a part of larger ones: the channels stay side by side."""
    batch, height, width, channels = features.shape
    around = features.new_full((batch, height + 2, width + 3, channels + 5), math.nan)
    window = around[:, 1:-1, 2:-1, 1:-4].copy_(features)
    spread = features.new_full((2 * batch, 2 * height, 3 * width, channels), math.nan)
    return [features, window, spread[::2, 1::2, ::3].copy_(features)]


def skip_without_kernel(name: str, device: torch.device) -> None:
    key = device.type.upper()
    if not torch._C._dispatch_has_kernel_for_dispatch_key(f"dvfast::{name}", key):
        pytest.skip(f"no kernel for {device.type}")
    if name.startswith("bfloat16") and device.type == "cpu" and not cpu_info()["matrix_unit"]:
        pytest.skip("this CPU has no matrix unit")
    if name.startswith("warpgroup") and torch.cuda.get_device_capability(device) != (9, 0):
        pytest.skip("this GPU has no matrix instructions of four warps")


def packed(
    layer: network.Layer, channels: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Weight and bias as the operators take them."""
    weight, bias = layer.packed(channels)
    return torch.from_numpy(weight).to(device), torch.from_numpy(bias).to(device)


def packed_head(
    layers: Sequence[network.Layer], channels: int, device: torch.device | str = "cpu"
) -> tuple[list[Tensor], list[Tensor]]:
    weights, biases = (
        [torch.from_numpy(x).to(device) for x in arrays]
        for arrays in network.packed_head(layers, channels)
    )
    return weights, biases


def convolved_and_pooled(
    features: Tensor, layer: network.Layer, geometry: tuple[int, int, int]
) -> Tensor:
    """The trunk's layer of maps ``[B, h, w, C]``, by PyTorch in float64."""
    dilation, pool_stride, pool_dilation = geometry
    weight, bias = (torch.from_numpy(x).to(features.device) for x in (layer.weight, layer.bias))
    x = features.double().movedim(3, 1)
    x = F.conv2d(x, weight.double(), bias.double(), dilation=dilation).relu()
    if pool_stride:
        x = F.max_pool2d(x, 2, stride=pool_stride, dilation=pool_dilation)
    return x.movedim(1, 3)


def votes_by_convolutions(
    features: Tensor, layers: Sequence[network.Layer], dilation: int = 1, stride: int = 1
) -> Tensor:
    """Of maps ``[B, h, w, C]``, by PyTorch in float64."""
    x = features.double().movedim(3, 1)
    for i, layer in enumerate(layers):
        weight, bias = (torch.from_numpy(p).to(x) for p in (layer.weight, layer.bias))
        if i == 0:
            x = F.conv2d(x, weight, bias, dilation=dilation, stride=stride)
        else:
            x = F.conv2d(x.relu(), weight, bias)
    return reference.hybrid_activation(x)


def votes_landing_on(
    y: Tensor, x: Tensor, confidence: Tensor, *, stride: int = 1, offset: int = 0
) -> Tensor:
    """Votes ``[B, 3k, h, w]`` that land exactly on the given coordinates, each ``[B, k, h, w]``."""
    rows, columns = y.shape[2:]
    voter_y = torch.arange(rows).to(y)[:, None] * stride + offset
    voter_x = torch.arange(columns).to(x) * stride + offset
    return torch.stack([confidence, voter_y - y, voter_x - x], dim=2).flatten(1, 2)


def _channels_innermost(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def _every_second(x: Tensor) -> Tensor:
    # What lies between is NaN, so that reading it shows.
    larger = x.new_full([n if d == 1 else 2 * n for d, n in enumerate(x.shape)], math.nan)
    part = larger[tuple(slice(None) if d == 1 else slice(None, None, 2) for d in range(x.dim()))]
    return part.copy_(x)


def _slice_of_channels(x: Tensor) -> Tensor:
    larger = x.new_full([n + 3 if d == 1 else n for d, n in enumerate(x.shape)], math.nan)
    return larger[:, 2:-1].copy_(x)


def _expanded(x: Tensor) -> Tensor:
    return x[:1].expand_as(x)


def _transposed(x: Tensor) -> Tensor:
    return x.transpose(-1, 0).contiguous().transpose(-1, 0)


# Each gives a tensor of the same shape; all but "expanded" with the same values.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "channels_last": _channels_innermost,
    "every_second": _every_second,
    "slice_of_channels": _slice_of_channels,
    "expanded": _expanded,
    "transposed": _transposed,
}


def plain(x: Tensor) -> Tensor:
    """A contiguous copy, whatever the layout."""
    return x.clone(memory_format=torch.contiguous_format)


def leaf(x: Tensor) -> Tensor:
    """`x` in its own layout, to be differentiated with respect to."""
    return x.detach().requires_grad_()


def gradient_of(output: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    """Zero where `output` does not depend on `x`, as for empty maps of the reference."""
    if not output.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad(output, x, upstream)[0]


def assert_near(
    actual: Tensor, expected: Tensor, *, relative: float | None = None, absolute: float = 0.0
) -> None:
    """Compare with a float64 reference; by default as closely as the dtype of `actual` rounds."""
    assert actual.shape == expected.shape
    relative = ROUNDING[actual.dtype] if relative is None else relative
    torch.testing.assert_close(
        actual.double().cpu(),
        expected.double().cpu(),
        rtol=relative,
        atol=absolute,
        equal_nan=True,
    )


def assert_same_strides(actual: Tensor, expected: Tensor) -> None:
    """The strides of dimensions that are really walked along."""
    assert actual.shape == expected.shape
    walked = [d for d, n in enumerate(actual.shape) if n > 1]
    assert [actual.stride(d) for d in walked] == [expected.stride(d) for d in walked]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For modules that import it: small tensors gain nothing from threads that wait for a core."""
    with threads(1):
        yield


def over_threads(function: Callable[[], Tensor | tuple[Tensor, ...]]) -> list[Tensor]:
    """The results of `function` for every thread count, each as one flat tensor."""
    results = []
    for count in THREAD_COUNTS:
        with threads(count):
            result = function()
            parts = (result,) if isinstance(result, Tensor) else result
            results.append(torch.cat([part.detach().flatten() for part in parts]))
    return results


def peaks(density: Tensor, **settings: float) -> list[tuple[int, int]]:
    """The peaks that the operator finds, in its order; their scores are checked."""
    points, scores = dvfast.find_peaks(density, **settings)
    assert points.dtype == scores.dtype == density.dtype
    index = points.long()
    assert torch.equal(points, index.to(points))
    assert torch.equal(scores, density[index[:, 0], index[:, 1]])
    return [tuple(point) for point in index.tolist()]


def expected_peaks(density: Tensor, **settings: float) -> list[tuple[int, int]]:
    points, _ = reference.find_peaks(density.cpu(), **settings)
    return [tuple(point) for point in points.long().tolist()]


def lengths(target: Tensor) -> Tensor:
    """How far the votes of targets reach: ``[B, 3k, h, w]`` -> ``[B, k, h, w]``."""
    return target.double().unflatten(1, (-1, 3))[:, :, 1:].square().sum(dim=2).sqrt()
