"""What a network is asked for, and how far its answer is off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import functional
from ..nn import VotingNetwork
from .config import TrainingConfig

__all__ = ["Objective", "make_targets"]

# Standard deviations from a click beyond which a heat map is 0.
_HEAT_REACH = 4.0


def make_targets(
    config: TrainingConfig,
    points: Sequence[Tensor],
    size: tuple[int, int],
    *,
    stride: int,
    offset: int,
) -> Tensor:
    """Targets ``[b, 3k, h, w]`` of the pixels ``offset + stride * i`` of images of this size.

    ``target="votes"`` is eq. 1, :func:`dvfast.vote_targets`. The others ask for one number a pixel,
    in the place of the confidence; its vote goes to the pixel itself, and the density that the
    detector reads is the map that the network answers with. With `v` the way from the nearest click
    and `s` the settings' `target_radius`:

    ``"classes"``: 1 where ``|v| <= s``, else 0. A softmax over two classes has one free number, the
    difference of its logits, and is the sigmoid of it.

    ``"heat_map"``: ``exp(-|v|^2 / 2 s^2)``.
    """
    if config.target == "votes":
        return functional.vote_targets(
            points,
            size,
            config.num_votes,
            r1=config.r1,
            r2=config.r2,
            beta=config.beta,
            stride=stride,
            offset=offset,
        )
    radius = config.target_radius
    reach = radius if config.target == "classes" else _HEAT_REACH * radius
    targets = functional.vote_targets(
        points, size, 1, r1=reach, r2=reach, stride=stride, offset=offset
    )
    if config.target == "heat_map":
        squared = targets[:, 1:].square().sum(dim=1)
        targets[:, 0] *= torch.exp(squared / (-2 * radius**2))
    targets[:, 1:] = 0
    return targets


class Objective(nn.Module):
    """From images and targets to the loss: the whole of what several processes share."""

    def __init__(self, net: VotingNetwork, config: TrainingConfig) -> None:
        super().__init__()
        self.net = net
        self._config = config

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        config = self._config
        stride = config.crop_stride
        if config.sampling == "patches":
            stride = 4  # of the poolings: a patch has one vote, and its whole network is needed
        lower = config.precision == "bfloat16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=lower):
            logits = self.net.dense(images, stride=stride)
        logits = logits.float()
        if config.target == "votes":
            return functional.voting_loss(logits, targets, config.lam)
        return F.binary_cross_entropy_with_logits(logits[:, 0], targets[:, 0])
