"""Which networks the scan engine runs, what it does about others, and that it knows the weights."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest
import torch
from support import (
    AGREEMENT,
    one_thread,
    random_image,
    small_unet,
    tiny_net,
    votes_of_patches,
)
from torch import Tensor, nn

__all__ = ["one_thread"]

import dvfast
from dvfast import _engine
from dvfast.errors import InputError
from dvfast.nn import DeepVotingNet
from dvfast.nn.deep_voting_net import PATCH_SIZE
from dvfast.scan import pad_image

windows = importlib.import_module("dvfast._whole_scan")
scanning = importlib.import_module("dvfast.scan")  # `dvfast.scan` is the function of that name


@pytest.fixture
def net(device: torch.device) -> DeepVotingNet:
    return tiny_net().to(device)


@pytest.mark.cuda
@pytest.mark.parametrize("channels", [32, 48])  # the latter has too many for shared memory
def test_the_head_by_warpgroups_is_as_near(monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    torch.manual_seed(0)
    net = DeepVotingNet(num_votes=3, channels=(16, 16, channels), hidden=(200,)).cuda()
    image = random_image(2, 3, 21, 38).cuda()
    for stride in (1, 2, 3, 4):
        exact = dvfast.scan(net, image, stride=stride)
        for precision, tolerance in (("float32", 1e-4), ("tf32", 0.05), ("bfloat16", 0.5)):
            for warpgroups in (False, True):
                monkeypatch.setattr(_engine, "WARPGROUPS", warpgroups)
                votes = dvfast.scan(net, image, stride=stride, precision=precision)
                torch.testing.assert_close(votes, exact, rtol=0, atol=tolerance)


# --- Networks that the engine cannot run ----------------------------------------------------------


class Subclass(DeepVotingNet):
    pass


class OtherConvolution(nn.Conv2d):
    pass


def subclass(net: DeepVotingNet) -> DeepVotingNet:
    other = Subclass(**net.architecture)
    other.load_state_dict(net.state_dict())
    return other


def replaced_method(net: DeepVotingNet) -> DeepVotingNet:
    net.trunk_pass = MethodType(DeepVotingNet.trunk_pass, net)
    return net


def replaced_layer(net: DeepVotingNet) -> DeepVotingNet:
    layer = OtherConvolution(4, 4, 4)
    layer.load_state_dict(net.conv2.state_dict())
    net.conv2 = layer
    return net


def replaced_last_layer(net: DeepVotingNet) -> DeepVotingNet:
    net.head[1] = nn.Sequential(net.head[1], nn.Identity())
    return net


def no_bias(net: DeepVotingNet) -> DeepVotingNet:
    net.conv3 = nn.Conv2d(4, 4, 3, bias=False)
    return net


def hook(net: DeepVotingNet) -> DeepVotingNet:
    net.head[1].register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


def hook_of_the_trunk(net: DeepVotingNet) -> DeepVotingNet:
    net.conv2.register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


def pre_hook(net: DeepVotingNet) -> DeepVotingNet:
    net.head[1].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    return net


def parametrized(net: DeepVotingNet) -> DeepVotingNet:
    nn.utils.parametrizations.weight_norm(net.conv1)
    return net


def replaced_dropout(net: DeepVotingNet) -> DeepVotingNet:
    net.dropout = nn.Tanh()
    return net


def hooked_dropout(net: DeepVotingNet) -> DeepVotingNet:
    net.dropout.register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


def replaced_forward(net: DeepVotingNet) -> DeepVotingNet:
    net.head[1].forward = MethodType(nn.Conv2d.forward, net.head[1])
    return net


UNUSUAL: dict[str, tuple[Callable[[DeepVotingNet], DeepVotingNet], str]] = {
    "subclass": (subclass, "it is a Subclass, not a DeepVotingNet itself"),
    "replaced method": (replaced_method, "its trunk_pass was replaced"),
    "replaced layer": (replaced_layer, "conv2 is a OtherConvolution"),
    "replaced last layer": (replaced_last_layer, r"head\[1\] is a Sequential"),
    "replaced dropout": (replaced_dropout, "its dropout is a Tanh"),
    "hooked dropout": (hooked_dropout, "its dropout has hooks"),
    "replaced forward": (replaced_forward, r"head\[1\] has a forward of its own"),
    "no bias": (no_bias, "conv3 has no bias"),
    "hook": (hook, r"head\[1\] has hooks"),
    "hook of the trunk": (hook_of_the_trunk, "conv2 has hooks"),
    "pre-hook": (pre_hook, r"head\[1\] has hooks"),
    "parametrized": (parametrized, "conv1 is a ParametrizedConv2d"),
    "float64": (lambda net: net.double(), "conv1 is torch.float64, not torch.float32"),
    "too many layers": (
        lambda net: tiny_net(hidden=(8,) * 8).to(net.conv1.weight.device),
        "its head has 9 layers, more than 8",
    ),
}


@pytest.mark.parametrize("mode", ["fast", "sliding"])
@pytest.mark.parametrize("name", UNUSUAL)
def test_pytorch_takes_over_and_says_why(net: DeepVotingNet, name: str, mode: str) -> None:
    change, reason = UNUSUAL[name]
    unusual = change(net).to(net.conv1.weight.device)
    image = random_image(1, 3, 12, 11).to(net.conv1.weight.device)
    expected = votes_of_patches(unusual, image)
    with pytest.warns(RuntimeWarning, match=rf"cannot run this network \({reason}\): PyTorch"):
        votes = dvfast.scan(unusual, image, mode=mode)
    assert votes.dtype == unusual.conv1.weight.dtype
    torch.testing.assert_close(votes.double(), expected, rtol=AGREEMENT, atol=AGREEMENT)
    with pytest.warns(RuntimeWarning, match=reason):
        strided = dvfast.scan(unusual, image, mode=mode, stride=3, precision="float32")
    torch.testing.assert_close(strided, votes[:, :, ::3, ::3], rtol=AGREEMENT, atol=AGREEMENT)


def test_the_warning_names_the_line_that_scans(net: DeepVotingNet) -> None:
    with pytest.warns(RuntimeWarning) as caught:
        dvfast.scan(subclass(net), random_image(1, 3, 5, 5))
    assert [warning.filename for warning in caught] == [__file__]


def test_a_device_without_kernels(net: DeepVotingNet) -> None:
    assert _engine.why_not(net) is None
    assert _engine.why_not(net.to("meta")) == "it has no kernels for meta"


@pytest.mark.parametrize("mode", ["fast", "sliding"])
def test_a_network_without_weights_is_told(net: DeepVotingNet, mode: Any) -> None:
    for empty in (net, small_unet()):
        with pytest.raises(InputError, match="net must have weights, got one on the meta device"):
            dvfast.scan(empty.to("meta"), random_image(1, 3, 9, 10), mode=mode)


@pytest.mark.parametrize("hidden", [(), (8,)], ids=str)
def test_layers_that_do_not_fit_one_another_are_an_error(hidden: tuple[int, ...]) -> None:
    image = random_image(1, 3, 5, 5)
    for name, layer, reason in (
        ("conv1", nn.Conv2d(1, 4, 6), "conv1 takes 1 channels, not 3"),
        ("conv2", nn.Conv2d(8, 4, 4), "conv2 takes 8 channels, not 4"),
        ("conv3", nn.Conv2d(4, 5, 3), r"head\[0\] takes 4 channels, not 5"),
    ):
        net = tiny_net(hidden)
        setattr(net, name, layer)
        with pytest.raises(RuntimeError), pytest.warns(RuntimeWarning, match=reason):
            dvfast.scan(net, image)
    net = tiny_net(hidden)
    net.head[-1] = nn.Conv2d(net.head[-1].in_channels, 9, net.head[-1].kernel_size)
    with pytest.raises(RuntimeError), pytest.warns(RuntimeWarning, match="gives 9 channels, not 6"):
        dvfast.scan(net, image)


def test_bands_of_pytorchs_head_have_no_seams(
    net: DeepVotingNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = subclass(net).to(net.conv1.weight.device)
    image = random_image(1, 3, 31, 45)
    for stride in (1, 3, 4):
        with pytest.warns(RuntimeWarning):
            whole = dvfast.scan(net, image, stride=stride)
        for numbers, tile in ((200, 10**6), (8 * 5, 4 * 60**2), (1, 1)):
            with monkeypatch.context() as patch:
                patch.setattr(scanning, "_BAND_NUMBERS", numbers)
                patch.setattr(scanning, "_MAP_NUMBERS", tile)
                with pytest.warns(RuntimeWarning):
                    votes = dvfast.scan(net, image, stride=stride)
            torch.testing.assert_close(votes, whole, rtol=AGREEMENT, atol=AGREEMENT)


@pytest.mark.parametrize("hidden", [(), (8,), (8,) * 7], ids=len)
def test_networks_as_they_are_meant_run_without_a_warning(hidden: tuple[int, ...]) -> None:
    net = tiny_net(hidden)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in ("fast", "sliding"):
            dvfast.scan(net, random_image(1, 3, 5, 5), mode=mode)


def test_bfloat16_says_what_it_needs(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 5, 5)
    needs = "precision 'bfloat16' needs {}; use 'float32'"
    with pytest.raises(InputError, match=needs.format("mode='fast'")):
        dvfast.scan(net, image, mode="sliding", precision="bfloat16")
    if net.conv1.weight.device.type == "cpu":
        with pytest.raises(InputError, match="precision 'tf32' needs a CUDA device; use 'float32'"):
            dvfast.scan(net, image, precision="tf32")
    for hidden in ((), (8, 8)):
        message = needs.format(f"a network with one hidden layer, not {len(hidden)}")
        with pytest.raises(InputError, match=message):
            dvfast.scan(tiny_net(hidden), image, precision="bfloat16")
    with (
        pytest.raises(InputError, match="needs the scan engine, but it is a Subclass"),
        pytest.warns(RuntimeWarning),
    ):
        dvfast.scan(subclass(net), image, precision="bfloat16")


# --- Passes of one's own --------------------------------------------------------------------------


class Centred(DeepVotingNet):
    def dense(self, image: Tensor, stride: int = 1) -> Tensor:
        return super().dense((image - 0.5) / 0.25, stride)


class Doubled(DeepVotingNet):
    def head_pass(self, features: Tensor, stride: int) -> Tensor:
        return 2 * super().head_pass(features, stride)


class OfCentredPatches(DeepVotingNet):
    def forward(self, patches: Tensor) -> Tensor:
        return super().forward((patches - 0.5) / 0.25)


def with_another_dense(net: DeepVotingNet) -> DeepVotingNet:
    net.dense = MethodType(Centred.dense, of_class(Centred, net).eval())
    return net


def of_class(kind: type[DeepVotingNet], net: DeepVotingNet) -> DeepVotingNet:
    other = kind(**net.architecture).to(net.conv1.weight)
    other.load_state_dict(net.state_dict())
    return other


@pytest.mark.parametrize("mode", ["fast", "sliding"])
@pytest.mark.parametrize("kind", [Centred, Doubled, with_another_dense], ids=lambda k: k.__name__)
def test_a_dense_of_ones_own_is_what_runs(
    net: DeepVotingNet, kind: Any, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = of_class(kind, net) if isinstance(kind, type) else kind(net)
    image = random_image(2, 3, 31, 45).to(net.conv1.weight)
    monkeypatch.setattr(windows, "_HIDDEN_NUMBERS", 8 * 10**2)
    progress: list[float] = []
    for stride in (1, 3, 4):
        with torch.no_grad():
            logits = net.eval().dense(pad_image(image, PATCH_SIZE // 2), stride)
        with pytest.warns(RuntimeWarning, match="cannot run this network"):
            votes = dvfast.scan(net, image, mode=mode, stride=stride, progress=progress.append)
        expected = dvfast.hybrid_activation(logits)
        torch.testing.assert_close(votes, expected, rtol=AGREEMENT, atol=AGREEMENT)
        assert progress[-1] == 1
        with pytest.warns(RuntimeWarning):
            part = dvfast.scan(net, image, mode=mode, stride=stride, region=(12, 24, 9, 10))
        if 12 % stride == 0:
            there = expected[:, :, 12 // stride :, 24 // stride :]
            there = there[:, :, : part.shape[2], : part.shape[3]]
            torch.testing.assert_close(part, there, rtol=AGREEMENT, atol=AGREEMENT)


def test_the_hidden_layers_of_a_window_are_bounded(
    net: DeepVotingNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = of_class(Centred, net)
    seen: list[int] = []
    net.dropout.register_forward_hook(lambda _module, _inputs, made: seen.append(made.numel()))
    monkeypatch.setattr(windows, "_HIDDEN_NUMBERS", 8 * 40**2)
    with pytest.warns(RuntimeWarning):
        dvfast.scan(net, random_image(1, 3, 90, 100), stride=4)
    assert len(seen) == 1
    with pytest.warns(RuntimeWarning):
        dvfast.scan(net, random_image(1, 3, 90, 100))
    assert max(seen) <= 8 * 40**2
    assert sum(seen) == 8 * (23 * 25 + 90 * 100)


def test_the_warning_says_what_the_fast_mode_does_not_call(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 9, 10)
    patches = of_class(OfCentredPatches, net)
    with pytest.warns(RuntimeWarning, match="calls its dense and not its forward"):
        dvfast.scan(patches, image)
    net.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    with pytest.warns(RuntimeWarning, match="calls its dense and not its hooks"):
        dvfast.scan(net, image)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sliding = dvfast.scan(patches, image, mode="sliding")
        dvfast.scan(net, image, mode="sliding")
        dvfast.scan(of_class(Centred, net), image)
    assert len(caught) == 3
    assert not any("calls its dense" in str(warning.message) for warning in caught)
    expected = votes_of_patches(patches, image)
    torch.testing.assert_close(sliding.double(), expected, rtol=AGREEMENT, atol=AGREEMENT)


def test_passes_of_ones_own_have_no_lower_precision(net: DeepVotingNet) -> None:
    with (
        pytest.raises(InputError, match="needs the scan engine, but it is a Centred"),
        pytest.warns(RuntimeWarning),
    ):
        dvfast.scan(of_class(Centred, net), random_image(1, 3, 5, 5), precision="bfloat16")


def test_weights_that_are_not_numbers(net: DeepVotingNet) -> None:
    with torch.no_grad():
        net.head[1].weight[4] = torch.nan
    for _ in range(2):
        votes = dvfast.scan(net, random_image(1, 3, 5, 5))
        assert votes[:, 4].isnan().all()
        assert votes[:, [0, 1, 2, 3, 5]].isfinite().all()


def test_what_surrounds_a_scan_does_not_matter(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 9, 10).to(net.conv1.weight.device)
    for precision in ("exact", "float32"):
        with torch.inference_mode():  # the weights are packed here
            inference = dvfast.scan(net, image, precision=precision)
        expected = dvfast.scan(net, image.clone().requires_grad_(), precision=precision)
        assert not expected.requires_grad
        assert torch.equal(inference, expected)
        with torch.autocast(image.device.type, torch.bfloat16):
            assert torch.equal(dvfast.scan(net, image, precision=precision), expected)
