"""What the networks that deep voting is compared with are asked for, and that they learn it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import generator
from synthetic_tiles import tiny_config, write_tiles
from torch import nn

import dvfast
from dvfast import Detector, reference
from dvfast.data.augment import Augmentation
from dvfast.errors import InputError
from dvfast.nn import VotingUNet
from dvfast.training import TrainingConfig, fit
from dvfast.training import objective as objective_module
from dvfast.training.objective import Objective, density_loss, make_targets

UNET: dict[str, Any] = {"network": "unet", "channels": (8, 16), "crop_stride": 1, "crop_size": 16}


@pytest.mark.parametrize("target", ["heat_map", "classes"])
@pytest.mark.parametrize("seed", range(3))
def test_targets_by_hand(target: str, seed: int) -> None:
    config = tiny_config(target=target, target_radius=2.0, num_votes=1)
    points = [40 * torch.rand(n, 2, generator=generator(seed)) for n in (5, 0, 1)]
    targets = make_targets(config, points, (40, 44), stride=3, offset=2)
    assert targets.shape == (3, 3, 13, 14)
    assert not targets[:, 1:].any()
    for image, clicks in enumerate(points):
        for i in range(13):
            for j in range(14):
                pixel = torch.tensor([2.0 + 3 * i, 2.0 + 3 * j])
                nearest = min(((pixel - click).norm().item() for click in clicks), default=math.inf)
                expected = (
                    float(nearest <= 2)
                    if target == "classes"
                    else math.exp(-(nearest**2) / 8) * (nearest <= 8)
                )
                assert targets[image, 0, i, j].item() == pytest.approx(expected, abs=1e-5)


def test_votes_are_eq_1() -> None:
    config = tiny_config()
    points = [40 * torch.rand(5, 2, generator=generator(0))]
    expected = dvfast.vote_targets(points, (40, 40), 2, r1=6.0, r2=12.0, stride=3, offset=1)
    assert torch.equal(make_targets(config, points, (40, 40), stride=3, offset=1), expected)


def test_the_loss_of_a_map_is_that_of_a_softmax_over_two_classes() -> None:
    config = tiny_config(target="classes", num_votes=1)
    objective = Objective(config.build_network().eval(), config)
    images = torch.rand(2, 3, 39 + 9, 39 + 9, generator=generator(0))
    targets = torch.zeros(2, 3, 4, 4)
    targets[:, 0] = (torch.rand(2, 4, 4, generator=generator(1)) < 0.5).float()
    logit = objective.net.dense(images, config.crop_stride)[:, 0]
    both = torch.stack((torch.zeros_like(logit), logit), dim=1)
    expected = nn.functional.cross_entropy(both, targets[:, 0].long())
    torch.testing.assert_close(objective(images, targets), expected)


@pytest.mark.parametrize("network", [{}, UNET])
@pytest.mark.parametrize("target", ["heat_map", "classes"])
def test_a_map_has_no_offsets_however_long_it_learns(
    tmp_path: Path, network: dict[str, Any], target: str
) -> None:
    config = tiny_config(**network, target=target, num_votes=1, steps=3, weight_decay=0.1)
    result = fit(write_tiles(tmp_path / "tiles"), tmp_path / "run", config, progress=False)
    image = torch.rand(1, 3, 30, 30, generator=generator(0))
    votes = dvfast.scan(result.net, image, precision="float32", stride=2)
    assert not votes[:, 1:].any()
    assert votes[:, 0].std() > 0


@pytest.mark.parametrize("target", ["votes", "heat_map"])
def test_a_unet_learns_either(tmp_path: Path, target: str) -> None:
    """Dark spots on pale ground; what was learnt comes back from the file, and finds them."""
    folder = write_tiles(tmp_path / "tiles")
    config = tiny_config(
        **UNET,
        target=target,
        target_radius=1.5,
        num_votes=1,
        lam=38.4,
        batch_size=8,
        steps=60,
        learning_rate=1e-2,
        validate_every=60,
        augmentation=Augmentation(zoom=0.1),
        detection=dvfast.DetectionSettings(stride=1, sigma=1.0, normalization="percentiles"),
    )
    result = fit(folder, tmp_path / "run", config, progress=False)
    assert isinstance(result.net, VotingUNet)
    assert not result.net.normalized
    assert result.best_f1 is not None
    assert result.best_f1 > 0.8
    detector = Detector.load(result.weights_path)
    assert detector.settings.normalization == "percentiles"
    assert dvfast.evaluate(detector, folder, radius=4.0).micro.f1 > 0.8


def test_mixed_precision_is_close(tmp_path: Path) -> None:
    config = tiny_config(dropout=0.0)
    images = torch.rand(2, 3, 39 + 9, 39 + 9, generator=generator(0))
    points = [10 + 30 * torch.rand(5, 2, generator=generator(1)) for _ in range(2)]
    targets = make_targets(config, points, (48, 48), stride=3, offset=19)[:, :, :4, :4]
    losses = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        config = tiny_config(dropout=0.0, precision=precision)
        loss = Objective(config.build_network(), config)(images, targets)
        assert loss.dtype == torch.float32
        losses.append(loss.item())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


# --- The loss of the density ----------------------------------------------------------------------


def density_case(seed: int = 0) -> tuple[TrainingConfig, torch.Tensor, torch.Tensor]:
    """Settings, logits and targets of two crops of 12 x 12 voters, 2 pixels apart, in float64."""
    config = tiny_config(
        **{**UNET, "crop_stride": 2, "crop_size": 12},
        r1=5.0,
        r2=10.0,
        target_radius=2.0,
        density_weight=30.0,
        detection=dvfast.DetectionSettings(stride=2, sigma=1.5, window=9),
    )
    points = [23 * torch.rand(n, 2, generator=generator(seed)).double() for n in (3, 0)]
    targets = make_targets(config, points, (23, 23), stride=2, offset=0)
    logits = torch.randn(2, 6, 12, 12, generator=generator(seed + 1), dtype=torch.float64)
    return config, logits, targets


def test_the_loss_of_the_density_by_hand() -> None:
    config, logits, targets = density_case()
    votes = reference.hybrid_activation(logits)
    density = reference.vote_density(
        votes, (23, 23), sigma=1.5, window=9, stride=2, interpolation="bilinear"
    )
    # The points of density_case, anew.
    clicks = 23 * torch.rand(3, 2, generator=generator(0)).double()
    total = 0.0
    for image in range(2):
        for y in range(6, 17, 2):  # further than r1 from the borders, which lie at 0 and 22
            for x in range(6, 17, 2):
                heat = 0.0
                if image == 0:
                    nearest = (clicks - torch.tensor([y, x])).norm(dim=1).min().item()
                    heat = math.exp(-(nearest**2) / 8) if nearest <= 10 else 0.0
                # A voter stands for 2 x 2 pixels, and a full nucleus makes 25 / (2 * 1.5^2).
                expected = 3 * density[image, y, x].item() * 4 / (25 / 4.5) + 1e-4
                probability = 1 - math.exp(-expected)
                total -= heat * math.log(probability) + (1 - heat) * math.log(1 - probability)
    assert density_loss(logits, targets, config).item() == pytest.approx(total / 72, rel=1e-6)


def test_the_gradient_of_the_loss_of_the_density(monkeypatch: pytest.MonkeyPatch) -> None:
    config, logits, targets = density_case()
    losses, gradients = [], []
    for module in (dvfast.functional, reference):
        leaf = logits.clone().requires_grad_()
        with monkeypatch.context() as patch:
            patch.setattr(objective_module.functional, "vote_density", module.vote_density)
            loss = density_loss(leaf, targets, config)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(leaf.grad)
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-8)
    assert gradients[0] is not None
    assert gradients[0][0, 1::3].abs().max() > 1e-5  # the offsets', too


def test_votes_that_hit_make_a_better_density() -> None:
    config, logits, targets = density_case()
    logits = targets.clone()
    logits[:, ::3] = 8 * targets[:, ::3] - 4
    displaced = logits.clone()
    displaced[:, 1::3] += 3
    silent = logits.clone()
    silent[:, ::3] = -4
    hit, *others = (density_loss(x, targets, config).item() for x in (logits, displaced, silent))
    assert hit < 0.7 * min(others)


def test_the_density_is_learnt_beside_the_votes() -> None:
    config = tiny_config(**{**UNET, "crop_stride": 2}, r1=4.0, density_weight=30.0)
    objective = Objective(config.build_network().eval(), config)
    images = torch.rand(1, 3, 34, 34, generator=generator(0))
    points = [30 * torch.rand(4, 2, generator=generator(1))]
    targets = make_targets(config, points, (30, 30), stride=2, offset=0)
    logits = objective.net.dense(images, 2)
    expected = dvfast.voting_loss(logits, targets, config.lam)
    expected = expected + 30 * density_loss(logits, targets, config)
    torch.testing.assert_close(objective(images, targets), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"density_weight": -1.0}, "density_weight: came as -1.0"),
        ({"density_weight": 1.0, "sampling": "patches"}, "density_weight: came as 1.0, expected 0"),
        (
            {"density_weight": 1.0, "target": "classes", "num_votes": 1},
            "density_weight: came as 1.0, expected 0",
        ),
        (
            {"density_weight": 1.0, "crop_size": 6, "crop_stride": 4, "r1": 9.0},
            "crop_size: came as 6, expected more than 6",
        ),
        (
            {**UNET, "density_weight": 1.0, "r1": 9.0},
            "crop_size: came as 16, expected more than 18",
        ),
        ({"target": "heat_map"}, "num_votes: came as 2, expected 1"),
        ({**UNET, "sampling": "patches"}, "sampling: came as 'patches'"),
        ({**UNET, "channels": (8,)}, "network: channels must be two to eight"),
        ({**UNET, "crop_stride": 3}, "network: output_stride must be a power of two up to 2"),
        ({"target": "both"}, "target: came as 'both'"),
        ({"precision": "float16"}, "precision: came as 'float16'"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_config(**changes)


def test_the_network_is_that_of_the_settings() -> None:
    unet = TrainingConfig(network="unet", channels=(4, 8, 16), crop_stride=2).build_network()
    assert isinstance(unet, VotingUNet)
    assert (unet.channels, unet.output_stride) == ((4, 8, 16), 2)
    assert unet.encoder[0][0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[index]
