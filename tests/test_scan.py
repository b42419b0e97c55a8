"""Scanning: the dense pass gives what the sliding window gives, at every pixel and border."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from support import generator, one_thread
from torch import Tensor

__all__ = ["one_thread"]

import dvfast
from dvfast.nn import DeepVotingNet
from dvfast.scan import PADDINGS, pad_image

scanning = importlib.import_module("dvfast.scan")  # `dvfast.scan` is the function of that name

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (5, 3), (20, 33), (45, 50)]
# What the two modes may differ by: float32 sums in another order.
AGREEMENT = 1e-5
NUMPY_MODES = {
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "constant": "constant",
}


@pytest.fixture
def net(device: torch.device) -> DeepVotingNet:
    torch.manual_seed(0)
    return DeepVotingNet(num_votes=2, channels=(4, 4, 4), hidden=(8,)).to(device)


def random_image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=generator(0))


def assert_modes_agree(net: DeepVotingNet, image: Tensor, **settings: Any) -> Tensor:
    fast = dvfast.scan(net, image, mode="fast", **settings)
    sliding = dvfast.scan(net, image, mode="sliding", **settings)
    assert fast.shape == sliding.shape
    torch.testing.assert_close(fast, sliding, rtol=AGREEMENT, atol=AGREEMENT)
    return fast


@pytest.mark.parametrize("stride", range(1, 9))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_fast_is_sliding(net: DeepVotingNet, size: tuple[int, int], stride: int) -> None:
    image = random_image(1, 3, *size)
    votes = assert_modes_agree(net, image, stride=stride)
    assert votes.shape == (1, 6, -(-size[0] // stride), -(-size[1] // stride))
    # A strided scan takes every stride-th vote of the whole.
    whole = dvfast.scan(net, image)
    torch.testing.assert_close(
        votes, whole[:, :, ::stride, ::stride], rtol=AGREEMENT, atol=AGREEMENT
    )


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_fast_is_sliding_whatever_lies_around(
    net: DeepVotingNet, stride: int, padding: str
) -> None:
    results = []
    for size in ((1, 1), (3, 22), (21, 25)):
        image = random_image(2, 3, *size)
        results.append(assert_modes_agree(net, image, stride=stride, padding=padding))
    if padding != "reflect":
        assert not torch.equal(results[-1], dvfast.scan(net, image, stride=stride))


def test_votes_are_those_of_the_patches(net: DeepVotingNet) -> None:
    image = random_image(3, 24, 26).to(net.conv1.weight.device)
    padded = pad_image(image, 19)
    votes = dvfast.scan(net, image)
    net.eval()
    for y, x in ((0, 0), (0, 25), (23, 0), (23, 25), (11, 7)):
        with torch.no_grad():
            logits = net(padded[None, :, y : y + 39, x : x + 39])
        torch.testing.assert_close(
            votes[:, :, y, x], dvfast.hybrid_activation(logits), rtol=AGREEMENT, atol=AGREEMENT
        )


@pytest.mark.parametrize("stride", [1, 2, 3, 7, 8])
def test_tiles_and_bands_have_no_seams(
    net: DeepVotingNet, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tile_and_band(tile: int, band: int) -> None:
        monkeypatch.setattr(scanning, "_TILE_PIXELS", tile)
        monkeypatch.setattr(scanning, "_BAND_NUMBERS", band)

    image = random_image(2, 3, 31, 45)
    whole = assert_modes_agree(net, image, stride=stride)
    for tile, band in ((16, 10**6), (512, 200), (23, 8 * 5), (14, 1)):
        tile_and_band(tile, band)
        votes = dvfast.scan(net, image, stride=stride)
        torch.testing.assert_close(votes, whole, rtol=AGREEMENT, atol=AGREEMENT)
    tile_and_band(1, 1)
    votes = dvfast.scan(net, image, stride=stride, region=(5, 6, 3, 4))
    torch.testing.assert_close(
        votes,
        dvfast.scan(net, image, stride=stride, region=(5, 6, 3, 4), mode="sliding"),
        rtol=AGREEMENT,
        atol=AGREEMENT,
    )


def test_working_memory_is_bounded_by_tile_and_band(
    net: DeepVotingNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "_TILE_PIXELS", 32)
    monkeypatch.setattr(scanning, "_BAND_NUMBERS", 8 * 32 * 4)  # four rows of the hidden layer
    tiles, bands = [], []

    def watch_trunk(image: Tensor, stride: int) -> Tensor:
        tiles.append(image.shape)
        return DeepVotingNet.trunk_pass(net, image, stride)

    def watch_head(features: Tensor, stride: int) -> Tensor:
        logits = DeepVotingNet.head_pass(net, features, stride)
        bands.append(logits.shape)
        return logits

    monkeypatch.setattr(net, "trunk_pass", watch_trunk)
    monkeypatch.setattr(net, "head_pass", watch_head)
    for side in (70, 140):
        dvfast.scan(net, random_image(1, 3, side, side))
        assert max(max(shape[2:]) for shape in tiles) == 32 + 38
        assert max(8 * shape[2] * shape[3] for shape in bands) == 8 * 32 * 4
    assert len(tiles) == 3 * 3 + 5 * 5


def test_patches_come_in_batches_of_bounded_size(
    net: DeepVotingNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(2, 3, 9, 11)
    expected = dvfast.scan(net, image, mode="sliding")
    monkeypatch.setattr(scanning, "_PATCHES_PER_BATCH", 7)
    sizes = []
    hook = net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    votes = dvfast.scan(net, image, mode="sliding")
    hook.remove()
    torch.testing.assert_close(votes, expected, rtol=AGREEMENT, atol=AGREEMENT)
    assert max(sizes) == 7
    assert sum(sizes) == 2 * 9 * 11


@pytest.mark.parametrize("mode", ["fast", "sliding"])
@pytest.mark.parametrize("stride", [1, 3])
def test_region_is_a_crop_of_the_whole(net: DeepVotingNet, mode: str, stride: int) -> None:
    image = random_image(1, 3, 30, 41)
    whole = dvfast.scan(net, image)
    for region in ((0, 0, 30, 41), (4, 7, 9, 10), (29, 40, 1, 1), (0, 20, 30, 1), (12, 5, 18, 36)):
        top, left, height, width = region
        votes = dvfast.scan(net, image, mode=mode, stride=stride, region=region)
        crop = whole[:, :, top : top + height : stride, left : left + width : stride]
        torch.testing.assert_close(votes, crop, rtol=AGREEMENT, atol=AGREEMENT)


def test_batch_is_its_images(net: DeepVotingNet) -> None:
    images = random_image(3, 3, 12, 17)
    votes = dvfast.scan(net, images)
    for image, one in zip(images, votes, strict=True):
        torch.testing.assert_close(dvfast.scan(net, image)[0], one, rtol=AGREEMENT, atol=AGREEMENT)


def test_numpy_images(net: DeepVotingNet) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (14, 15, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).movedim(2, 0).float() / 255
    expected = dvfast.scan(net, tensor)
    for image in (pixels, pixels.astype(np.float32) / 255, pixels.astype(np.uint16) * 257):
        torch.testing.assert_close(
            dvfast.scan(net, image), expected, rtol=AGREEMENT, atol=AGREEMENT
        )
    grey = dvfast.scan(net, pixels[:, :, 0])
    torch.testing.assert_close(
        grey, dvfast.scan(net, tensor[:1].expand(3, -1, -1)), rtol=AGREEMENT, atol=AGREEMENT
    )


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 3, 0, 5), (2, 3, 5, 0)], ids=str)
@pytest.mark.parametrize("mode", ["fast", "sliding"])
def test_nothing_to_scan(net: DeepVotingNet, mode: str, shape: tuple[int, ...]) -> None:
    votes = dvfast.scan(net, torch.zeros(shape), mode=mode, stride=2)
    assert votes.shape == (shape[0], 6, -(-shape[2] // 2), -(-shape[3] // 2))
    image = torch.zeros(1, 3, 9, 9)
    assert dvfast.scan(net, image, mode=mode, region=(3, 3, 0, 4)).shape == (1, 6, 0, 4)


def test_network_is_left_as_it_was(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 6, 6)
    for training in (True, False):
        net.train(training)
        for mode in ("fast", "sliding"):
            votes = dvfast.scan(net, image, mode=mode)
            assert not votes.requires_grad
            assert net.training == net.dropout.training == training
    assert torch.equal(dvfast.scan(net.train(), image), dvfast.scan(net.eval(), image))
    net.train()
    with pytest.raises(ValueError, match="padding"):
        dvfast.scan(net, image, padding="mirror")
    assert net.training


@pytest.mark.parametrize("margin", [0, 1, 19, 50])
@pytest.mark.parametrize("mode", PADDINGS)
def test_pad_image_is_numpys_pad(device: torch.device, mode: str, margin: int) -> None:
    for size in ((1, 1), (1, 2), (2, 3), (5, 1), (13, 40)):
        image = random_image(2, *size)
        padded = pad_image(image.to(device), margin, mode).cpu()
        around = ((0, 0), (margin, margin), (margin, margin))
        expected = np.pad(image.numpy(), around, mode=NUMPY_MODES[mode])
        assert np.array_equal(padded.numpy(), expected)


def test_errors(net: DeepVotingNet) -> None:
    image = torch.zeros(1, 3, 8, 9)
    with pytest.raises(ValueError, match="mode must be 'fast' or 'sliding', got 'slow'"):
        dvfast.scan(net, image, mode="slow")
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        dvfast.scan(net, image, stride=0)
    with pytest.raises(ValueError, match=r"padding must be one of .*got 'mirror'"):
        dvfast.scan(net, image, padding="mirror")
    for region in ((0, 0, 9, 9), (-1, 0, 2, 2), (0, 5, 2, 5), (0, 0, -1, 2)):
        with pytest.raises(ValueError, match=r"region must be .* within 8 x 9, got \("):
            dvfast.scan(net, image, region=region)
    for wrong in (torch.zeros(1, 4, 8, 9), torch.zeros(8, 9), torch.zeros(1, 1, 3, 8, 9)):
        with pytest.raises(ValueError, match=r"image must be \[B, 3, H, W\] or \[3, H, W\], got"):
            dvfast.scan(net, wrong)
    with pytest.raises(ValueError, match=r"image must be floating point in \[0, 1\], got torch.u"):
        dvfast.scan(net, image.to(torch.uint8))
    with pytest.raises(ValueError, match="padding"):
        pad_image(image, 2, "mirror")
