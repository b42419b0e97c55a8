"""The loss of votes, and its gradient in the same sweep: eq. 3, 4 and 5."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .._arguments import check_number, check_tensor
from .._library import ops

__all__ = ["check_loss", "voting_loss"]

_REDUCTIONS = ("mean", "sum", "none")


def voting_loss(
    logits: Tensor,
    target: Tensor,
    lam: float = 384.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    r"""Loss of the votes of every patch (eq. 3 and 4), with its gradient (eq. 5) in the same sweep.

    .. math:: l = \sum_j \tfrac12 \left( \alpha_j w_j \lVert d_j - v_j \rVert^2
                + \lambda (w_j - \alpha_j)^2 \right), \qquad w = \mathrm{sigm}(Iw)

    Parameters
    ----------
    logits
        ``[N, 3k]``, ``[B, 3k, L]`` or ``[B, 3k, H, W]``: the network's raw outputs, before the
        hybrid activation; float32, float64, bfloat16 or float16.
    target
        Of the shape of `logits`, as :func:`dvfast.vote_targets` returns it; of the dtype of
        `logits`, or float32 beside half-precision logits. It is taken as constant.
    lam
        λ, weight of the confidence term, at least 0; in squared pixels, as it is weighed against
        squared lengths.
    reduction
        ``"mean"`` over patches (not over votes; of no patch it is NaN), ``"sum"``, or ``"none"``
        for the loss of each.

    Returns
    -------
    Tensor
        ``[]``, or ``[N]``, ``[B, L]``, ``[B, H, W]`` without reduction. In float32 for halves: a
        mean of three digits helps nobody. The same bits for any number of threads and any memory
        format. Differentiable once with respect to `logits`.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If `target` requires a gradient, `lam` is out of range, or `reduction` is unknown.
    RuntimeError
        If shapes, dtypes or devices do not fit.

    Examples
    --------
    >>> import torch, dvfast
    >>> logits = torch.tensor([[0.0, 1.0, 1.0]])  # one patch, one vote
    >>> target = torch.tensor([[1.0, 0.0, 0.0]])
    >>> dvfast.voting_loss(logits, target)  # ½ (1 · ½ · 2 + 384 · ½²)
    tensor(48.5000)
    """
    check_tensor("logits", logits)
    check_tensor("target", target)
    check_loss(lam, reduction)
    if target.requires_grad:
        raise ValueError("target must not require a gradient: the loss takes it as constant")
    if target.device != logits.device:
        raise RuntimeError(
            f"target must be on the device of logits, {logits.device}, got {target.device}"
        )
    # What vmap hands over does not say what it is made of.
    unknown = not torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level()
    with_gradient = torch.is_grad_enabled() and (logits.requires_grad or bool(unknown))
    loss: Tensor
    loss, _ = ops.voting_loss(logits, target, lam, reduction == "none", with_gradient)
    if reduction == "mean":
        patches = logits.shape[0] * math.prod(logits.shape[2:])
        return loss / patches if patches else loss * math.nan
    return loss


def check_loss(lam: float, reduction: str) -> None:
    check_number("lam", lam)
    if not 0 <= lam < math.inf:
        raise ValueError(f"lam must be at least 0 and finite, got {lam}")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"reduction must be one of {_REDUCTIONS}, got {reduction!r}")
