"""Each operator beside what one would otherwise write, on the paper's 400 x 400 image with k = 2.

Every group first checks that all its rows compute the same thing: a wrong fast result is an error,
not a row. Read ratios within a group, not times across machines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from torch import Tensor

import dvfast
from dvfast import reference

SIDE, NUM_VOTES, NUM_NUCLEI = 400, 2, 400
SIGMA, WINDOW = 3.0, 19
SIZE = (SIDE, SIDE)


@pytest.fixture(scope="module")
def logits() -> Tensor:
    return 3 * torch.randn(1, 3 * NUM_VOTES, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def nuclei() -> Tensor:
    return SIDE * torch.rand(NUM_NUCLEI, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def target(nuclei: Tensor) -> Tensor:
    return dvfast.vote_targets(nuclei, SIZE, NUM_VOTES, r1=12, r2=24)


@pytest.fixture(scope="module")
def votes(target: Tensor) -> Tensor:
    """Votes as a trained network casts them: towards the nuclei, not quite exactly.

    In steps of 1/64 pixel, so that the peers' float32 coordinates are exact and round alike.
    """
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(2))
    offsets = torch.arange(target.shape[1])[:, None, None] % 3 != 0
    return torch.where(offsets, ((target + noise) * 64).round() / 64, target.clamp(0.01, 0.99))


@pytest.fixture(scope="module")
def density(votes: Tensor) -> Tensor:
    return dvfast.vote_density(votes, SIZE, sigma=SIGMA, window=WINDOW)[0]


# --- Activation -----------------------------------------------------------------------------------


def activation_by_copy(logits: Tensor) -> Tensor:
    votes = logits.clone()
    votes[:, ::3].sigmoid_()
    return votes


def activation_by_where(logits: Tensor) -> Tensor:
    return reference.hybrid_activation(logits)


@pytest.mark.benchmark(group="hybrid_activation")
@pytest.mark.parametrize("run", [dvfast.hybrid_activation, activation_by_copy, activation_by_where])
def test_hybrid_activation(benchmark: Any, run: Callable[..., Tensor], logits: Tensor) -> None:
    # Two roundings of a sigmoid apart at the most.
    torch.testing.assert_close(run(logits), dvfast.hybrid_activation(logits), rtol=1e-6, atol=1e-7)
    benchmark(run, logits)


# --- Loss with its gradient -----------------------------------------------------------------------


def compiled_reference_loss(logits: Tensor, target: Tensor) -> Tensor:
    return _compiled(logits, target)


_compiled = torch.compile(reference.voting_loss)


@pytest.mark.benchmark(group="voting_loss, forward and backward")
@pytest.mark.parametrize(
    "loss",
    [dvfast.voting_loss, reference.voting_loss, compiled_reference_loss],
    ids=["dvfast", "eager_reference", "compiled_reference"],
)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_voting_loss(
    benchmark: Any, loss: Callable[..., Tensor], layout: str, logits: Tensor, target: Tensor
) -> None:
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    x = logits.to(memory_format=memory).requires_grad_()
    wanted = target.to(memory_format=memory)

    def run() -> Tensor:
        (gradient,) = torch.autograd.grad(loss(x, wanted), x)
        return gradient

    (expected,) = torch.autograd.grad(reference.voting_loss(x, wanted), x)
    torch.testing.assert_close(run(), expected, rtol=1e-4, atol=1e-8)
    benchmark(run)


# --- Targets --------------------------------------------------------------------------------------


def targets_by_tree(nuclei: Tensor) -> Tensor:
    pixels = np.stack(np.mgrid[:SIDE, :SIDE], axis=-1).reshape(-1, 2)
    points = nuclei.numpy().astype(np.float64)
    length, index = cKDTree(points).query(pixels, k=NUM_VOTES, workers=torch.get_num_threads())
    confidence = np.where(length <= 12, 1.0, np.where(length <= 24, 1 / (1 + 0.5 * length), 0.0))
    offset = pixels[:, None] - points[index]
    result = np.concatenate([confidence[..., None], offset], axis=-1)
    return torch.from_numpy(result.reshape(*SIZE, -1).transpose(2, 0, 1))[None].float()


def targets_by_dvfast(nuclei: Tensor) -> Tensor:
    return dvfast.vote_targets(nuclei, SIZE, NUM_VOTES, r1=12, r2=24)


@pytest.mark.benchmark(group="vote_targets")
@pytest.mark.parametrize("run", [targets_by_dvfast, targets_by_tree])
def test_vote_targets(benchmark: Any, run: Callable[..., Tensor], nuclei: Tensor) -> None:
    # Nuclei that are equally far to the last bit may come in either order: compare the nearest.
    torch.testing.assert_close(
        run(nuclei)[:, :3], targets_by_dvfast(nuclei)[:, :3], rtol=1e-4, atol=1e-4
    )
    benchmark(run, nuclei)


# --- Density --------------------------------------------------------------------------------------

_REACH = torch.arange(WINDOW) - WINDOW // 2
_TAPS = torch.exp(-_REACH.square() / (2 * SIGMA**2)) / ((2 * torch.pi) ** 0.5 * SIGMA)


def _landings(votes: Tensor) -> tuple[Tensor, Tensor]:
    confidence, dy, dx = votes[0].unflatten(0, (-1, 3)).unbind(1)
    rows, columns = torch.arange(SIDE)[:, None], torch.arange(SIDE)
    y = (rows - dy + 0.5).floor_().long()
    x = (columns - dx + 0.5).floor_().long()
    inside = (y >= 0) & (y < SIDE) & (x >= 0) & (x < SIDE)
    return torch.where(inside, y * SIDE + x, 0), torch.where(inside, confidence, 0)


def _filtered(vote_map: Tensor) -> Tensor:
    vote_map = vote_map.reshape(1, 1, *SIZE)
    rows = torch.nn.functional.conv2d(vote_map, _TAPS.reshape(1, 1, -1, 1), padding="same")
    return torch.nn.functional.conv2d(rows, _TAPS.reshape(1, 1, 1, -1), padding="same")[0]


def density_by_index_add(votes: Tensor) -> Tensor:
    index, confidence = _landings(votes)
    return _filtered(votes.new_zeros(SIDE * SIDE).index_add_(0, index.ravel(), confidence.ravel()))


def density_by_bincount(votes: Tensor) -> Tensor:
    index, confidence = _landings(votes)
    counts = torch.bincount(index.ravel(), confidence.ravel(), minlength=SIDE * SIDE)
    return _filtered(counts.to(votes))


def density_by_scipy(votes: Tensor) -> Tensor:
    index, confidence = (part.numpy() for part in _landings(votes))
    counts = np.bincount(index.ravel(), confidence.ravel(), minlength=SIDE * SIDE)
    filtered = counts.reshape(SIZE).astype(np.float32)
    for axis in (0, 1):
        filtered = ndimage.correlate1d(filtered, _TAPS.numpy(), axis=axis, mode="constant")
    return torch.from_numpy(filtered)[None]


def density_by_dvfast(votes: Tensor) -> Tensor:
    return dvfast.vote_density(votes, SIZE, sigma=SIGMA, window=WINDOW)


@pytest.mark.benchmark(group="vote_density")
@pytest.mark.parametrize(
    "run", [density_by_dvfast, density_by_index_add, density_by_bincount, density_by_scipy]
)
def test_vote_density(benchmark: Any, run: Callable[..., Tensor], votes: Tensor) -> None:
    # Float sums of some hundred votes in another order.
    torch.testing.assert_close(run(votes), density_by_dvfast(votes), rtol=1e-4, atol=1e-4)
    benchmark(run, votes)


# --- Peaks ----------------------------------------------------------------------------------------


def peaks_by_dvfast(density: Tensor) -> Tensor:
    return dvfast.find_peaks(density, min_distance=2)[0].long()


def peaks_by_pooling(density: Tensor) -> Tensor:
    highest = torch.nn.functional.max_pool2d(density[None], 5, stride=1, padding=2)[0]
    return torch.nonzero((density == highest) & (density >= 0.2 * density.max()))


def peaks_by_scikit_image(density: Tensor) -> Tensor:
    points = peak_local_max(
        density.numpy(), min_distance=2, threshold_rel=0.2, exclude_border=False
    )
    return torch.from_numpy(points[np.lexsort(points.T[::-1])].copy())


@pytest.mark.benchmark(group="find_peaks")
@pytest.mark.parametrize("run", [peaks_by_dvfast, peaks_by_pooling, peaks_by_scikit_image])
def test_find_peaks(benchmark: Any, run: Callable[..., Tensor], density: Tensor) -> None:
    # scikit-image keeps peaks apart by another rule, so that a few may be missing there.
    found, expected = run(density), peaks_by_dvfast(density)
    common = (found[:, None] == expected).all(dim=2).any(dim=1)
    assert common.all()
    assert len(found) >= 0.98 * len(expected)
    benchmark(run, density)
