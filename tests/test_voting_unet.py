"""The voting U-Net: its layers, its folding, and scanning it window by window."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from support import generator, small_unet
from torch import Tensor, nn
from torch.nn import functional as F

import dvfast
from dvfast import _whole_scan as windows
from dvfast.errors import InputError
from dvfast.nn import VotingUNet
from dvfast.scan import can_scan, check_precision, pad_image


def small_net(**settings: Any) -> VotingUNet:
    return small_unet(**settings).double()


def random_image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def unet_by_hand(net: VotingUNet, image: Tensor) -> Tensor:
    """Written from the picture of a U-Net, for three levels and any output stride."""

    def block(x: Tensor, layers: nn.Module) -> Tensor:
        convolutions = [m for m in layers.modules() if isinstance(m, nn.Conv2d)]
        norms = [m for m in layers.modules() if isinstance(m, nn.BatchNorm2d)]
        for convolution, norm in zip(convolutions, norms, strict=True):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            x = F.conv2d(F.pad(x, (1, 1, 1, 1)), convolution.weight)
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            x = (x - norm.running_mean[:, None, None]) * scale[:, None, None]
            x = (x + norm.bias[:, None, None]).clamp(min=0)
        return x

    def doubled(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    fine = block(image - 0.5, net.encoder[0])
    middle = block(F.max_pool2d(fine, 2), net.encoder[1])
    x = block(F.max_pool2d(middle, 2), net.encoder[2])
    if net.output_stride <= 2:
        x = block(torch.cat((doubled(x), middle), dim=1), net.decoder[0])
    if net.output_stride == 1:
        x = block(torch.cat((doubled(x), fine), dim=1), net.decoder[1])
    return (
        torch.einsum("bchw,oc->bohw", x, net.head.weight[:, :, 0, 0])
        + (
            net.head.bias[:, None, None]  # type: ignore[index]
        )
    )


@pytest.mark.parametrize("output_stride", [1, 2, 4])
@torch.no_grad()
def test_forward_is_a_unet(output_stride: int) -> None:
    net = small_net(output_stride=output_stride)
    image = random_image(2, 3, 24, 36)
    expected = unet_by_hand(net, image)
    assert expected.shape == (2, 6, 24 // output_stride, 36 // output_stride)
    torch.testing.assert_close(net(image), expected)


@pytest.mark.parametrize("output_stride", [1, 2, 4])
@torch.no_grad()
def test_dense_is_forward_without_its_margin(output_stride: int) -> None:
    net = small_net(output_stride=output_stride)
    margin = net.margin
    for rows, columns in ((1, 1), (7, 12), (16, 3)):
        image = random_image(1, 3, rows + 2 * margin, columns + 2 * margin)
        padded = F.pad(image, (0, -columns % net.grid, 0, -rows % net.grid))
        whole = net(padded)
        for factor in (1, 2, 3):
            stride, first = factor * output_stride, margin // output_stride
            votes = net.dense(image, stride)
            assert votes.shape == (1, 6, -(-rows // stride), -(-columns // stride))
            expected = whole[:, :, first::factor, first::factor]
            assert torch.equal(votes, expected[:, :, : votes.shape[2], : votes.shape[3]])


@torch.no_grad()
def test_dense_compiles_for_images_of_any_size() -> None:
    torch._dynamo.reset()
    net = VotingUNet(num_votes=1, channels=(2, 2), normalized=False)
    dense = torch.compile(lambda image: net.dense(image, 3), fullgraph=True, backend="aot_eager")
    for size in ((50, 61), (47, 80)):
        image = random_image(1, 3, *size).float()
        torch.testing.assert_close(dense(image), net.dense(image, 3))


@torch.no_grad()
def test_folding_changes_nothing_but_rounding() -> None:
    net = small_net()
    folded = net.folded()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert folded.architecture == {**net.architecture, "normalized": False}
    image = random_image(1, 3, 24, 36)
    torch.testing.assert_close(folded(image), net(image))
    again = folded.folded()
    assert again is not folded
    assert torch.equal(again(image), folded(image))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folding_draws_no_random_numbers(dtype: torch.dtype) -> None:
    scanned = small_unet()
    net = copy.deepcopy(scanned).to(dtype)
    random_state = torch.get_rng_state()
    folded = net.folded()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(module.training for module in folded.modules())
    for parameter in folded.parameters():
        assert parameter.dtype == dtype
        assert parameter.device == net.head.weight.device
        assert parameter.isfinite().all()
    dvfast.scan(scanned, random_image(3, 20, 20).float())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_folding_normalization_across_devices() -> None:
    net = small_net()
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net))
    assert isinstance(synchronized, VotingUNet)
    image = random_image(1, 3, 24, 36)
    assert torch.equal(synchronized.folded()(image), net.folded()(image))


# PyTorch runs it, as it is in float64; tests/test_unet_engine.py has the engine.
@pytest.mark.filterwarnings("ignore:the scan engine cannot run:RuntimeWarning")
@pytest.mark.parametrize("output_stride", [1, 2])
@pytest.mark.parametrize("window", [64, 100])
def test_votes_do_not_depend_on_windows(
    output_stride: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = small_net(output_stride=output_stride)
    image = random_image(2, 3, 81, 110)
    for stride in (2, 6):
        whole = dvfast.scan(net, image, stride=stride, precision="float32")
        padded = pad_image(image, net.margin)
        with torch.no_grad():
            expected = dvfast.hybrid_activation(net.dense(padded, stride))
        torch.testing.assert_close(whole, expected)
        with monkeypatch.context() as patch:
            patch.setattr(windows, "_WINDOW", window)
            progress: list[float] = []
            tiled = dvfast.scan(
                net, image, stride=stride, precision="float32", progress=progress.append
            )
            assert len(progress) >= 4  # two images, two windows each at least
            assert progress == sorted(progress)
            assert progress[-1] == 1
            torch.testing.assert_close(tiled, whole, rtol=1e-11, atol=1e-11)
            region = dvfast.scan(
                net, image, stride=stride, precision="float32", region=(12, 24, 41, 70)
            )
        top, left = 12 // stride, 24 // stride
        rows, columns = -(-41 // stride), -(-70 // stride)
        torch.testing.assert_close(
            region, whole[:, :, top : top + rows, left : left + columns], rtol=1e-11, atol=1e-11
        )


@pytest.mark.parametrize("output_stride", [1, 2, 4])
@torch.no_grad()
def test_votes_depend_on_what_is_in_reach(output_stride: int) -> None:
    """On nothing beyond it, and on something within it that is hardly nearer."""
    net = small_net(output_stride=output_stride, num_votes=8)
    size = 3 * net.reach // net.grid * net.grid
    image, other = random_image(1, 3, size, size), random_image(1, 3, size, size, seed=1)
    changed = []
    # A pooled cell begins at any distance from a voter of the finest level.
    for voter in range(size // 2, size // 2 + net.grid, output_stride):
        for distance in (net.reach, net.reach - 2 * net.grid):
            near = slice(max(0, voter - distance), voter + distance + 1)
            mixed = other.clone()
            mixed[:, :, near, near] = image[:, :, near, near]
            at = voter // output_stride
            changed.append(not torch.equal(net(mixed)[..., at, at], net(image)[..., at, at]))
    assert not any(changed[::2])
    assert any(changed[1::2])


def test_small_images_and_strange_sizes() -> None:
    net = small_net().float()
    for height, width in ((1, 1), (2, 7), (9, 30)):
        image = random_image(1, 3, height, width).float()
        votes = dvfast.scan(net, image, stride=2, precision="float32")
        assert votes.shape == (1, 6, -(-height // 2), -(-width // 2))
        assert votes.isfinite().all()
    assert dvfast.scan(net, torch.zeros(0, 3, 5, 5)).shape == (0, 6, 5, 5)


def test_bfloat16_is_close_where_it_can_be_had() -> None:
    net = small_net().float().folded()
    image = random_image(1, 3, 40, 50).float()
    if not can_scan(net, "bfloat16"):
        with pytest.raises(InputError, match="AMX"):
            dvfast.scan(net, image, precision="bfloat16")
        return
    coarse = dvfast.scan(net, image, precision="bfloat16")
    fine = dvfast.scan(net, image, precision="float32")
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, fine)
    assert (coarse - fine).square().mean().sqrt() < 0.02 * fine.std()


def test_what_a_scan_refuses() -> None:
    net = small_net(output_stride=2).float()
    image = torch.rand(3, 20, 20)
    with pytest.raises(InputError, match="mode 'sliding' needs a DeepVotingNet"):
        dvfast.scan(net, image, mode="sliding", precision="float32")
    with pytest.raises(InputError, match="tf32"):
        check_precision(net, "tf32", "fast")
    with pytest.raises(ValueError, match="stride must be a multiple of 2"):
        dvfast.scan(net, image, stride=3, precision="float32")
    with pytest.raises(ValueError, match="top must be a multiple of 2"):
        dvfast.scan(net, image, stride=2, precision="float32", region=(1, 0, 4, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_votes": 0}, "num_votes must be at least 1, got 0"),
        ({"in_channels": 0}, "in_channels must be at least 1"),
        ({"channels": (4,)}, "channels must be two to eight"),
        ({"channels": (4, 0)}, "channels must be two to eight"),
        ({"output_stride": 3}, "power of two up to 4, got 3"),
        ({"output_stride": 8}, "power of two up to 4, got 8"),
    ],
)
def test_what_the_network_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_net(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_votes": 2.5}, r"num_votes must be an integer, got 2.5 \(float\)"),
        ({"in_channels": None}, "in_channels must be an integer, got None"),
        ({"channels": 4}, "channels must be two to eight integers, got 4"),
        ({"channels": (4, 8.0)}, "channels must be two to eight integers, got"),
        ({"output_stride": 2.0}, "output_stride must be an integer, got 2.0"),
        ({"normalized": "yes"}, "normalized must be True or False, got 'yes'"),
    ],
    ids=str,
)
def test_wrong_types(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        VotingUNet(**settings)


def test_architecture_of_numpys_integers() -> None:
    two = np.int64(2)
    net = VotingUNet(two, two, [two, two], two)
    again = VotingUNet(**json.loads(json.dumps(net.architecture)))
    assert again.architecture == net.architecture


def test_what_its_inputs_must_be() -> None:
    net = small_net(output_stride=2)
    with pytest.raises(TypeError, match="image must be a tensor, got None"):
        net(None)
    with pytest.raises(ValueError, match=r"image must be floating point in .*, got torch.int"):
        net.dense(torch.zeros(1, 3, 20, 20).int(), 2)
    with pytest.raises(TypeError, match="stride must be an integer, got 2"):
        net.dense(random_image(1, 3, 20, 20), 2.0)
    with pytest.raises(ValueError, match="multiples of 4"):
        net(random_image(1, 3, 10, 12))
    with pytest.raises(ValueError, match=r"\[batch, 3, height, width\]"):
        net(random_image(1, 1, 12, 12))
    with pytest.raises(ValueError, match="positive multiple of 2"):
        net.dense(random_image(1, 3, 20, 20), 1)
    with pytest.raises(ValueError, match="more than 8 pixels"):
        net.dense(random_image(1, 3, 8, 20), 2)


def test_its_gradient() -> None:
    net = VotingUNet(num_votes=1, channels=(2, 3)).double()  # in training mode: batch statistics
    image = random_image(2, 3, 4, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: net(x), image, atol=1e-4)
