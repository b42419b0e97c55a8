"""What a scan takes, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import one_thread, random_image, small_unet, tiny_net

__all__ = ["one_thread"]

import dvfast
from dvfast.nn import DeepVotingNet
from dvfast.scan import pad_image


@pytest.fixture
def net(device: torch.device) -> DeepVotingNet:
    return tiny_net().to(device)


def test_layouts_and_dtypes_of_images(net: DeepVotingNet) -> None:
    image = random_image(2, 3, 14, 15)
    expected = dvfast.scan(net, image)
    channels_last = image.contiguous(memory_format=torch.channels_last)
    part = torch.full((2, 3, 16, 30), math.nan)[:, :, 1:-1, ::2].copy_(image)
    for same in (channels_last, part, image.double()):
        assert torch.equal(dvfast.scan(net, same), expected)
    half = image.bfloat16()
    assert torch.equal(dvfast.scan(net, half), dvfast.scan(net, half.float()))


def test_numpy_images(net: DeepVotingNet) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (14, 15, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).movedim(2, 0).float() / 255
    expected = dvfast.scan(net, tensor)
    for image in (pixels, pixels.astype(np.float32) / 255):
        assert torch.equal(dvfast.scan(net, image), expected)
    # The quotient of 16 bits is rounded otherwise.
    wide = dvfast.scan(net, pixels.astype(np.uint16) * 257)
    torch.testing.assert_close(wide, expected, rtol=1e-5, atol=1e-5)
    grey = dvfast.scan(net, pixels[:, :, 0])
    assert torch.equal(grey, dvfast.scan(net, tensor[:1].expand(3, -1, -1)))


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 3, 0, 5), (2, 3, 5, 0)], ids=str)
@pytest.mark.parametrize("mode", ["fast", "sliding"])
def test_nothing_to_scan(net: DeepVotingNet, mode: str, shape: tuple[int, ...]) -> None:
    votes = dvfast.scan(net, torch.zeros(shape), mode=mode, stride=2)
    assert votes.shape == (shape[0], 6, -(-shape[2] // 2), -(-shape[3] // 2))
    image = torch.zeros(1, 3, 9, 9)
    assert dvfast.scan(net, image, mode=mode, region=(3, 3, 0, 4)).shape == (1, 6, 0, 4)


def test_errors(net: DeepVotingNet) -> None:
    image = torch.zeros(1, 3, 8, 9)
    with pytest.raises(ValueError, match="mode must be 'fast' or 'sliding', got 'slow'"):
        dvfast.scan(net, image, mode="slow")
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        dvfast.scan(net, image, stride=0)
    with pytest.raises(ValueError, match=r"padding must be one of .*got 'mirror'"):
        dvfast.scan(net, image, padding="mirror")
    with pytest.raises(ValueError, match=r"precision must be one of 'exact', .*, got 'double'"):
        dvfast.scan(net, image, precision="double")
    for stride in (2.5, math.inf, "x"):
        with pytest.raises(TypeError, match="stride must be an integer, got"):
            dvfast.scan(net, image, stride=stride)
    for wrong in (None, "ihc", DeepVotingNet):
        with pytest.raises(TypeError, match=r"net must be a VotingNetwork, got .*; dvfast"):
            dvfast.scan(wrong, image)
    for region in (5, "abcd", (0.0, 0, 1, 1), np.zeros(4)):
        with pytest.raises(TypeError, match=r"region must be four integers, \(top, left, hei"):
            dvfast.scan(net, image, region=region)
    for region in ((), (0, 0, 1)):
        with pytest.raises(ValueError, match=r"region must be \(top, left, height, width\), got"):
            dvfast.scan(net, image, region=region)
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


@pytest.mark.parametrize("precision", ["exact", "float32"])
@pytest.mark.parametrize("height", [0, 20])
def test_a_misspelt_padding_is_refused(precision: str, height: int) -> None:
    image = torch.rand(3, height, 20)
    for net in (tiny_net(), small_unet()):
        with pytest.raises(ValueError, match=r"padding must be one of .*got 'symmetric'"):
            dvfast.scan(net, image, padding="symmetric", precision=precision)
