"""The scan engine of U-Nets: its votes, what their bits depend on, and what it refuses."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
from support import generator, one_thread, over_threads, small_unet
from torch import Tensor, nn

import dvfast
from dvfast import _unet_engine
from dvfast import _whole_scan as windows
from dvfast.nn import VotingUNet
from dvfast.scan import can_scan, pad_image

__all__ = ["one_thread"]

# Float32 sums in any order, through all layers of nets whose votes are about 1; a few times what
# has been seen.
AGREEMENT = {"exact": 2e-5, "float32": 1e-4}
each_precision = pytest.mark.parametrize("precision", AGREEMENT)


def small_net(**settings: Any) -> VotingUNet:
    """With channels that fill no block."""
    return small_unet(**{"channels": (4, 20, 8), "output_stride": 2, **settings})


@pytest.fixture
def net(device: torch.device) -> VotingUNet:
    return small_net().to(device)


def random_image(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(seed))


@torch.no_grad()
def votes_in_float64(net: VotingUNet, image: Tensor, stride: int) -> Tensor:
    """By PyTorch, in one piece."""
    padded = pad_image(image.double(), net.margin)
    return dvfast.hybrid_activation(copy.deepcopy(net).double().dense(padded, stride))


@each_precision
@pytest.mark.parametrize(
    "settings",
    [
        {"output_stride": 1},
        {"output_stride": 2},
        {"output_stride": 4},
        {"channels": (16, 32)},
        {"channels": (3, 5, 7, 9, 11), "output_stride": 4},
        {"in_channels": 1, "num_votes": 1},
        {"in_channels": 40},
        {"num_votes": 7},
        {"normalized": False},
    ],
    ids=str,
)
def test_near_float64(settings: dict[str, Any], precision: str, device: torch.device) -> None:
    net = small_net(**settings).to(device)
    for height, width in ((1, 2), (37, 50), (50, 70)):
        image = random_image(2, net.in_channels, height, width).to(device)
        for stride in (net.output_stride, 3 * net.output_stride):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                votes = dvfast.scan(net, image, stride=stride, precision=precision)
            expected = votes_in_float64(net, image, stride)
            assert votes.dtype == torch.float32
            assert votes.shape == expected.shape
            error = (votes.double() - expected).abs().max()
            assert error <= AGREEMENT[precision] * max(1.0, expected.abs().max().item())


# --- What the bits depend on ----------------------------------------------------------------------


@pytest.mark.parametrize("output_stride", [1, 2, 4])
def test_exact_has_the_same_bits_in_any_window(
    output_stride: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = small_net(output_stride=output_stride).to(device)
    image = random_image(2, 3, 75, 150).to(device)
    whole = dvfast.scan(net, image, stride=output_stride)
    for size in (64, 97, 130):
        with monkeypatch.context() as patch:
            patch.setattr(windows, "_STRIP", (size, size))
            assert torch.equal(dvfast.scan(net, image, stride=output_stride), whole)
            strided = dvfast.scan(net, image, stride=3 * output_stride)
            assert torch.equal(strided, whole[:, :, ::3, ::3])
            region = dvfast.scan(net, image, stride=output_stride, region=(8, 52, 41, 70))
        rows, columns = (slice(8 // output_stride, -(-49 // output_stride)),
                         slice(52 // output_stride, -(-122 // output_stride)))  # fmt: skip
        assert torch.equal(region, whole[:, :, rows, columns])


def test_exact_is_the_same_in_a_crop(net: VotingUNet) -> None:
    device = net.head.weight.device
    image = random_image(1, 3, 120, 132).to(device)
    whole = dvfast.scan(net, image, stride=2)
    # Far enough from the borders of the crop that nothing beyond them matters.
    top, left, far = 16, 8, net.reach + net.grid
    crop = dvfast.scan(net, image[:, :, top : top + 100, left : left + 112], stride=2)
    inner = crop[:, :, far // 2 : -far // 2, far // 2 : -far // 2]
    first_row, first_column = (top + far) // 2, (left + far) // 2
    assert inner.numel() > 0
    assert torch.equal(
        inner,
        whole[
            :,
            :,
            first_row : first_row + inner.shape[2],
            first_column : first_column + inner.shape[3],
        ],
    )


@pytest.mark.cuda
def test_exact_has_the_bits_of_the_cpu() -> None:
    """Normalisation and all, which is folded into the weights before the scan."""
    net = small_net()
    image = random_image(1, 3, 70, 83)
    expected = dvfast.scan(net, image, stride=2)
    assert torch.equal(dvfast.scan(net.cuda(), image.cuda(), stride=2).cpu(), expected)


@each_precision
def test_every_number_of_threads_gives_the_same_bits(precision: str) -> None:
    net = small_net()
    image = random_image(1, 3, 70, 83)
    one, *others = over_threads(lambda: dvfast.scan(net, image, stride=2, precision=precision))
    assert all(torch.equal(one, other) for other in others)


@each_precision
def test_every_image_of_a_batch_is_as_alone(net: VotingUNet, precision: str) -> None:
    images = random_image(3, 3, 30, 41).to(net.head.weight.device)
    together = dvfast.scan(net, images, stride=2, precision=precision)
    for image, votes in zip(images, together, strict=True):
        assert torch.equal(dvfast.scan(net, image, stride=2, precision=precision)[0], votes)


@pytest.mark.parametrize("pixels", [1, 130, 1000, 3000])
def test_bands_have_no_seams(net: VotingUNet, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_image(1, 3, 85, 60).to(net.head.weight.device)
    whole = dvfast.scan(net, image, stride=2)
    monkeypatch.setattr(_unet_engine, "_PIXELS_AT_A_TIME", {"cpu": pixels, "cuda": pixels})
    assert torch.equal(dvfast.scan(net, image, stride=2), whole)


@each_precision
def test_numbers_that_are_not_finite_stay_near(net: VotingUNet, precision: str) -> None:
    image = random_image(1, 3, 20, 400).to(net.head.weight.device)
    clean = dvfast.scan(net, image, stride=2, precision=precision)
    image[0, 1, 10, 0] = torch.nan
    votes = dvfast.scan(net, image, stride=2, precision=precision)
    assert votes[..., 5, 0].isnan().all()
    assert torch.equal(votes[..., 150:], clean[..., 150:])


# --- What the engine runs, and what it does about others ------------------------------------------


class Subclass(VotingUNet):
    pass


def subclass(net: VotingUNet) -> VotingUNet:
    other = Subclass(**net.architecture)
    other.load_state_dict(net.state_dict())
    return other.eval()


def replaced_method(net: VotingUNet) -> VotingUNet:
    net.dense = MethodType(VotingUNet.dense, net)
    return net


def replaced_forward(net: VotingUNet) -> VotingUNet:
    net.forward = MethodType(VotingUNet.forward, net)
    return net


def replaced_activation(net: VotingUNet) -> VotingUNet:
    net.encoder[1][2] = nn.LeakyReLU()
    return net


def replaced_convolution(net: VotingUNet) -> VotingUNet:
    block = net.decoder[0]
    block[0] = nn.Conv2d(28, 20, 3, padding=1, padding_mode="reflect", bias=False)
    return net


def added_layer(net: VotingUNet) -> VotingUNet:
    net.encoder[2].append(nn.Identity())
    return net


def hook(net: VotingUNet) -> VotingUNet:
    net.encoder[0][0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


def parametrized(net: VotingUNet) -> VotingUNet:
    nn.utils.parametrizations.weight_norm(net.head)
    return net


UNUSUAL: dict[str, tuple[Callable[[VotingUNet], VotingUNet], str]] = {
    "subclass": (subclass, "it is a Subclass, not a VotingUNet itself"),
    "replaced method": (replaced_method, "its dense was replaced"),
    "replaced forward": (replaced_forward, "it has a forward of its own"),
    "replaced activation": (replaced_activation, r"encoder\.1\.2 is a LeakyReLU"),
    "replaced convolution": (replaced_convolution, r"decoder\.0\.0 is Conv2d\(.*reflect"),
    "added layer": (added_layer, r"its encoder\.2\.6 is not that of its architecture"),
    "hook": (hook, r"encoder\.0\.0 has hooks"),
    "parametrized": (parametrized, "its head.* is not that of its architecture"),
    "float64": (
        lambda net: net.double(),
        r"encoder\.0\.0\.weight is torch.float64, not torch.float32",
    ),
}


@each_precision
@pytest.mark.parametrize("name", UNUSUAL)
def test_pytorch_takes_over_and_says_why(precision: str, name: str) -> None:
    change, reason = UNUSUAL[name]
    unusual = change(small_net())
    image = random_image(1, 3, 30, 41)
    with torch.no_grad():
        dtype = unusual.head.weight.dtype
        expected = dvfast.hybrid_activation(unusual.dense(pad_image(image, 4).to(dtype), 2))
    with pytest.warns(RuntimeWarning, match=rf"cannot run this network \({reason}") as caught:
        votes = dvfast.scan(unusual, image, stride=2, precision=precision)
    assert [warning.filename for warning in caught] == [__file__]
    torch.testing.assert_close(votes, expected)
    assert not can_scan(unusual, "exact")


def test_a_device_without_kernels() -> None:
    net = small_net()
    assert _unet_engine.why_not_unet(net) is None
    assert _unet_engine.why_not_unet(net.to("meta")) == "it has no kernels for meta"


def test_training_mode_does_not_matter_and_stays(net: VotingUNet) -> None:
    image = random_image(1, 3, 20, 20)
    expected = dvfast.scan(net, image, stride=2)
    net.train()
    assert torch.equal(dvfast.scan(net, image, stride=2), expected)
    assert all(module.training for module in net.modules())


# --- The weights that a network has now -----------------------------------------------------------


def one_number(net: VotingUNet) -> None:
    assert net.head.bias is not None
    net.head.bias.detach()[4] += 0.5


def in_place(net: VotingUNet) -> None:
    with torch.no_grad():
        net.encoder[1][0].weight.mul_(1.5)


def running_statistics(net: VotingUNet) -> None:
    net.decoder[0][1].running_mean.add_(0.25)


def state_of_another(net: VotingUNet) -> None:
    other = small_net()
    other.reset_parameters()
    net.load_state_dict(other.state_dict())


@each_precision
@pytest.mark.parametrize(
    "change",
    [one_number, in_place, running_statistics, state_of_another],
    ids=lambda change: change.__name__,
)
def test_changed_weights_are_noticed(
    net: VotingUNet, change: Callable[[VotingUNet], None], precision: str
) -> None:
    image = random_image(1, 3, 20, 21)
    before = dvfast.scan(net, image, stride=2, precision=precision)
    change(net)
    after = dvfast.scan(net, image, stride=2, precision=precision)
    assert not torch.equal(after, before)
    fresh = copy.deepcopy(net)
    assert torch.equal(after, dvfast.scan(fresh, image, stride=2, precision=precision))


def test_weights_are_packed_once_and_let_go() -> None:
    net = small_net()
    engine = _unet_engine.unet_engine_of(net)
    dvfast.scan(net, random_image(1, 3, 8, 8), stride=2, precision="float32")
    net.load_state_dict(net.state_dict())
    assert _unet_engine.unet_engine_of(net) is engine
    assert _unet_engine.unet_engine_of(copy.deepcopy(net)) is not engine
    watched = weakref.ref(engine)
    del net, engine
    gc.collect()
    assert watched() is None
