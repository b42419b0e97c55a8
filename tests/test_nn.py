"""The network: patches and dense passes agree; what builds it, what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from support import one_thread, random_image, random_logits, random_votes
from torch import Tensor, nn
from torch.nn.utils import prune

__all__ = ["one_thread"]

import dvfast
from dvfast.nn import DeepVotingNet, VotingNetwork, VotingUNet
from dvfast.nn.deep_voting_net import PATCH_SIZE

# Sums of up to 800 products in another order: float32 rounds them apart by about this much.
ROUNDING = 2e-5


def small_net(**settings: Any) -> DeepVotingNet:
    torch.manual_seed(0)
    net = DeepVotingNet(**{"num_votes": 2, "channels": (5, 6, 7), "hidden": (16,), **settings})
    for parameter in net.parameters():  # biases too, so that a forgotten one shows
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter)
    return net.eval()


@pytest.mark.parametrize("hidden", [(), (16,), (8, 9)], ids=str)
@pytest.mark.parametrize("stride", range(1, 9))
def test_dense_is_forward_at_every_patch(
    device: torch.device, stride: int, hidden: tuple[int, ...]
) -> None:
    net = small_net(hidden=hidden).to(device)
    # Sizes of every remainder modulo the poolings' stride.
    for rows, columns in ((0, 0), (9, 2), (3, 8), (4, 5)):
        image = random_image(2, 3, PATCH_SIZE + rows, PATCH_SIZE + columns).to(device)
        with torch.no_grad():
            dense = net.dense(image, stride)
            assert dense.shape == (2, 6, rows // stride + 1, columns // stride + 1)
            patches = image.unfold(2, PATCH_SIZE, stride).unfold(3, PATCH_SIZE, stride)
            logits = net(patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2))
        expected = logits.unflatten(0, (2, *dense.shape[2:])).movedim(3, 1)
        torch.testing.assert_close(dense, expected, rtol=ROUNDING, atol=ROUNDING)


def test_forward_is_the_network_of_the_paper(device: torch.device) -> None:
    net = small_net(dropout=0.0).to(device)
    x = random_image(4, 3, PATCH_SIZE, PATCH_SIZE, seed=1).to(device)
    y = torch.nn.functional.max_pool2d(net.conv1(x).relu(), 2)
    assert y.shape[2:] == (17, 17)
    y = torch.nn.functional.max_pool2d(net.conv2(y).relu(), 2)
    assert y.shape[2:] == (7, 7)
    y = net.conv3(y).relu()
    assert y.shape[2:] == (5, 5)
    first, second = net.head
    y = torch.nn.functional.linear(y.flatten(1), first.weight.flatten(1), first.bias).relu()
    y = torch.nn.functional.linear(y, second.weight.flatten(1), second.bias)
    torch.testing.assert_close(net(x), y, rtol=ROUNDING, atol=ROUNDING)


def test_gradients_flow_through_both_passes(device: torch.device) -> None:
    net = small_net().to(device)
    image = random_image(1, 3, 44, 43).to(device)
    gradients = []
    for dense in (True, False):
        net.zero_grad()
        if dense:
            logits = net.dense(image)[0].flatten(1).T
        else:
            patches = image.unfold(2, PATCH_SIZE, 1).unfold(3, PATCH_SIZE, 1)[0]
            logits = net(patches.permute(1, 2, 0, 3, 4).flatten(0, 1))
        dvfast.voting_loss(logits, torch.zeros_like(logits)).backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(list(net.parameters()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


class Adapted(nn.Module):
    """A layer with low-rank adapters beside it."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Conv2d(layer.in_channels, 2, layer.kernel_size)
        self.up = nn.Conv2d(2, layer.out_channels, 1)

    @property
    def weight(self) -> Tensor:
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        return self.layer.bias

    def forward(self, x: Tensor) -> Any:
        return self.layer(x) + self.up(self.down(x))


class Scaled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, 2 * self.weight, self.bias)


def adapted(layer: nn.Conv2d) -> nn.Module:
    return Adapted(layer)


def scaled(layer: nn.Conv2d) -> nn.Module:
    scaled = Scaled(layer.in_channels, layer.out_channels, layer.kernel_size)
    scaled.load_state_dict(layer.state_dict())
    return scaled


def in_groups(layer: nn.Conv2d) -> nn.Module:
    groups = math.gcd(layer.in_channels, layer.out_channels)
    return nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, groups=groups)


def hooked(layer: nn.Conv2d) -> nn.Module:
    layer.register_forward_hook(lambda _module, _inputs, output: 2 * output)
    return layer


def hooked_before(layer: nn.Conv2d) -> nn.Module:
    layer.register_forward_pre_hook(lambda _module, inputs: (inputs[0] + 1,))
    return layer


def replaced_forward(layer: nn.Conv2d) -> nn.Module:
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)  # type: ignore[method-assign]
    return layer


def pruned(layer: nn.Conv2d) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


def normalized_weights(layer: nn.Conv2d) -> nn.Module:
    return nn.utils.weight_norm(layer)


def parametrized(layer: nn.Conv2d) -> nn.Module:
    return nn.utils.parametrizations.weight_norm(layer)


LAYERS = [
    *(adapted, scaled, in_groups, hooked, hooked_before, replaced_forward, pruned),
    *(normalized_weights, parametrized),
]


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("change", LAYERS, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["conv1", "conv2", "conv3", "head.0"])
def test_layers_of_another_kind_are_called(
    device: torch.device, name: str, change: Callable[[nn.Conv2d], nn.Module]
) -> None:
    net = small_net(channels=(4, 6, 8), dropout=0.0)
    plain = net(random_image(2, 3, PATCH_SIZE, PATCH_SIZE))
    net.set_submodule(name, change(cast(nn.Conv2d, net.get_submodule(name))))
    net.to(device)
    image = random_image(2, 3, PATCH_SIZE + 9, PATCH_SIZE + 6).to(device)
    changed = net(random_image(2, 3, PATCH_SIZE, PATCH_SIZE).to(device)).cpu()
    assert torch.allclose(changed, plain) == (change in (normalized_weights, parametrized))
    for stride in (1, 2, 3, 4, 5, 8):
        dense = net.dense(image, stride)
        patches = image.unfold(2, PATCH_SIZE, stride).unfold(3, PATCH_SIZE, stride)
        logits = net(patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2))
        expected = logits.unflatten(0, (2, *dense.shape[2:])).movedim(3, 1)
        torch.testing.assert_close(dense, expected, rtol=1e-4, atol=1e-4)
        assert net.dense(image[:0], stride).shape == (0, *dense.shape[1:])


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("change", LAYERS, ids=lambda change: change.__name__)
@pytest.mark.parametrize("stride", [1, 4])
def test_layers_of_another_kind_learn(
    change: Callable[[nn.Conv2d], nn.Module], stride: int
) -> None:
    net = small_net(channels=(4, 6, 8), dropout=0.0)
    for name in ("conv1", "conv2", "conv3", "head.0"):
        net.set_submodule(name, change(cast(nn.Conv2d, net.get_submodule(name))))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    for _ in range(3):  # a weight that a hook made once has no graph the second time
        optimizer.zero_grad()
        net.dense(random_image(1, 3, 41, 43), stride).square().sum().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        optimizer.step()


@pytest.mark.parametrize("kind", [DeepVotingNet, VotingUNet])
def test_networks_go_through_function_transforms(kind: type[VotingNetwork]) -> None:
    net = small_net() if kind is DeepVotingNet else VotingUNet(1, 3, (4, 8), normalized=False)
    images = random_image(2, 3, 40, 48)
    weights = dict(net.named_parameters())

    def total(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return torch.func.functional_call(Dense(net), weights, (image[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(total, argnums=(0, 1)), (None, 0))
    of_weights, of_images = each({f"net.{name}": w for name, w in weights.items()}, images)
    for i, image in enumerate(images):
        net.zero_grad()
        image = image.clone().requires_grad_()
        net.dense(image[None], 2).square().sum().backward()
        torch.testing.assert_close(of_images[i], image.grad, rtol=1e-4, atol=1e-4)
        for name, parameter in weights.items():
            gradient = of_weights[f"net.{name}"][i]
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-3)


class Dense(nn.Module):
    def __init__(self, net: VotingNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return self.net.dense(image, 2)


def test_the_whole_of_a_dense_pass_is_one_graph() -> None:
    torch._dynamo.reset()
    net = small_net()
    dense = torch.compile(lambda x: net.dense(x, 8), fullgraph=True, backend="eager")
    image = random_image(1, 3, 45, 50)
    assert torch.equal(dense(image), net.dense(image, 8))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_votes": 1, "in_channels": 1, "channels": (1, 2, 3), "hidden": (), "dropout": 0.0},
        {"num_votes": 7, "in_channels": 4, "channels": [4, 4, 4], "hidden": [8, 6, 5]},
        {
            "num_votes": np.int64(1),
            "in_channels": np.int64(1),
            "channels": list(np.array([1, 2, 3])),
            "hidden": list(np.array([4])),
            "dropout": np.float32(0.5),
        },
    ],
    ids=str,
)
def test_architecture_builds_the_same_network(settings: dict[str, Any]) -> None:
    net = DeepVotingNet(**settings)
    again = DeepVotingNet(**json.loads(json.dumps(net.architecture)))
    assert again.architecture == net.architecture
    again.load_state_dict(net.state_dict())
    patches = random_image(2, net.in_channels, PATCH_SIZE, PATCH_SIZE)
    assert torch.equal(net.eval()(patches), again.eval()(patches))
    assert net(patches).shape == (2, 3 * net.num_votes)


def test_defaults_are_those_of_the_design() -> None:
    assert DeepVotingNet().architecture == {
        "num_votes": 2,
        "in_channels": 3,
        "channels": [32, 32, 32],
        "hidden": [1024],
        "dropout": 0.25,
    }


def test_initial_votes_are_undecided_and_short() -> None:
    torch.manual_seed(0)
    net = DeepVotingNet().eval()
    assert all(layer.bias.count_nonzero() == 0 for layer in [net.conv2, net.conv3, *net.head])
    # The first layer takes [0, 1] as if it were centred: middle grey means nothing to it.
    grey = net.conv1(torch.full((1, 3, PATCH_SIZE, PATCH_SIZE), 0.5))
    assert grey.abs().max() < 1e-4
    with torch.no_grad():
        votes = dvfast.hybrid_activation(net(random_image(32, 3, PATCH_SIZE, PATCH_SIZE)))
    assert (votes[:, ::3] - 0.5).abs().max() < 0.25
    assert votes.abs().max() < 2
    spread = [layer.weight.std() * math.sqrt(layer.weight[0].numel() / 2) for layer in net.head]
    assert spread[0].item() == pytest.approx(1.0, rel=0.02)
    assert spread[-1].item() == pytest.approx(0.1, rel=0.1)


def test_same_seed_same_network() -> None:
    def seeded(seed: int) -> DeepVotingNet:
        torch.manual_seed(seed)
        return DeepVotingNet(channels=(4, 4, 4))

    one, two, three = seeded(1), seeded(1), seeded(2)
    assert torch.equal(one.conv1.weight, two.conv1.weight)
    assert not torch.equal(one.conv1.weight, three.conv1.weight)


def test_dropout_is_for_training_only() -> None:
    net = small_net(dropout=0.5)
    patches = random_image(3, 3, PATCH_SIZE, PATCH_SIZE)
    with torch.no_grad():
        assert torch.equal(net(patches), net(patches))
        net.train()
        assert not torch.equal(net(patches), net(patches))


def test_empty_batch() -> None:
    net = small_net()
    assert net(torch.empty(0, 3, PATCH_SIZE, PATCH_SIZE)).shape == (0, 6)
    assert net.dense(torch.empty(0, 3, 45, 50)).shape == (0, 6, 7, 12)


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_votes must be at least 1, got 0"):
        DeepVotingNet(num_votes=0)
    with pytest.raises(ValueError, match="in_channels must be at least 1, got 0"):
        DeepVotingNet(in_channels=0)
    for channels in ((1, 2), (1, 2, 0)):
        with pytest.raises(ValueError, match="channels must be three positive widths, got"):
            DeepVotingNet(channels=channels)
    with pytest.raises(ValueError, match=r"hidden must be positive widths, got \(4, 0\)"):
        DeepVotingNet(hidden=(4, 0))
    for name in ("num_votes", "in_channels"):
        with pytest.raises(TypeError, match=rf"{name} must be an integer, got 2.5 \(float\)"):
            DeepVotingNet(**{name: 2.5})
    for widths in (4, (1.0, 2.0, 3.0), "abc", torch.ones(3).long()):
        with pytest.raises(TypeError, match="channels must be three integers, got"):
            DeepVotingNet(channels=widths)
        with pytest.raises(TypeError, match="hidden must be a sequence of integers, got"):
            DeepVotingNet(hidden=widths)
    with pytest.raises(TypeError, match="dropout must be a number, got None"):
        DeepVotingNet(dropout=None)
    for dropout in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match=f"dropout must be from 0 to 1, got {dropout}"):
            DeepVotingNet(dropout=dropout)
    net = small_net()
    with pytest.raises(TypeError, match=r"image must be a tensor, got .*torch.as_tensor\(image\)"):
        net.dense(image=[[0.5]])
    with pytest.raises(ValueError, match=r"image must be floating point in .*, got torch.uint8"):
        net.dense(torch.zeros(1, 3, 39, 39, dtype=torch.uint8))
    with pytest.raises(TypeError, match="stride must be an integer, got 2"):
        net.dense(torch.zeros(1, 3, 39, 39), stride=2.5)
    with pytest.raises(ValueError, match=r"patches must be \[N, 3, 39, 39\], got \[1, 3, 40, 40\]"):
        net(torch.zeros(1, 3, 40, 40))
    for image in (torch.zeros(1, 4, 39, 39), torch.zeros(3, 39, 39)):
        with pytest.raises(ValueError, match=r"patches must be \[batch, 3, height, width\], got"):
            net(image)
        with pytest.raises(ValueError, match=r"image must be \[batch, 3, height, width\], got"):
            net.dense(image)
    with pytest.raises(ValueError, match="image must be at least 39 pixels high and wide"):
        net.dense(torch.zeros(1, 3, 39, 38))
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        net.dense(torch.zeros(1, 3, 39, 39), stride=0)


def test_layers_are_the_functions(device: torch.device) -> None:
    logits = random_logits((2, 6, 5, 7)).to(device)
    target = random_votes((2, 6, 5, 7)).to(device)
    assert torch.equal(dvfast.nn.HybridActivation()(logits), dvfast.hybrid_activation(logits))
    last = dvfast.nn.HybridActivation(dim=-1)(logits.movedim(1, -1))
    assert torch.equal(last.movedim(-1, 1), dvfast.hybrid_activation(logits))
    for settings in ({}, {"lam": 3.0, "reduction": "sum"}, {"reduction": "none"}):
        loss = dvfast.nn.VotingLoss(**settings)(logits, target)
        assert torch.equal(loss, dvfast.voting_loss(logits, target, **settings))
    options: list[dict[str, Any]] = [
        {},
        {"sigma": 2.0, "window": 7, "stride": 2, "offset": (1, 0.5), "max_offset": 5.0},
        {"interpolation": "bilinear"},
    ]
    for option in options:
        density = dvfast.nn.VoteDensity(**option)(target, (9, 8))
        assert torch.equal(density, dvfast.vote_density(target, (9, 8), **option))
