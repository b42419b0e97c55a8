"""A U-Net by Winograd's algorithm, as an operator: values, layouts, threads, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import (
    LAYOUTS,
    assert_near,
    generator,
    over_threads,
    plain,
    skip_without_kernel,
    small_unet,
)
from torch import Tensor

import dvfast
from dvfast._unet_engine import unet_engine_of
from dvfast.nn import VotingUNet

winograd_unet = torch.ops.dvfast.winograd_unet

# A few times what has been seen, of votes of about 1.
ABSOLUTE = 1e-4


@pytest.fixture(autouse=True)
def _kernel(device: torch.device) -> None:
    skip_without_kernel("winograd_unet", device)


def small_net(**settings: Any) -> VotingUNet:
    return small_unet(**{"channels": (4, 20, 8), "output_stride": 2, **settings})


def arguments_of(net: VotingUNet) -> tuple[list[Tensor], list[Tensor], list[int], int, int]:
    """Those that follow the image and its places."""
    weights, biases = unet_engine_of(net)._transformed
    finest = net.output_stride.bit_length() - 1
    return weights, biases, list(net.channels), finest, net.num_votes


def random_image(*shape: int) -> Tensor:
    """``[B, h, w, C]``."""
    return torch.rand(shape, generator=generator(0))


def every(size: int) -> Tensor:
    return torch.arange(size)


@torch.no_grad()
def expected(net: VotingUNet, image: Tensor) -> Tensor:
    """By PyTorch in float64."""
    return dvfast.hybrid_activation(net.folded().double()(image.double().movedim(3, 1)))


@pytest.mark.parametrize(
    "settings",
    [
        {"output_stride": 1},
        {"output_stride": 4},
        {"channels": (16, 32)},
        {"channels": (3, 5, 7, 9, 11), "output_stride": 2},
        {"in_channels": 16, "num_votes": 7},
    ],
    ids=str,
)
def test_agrees_with_the_network(settings: dict[str, Any]) -> None:
    net = small_net(**settings)
    for rows, columns in ((net.grid, 3 * net.grid), (80, 64), (16, 160)):
        image = random_image(2, rows, columns, net.in_channels)
        votes = winograd_unet(image, every(rows), every(columns), *arguments_of(net))
        assert votes.is_contiguous()
        assert_near(votes, expected(net, image), absolute=ABSOLUTE)


def test_takes_the_image_from_its_places() -> None:
    net, image = small_net(), random_image(1, 9, 7, 3)
    rows = torch.randint(-1, 9, (48,), generator=generator(1))
    columns = torch.randint(-1, 7, (36,), generator=generator(2))
    exist = (rows[:, None] >= 0) & (columns >= 0)
    seen = torch.where(exist[..., None], image[:, rows][:, :, columns], 0)
    votes = winograd_unet(image, rows, columns, *arguments_of(net))
    assert torch.equal(votes, winograd_unet(seen, every(48), every(36), *arguments_of(net)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout: str) -> None:
    net, image = small_net(), LAYOUTS[layout](random_image(2, 40, 24, 3))
    places = every(40), every(24)
    votes = winograd_unet(image, *places, *arguments_of(net))
    assert torch.equal(votes, winograd_unet(plain(image), *places, *arguments_of(net)))
    for one, its_votes in zip(image, votes, strict=True):
        assert torch.equal(winograd_unet(one[None], *places, *arguments_of(net))[0], its_votes)


def test_every_number_of_threads_gives_the_same_bits() -> None:
    net, image = small_net(), random_image(1, 100, 88, 3)
    places = every(100), every(88)
    one, *others = over_threads(lambda: winograd_unet(image, *places, *arguments_of(net)))
    assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_finite_stays_near(number: float) -> None:
    net, image = small_net(), random_image(1, 20, 400, 3)
    places = every(20), every(400)
    clean = winograd_unet(image, *places, *arguments_of(net))
    image[0, 10, 0, 1] = number
    votes = winograd_unet(image, *places, *arguments_of(net))
    assert not votes[..., 5, 0].isfinite().all()
    assert torch.equal(votes[..., 100:], clean[..., 100:])


def test_nothing_in_nothing_out() -> None:
    arguments = arguments_of(small_net())
    for batch, rows, columns in ((0, 8, 12), (2, 0, 12), (2, 8, 0)):
        for place in ("cpu", "meta"):
            image = random_image(batch, 20, 20, 3).to(place)
            places = every(rows).to(place), every(columns).to(place)
            weights, biases = ([x.to(place) for x in tensors] for tensors in arguments[:2])
            votes = winograd_unet(image, *places, weights, biases, *arguments[2:])
            assert votes.shape == (batch, 6, rows // 2, columns // 2)
    nowhere = torch.full((8,), -1)
    votes = winograd_unet(random_image(1, 0, 5, 3), nowhere, nowhere, *arguments)
    assert votes.isfinite().all()


def test_errors() -> None:
    weights, biases, widths, finest, num_votes = arguments_of(small_net())
    good = {"image": random_image(1, 8, 8, 3), "rows": every(8), "columns": every(8)}
    good |= {"weights": weights, "biases": biases, "widths": widths}
    good |= {"finest": finest, "num_votes": num_votes}
    assert winograd_unet(**good).shape == (1, 6, 4, 4)
    one_dimension = "rows must be contiguous with one dimension, got"
    layers = "weights and biases must be of 9 layers, got"
    for name, wrong, message in (
        ("image", good["image"].double(), "image must be one of float32, got float64"),
        ("image", good["image"][0], r"image must be \[B, h, w, C\], got float32 \[8, 8, 3\]"),
        ("image", good["image"][..., :0], r"image must be \[B, h, w, C\], got"),
        ("image", good["image"][..., :2], r"weight must be packed as a contiguous \[1, 18, 32\]"),
        ("rows", every(8).int(), "rows must be one of int64, got int32"),
        ("rows", every(8)[None], one_dimension),
        ("rows", every(16)[::2], one_dimension),
        ("rows", every(8) - 2, "rows must be -1 to 7, got -2 at 0"),
        ("columns", every(12), "columns must be -1 to 7, got 8 at 8"),
        ("columns", every(6), "rows and columns must be multiples of 4, got 8 and 6"),
        ("widths", [4], "widths must be of 2 to 8 levels, got 1"),
        ("widths", [4] * 9, "widths must be of 2 to 8 levels, got 9"),
        ("widths", [4, 0, 8], r"widths must be between 1 and \d+, got 0"),
        ("widths", [4, 20, 2**62], "widths must be between 1 and"),
        ("widths", [4, 20], "weights and biases must be of 5 layers, got 9 and 9"),
        ("widths", [20, 20, 8], r"bias must be filled up to 32, got float32 \[16\]"),
        ("finest", 3, "finest must be 0 to 2, got 3"),
        ("finest", -1, "finest must be 0 to 2, got -1"),
        ("num_votes", 0, r"num_votes must be between 1 and \d+, got 0"),
        ("num_votes", 6, r"bias must be filled up to 32, got float32 \[16\]"),
        ("num_votes", 2**62, "num_votes must be between 1 and"),
        ("weights", weights[1:], f"{layers} 8 and 9"),
        ("biases", biases[1:], f"{layers} 9 and 8"),
        ("weights", [*weights[:6], weights[1], *weights[7:]], "weight must be packed as"),
        ("weights", [w.double() for w in weights], "weight must be one of float32, got float64"),
        ("biases", [b[None] for b in biases], "bias must be contiguous with one dimension"),
    ):
        with pytest.raises(RuntimeError, match=message):
            winograd_unet(**{**good, name: wrong})
