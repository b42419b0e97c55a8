"""Eq. 3 to 5: the loss and its analytic gradient against the reference and its autograd."""

from __future__ import annotations

import math

import pytest
import torch
from support import (
    FLOATING_DTYPES,
    LAYOUTS,
    REAL_DTYPES,
    VOTE_SHAPES,
    assert_near,
    assert_same_strides,
    leaf,
    over_threads,
    plain,
    random_logits,
    random_votes,
)
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import dvfast
from dvfast import reference

SHAPES = [(5, 3), (4, 21), (2, 9, 5), *[shape for shape in VOTE_SHAPES if 0 not in shape]]
EMPTY = [(0, 6), (3, 6, 0), *[shape for shape in VOTE_SHAPES if 0 in shape]]
# dtype of logits, dtype of target
DTYPES = [*((dtype, dtype) for dtype in FLOATING_DTYPES),
          (torch.bfloat16, torch.float32), (torch.float16, torch.float32)]  # fmt: skip
REDUCTIONS = ("mean", "sum", "none")
# Halves are computed in float32; their gradient is rounded once, when it has been scaled.
GRADIENT_ROUNDING = {
    torch.float64: 1e-13,
    torch.float32: 1e-5,
    torch.bfloat16: 2.0**-8,
    torch.float16: 2.0**-11,
}
# λ (w - α) cancels where a vote is right: what is left is the rounding of w, 2⁻²⁴, times λ.
CANCELLATION = {torch.float64: 1e-12}


def loss_and_gradient(logits: Tensor, target: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    logits = leaf(logits)
    loss = dvfast.voting_loss(logits, target, reduction=reduction)
    upstream = torch.linspace(-1, 2, loss.numel(), dtype=loss.dtype, device=loss.device)
    (gradient,) = torch.autograd.grad(loss, logits, upstream.reshape(loss.shape))
    return loss, gradient


def reference_of(logits: Tensor, target: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
    logits = leaf(logits.double())
    loss = reference.voting_loss(logits, target.double(), reduction=reduction)
    upstream = torch.linspace(-1, 2, loss.numel(), dtype=torch.float64).reshape(loss.shape)
    (gradient,) = torch.autograd.grad(loss, logits, upstream)
    return loss, gradient


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtypes", DTYPES, ids=str)
def test_agrees_with_reference(
    device: torch.device, dtypes: tuple[torch.dtype, torch.dtype], reduction: str
) -> None:
    for shape in SHAPES:
        logits = random_logits(shape, 1, dtypes[0])
        target = random_votes(shape, 2, dtypes[1])
        expected, expected_gradient = reference_of(logits, target, reduction)
        loss, gradient = loss_and_gradient(logits.to(device), target.to(device), reduction)
        assert loss.dtype == (torch.float64 if dtypes[0] == torch.float64 else torch.float32)
        assert gradient.dtype == dtypes[0]
        absolute = CANCELLATION.get(dtypes[0], 1e-4)
        # Without cancellation all terms are positive, so sums round as their terms do.
        relative = 1e-13 if dtypes[0] == torch.float64 else 2e-6
        assert_near(loss, expected, relative=relative, absolute=absolute)
        assert_near(
            gradient, expected_gradient, relative=GRADIENT_ROUNDING[dtypes[0]], absolute=absolute
        )


@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_empty(device: torch.device, shape: tuple[int, ...], reduction: str) -> None:
    empty = torch.zeros(shape, device=device, requires_grad=True)
    loss = dvfast.voting_loss(empty, empty.detach(), reduction=reduction)
    loss.sum().backward()
    assert empty.grad is not None
    assert empty.grad.shape == empty.shape
    if reduction == "mean":
        assert loss.isnan()  # as torch's own losses: the mean of nothing
    elif reduction == "sum":
        assert loss.item() == 0
    else:
        assert loss.shape == (shape[0], *shape[2:])


def test_patches_without_votes_lose_nothing(device: torch.device) -> None:
    logits = torch.zeros(5, 0, device=device)
    assert dvfast.voting_loss(logits, logits).item() == 0
    assert reference.voting_loss(logits, logits).item() == 0


def test_gradients_of_halves_are_scaled_before_they_are_rounded(device: torch.device) -> None:
    """A patch's own gradient may be more, or less, than a half can be."""
    logits = torch.zeros(1024, 3, dtype=torch.float16)
    logits[0, 1], logits[1, 0] = 800, -16
    target = torch.zeros(1024, 3)
    target[0, 0] = 1
    for reduction, scale in (("mean", 1.0), ("mean", 2.0**16), ("sum", 2.0**-8)):
        expected, actual = leaf(logits.float()), leaf(logits.to(device))
        (scale * reference.voting_loss(expected, target, reduction=reduction)).backward()
        (scale * dvfast.voting_loss(actual, target.to(device), reduction=reduction)).backward()
        assert expected.grad is not None
        assert actual.grad is not None
        assert torch.equal(actual.grad.cpu(), expected.grad.half())


def test_vmap_has_gradients(device: torch.device) -> None:
    logits = leaf(random_logits((3, 4, 6), 1, torch.float64).to(device))
    target = random_votes((3, 4, 6), 2, torch.float64).to(device)
    batched = torch.vmap(dvfast.voting_loss)(logits, target)
    apart = [dvfast.voting_loss(*pair) for pair in zip(logits, target, strict=True)]
    assert torch.equal(batched, torch.stack(apart))
    gradients = [torch.autograd.grad(loss.sum(), logits) for loss in (batched, torch.stack(apart))]
    assert torch.equal(*(gradient for (gradient,) in gradients))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtypes", DTYPES, ids=str)
def test_layout_changes_no_bit(
    device: torch.device, dtypes: tuple[torch.dtype, torch.dtype], layout: str
) -> None:
    for shape in ((6, 6), (3, 9, 5), (2, 6, 7, 5), (1, 21, 33, 1)):
        logits = LAYOUTS[layout](random_logits(shape, 1, dtypes[0]).to(device))
        target = LAYOUTS[layout](random_votes(shape, 2, dtypes[1]).to(device))
        for reduction in REDUCTIONS:
            expected = loss_and_gradient(plain(logits), plain(target), reduction)
            for inputs in ((logits, target), (plain(logits), target), (logits, plain(target))):
                for actual, wanted in zip(
                    loss_and_gradient(*inputs, reduction), expected, strict=True
                ):
                    assert torch.equal(actual, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_upstream_changes_no_bit(device: torch.device, layout: str) -> None:
    logits = leaf(random_logits((3, 6, 7, 5), 1).to(device))
    loss = dvfast.voting_loss(logits, random_votes(logits.shape, 2).to(device), reduction="none")
    upstream = LAYOUTS[layout](random_logits(loss.shape, 3).to(device))
    gradients = [
        torch.autograd.grad(loss, logits, grad, retain_graph=True)[0]
        for grad in (upstream, plain(upstream))
    ]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_memory_format_is_kept(device: torch.device, memory_format: torch.memory_format) -> None:
    logits = random_logits((2, 6, 5, 7)).to(device).contiguous(memory_format=memory_format)
    _, gradient = loss_and_gradient(logits, random_votes(logits.shape).to(device), "mean")
    assert_same_strides(gradient, logits)


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
def test_threads_and_memory_format_change_no_bit(dtype: torch.dtype) -> None:
    logits, target = random_logits((2, 6, 151, 301), 1, dtype), random_votes((2, 6, 151, 301), 2)
    for reduction in ("mean", "sum"):
        results = []
        for layout in ("contiguous", "channels_last", "every_second"):
            inputs = LAYOUTS[layout](logits), LAYOUTS[layout](target.to(dtype))
            results += over_threads(lambda i=inputs, r=reduction: loss_and_gradient(*i, r))
        for other in results[1:]:
            assert torch.equal(results[0], other)


def test_gradcheck(device: torch.device) -> None:
    for shape in [(4, 6), (2, 3, 5), (2, 6, 3, 2)]:
        logits = leaf(random_logits(shape, 1, torch.float64).to(device))
        target = random_votes(shape, 2, torch.float64).to(device)
        for reduction in REDUCTIONS:
            assert torch.autograd.gradcheck(
                lambda x, t=target, r=reduction: dvfast.voting_loss(x, t, 7.0, r), logits
            )


def test_no_gradient_is_computed_where_none_is_wanted(device: torch.device) -> None:
    logits = random_logits((2, 6), 1).to(device)
    with torch.no_grad():
        without = dvfast.voting_loss(logits.requires_grad_(), logits.detach())
    assert not without.requires_grad
    assert torch.equal(without, dvfast.voting_loss(logits, logits.detach()).detach())
    _, gradient = torch.ops.dvfast.voting_loss(logits.detach(), logits.detach(), 1.0, False, False)
    assert gradient.numel() == 0


def test_a_loss_captured_without_its_gradient_says_so(device: torch.device) -> None:
    target = random_votes((2, 6, 4, 4), 0).to(device)
    logits = leaf(random_logits((2, 6, 4, 4)).to(device))
    expected = dvfast.voting_loss(logits, target)
    (gradient,) = torch.autograd.grad(expected, logits)
    capture = make_fx(lambda logits, target: dvfast.voting_loss(logits, target))
    captured = capture(logits.detach(), target)
    loss = captured(logits, target)
    assert torch.equal(loss, expected)
    with pytest.raises(RuntimeError, match="Capture it with logits that require a gradient"):
        loss.backward()
    captured = capture(logits, target)
    captured(logits, target).backward()
    assert torch.equal(logits.grad, gradient)


def test_double_backward_is_refused(device: torch.device) -> None:
    logits = leaf(random_logits((2, 6)).to(device))
    loss = dvfast.voting_loss(logits, random_votes((2, 6)).to(device))
    (gradient,) = torch.autograd.grad(loss, logits, create_graph=True)
    with pytest.raises(RuntimeError, match=r"dvfast\.voting_loss does not differentiate twice"):
        gradient.sum().backward()


def test_extreme_logits_have_finite_losses(device: torch.device) -> None:
    logits = torch.tensor([[1e4, 0, 0], [-1e4, 0, 0], [math.inf, 0, 0]], device=device)
    target = torch.tensor([[1.0, 0, 0], [0.0, 0, 0], [1.0, 0, 0]], device=device)
    loss, gradient = loss_and_gradient(logits, target, "none")
    assert torch.equal(loss, torch.zeros(3, device=device))
    assert torch.equal(gradient, torch.zeros(3, 3, device=device))


def test_nan_stays_in_its_patch(device: torch.device) -> None:
    logits = random_logits((5, 6)).to(device)
    logits[2, 0] = math.nan
    loss, gradient = loss_and_gradient(logits, random_votes((5, 6)).to(device), "none")
    assert loss.isnan().tolist() == [False, False, True, False, False]
    assert gradient.isnan().any(dim=1).tolist() == [False, False, True, False, False]


def test_errors() -> None:
    logits = torch.zeros(2, 6)
    with pytest.raises(ValueError, match=r"reduction must be one of .*got 'max'"):
        dvfast.voting_loss(logits, logits, reduction="max")
    with pytest.raises(ValueError, match="target must not require a gradient"):
        dvfast.voting_loss(logits, logits.clone().requires_grad_())
    with pytest.raises(RuntimeError, match=r"target must have the shape of logits.*\[2, 3\]"):
        dvfast.voting_loss(logits, torch.zeros(2, 3))
    with pytest.raises(RuntimeError, match=r"target must have the dtype of logits.*float64"):
        dvfast.voting_loss(logits, logits.double())
    with pytest.raises(RuntimeError, match=r"target must have the dtype of logits.*bfloat16"):
        dvfast.voting_loss(logits.half(), logits.bfloat16())
    with pytest.raises(RuntimeError, match="target must be on the device of logits, cpu, got meta"):
        dvfast.voting_loss(logits, logits.to("meta"))
    with pytest.raises(RuntimeError, match=r"logits must have 3k channels.*\[2, 4\]"):
        dvfast.voting_loss(torch.zeros(2, 4), torch.zeros(2, 4))
    with pytest.raises(RuntimeError, match=r"logits must be \[N, 3k\].*\[3\]"):
        torch.ops.dvfast.voting_loss(torch.zeros(3), torch.zeros(3), 1.0, False, False)
    with pytest.raises(RuntimeError, match=r"logits must be one of .*int64"):
        dvfast.voting_loss(logits.long(), logits.long())
