"""Arguments that cannot be used: errors name them, what came, and what was expected."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from support import leaf, random_votes, small_unet
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import dvfast
from dvfast import functional

VOTES, DENSITY, POINTS = random_votes((1, 6, 3, 4)), torch.rand(5, 6), torch.rand(7, 2)
SIZE = (5, 6)

# Each with arguments that are right, one of which is then spoilt.
CALLS: dict[str, Callable[..., Any]] = {
    "hybrid_activation": partial(functional.hybrid_activation, logits=VOTES),
    "voting_loss": partial(functional.voting_loss, logits=VOTES, target=VOTES),
    "vote_targets": partial(functional.vote_targets, points=POINTS, size=SIZE, num_votes=2),
    "vote_map": partial(functional.vote_map, votes=VOTES, size=SIZE),
    "count_void_votes": partial(functional.count_void_votes, votes=VOTES),
    "vote_density": partial(functional.vote_density, votes=VOTES, size=SIZE),
    "parzen_density": partial(functional.parzen_density, votes=VOTES, size=SIZE),
    "find_peaks": partial(functional.find_peaks, density=DENSITY),
    "find_first_peaks": partial(functional.find_first_peaks, density=DENSITY, capacity=3),
    "HybridActivation": dvfast.nn.HybridActivation,
    "VotingLoss": dvfast.nn.VotingLoss,
    "VoteDensity": dvfast.nn.VoteDensity,
}
TENSORS = ("logits", "target", "votes", "density")
INTEGERS = ("dim", "num_votes", "stride", "window", "min_distance", "capacity")
NUMBERS = ("lam", "r1", "r2", "beta", "sigma", "threshold")
LIMITS = ("max_offset", "radius")
CHOICES = ("reduction", "interpolation", "area")

ARRAY = np.zeros((2, 3))
WRONG: dict[str, tuple[list[Any], str]] = {
    **dict.fromkeys(TENSORS, ([ARRAY, [[0.5]], None], "a tensor, got .*; torch.as_tensor")),
    **dict.fromkeys(
        INTEGERS, ([2.5, math.nan, "x", None, ARRAY, torch.ones(1)], "an integer, got ")
    ),
    **dict.fromkeys(NUMBERS, (["x", None, 1j, [1.0], ARRAY, torch.tensor(1.0)], "a number, got ")),
    **dict.fromkeys(LIMITS, (["x", ARRAY, torch.tensor(1.0)], "a number, or None for no limit")),
    "size": ([5, None, "ab", (5.0, 5), ARRAY], "two integers, "),
    "offset": (["x", None, (0, "x"), 1j, ARRAY], "one number or "),
    "relative": ([None, 0.5, "x"], "True or False, got "),
    "points": (
        [ARRAY, [ARRAY], [POINTS, ARRAY], [[1.0, 2.0]], None, {0: POINTS}],
        r"a tensor \[n, 2\], or a sequence of such .*; torch.as_tensor",
    ),
}


def parameters(name: str) -> list[str]:
    call = CALLS[name]
    function = call.func if isinstance(call, partial) else call.__init__
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    return [argument for argument in code.co_varnames[:count] if argument != "self"]


@pytest.mark.parametrize("name", CALLS)
def test_wrong_types(name: str) -> None:
    for argument in parameters(name):
        if argument in CHOICES:
            with pytest.raises(ValueError, match=f"{argument} must be one of .*, got "):
                CALLS[name](**{argument: ["mean"]})
            continue
        values, message = WRONG[argument]
        for value in values:
            with pytest.raises(TypeError, match=f"{argument} must be {message}"):
                CALLS[name](**{argument: value})


def test_a_wrong_type_is_shown_unless_it_is_long() -> None:
    messages = {2.5: "got 2.5 (float)", "x": "got 'x' (str)", "x" * 100: "got str"}
    for stride, message in messages.items():
        with pytest.raises(TypeError, match=f"{re.escape(message)}$"):
            dvfast.vote_map(VOTES, SIZE, stride=stride)  # type: ignore[arg-type]


@pytest.mark.parametrize("lam", [-1, math.nan, math.inf])
def test_the_weight_of_confidences_is_a_weight(lam: float) -> None:
    for name in ("voting_loss", "VotingLoss"):
        with pytest.raises(ValueError, match=f"lam must be at least 0 and finite, got {lam}"):
            CALLS[name](lam=lam)


def test_offsets_are_one_or_two() -> None:
    for offset in ((), (1,), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"offset must be one number or \(y, x\), got \("):
            dvfast.vote_map(VOTES, SIZE, offset=offset)  # type: ignore[arg-type]


def test_points_are_on_one_device() -> None:
    elsewhere = POINTS.to("meta")
    with pytest.raises(RuntimeError, match="points must be on one device, got meta for image 1, c"):
        dvfast.vote_targets([POINTS, elsewhere], SIZE, 1)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("voting_loss", {"lam": np.float32(2)}),
        ("vote_targets", {"num_votes": np.int64(2), "r1": np.int64(3), "offset": [1, 0.5]}),
        ("vote_map", {"size": [4, np.int64(5)], "stride": np.int64(2), "max_offset": np.int64(3)}),
        ("vote_density", {"sigma": np.float64(2), "window": np.int64(3), "offset": np.float32(1)}),
        ("find_peaks", {"threshold": np.float32(0.5), "relative": np.True_}),
    ],
)
def test_numbers_of_numpy_and_lists_are_as_good(name: str, settings: dict[str, Any]) -> None:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(plain, value))
        return value.item() if isinstance(value, np.generic) else value

    results = [CALLS[name](**settings), CALLS[name](**{k: plain(v) for k, v in settings.items()})]
    for actual, expected in zip(*map(torch.utils._pytree.tree_leaves, results), strict=True):
        assert torch.equal(actual, expected)


def test_symbolic_sizes() -> None:
    def run(votes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        size = votes.shape[2:]
        density = dvfast.vote_density(votes, (size[0] + 2, size[1]))
        return density.sum() + dvfast.vote_targets(points, size, 2).sum()

    traced = make_fx(run, tracing_mode="symbolic")(VOTES, POINTS)
    for votes in (VOTES, random_votes((1, 6, 7, 9))):
        assert torch.equal(traced(votes, POINTS), run(votes, POINTS))


DIFFERENTIABLE: list[Callable[..., Any]] = [
    dvfast.hybrid_activation,
    lambda votes: dvfast.voting_loss(votes, VOTES),
    lambda votes: dvfast.vote_map(votes, SIZE),
    lambda votes: dvfast.vote_density(votes, SIZE),
    lambda votes: dvfast.parzen_density(votes, SIZE),
]


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_forward_mode_is_refused_and_not_taken_for_zero(operator: Callable[..., Any]) -> None:
    with pytest.raises(NotImplementedError, match="no derivatives in forward mode"):
        torch.func.jvp(operator, (VOTES,), (torch.ones_like(VOTES),))
    with pytest.raises(NotImplementedError, match="no derivatives in forward mode"):
        torch.func.jacfwd(operator)(VOTES)


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_forward_mode_over_a_gradient_is_refused(operator: Callable[..., Any]) -> None:
    votes = leaf(VOTES)
    result = operator(votes)
    with forward_ad.dual_level():
        upstream = forward_ad.make_dual(torch.ones_like(result), torch.ones_like(result))
        with pytest.raises(NotImplementedError, match="grad_output carries a tangent"):
            torch.autograd.grad(result, votes, upstream)


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_functional_gradients_are_refused_by_name(operator: Callable[..., Any]) -> None:
    def total(votes: torch.Tensor) -> torch.Tensor:
        return operator(votes).sum()

    for transformed in (
        torch.func.grad(total),
        torch.func.jacrev(operator),
        torch.vmap(torch.func.grad(total), in_dims=1),
        torch.func.grad(lambda votes: torch.vmap(total, in_dims=1)(votes).sum()),
        torch.func.grad(
            lambda votes: torch.func.grad(lambda scale: scale * total(votes * 1))(torch.ones(()))
        ),
    ):
        with pytest.raises(NotImplementedError, match=r"by torch\.func, but .* backward"):
            transformed(VOTES[:, None])


@pytest.mark.parametrize("operator", DIFFERENTIABLE)
def test_constants_within_a_functional_gradient_are_taken(operator: Callable[..., Any]) -> None:
    total = operator(VOTES).sum()
    derivative = torch.func.grad(lambda scale: scale * operator(VOTES * 1).sum())
    assert torch.equal(derivative(torch.tensor(2.0)), total)


@pytest.mark.parametrize(
    "call",
    [
        lambda stride: dvfast.vote_targets(POINTS, SIZE, 2, stride=stride),
        lambda stride: dvfast.vote_map(VOTES, SIZE, stride=stride),
        lambda stride: dvfast.vote_density(VOTES, SIZE, stride=stride),
        lambda stride: dvfast.parzen_density(VOTES, SIZE, stride=stride),
        lambda stride: dvfast.scan(small_unet(), torch.rand(3, 8, 8), stride=stride),
    ],
)
def test_a_stride_beyond_all_images_is_refused(call: Callable[[int], Any]) -> None:
    for stride in (2**41, 2**61, 2**63 - 1):
        with pytest.raises(ValueError, match=f"stride must be at most 2\\^40 pixels, got {stride}"):
            call(stride)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        call(0)


def test_a_size_beyond_all_images_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be at most 2\\^40 pixels"):
        dvfast.vote_targets(POINTS, (2**63 - 1, 1), 1)
    splits = torch.tensor([0, len(POINTS)])
    with pytest.raises(RuntimeError, match="size must be at most"):
        torch.ops.dvfast.vote_targets(
            POINTS, splits, 2**63 - 1, 1, 1, 1.0, 2.0, 0.5, 1, -(2.0**40), 0.0
        )


def test_a_build_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvfast._arguments.HAS_CUDA_KERNELS", False)
    with FakeTensorMode():  # there need be no such device
        votes = torch.empty(1, 3, 4, 5, device="cuda")
        with pytest.raises(
            RuntimeError, match=r"^votes is on cuda:0, but this dvfast is built with"
        ):
            dvfast.vote_map(votes, SIZE)
