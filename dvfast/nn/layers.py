"""The operators as layers."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from .. import functional
from .._arguments import Offset, check_gaussian, check_integer, check_stride, choice, limit, pair
from ..functional.vote_map import INTERPOLATIONS
from ..functional.voting_loss import check_loss

__all__ = ["HybridActivation", "VoteDensity", "VotingLoss"]


class HybridActivation(nn.Module):
    """Eq. 2 as a layer; see :func:`dvfast.hybrid_activation`.

    Parameters
    ----------
    dim
        The dimension of the channels.

    Raises
    ------
    TypeError
        If `dim` is no integer.

    Examples
    --------
    >>> import torch, dvfast
    >>> dvfast.nn.HybridActivation()(torch.tensor([[0.0, 3.0, -4.0]]))
    tensor([[ 0.5000,  3.0000, -4.0000]])
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        check_integer("dim", dim)
        self.dim = dim

    def forward(self, logits: Tensor) -> Tensor:
        return functional.hybrid_activation(logits, self.dim)


class VotingLoss(nn.Module):
    """Eq. 3 and 4 as a layer; see :func:`dvfast.voting_loss`.

    Parameters
    ----------
    lam, reduction
        As for the function.

    Raises
    ------
    TypeError
        If `lam` is no number.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> logits, target = torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    >>> dvfast.nn.VotingLoss(lam=384.0)(logits, target)
    tensor(48.5000)
    """

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
    """The voting density of section 2.3 as a layer; see :func:`dvfast.vote_density`.

    Parameters
    ----------
    sigma, window, stride, offset, max_offset, interpolation
        As for the function, of whose arguments votes and size are left to the call.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> import torch, dvfast
    >>> votes = torch.zeros(1, 3, 5, 5)
    >>> votes[0, :, 2, 1] = torch.tensor([1.0, 0.0, -1.0])  # from (2, 1) to (2, 2)
    >>> dvfast.nn.VoteDensity(sigma=1.0, window=5)(votes, (5, 5))[0, 2]
    tensor([0.0215, 0.0965, 0.1592, 0.0965, 0.0215])
    """

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
        check_stride(stride)
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
