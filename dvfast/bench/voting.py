"""Contests of the operators around the network: activation, loss, targets, density, peaks."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .. import functional, reference
from . import peers
from .contest import Contender, Contest, Entry, Settings

__all__ = ["ENTRIES", "same_places"]

_SIDE, _NUM_VOTES, _NUM_NUCLEI = 400, 2, 400
_SIZE = (_SIDE, _SIDE)
_SIGMA, _WINDOW, _MIN_DISTANCE = 3.0, 19, 2
_FLOAT = 4  # bytes


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _nuclei() -> Tensor:
    return _SIDE * torch.rand(_NUM_NUCLEI, 2, generator=torch.Generator().manual_seed(1))


def _votes(device: torch.device) -> Tensor:
    """Votes as a trained network casts them: towards the nuclei, not quite exactly.

    In steps of 1/64 pixel, so that the peers' float32 coordinates are exact and round alike.
    """
    target = functional.vote_targets(_nuclei(), _SIZE, _NUM_VOTES, r1=12, r2=24)
    near = target + _random(*target.shape, seed=2)
    offsets = torch.arange(target.shape[1])[:, None, None] % 3 != 0
    return torch.where(offsets, (near * 64).round() / 64, target.clamp(0.01, 0.99)).to(device)


def _density(votes: Tensor) -> Tensor:
    return functional.vote_density(votes, _SIZE, sigma=_SIGMA, window=_WINDOW)


def _activation(settings: Settings) -> Contest:
    logits = 3 * _random(1, 3 * _NUM_VOTES, *_SIZE, seed=0).to(settings.device)
    moved = 2 * _FLOAT * logits.numel()
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "dvfast": functional.hybrid_activation,
        "clone, then sigmoid_ in place": peers.activation_in_place,
        "sigmoid and where": peers.activation_of_reference,
    }

    def verify() -> None:
        expected = reference.hybrid_activation(logits.double()).float()
        for way in ways.values():  # a rounding or two of a sigmoid
            torch.testing.assert_close(way(logits), expected, rtol=1e-6, atol=1e-7)

    return Contest(
        [
            Contender(name, partial(way, logits), name == "dvfast", unit="copy", work=moved)
            for name, way in ways.items()
        ],
        verify,
        _SIDE**2,
    )


def _loss(layout: torch.memory_format, settings: Settings) -> Contest:
    logits = 3 * _random(1, 3 * _NUM_VOTES, *_SIZE, seed=0)
    x = logits.to(settings.device, memory_format=layout).requires_grad_()
    target = functional.vote_targets(_nuclei(), _SIZE, _NUM_VOTES, r1=12, r2=24)
    wanted = target.to(settings.device, memory_format=layout)
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "dvfast": functional.voting_loss,
        "autograd, eager": reference.voting_loss,
    }
    if not settings.quick:
        ways["autograd, torch.compile"] = torch.compile(reference.voting_loss)

    def gradient(way: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(way(x, wanted), x)[0]

    def verify() -> None:
        double = x.detach().double().requires_grad_()
        with torch.enable_grad():
            loss = reference.voting_loss(double, wanted.double())
            expected = torch.autograd.grad(loss, double)[0].float()
        rounding = 1e-6 * float(expected.abs().max())
        for way in ways.values():
            torch.testing.assert_close(gradient(way), expected, rtol=1e-4, atol=rounding)

    moved = 3 * _FLOAT * x.numel()  # logits and target are read, the gradient written
    return Contest(
        [
            Contender(name, partial(gradient, way), name == "dvfast", unit="copy", work=moved)
            for name, way in ways.items()
        ],
        verify,
        _SIDE**2,
    )


def _targets(settings: Settings) -> Contest:
    nuclei = _nuclei()
    on_device = nuclei.to(settings.device)

    def ours() -> Tensor:
        return functional.vote_targets(on_device, _SIZE, _NUM_VOTES, r1=12, r2=24)

    def theirs() -> Tensor:
        return peers.targets_by_tree(nuclei, _SIZE, _NUM_VOTES)

    def verify() -> None:
        # Nuclei that are equally far to the last bit may come in either order: the nearest only.
        torch.testing.assert_close(ours().cpu()[:, :3], theirs()[:, :3], rtol=1e-4, atol=1e-4)

    written = 3 * _NUM_VOTES * _SIDE**2 * _FLOAT
    return Contest(
        [
            Contender("dvfast", ours, True, unit="copy", work=2 * written),
            Contender("SciPy's cKDTree, all threads", theirs, unit="copy", work=2 * written),
        ],
        verify,
        _SIDE**2,
    )


_DENSITIES: dict[str, Callable[[Tensor, float, int], Tensor]] = {
    "index_add_, two convolutions": peers.density_by_index_add,
    "scatter_add_, two convolutions": peers.density_by_scatter_add,
    "index_put_, two convolutions": peers.density_by_index_put,
    "torch.bincount, two convolutions": peers.density_by_torch_bincount,
}
_HOST_DENSITIES = {
    "numpy.bincount, SciPy's filter": peers.density_by_numpy_bincount,
    "numpy.add.at, SciPy's filter": peers.density_by_numpy_add_at,
}


_GPU_DENSITIES = {"CuPy's bincount and filter": peers.density_by_cupy}


def _ways_to_density(votes: Tensor) -> dict[str, Callable[[], Tensor]]:
    with_cupy = votes.is_cuda and importlib.util.find_spec("cupy")
    on_device = {**_DENSITIES, **(_GPU_DENSITIES if with_cupy else {})}
    theirs = on_device if votes.is_cuda else {**on_device, **_HOST_DENSITIES}
    ways = {name: partial(way, votes, _SIGMA, _WINDOW) for name, way in theirs.items()}
    return {"dvfast": partial(_density, votes), **ways}


def _verify_densities(votes: Tensor, ways: dict[str, Callable[[], Tensor]]) -> None:
    expected = reference.vote_density(votes.double(), _SIZE, sigma=_SIGMA, window=_WINDOW).float()
    for way in ways.values():  # float sums of some hundred votes, in any order
        torch.testing.assert_close(way(), expected, rtol=1e-4, atol=1e-4)


def _vote_density(settings: Settings) -> Contest:
    votes = _votes(settings.device)
    ways = _ways_to_density(votes)
    moved = _FLOAT * (votes.numel() + _SIDE**2)
    return Contest(
        [
            Contender(name, way, name == "dvfast", unit="copy", work=moved)
            for name, way in ways.items()
        ],
        partial(_verify_densities, votes, ways),
        _SIDE**2,
    )


def _same_peaks(found: Tensor, expected: Tensor) -> None:
    """scikit-image keeps peaks apart by another rule, so that a few may be missing there."""
    common = (found.to(expected)[:, None] == expected).all(dim=2).any(dim=1)
    assert common.all(), "a peak that is none"
    assert len(found) >= 0.98 * len(expected), f"{len(found)} peaks of {len(expected)}"


def same_places(found: Tensor, expected: Tensor) -> None:
    """But for peaks that lie within a rounding of the threshold, or of a neighbour."""
    near = torch.cdist(found.double().cpu(), expected.double().cpu()) <= 2
    assert near.any(dim=1).double().mean() >= 0.98, "peaks that are none"
    assert near.any(dim=0).double().mean() >= 0.98, "peaks are missing"


def _peaks_of(density: Tensor) -> dict[str, Callable[[], Tensor]]:
    return {
        "dvfast": lambda: functional.find_peaks(density, min_distance=_MIN_DISTANCE)[0].long(),
        "max_pool2d and nonzero": partial(peers.peaks_by_pooling, density, _MIN_DISTANCE),
        "scikit-image's peak_local_max": partial(
            peers.peaks_by_scikit_image, density, _MIN_DISTANCE
        ),
    }


def _peaks(settings: Settings) -> Contest:
    density = _density(_votes(settings.device))[0]
    ways = _peaks_of(density)
    moved = 2 * _FLOAT * density.numel()

    def verify() -> None:
        expected = reference.find_peaks(density.double(), min_distance=_MIN_DISTANCE)[0]
        for way in ways.values():
            _same_peaks(way(), expected)

    return Contest(
        [
            Contender(name, way, name == "dvfast", unit="copy", work=moved)
            for name, way in ways.items()
        ],
        verify,
        _SIDE**2,
    )


def _votes_to_points(settings: Settings) -> Contest:
    """The whole way, each density with the peaks that go with it."""
    votes = _votes(settings.device)
    densities = _ways_to_density(votes)

    def ours() -> Tensor:
        return functional.find_peaks(_density(votes)[0], min_distance=_MIN_DISTANCE)[0].long()

    def theirs(name: str) -> Tensor:
        density = densities[name]()[0]
        if name in _HOST_DENSITIES:
            return peers.peaks_by_scikit_image(density, _MIN_DISTANCE)
        return peers.peaks_by_pooling(density, _MIN_DISTANCE)

    others: dict[str, Callable[[], Tensor]] = {
        f"{name}, {'peak_local_max' if name in _HOST_DENSITIES else 'max_pool2d'}": partial(
            theirs, name
        )
        for name in densities
        if name != "dvfast"
    }

    def verify() -> None:
        _verify_densities(votes, densities)
        density = reference.vote_density(votes.double(), _SIZE, sigma=_SIGMA, window=_WINDOW)[0]
        expected = reference.find_peaks(density, min_distance=_MIN_DISTANCE)[0]
        for way in (ours, *others.values()):
            same_places(way(), expected)

    moved = _FLOAT * votes.numel()
    return Contest(
        [
            Contender("dvfast", ours, True, unit="copy", work=moved),
            *(Contender(name, way, unit="copy", work=moved) for name, way in others.items()),
        ],
        verify,
        _SIDE**2,
    )


_WHERE = f"{_SIDE} × {_SIDE} pixels, k = {_NUM_VOTES}"
ENTRIES = (
    Entry("activation", "voting", f"hybrid_activation, {_WHERE}", _activation),
    Entry(
        "loss",
        "voting",
        f"voting_loss with its gradient, contiguous, {_WHERE}",
        partial(_loss, torch.contiguous_format),
    ),
    Entry(
        "loss-channels-last",
        "voting",
        f"voting_loss with its gradient, channels_last, {_WHERE}",
        partial(_loss, torch.channels_last),
        quick=False,
    ),
    Entry("targets", "voting", f"vote_targets, {_NUM_NUCLEI} nuclei, {_WHERE}", _targets),
    Entry("density", "voting", f"vote_density, σ = {_SIGMA:g}, {_WHERE}", _vote_density),
    Entry("peaks", "voting", f"find_peaks, min_distance = {_MIN_DISTANCE}, {_WHERE}", _peaks),
    Entry("votes-to-points", "voting", f"votes to points, {_WHERE}", _votes_to_points),
)
