"""Eq. 2 against its reference, over dtypes, layouts and shapes, to its second derivative."""

from __future__ import annotations

import math

import pytest
import torch
from support import (
    FLOATING_DTYPES,
    LAYOUTS,
    ROUNDING,
    VOTE_SHAPES,
    assert_near,
    assert_same_strides,
    leaf,
    over_threads,
    plain,
    random_logits,
)
from torch import Tensor

import dvfast
from dvfast import reference

SHAPES = [(5, 3), (4, 21), (0, 6), (7, 0), (2, 9, 5), (3, 6, 0), *VOTE_SHAPES]
# The smallest magnitude at which a result still has all its digits; below, it is absolute.
TINY = {
    torch.float64: 1e-300,
    torch.float32: 2.0**-126,
    torch.bfloat16: 2.0**-126,
    torch.float16: 2.0**-24,
}


def gradients(logits: Tensor, upstream: Tensor, outer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Votes, their gradient, and the gradient of that gradient."""
    logits = leaf(logits)
    votes = dvfast.hybrid_activation(logits)
    (first,) = torch.autograd.grad(votes, logits, upstream, create_graph=True)
    (second,) = torch.autograd.grad(first, logits, outer)
    return votes, first, second


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", FLOATING_DTYPES, ids=str)
def test_agrees_with_reference(
    device: torch.device, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    for seed in (0, 1):
        logits = random_logits(shape, seed, dtype)
        votes = dvfast.hybrid_activation(logits.to(device))
        assert votes.dtype == dtype
        assert_near(votes, reference.hybrid_activation(logits.double()), absolute=TINY[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATING_DTYPES, ids=str)
def test_layout_changes_no_bit(device: torch.device, dtype: torch.dtype, layout: str) -> None:
    for shape in SHAPES:
        inputs = [random_logits(shape, seed, dtype).to(device) for seed in range(3)]
        laid_out = [LAYOUTS[layout](x) for x in inputs]
        results = zip(gradients(*laid_out), gradients(*map(plain, laid_out)), strict=True)
        assert all(torch.equal(actual, expected) for actual, expected in results), shape


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_may_differ_between_logits_and_upstream(device: torch.device, layout: str) -> None:
    logits, upstream, outer = (random_logits((2, 6, 5, 7), seed).to(device) for seed in range(3))
    expected = gradients(logits, upstream, outer)
    if layout != "expanded":
        for i in range(3):
            inputs = [logits, upstream, outer]
            inputs[i] = LAYOUTS[layout](inputs[i])
            for actual, wanted in zip(gradients(*inputs), expected, strict=True):
                assert torch.equal(actual, wanted)
    # The gradient of a sum arrives with strides of zero.
    ones = torch.ones((), device=device).expand_as(logits)
    assert torch.equal(gradients(logits, ones, outer)[1], gradients(logits, plain(ones), outer)[1])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_format_is_kept(device: torch.device, memory_format: torch.memory_format) -> None:
    logits = random_logits((2, 6, 5, 7)).to(device).contiguous(memory_format=memory_format)
    votes, first, second = gradients(logits, logits, logits)
    for result in (votes, first, second):
        assert_same_strides(result, logits)


@pytest.mark.parametrize(
    ("shape", "dim"),
    [((6,), 0), ((6,), -1), ((9, 4), 0), ((4, 9), -1), ((2, 5, 6), 2), ((2, 5, 7, 3), -1),
     ((3, 5, 7, 2), 0), ((2, 5, 6, 4), 2)],
)  # fmt: skip
def test_any_dimension(device: torch.device, shape: tuple[int, ...], dim: int) -> None:
    logits = torch.randn(shape, dtype=torch.float64)
    votes = dvfast.hybrid_activation(logits.to(device), dim)
    assert_near(votes, reference.hybrid_activation(logits, dim))
    assert votes.is_contiguous()


@pytest.mark.parametrize("dtype", FLOATING_DTYPES, ids=str)
def test_extremes(device: torch.device, dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, -0.0, 1e4, -1e4, math.inf, -math.inf, math.nan], device=device)
    logits = x.to(dtype)[:, None].expand(-1, 3)
    votes = dvfast.hybrid_activation(logits)
    expected = torch.tensor([0.5, 0.5, 1.0, 0.0, 1.0, 0.0, math.nan], dtype=dtype, device=device)
    assert torch.allclose(votes[:, 0], expected, rtol=0, atol=0, equal_nan=True)
    # Offsets pass through to the bit, NaN and the sign of zero included.
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    assert torch.equal(
        votes[:, 1:].contiguous().view(integer), logits[:, 1:].contiguous().view(integer)
    )


def test_small_confidences_keep_their_digits(device: torch.device) -> None:
    logits = torch.linspace(-87, 20, 5001)[:, None].expand(-1, 3)
    votes = dvfast.hybrid_activation(logits.to(device))
    assert_near(votes, torch.where(torch.arange(3) == 0, logits.double().sigmoid(), logits),
                relative=1e-6)  # fmt: skip


def test_gradcheck(device: torch.device) -> None:
    for shape in [(2, 6), (2, 3, 5), (2, 6, 3, 2)]:
        logits = leaf(random_logits(shape, dtype=torch.float64).to(device))
        assert torch.autograd.gradcheck(dvfast.hybrid_activation, logits)
        assert torch.autograd.gradgradcheck(dvfast.hybrid_activation, logits)


@pytest.mark.parametrize("dtype", FLOATING_DTYPES, ids=str)
def test_derivatives_agree_with_autograd_of_reference(
    device: torch.device, dtype: torch.dtype
) -> None:
    inputs = [random_logits((3, 9, 7, 5), seed, dtype) for seed in range(3)]
    x = leaf(inputs[0].double())
    (first,) = torch.autograd.grad(
        reference.hybrid_activation(x), x, inputs[1].double(), create_graph=True
    )
    (second,) = torch.autograd.grad(first, x, inputs[2].double())
    _, actual, actual_second = gradients(*(x.to(device) for x in inputs))
    # The slope w (1 - w) is taken from the rounded vote, so it is off by a unit of w = 1, times
    # upstream numbers of up to ten (and their product, up to a hundred).
    unit = ROUNDING[dtype]
    assert_near(actual, first, relative=4 * unit, absolute=10 * unit)
    assert_near(actual_second, second, relative=4 * unit, absolute=100 * unit)


def test_threads_change_no_bit() -> None:
    inputs = [random_logits((2, 6, 151, 301), seed) for seed in range(3)]
    one, *others = over_threads(lambda: gradients(*inputs))
    for other in others:
        assert torch.equal(one, other)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"logits must have 3k channels in dimension 1.*\[2, 4\]"):
        dvfast.hybrid_activation(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"logits must have 1 to 4 dimensions, got \[\]"):
        dvfast.hybrid_activation(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"logits must have 1 to 4 dimensions"):
        dvfast.hybrid_activation(torch.zeros(1, 3, 1, 1, 1))
    with pytest.raises(ValueError, match=r"dim must be a dimension of logits.*got 2"):
        dvfast.hybrid_activation(torch.zeros(2, 3), dim=2)
    with pytest.raises(RuntimeError, match=r"logits must be one of .*got int64 \[2, 3\]"):
        dvfast.hybrid_activation(torch.zeros(2, 3, dtype=torch.int64))


def test_a_third_derivative_is_refused() -> None:
    logits = torch.randn(1, 3, 2, 2, dtype=torch.float64).requires_grad_()
    (first,) = torch.autograd.grad(
        dvfast.hybrid_activation(logits).pow(3).sum(), logits, create_graph=True
    )
    (second,) = torch.autograd.grad(first.pow(2).sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="does not differentiate three times"):
        torch.autograd.grad(second.pow(2).sum(), logits)
