"""Logits to votes: eq. 2."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from .._arguments import check_integer, check_tensor
from .._library import ops

__all__ = ["hybrid_activation"]


def hybrid_activation(logits: Tensor, dim: int = 1) -> Tensor:
    r"""Turn logits into votes (eq. 2): a sigmoid on confidences, nothing on offsets.

    .. math:: w_j = \mathrm{sigm}(Iw_j), \qquad d_j = Id_j

    Parameters
    ----------
    logits
        ``[N, 3k]``, ``[B, 3k, H, W]``, or any tensor of up to 4 dimensions with ``3k`` channels in
        dimension `dim`; float32, float64, bfloat16 or float16 (halves are computed in float32).
    dim
        The dimension of the channels; negative ones count from the last.

    Returns
    -------
    Tensor
        Votes, of the shape, dtype and memory format of `logits`. Differentiable twice.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If `dim` is no dimension of `logits`, or does not hold a multiple of three channels.
    RuntimeError
        If `logits` are of another dtype.

    Examples
    --------
    >>> import torch, dvfast
    >>> dvfast.hybrid_activation(torch.tensor([[0.0, 3.0, -4.0]]))
    tensor([[ 0.5000,  3.0000, -4.0000]])
    """
    check_tensor("logits", logits)
    check_integer("dim", dim)
    if not 1 <= logits.dim() <= 4:
        raise ValueError(f"logits must have 1 to 4 dimensions, got {list(logits.shape)}")
    if not -logits.dim() <= dim < logits.dim():
        raise ValueError(f"dim must be a dimension of logits {list(logits.shape)}, got {dim}")
    if logits.shape[dim] % 3:
        raise ValueError(
            f"logits must have 3k channels in dimension {dim}, got {list(logits.shape)}"
        )
    if logits.dim() == 1:
        return cast(Tensor, ops.hybrid_activation(logits.unsqueeze(0)).squeeze(0))
    if dim % logits.dim() == 1:
        return cast(Tensor, ops.hybrid_activation(logits))
    return cast(Tensor, ops.hybrid_activation(logits.movedim(dim, 1)).movedim(1, dim))
