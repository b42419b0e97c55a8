"""Calls of the operators themselves, with sizes that no memory holds: refused, or done at once.

Expanded tensors have such sizes without the memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dvfast
from dvfast._library import arithmetic_peak, ops


def wide(*shape: int) -> Tensor:
    return torch.zeros(1).expand(*shape)


def panels(taps: int) -> Tensor:
    return torch.zeros(1, taps, 32)


BIAS = torch.zeros(16)


def unet_of_channels_that_wrap() -> Any:
    channels = (2 + 2**64) // 9  # 9 * channels is 2, modulo 2^64
    weights = [panels(2), panels(64), panels(64), panels(64), panels(16)]
    places = torch.zeros(16, dtype=torch.long), torch.zeros(2, dtype=torch.long)
    return ops.winograd_unet(wide(1, 1, 1, channels), *places, weights, [BIAS] * 5, [1, 1], 1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.trunk_layer(wide(1, 2**30, 2**30, 1), panels(1), BIAS, 1, 1, 1, 2**30 - 1),
            "pool_dilation must not ask for more rows",
        ),
        (unet_of_channels_that_wrap, "weight must be of at most"),
        (
            lambda: ops.vote_map(torch.ones(1, 3, 5, 1), 4, 4, 2**62, 0.0, 0.0, math.inf, 0),
            "stride must be between 1 and",
        ),
        *(
            (
                lambda offset=offset: ops.vote_targets(
                    torch.ones(1, 2), torch.tensor([0, 1]), 4, 4, 1, 1.0, 2.0, 0.1, 1, 0.0, offset
                ),
                "offset must be ",
            )
            for offset in (math.nan, math.inf, -math.inf, 1e300)
        ),
        (
            lambda: dvfast.vote_map(torch.zeros(1, 3, 2, 2), (2**25, 2**25)),
            "torch makes no tensor of .* not enough memory",
        ),
    ],
)
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()


def test_a_dilation_that_is_not_used_does_not_matter() -> None:
    features, weight = torch.ones(1, 3, 4, 1), panels(1)
    expected = ops.trunk_layer(features, weight, BIAS, 1, 1, 0, 1)
    for dilation in (2**60, 2**63 - 1):
        assert torch.equal(ops.trunk_layer(features, weight, BIAS, 1, 1, 0, dilation), expected)


def test_a_tile_for_every_phase_that_has_votes() -> None:
    side, dilation = 2**28 + 1, 2**26  # one window of five, 2^26 apart
    last = torch.zeros(3, 16), torch.ones(3)
    votes = ops.winograd_head(
        torch.zeros(16).expand(1, side, side, 16), panels(1024), BIAS, *last, 1, dilation
    )
    assert votes.shape == (1, 3, 1, 1)
    assert torch.equal(votes[0, 1:].flatten(), torch.ones(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: dvfast.vote_density(torch.zeros(1, 3, 2, 2), (2**40, 0), sigma=2.0),
        lambda: dvfast.vote_map(torch.zeros(1, 0, 2 * 10**11, 2), (4, 4)),
        lambda: dvfast.vote_map(torch.zeros(1, 3, 2 * 10**11, 0), (4, 4)),
        lambda: dvfast.parzen_density(torch.zeros(1, 3, 2 * 10**11, 0), (4, 4)),
        lambda: ops.find_peaks(torch.empty(2**40, 0), 0.5, True, 1),
        lambda: dvfast.vote_targets(torch.zeros(0, 2), (2**40, 0), 1, r1=1, r2=2),
    ],
)
def test_nothing_takes_no_time(call: Callable[[], Tensor]) -> None:
    start = time.monotonic()
    assert not call().any()
    assert time.monotonic() - start < 10  # as many steps as pixels would take days


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: ops.trunk_layer(wide(1, 4, 4, 1), panels(1).to(a), BIAS.to(b), 1, 1, 0, 1),
        lambda a, b: ops.vote_head(wide(1, 4, 4, 16), [panels(16).to(a)], [BIAS.to(b)], 1, 1, 1, 1),
        lambda a, b: ops.hybrid_activation_backward(
            torch.ones(1, 3, 2, 2, device=a), torch.ones(1, 3, 2, 2, device=b)
        ),
        lambda a, b: ops.voting_loss_backward(
            torch.ones((), device=a), torch.ones(1, 3, 2, 2, device=b)
        ),
    ],
)
def test_a_tensor_without_data_among_others_is_refused(call: Callable[..., Any]) -> None:
    for devices in (("cpu", "meta"), ("meta", "cpu")):
        with pytest.raises(RuntimeError, match="must be on one device, got cpu and meta"):
            call(*devices)


@pytest.mark.parametrize("threads", [-1, 0, 2**31 - 1])
def test_no_threads_and_too_many_have_no_peak(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads must be from 1 to 4096, got {threads}"):
        arithmetic_peak("vector", threads, 1)
