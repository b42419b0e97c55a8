"""What the tests know about gradients, for anyone to see: ``dvfast gradcheck``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import functional, reference

__all__ = ["GradientCheck", "check_gradients"]

# Relative to the largest gradient: a few roundings of the dtype. Sums of votes are rounded to 2^-30
# even in float64, but gradients are not made of sums.
_TOLERANCES = {
    torch.float64: 1e-12,
    torch.float32: 2e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 2e-3,
}
# Central differences with a step of 1e-3: its square, and 2^-30 over the step for sums of votes.
_STEP = 1e-3
_DIFFERENCE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class GradientCheck:
    """One line of the table.

    Attributes
    ----------
    operator, device, dtype
        What was differentiated, where, and in what.
    error, tolerance
        Largest deviation from autograd through :mod:`dvfast.reference` in float64, relative to the
        largest gradient, and what is allowed.
    difference_error, difference_tolerance
        The same against finite differences along random directions; None where the precision leaves
        no room for them.
    """

    operator: str
    device: str
    dtype: str
    error: float
    tolerance: float
    difference_error: float | None
    difference_tolerance: float | None

    @property
    def passed(self) -> bool:
        if not self.error <= self.tolerance:
            return False
        if self.difference_error is None or self.difference_tolerance is None:
            return True
        return self.difference_error <= self.difference_tolerance


@dataclass(frozen=True)
class _Case:
    name: str
    run: Callable[[Any, Tensor], Tensor]  # (functional or reference, input) -> output
    input: Tensor  # float64
    halves: bool = False
    # Where the gradient of the offsets is a straight-through estimate, only confidences are moved.
    confidences_only: bool = False


def check_gradients(device: str | torch.device = "cpu", seed: int = 0) -> Iterator[GradientCheck]:
    """Compare every operator's gradient with autograd and with finite differences.

    Parameters
    ----------
    device
        Where the operators run.
    seed
        Of the random inputs.

    Yields
    ------
    GradientCheck
        One per operator and dtype.

    Examples
    --------
    >>> import dvfast.gradcheck
    >>> all(check.passed for check in dvfast.gradcheck.check_gradients())
    True
    """
    generator = torch.Generator().manual_seed(seed)
    for case in _cases(generator):
        dtypes = [torch.float64, torch.float32]
        if case.halves:
            dtypes += [torch.bfloat16, torch.float16]
        for dtype in dtypes:
            yield _check(case, dtype, torch.device(device), generator)


def _cases(generator: torch.Generator) -> Iterator[_Case]:
    size = (13, 17)
    logits = torch.randn(2, 6, *size, generator=generator, dtype=torch.float64)
    target = torch.rand(2, 6, *size, generator=generator, dtype=torch.float64)
    # Landings keep away from halves and integers, where rounding and truncation have kinks.
    votes = torch.rand(2, 6, *size, generator=generator, dtype=torch.float64)
    whole = torch.randint(-4, 5, votes.shape, generator=generator)
    offsets = torch.arange(6)[:, None, None] % 3 != 0
    votes = torch.where(offsets, whole + 0.1 + 0.3 * votes, votes)

    yield _Case("hybrid_activation", lambda m, x: m.hybrid_activation(x), logits, halves=True)
    yield _Case("hybrid_activation, twice", _second_derivative, logits)
    yield _Case("voting_loss", lambda m, x: m.voting_loss(x, target.to(x)), logits, halves=True)
    for name in ("vote_map", "vote_density"):
        for interpolation in ("nearest", "bilinear"):
            yield _Case(
                f"{name}, {interpolation}",
                partial(_density, name, size=size, interpolation=interpolation),
                votes,
                confidences_only=interpolation == "nearest",
            )
    yield _Case("parzen_density", partial(_density, "parzen_density", size=size), votes)
    yield _Case(
        "parzen_density, disc",
        partial(_density, "parzen_density", size=size, radius=4.2, area="disc"),
        votes,
    )


def _density(name: str, module: Any, votes: Tensor, **settings: object) -> Tensor:
    operator: Callable[..., Tensor] = getattr(module, name)
    return operator(votes, **settings)


def _second_derivative(module: Any, logits: Tensor) -> Tensor:
    output: Tensor = module.hybrid_activation(logits)
    (first,) = torch.autograd.grad(output.square().sum(), logits, create_graph=True)
    return first


def _check(
    case: _Case, dtype: torch.dtype, device: torch.device, generator: torch.Generator
) -> GradientCheck:
    rounded = case.input.to(dtype)
    weights = torch.rand(
        case.run(reference, case.input.requires_grad_()).shape,
        generator=generator,
        dtype=torch.float64,
    )
    ours = _gradient(case, functional, rounded.to(device), weights.to(device)).cpu().double()
    expected = _gradient(case, reference, rounded.double(), weights)
    scale = expected.abs().max().item()
    error = (ours - expected).abs().max().item() / scale

    differences = []
    if dtype == torch.float64:
        for _ in range(4):
            direction = torch.randn(case.input.shape, generator=generator, dtype=torch.float64)
            if case.confidences_only:
                confidences = torch.arange(direction.shape[1]) % 3 == 0
                direction = torch.where(confidences[:, None, None], direction, 0)
            direction /= direction.norm()
            slope = (ours * direction).sum().item()
            ahead = _value(case, (rounded + _STEP * direction).to(device), weights.to(device))
            behind = _value(case, (rounded - _STEP * direction).to(device), weights.to(device))
            difference = (ahead - behind) / (2 * _STEP)
            differences.append(abs(difference - slope) / scale)
    difference_error = float(np.max(differences)) if differences else None  # NaN is the greatest
    return GradientCheck(
        operator=case.name,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        error=error,
        tolerance=_TOLERANCES[dtype],
        difference_error=difference_error,
        difference_tolerance=_DIFFERENCE_TOLERANCE if difference_error is not None else None,
    )


def _gradient(case: _Case, module: Any, x: Tensor, weights: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    output = case.run(module, x)
    (gradient,) = torch.autograd.grad(output, x, weights.to(output).reshape(output.shape))
    return gradient


def _value(case: _Case, x: Tensor, weights: Tensor) -> float:
    return (case.run(functional, x.requires_grad_()).detach() * weights).sum().item()
