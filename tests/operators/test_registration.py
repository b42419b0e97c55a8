"""What torch must know of every operator: schema, fake kernel, gradient, autocast, compilation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from support import (
    FLOATING_DTYPES,
    LAYOUTS,
    REAL_DTYPES,
    leaf,
    map_layouts,
    plain,
    random_features,
    random_logits,
    random_votes,
    skip_without_kernel,
)
from torch import Tensor
from torch.utils._pytree import tree_map_only

import dvfast

ops = torch.ops.dvfast
INFINITY = math.inf


# Of the scan engine; without gradients.
INFERENCE = (
    "trunk_layer",
    "vote_head",
    "winograd_head",
    "bfloat16_trunk_layer",
    "bfloat16_head",
    "matrix_trunk_layer",
    "matrix_vote_head",
)


def engine_inputs(name: str, device: torch.device) -> list[tuple[Any, ...]]:
    """Maps of 32 channels; as their contents do not matter here, neither does how weights lie."""
    dtype = torch.bfloat16 if name.startswith("bfloat16") else torch.float32

    def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return random_features(shape).to(device, dtype)

    first = numbers(2, (64 if name == "winograd_head" else 9) * 32, 32, dtype=dtype), numbers(64)
    last = numbers(6, 64), numbers(6)
    # Of 3xTF32: two panels, 18 chunks, two parts.
    matrix, last_matrix = (numbers(2, 18, 2, 2, 2, 32, 4), first[1]), (numbers(2, 8, 32), last[1])
    samples: list[tuple[Any, ...]] = []
    for features in map_layouts(numbers(2, 9, 20, 32, dtype=dtype)):
        empty = features[:, :1]
        samples += {
            "trunk_layer": [
                (features, *first, 3, 1, 0, 1),
                (features, *first, 3, 2, 2, 1),
                (empty, *first, 3, 1, 1, 1),
            ],
            "vote_head": [
                (features, [first[0], last[0]], [first[1], last[1]], 2, 3, 1, 2),
                (features, [first[0]], [first[1]], 4, 3, 2, 1),
                (empty, [first[0]], [first[1]], 4, 3, 2, 1),
            ],
            "winograd_head": [(features, *first, *last, 2, 1), (empty, *first, *last, 2, 2)],
            "bfloat16_trunk_layer": [
                (features, *first, 3, 1, 0, 1),
                (features, *first, 3, 2, 2, 1),
                (empty, *first, 3, 1, 1, 1),
            ],
            "bfloat16_head": [
                (features, *first, *last, 2, 3, 1, 1),
                (empty, *first, *last, 2, 3, 2, 1),
            ],
            "matrix_trunk_layer": [
                (features, *matrix, 3, 1, 0, 1, 2),
                (features, *matrix, 3, 2, 2, 1, 2),
                (empty, *matrix, 3, 1, 1, 1, 2),
            ],
            "matrix_vote_head": [
                (features, *matrix, *last_matrix, 2, 3, 1, 1, 2),
                (empty, *matrix, *last_matrix, 2, 3, 2, 1, 2),
            ],
        }[name]
    return samples


def sample_inputs(name: str, device: torch.device, dtype: torch.dtype) -> list[tuple[Any, ...]]:
    """Arguments of ``torch.ops.dvfast.<name>``, in several layouts and with nothing in them."""
    if name in INFERENCE:
        return engine_inputs(name, device)
    grid = (1, 0.0, 0.0)
    samples: list[tuple[Any, ...]] = []
    for layout in ("contiguous", "channels_last", "every_second"):

        def of(*shape: int, layout: str = layout) -> Tensor:
            return LAYOUTS[layout](random_votes(shape, 0, dtype).to(device))

        votes, grad = of(2, 6, 5, 7), of(2, 3, 4, 8)[:, 0]
        # Contiguous: neither opcheck nor a move to meta keeps the strides of nothing.
        empty, no_grad = plain(of(0, 6, 0, 3)), plain(of(0, 4, 8))
        points, splits = of(9, 2), torch.tensor([0, 4, 9], device=device)
        samples += {
            "hybrid_activation": [(leaf(votes),), (leaf(empty),), (leaf(of(4, 3)),)],
            "hybrid_activation_backward": [(leaf(votes), leaf(votes)), (of(4, 3), of(4, 3))],
            "hybrid_activation_double_backward": [(votes, votes, votes), (empty, empty, empty)],
            "voting_loss": [
                (leaf(votes), votes, 384.0, False, True),
                (leaf(votes), votes, 384.0, True, True),
                (votes, votes, 1.0, True, False),
                (leaf(empty), empty, 1.0, False, True),
            ],
            "voting_loss_backward": [(grad[:, 0, 0].sum(), votes), (of(2, 5, 7), votes)],
            "vote_targets": [
                (points, splits, 5, 7, 3, 2.0, 5.0, 0.5, 1, 0.0, 0.0),
                (points[:0], splits[:1] * 0, 5, 7, 1, 2.0, 5.0, 0.5, 3, 0.5, -1.25),
            ],
            "vote_map": [
                (leaf(votes), 4, 8, *grid, INFINITY, 0),
                (leaf(votes), 4, 8, 2, 0.5, -1.0, 5.0, 1),
                (leaf(empty), 4, 8, *grid, INFINITY, 0),
                (leaf(votes), 0, 8, *grid, INFINITY, 1),
            ],
            "vote_map_backward": [
                (grad, votes, *grid, INFINITY, 0),
                (no_grad, empty, *grid, INFINITY, 1),
            ],
            "vote_density": [
                (leaf(votes), 4, 8, 1.0, 5, *grid, INFINITY, 0),
                (leaf(empty), 4, 8, 1.0, 5, *grid, INFINITY, 1),
            ],
            "vote_density_backward": [
                (grad, votes, 1.0, 5, *grid, INFINITY, 0),
                (grad, votes, 1.0, 5, *grid, INFINITY, 1),
            ],
            "parzen_density": [
                (leaf(votes), 4, 8, 1.0, 5, *grid, INFINITY, 0),
                (leaf(empty), 4, 8, 1.0, 5, *grid, 3.0, 1),
            ],
            "parzen_density_backward": [(grad, votes, 1.0, 5, *grid, 3.0, 0)],
            "find_peaks": [(of(5, 7), 0.2, True, 1), (of(0, 7), 0.2, False, 2)],
            "find_first_peaks": [(of(5, 7), 0.2, True, 1, 4), (of(0, 7), 0.2, False, 2, 3)],
            "density_peaks": [
                (of(1, 6, 5, 7), 4, 8, 1.0, 5, *grid, 9.0, 0, 2.0, 0.2, True, 1, 4),
                (of(1, 6, 5, 7), 4, 8, 1.0, 5, *grid, 9.0, 1, 1.0, 0.2, False, 3, -1),
                (plain(of(1, 6, 0, 3)), 0, 8, 1.0, 5, *grid, INFINITY, 0, 1.0, 0.2, True, 1, 2),
            ],
        }[name]
    return samples


# Sorted by the library itself, so that no operator can be forgotten here.
OPERATORS = sorted(
    schema.name.removeprefix("dvfast::")
    for schema in torch._C._jit_get_all_schemas()
    if schema.name.startswith("dvfast::")
)


def test_every_operator_is_listed() -> None:
    assert len(OPERATORS) == 22


@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(device: torch.device, name: str) -> None:
    skip_without_kernel(name, device)
    for sample in sample_inputs(name, device, torch.float32):
        torch.library.opcheck(getattr(ops, name).default, sample)


def _loss(logits: Tensor) -> Tensor:
    return dvfast.voting_loss(logits, logits.detach() * 0.5)


def _loss_of_each_patch(logits: Tensor) -> Tensor:
    return dvfast.voting_loss(logits, logits.detach() * 0.5, reduction="none").sum()


def _targets(votes: Tensor) -> Tensor:
    points = votes.detach().flatten()[:10].reshape(5, 2)
    target = dvfast.vote_targets([points, points[:2]], (votes.shape[2], 9), 2)
    return (votes.sum() * target).sum()


def _scores(votes: Tensor) -> Tensor:
    density = dvfast.parzen_density(votes[:1], (8, 9))[0]
    points, scores = dvfast.find_peaks(density)
    return scores.square().sum() + points.sum()


def _density(operator: Callable[..., Tensor], **options: Any) -> Callable[[Tensor], Tensor]:
    def run(votes: Tensor) -> Tensor:
        size = (votes.shape[2] + 2, votes.shape[3])
        return operator(votes, size, offset=(1, 0.5), **options).square().sum()

    return run


DIFFERENTIABLE: dict[str, Callable[[Tensor], Tensor]] = {
    "hybrid_activation": lambda logits: dvfast.hybrid_activation(logits).square().sum(),
    "voting_loss": _loss,
    "voting_loss_of_each_patch": _loss_of_each_patch,
    "vote_targets": _targets,
    "vote_map": _density(dvfast.vote_map),
    "vote_density": _density(dvfast.vote_density),
    "vote_density_bilinear": _density(dvfast.vote_density, interpolation="bilinear"),
    "parzen_density": _density(dvfast.parzen_density, radius=4.0, area="disc"),
    "find_peaks": _scores,
}


def value_and_gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = leaf(x)
    value = function(x)
    value.backward()
    assert x.grad is not None
    return value.detach(), x.grad


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_compile(device: torch.device, name: str, dynamic: bool) -> None:
    torch._dynamo.reset()
    function = DIFFERENTIABLE[name]
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter, dynamic=dynamic)
    compilations = []
    # How many peaks there are is known only when they are found.
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        for shape in ((2, 6, 5, 7), (2, 6, 9, 11), (3, 6, 8, 6)):
            x = random_votes(shape).to(device)
            for actual, expected in zip(
                value_and_gradient(compiled, x), value_and_gradient(function, x), strict=True
            ):
                torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
            compilations.append(counter.frame_count)
    if dynamic:  # what serves one size serves all
        assert compilations[0] == compilations[-1]


@pytest.mark.parametrize("name", INFERENCE)
def test_inference_refuses_to_differentiate(device: torch.device, name: str) -> None:
    skip_without_kernel(name, device)
    sample = engine_inputs(name, device)[0]
    operator = getattr(ops, name)
    expected = operator(*sample)
    assert not expected.requires_grad
    for i, argument in enumerate(sample):
        if isinstance(argument, int):
            continue
        arguments = [*sample]
        arguments[i] = leaf(argument) if isinstance(argument, Tensor) else [*map(leaf, argument)]
        output = operator(*arguments)
        assert torch.equal(output, expected)
        with pytest.raises(NotImplementedError, match=rf"dvfast.{name} has no gradient.*dense"):
            output.sum().backward()
        with torch.no_grad():
            assert not operator(*arguments).requires_grad


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", INFERENCE)
def test_compile_inference(device: torch.device, name: str, dynamic: bool) -> None:
    skip_without_kernel(name, device)
    torch._dynamo.reset()
    features, *others = engine_inputs(name, device)[0]

    def run(features: Tensor) -> Tensor:
        return getattr(ops, name)(features * 2, *others).float().abs()

    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(run, fullgraph=True, backend=counter, dynamic=dynamic)
    compilations = []
    # Of sizes that no weight has: the compiler takes what is equal once to be equal always.
    for shape in ((5, 11, 21, 32), (5, 12, 31, 32), (7, 13, 25, 32)):
        x = random_features(shape).to(features)
        assert torch.equal(compiled(x), run(x))
        compilations.append(counter.frame_count)
    if dynamic:
        assert compilations[0] == compilations[-1]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_compile_with_settings_as_arguments(device: torch.device, dynamic: bool) -> None:
    torch._dynamo.reset()

    def run(votes: Tensor, sigma: float, offset: float, reach: float, threshold: float) -> Tensor:
        density = dvfast.vote_density(
            votes, (9, 9), sigma=sigma, offset=(offset, 0.0), max_offset=reach
        )
        parzen = dvfast.parzen_density(votes, (9, 9), sigma=sigma, offset=offset, radius=reach)
        target = dvfast.vote_targets(votes[0, 1:3, 0].T, (9, 9), 2, r1=reach, r2=reach, beta=sigma)
        loss = dvfast.voting_loss(votes, target, lam=reach)
        return loss + dvfast.find_peaks(density[0] + parzen[0], threshold=threshold)[1].sum()

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    votes = random_votes((1, 6, 9, 9)).to(device)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        for settings in ((1.0, 0.5, 9.0, 0.2), (1.5, 0.75, 8.0, 0.3)):
            assert torch.allclose(compiled(votes, *settings), run(votes, *settings))


def test_foreign_training_loop_under_inductor(device: torch.device) -> None:
    torch._dynamo.reset()

    def losses(compiled: bool) -> list[float]:
        torch.manual_seed(0)
        net = torch.nn.Conv2d(3, 6, 3, padding=1).to(device)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
        image = torch.rand(2, 3, 16, 16, device=device)
        points = [torch.rand(n, 2, device=device) * 16 for n in (4, 7)]
        target = dvfast.vote_targets(points, (16, 16), 2)

        def step() -> Tensor:
            return dvfast.voting_loss(net(image), target)

        run = torch.compile(step, fullgraph=True) if compiled else step
        history = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = run()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        return history

    eager, compiled = losses(False), losses(True)
    assert eager[-1] < eager[0]
    assert compiled == pytest.approx(eager, rel=1e-4)


@pytest.mark.parametrize("dtype", REAL_DTYPES, ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_meta_tensors(name: str, dtype: torch.dtype) -> None:
    if name == "find_peaks":
        pytest.skip("the number of peaks is unknown without data")
    skip_without_kernel(name, torch.device("cpu"))
    for sample in sample_inputs(name, torch.device("cpu"), dtype):
        if name == "density_peaks" and sample[-1] < 0:
            continue  # as many peaks as there are
        operator = getattr(ops, name)
        meta = tree_map_only(Tensor, lambda x: x.detach().to("meta"), sample)
        real, fake = operator(*sample), operator(*meta)
        pairs = [(real, fake)] if isinstance(real, Tensor) else zip(real, fake, strict=True)
        for expected, actual in pairs:
            assert actual.device.type == "meta"
            assert actual.shape == expected.shape
            assert actual.dtype == expected.dtype
            assert actual.stride() == expected.stride()


def test_meta_tensors_of_halves() -> None:
    for dtype in FLOATING_DTYPES:
        logits = random_logits((2, 6), 0, dtype).to("meta").requires_grad_()
        assert dvfast.hybrid_activation(logits).dtype == dtype
        loss = dvfast.voting_loss(logits, logits.detach(), reduction="none")
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        loss.sum().backward()
        assert logits.grad is not None
        assert logits.grad.dtype == dtype


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(device: torch.device, half: torch.dtype) -> None:
    image = torch.rand(1, 3, 14, 15, device=device)
    net = torch.nn.Conv2d(3, 6, 3, padding=1).to(device)
    target = dvfast.vote_targets(torch.tensor([[3.0, 4.0], [9.0, 11.0]]).to(device), (14, 15), 2)
    with torch.autocast(device.type, half):
        logits = net(image)
        assert logits.dtype == half
        votes = dvfast.hybrid_activation(logits)
        assert votes.dtype == half
        loss = dvfast.voting_loss(logits, target)
        assert loss.dtype == torch.float32
        results = [
            dvfast.vote_targets(target[0, 1:3, 0].T.to(half), (14, 15), 2),
            dvfast.vote_map(votes, (14, 15)),
            dvfast.vote_density(votes, (14, 15)),
            dvfast.parzen_density(votes, (14, 15)),
        ]
    assert [result.dtype for result in results] == [torch.float32] * 4
    for operator, result in zip(
        (dvfast.vote_map, dvfast.vote_density, dvfast.parzen_density), results[1:], strict=True
    ):
        assert torch.equal(result, operator(votes.float(), (14, 15)))
    (loss + sum(result.sum() for result in results)).backward()
    assert net.weight.grad is not None
    assert net.weight.grad.isfinite().all()


def test_autocast_leaves_doubles_alone(device: torch.device) -> None:
    votes = random_votes((1, 3, 5, 5), 0, torch.float64).to(device)
    with torch.autocast(device.type, torch.bfloat16):
        assert dvfast.vote_density(votes, (5, 5)).dtype == torch.float64


def test_autocast_keeps_the_digits_of_coordinates(device: torch.device) -> None:
    density = torch.zeros(1, 1000, device=device)
    density[0, 301] = 1  # which bfloat16 would round to 300
    with torch.autocast(device.type, torch.bfloat16):
        points, _ = dvfast.find_peaks(density.bfloat16())
    assert points.tolist() == [[0.0, 301.0]]


def test_arguments_must_be_on_one_device() -> None:
    logits, elsewhere = torch.zeros(2, 3), torch.zeros(2, 3, device="meta")
    with pytest.raises(RuntimeError, match=r"(?i)device|CPU"):
        dvfast.vote_targets([logits[:, :2], elsewhere[:, :2]], (4, 4), 1)
