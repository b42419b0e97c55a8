"""The operators as layers."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from .. import functional
from .._arguments import (
    Offset,
    check_count,
    check_gaussian,
    check_integer,
    choice,
    limit,
    pair,
)
from ..functional.vote_map import INTERPOLATIONS
from ..functional.voting_loss import check_loss

__all__ = ["HybridActivation", "VoteDensity", "VotingLoss"]


class HybridActivation(nn.Module):
    """Eq. 2 as a layer; see :func:`dvfast.hybrid_activation`."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        check_integer("dim", dim)
        self.dim = dim

    def forward(self, logits: Tensor) -> Tensor:
        return functional.hybrid_activation(logits, self.dim)


class VotingLoss(nn.Module):
    """Eq. 3 and 4 as a layer; see :func:`dvfast.voting_loss`."""

    def __init__(
        self, lam: float = 384.0, reduction: Literal["mean", "sum", "none"] = "mean"
    ) -> None:
        super().__init__()
        check_loss(lam, reduction)
        self.lam = lam
        self.reduction = reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return functional.voting_loss(logits, target, self.lam, self.reduction)


class VoteDensity(nn.Module):
    """The voting density of section 2.3 as a layer; see :func:`dvfast.vote_density`."""

    def __init__(
        self,
        sigma: float = 1.0,
        window: int = 5,
        *,
        stride: int = 1,
        offset: Offset = 0,
        max_offset: float | None = None,
        interpolation: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        check_gaussian(sigma, window)
        check_count("stride", stride)
        pair(offset)
        limit("max_offset", max_offset)
        choice("interpolation", interpolation, INTERPOLATIONS)
        self.sigma = sigma
        self.window = window
        self.stride = stride
        self.offset = offset
        self.max_offset = max_offset
        self.interpolation = interpolation

    def forward(self, votes: Tensor, size: tuple[int, int]) -> Tensor:
        return functional.vote_density(
            votes,
            size,
            sigma=self.sigma,
            window=self.window,
            stride=self.stride,
            offset=self.offset,
            max_offset=self.max_offset,
            interpolation=self.interpolation,
        )
