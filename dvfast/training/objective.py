"""What a network is asked for, and how far its answer is off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import functional
from ..nn import VotingNetwork
from .config import TrainingConfig

__all__ = ["Objective", "density_loss", "make_targets"]

# Standard deviations from a click beyond which a heat map is 0.
_HEAT_REACH = 4.0

# Votes that are expected at the centre of a nucleus if all its pixels vote for it: one at least
# comes with a probability of 0.95.
_EXPECTED_VOTES = 3.0
# Where none is expected, the logarithm needs a few all the same.
_FEWEST_VOTES = 1e-4


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


def density_loss(logits: Tensor, targets: Tensor, config: TrainingConfig) -> Tensor:
    r"""How far the density of the votes is off a heat map of the clicks: what a detector will read.

    Of all votes together, where :func:`dvfast.voting_loss` is a sum over each alone. With V the
    density that the settings' `detection` makes of them, and T a Gaussian around every click,

    .. math:: -T \log\left(1 - e^{-u}\right) + (1 - T)\, u, \qquad
                u(x) = 3 \cdot \frac{2 \sigma^2}{r_1^2}\, V(x)

    the cross entropy of T and of the probability that one vote at least falls on x, if u are
    expected: 3 at the centre of a nucleus whose pixels within r1 all vote for it. The mean is over
    the voters' own pixels that lie further than r1 within the crop, as voters beyond it are missing
    elsewhere. The gradient comes to the votes through the density.

    Parameters
    ----------
    logits, targets
        ``[B, 3k, n, n]``, of every `crop_stride`-th pixel of a crop. T is known from the targets of
        the first votes, which are for the nearest clicks.
    config
        `crop_stride`, `r1`, `target_radius` (the standard deviation of T) and `detection`.

    Returns
    -------
    Tensor
        A number.
    """
    stride, size = config.crop_stride, logits.shape[-1]
    sigma, window = config.detection.sigma, config.detection.window
    side = (size - 1) * stride + 1
    density = functional.vote_density(
        functional.hybrid_activation(logits),
        (side, side),
        sigma=sigma,
        window=window,
        stride=stride,
        interpolation="bilinear",  # whose offsets have an exact gradient
    )[:, ::stride, ::stride]
    # Densities are those of a voter per pixel.
    unit = _EXPECTED_VOTES * 2 * sigma**2 / config.r1**2 * stride**2
    expected = unit * density + _FEWEST_VOTES
    squared = targets[:, 1:3].square().sum(dim=1)
    heat = torch.exp(squared / (-2 * config.target_radius**2)) * (targets[:, 0] > 0)
    loss = (1 - heat) * expected - heat * torch.log(-torch.expm1(-expected))
    border = config.votes_within_r1
    return loss[:, border : size - border, border : size - border].mean()


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
            loss = functional.voting_loss(logits, targets, config.lam)
            if config.density_weight > 0:
                loss = loss + config.density_weight * density_loss(logits, targets, config)
            return loss
        return F.binary_cross_entropy_with_logits(logits[:, 0], targets[:, 0])
