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
from dvfast import Detector
from dvfast.data.augment import Augmentation
from dvfast.errors import InputError
from dvfast.nn import VotingUNet
from dvfast.training import TrainingConfig, fit
from dvfast.training.objective import Objective, make_targets

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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
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
