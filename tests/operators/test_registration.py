"""What torch must know of every operator: schema, fake kernel, gradient, autocast, compilation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from sample_inputs import INFERENCE, engine_inputs, sample_inputs
from support import (
    FLOATING_DTYPES,
    REAL_DTYPES,
    leaf,
    random_features,
    random_logits,
    random_votes,
    skip_without_kernel,
)
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

import dvfast

ops = torch.ops.dvfast

# Sorted by the library itself, so that no operator can be forgotten here.
OPERATORS = sorted(
    schema.name.removeprefix("dvfast::")
    for schema in torch._C._jit_get_all_schemas()
    if schema.name.startswith("dvfast::")
)


def test_every_operator_is_listed() -> None:
    assert len(OPERATORS) == 24


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
    expected = tree_leaves(operator(*sample))
    assert not any(result.requires_grad for result in expected)
    for i, argument in enumerate(sample):
        if not all(isinstance(x, Tensor) and x.is_floating_point() for x in tree_leaves(argument)):
            continue
        arguments = [*sample]
        arguments[i] = leaf(argument) if isinstance(argument, Tensor) else [*map(leaf, argument)]
        results = tree_leaves(operator(*arguments))
        assert all(torch.equal(x, y) for x, y in zip(results, expected, strict=True))
        for result in results:
            with pytest.raises(NotImplementedError, match=rf"dvfast.{name} has no gradient.*dense"):
                result.sum().backward()
        with torch.no_grad():
            assert not any(result.requires_grad for result in tree_leaves(operator(*arguments)))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", INFERENCE)
def test_compile_inference(device: torch.device, name: str, dynamic: bool) -> None:
    skip_without_kernel(name, device)
    torch._dynamo.reset()
    sample = engine_inputs(name, device)[0]
    (features,) = tree_leaves(sample[0])

    def run(features: Tensor) -> Tensor:
        first = features * 2 if isinstance(sample[0], Tensor) else [features * 2]
        result, *_ = tree_leaves(getattr(ops, name)(first, *sample[1:]))
        return result.float().abs()

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


class Program(torch.nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, votes: Tensor) -> Tensor:
        return self.function(votes)


@pytest.mark.usefixtures("pytorch_as_it_comes")  # torch.export reads the older of two flags
@pytest.mark.parametrize(
    "function",
    [
        lambda votes: dvfast.vote_map(votes, (8, 9)),
        lambda votes: dvfast.vote_density(votes, (8, 9), max_offset=math.inf),
        lambda votes: dvfast.parzen_density(votes, (8, 9)),
        lambda votes: dvfast.nn.VoteDensity()(votes, (8, 9)),
        dvfast.functional.count_void_votes,
    ],
    ids=["vote_map", "vote_density", "parzen_density", "VoteDensity", "count_void_votes"],
)
def test_exported_programs_can_be_stored_as_json(function: Callable[[Tensor], Tensor]) -> None:
    votes = random_votes((1, 3, 8, 9), 0)
    program = torch.export.export(Program(function), (votes,))
    numbers = [
        argument
        for node in program.graph.nodes
        for argument in tree_leaves((node.args, node.kwargs))
        if isinstance(argument, float)
    ]
    assert len(numbers) > 0
    json.dumps(numbers, allow_nan=False)
    assert torch.equal(program.module()(votes), function(votes))
