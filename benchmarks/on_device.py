"""Speed of the operators on one device, beside its copy bandwidth and what one would else write.

All times of a comparison are taken in turns, and a row is checked before it is timed. Run by
``make gpu-check``; ``python benchmarks/on_device.py cpu`` shows it on a CPU, in small.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from reductions import all_reductions
from timing import measure, same
from torch import Tensor

import dvfast
from dvfast import reference
from dvfast.detection.peaks import density_peaks


def activation(device: torch.device, elements: int) -> dict[str, Any]:
    """Share of the copy bandwidth that the activation reaches, forwards and backwards."""
    x = torch.randn(1, 6, elements // 6 // 1024, 1024, device=device)
    output = dvfast.hybrid_activation(x)
    same(output, reference.hybrid_activation(x), 1e-6)
    gradient = torch.randn_like(x)
    target = torch.empty_like(x)
    ops = torch.ops.dvfast
    seconds = measure(
        {
            "copy": lambda: target.copy_(x),
            "forward": lambda: ops.hybrid_activation(x),
            "backward": lambda: ops.hybrid_activation_backward(gradient, output),
        },
        device,
    )
    size = x.numel() * x.element_size()
    rates = {
        "copy": 2 * size / seconds["copy"],
        "forward": 2 * size / seconds["forward"],
        "backward": 3 * size / seconds["backward"],
    }
    return {
        "elements": x.numel(),
        "bytes_per_second": rates,
        "share_of_copy": {k: rates[k] / rates["copy"] for k in ("forward", "backward")},
    }


def loss(device: torch.device, patches: int, copy_rate: float) -> dict[str, Any]:
    """The loss with its gradient, against eager and compiled reference and against its bytes."""
    shape = (1, 6, patches // 512, 512)
    x = torch.randn(shape, device=device, requires_grad=True)
    target = torch.rand(shape, device=device)
    compiled = torch.compile(reference.voting_loss)

    def both(function: Callable[..., Tensor]) -> Tensor:
        (gradient,) = torch.autograd.grad(function(x, target), x)
        return gradient

    same(both(dvfast.voting_loss), both(reference.voting_loss), 1e-4)
    seconds = measure(
        {
            "dvfast": lambda: both(dvfast.voting_loss),
            "eager": lambda: both(reference.voting_loss),
            "compiled": lambda: both(compiled),
        },
        device,
    )
    # Logits and target are read and the gradient written once, at the least.
    floor = 3 * x.numel() * x.element_size() / copy_rate
    return {
        "patches": patches,
        "seconds": seconds,
        "faster_than": {k: seconds[k] / seconds["dvfast"] for k in ("eager", "compiled")},
        "share_of_floor": floor / seconds["dvfast"],
    }


@cache
def cast(device: torch.device, side: int, num_votes: int, clustered: bool) -> Tensor:
    """Votes ``[1, 3k, side, side]`` that gather at nuclei, or land anywhere near."""
    generator = torch.Generator().manual_seed(0)
    votes = torch.rand(1, 3 * num_votes, side, side, generator=generator)
    spread = torch.randn(votes.shape, generator=generator) * (1.0 if clustered else 8.0)
    if clustered:
        nuclei = side * torch.rand(side * side // 400, 2, generator=generator)
        spread = spread + dvfast.vote_targets(nuclei, (side, side), num_votes)
    offsets = torch.arange(3 * num_votes)[:, None, None] % 3 != 0
    # In steps of 1/64 pixel the peers' float32 coordinates are exact and round alike.
    return torch.where(offsets, (spread * 64).round() / 64, votes).to(device)


def density(device: torch.device, side: int, num_votes: int, clustered: bool) -> dict[str, Any]:
    """Votes to peaks, against the ways torch has to add at an index."""
    size = (side, side)
    votes = cast(device, side, num_votes, clustered)
    reach = torch.arange(-2, 3, device=device)
    taps = torch.exp(-reach.square() / 2) / (2 * torch.pi) ** 0.5
    grid = torch.arange(side, device=device)

    def landings() -> tuple[Tensor, Tensor]:
        confidence, dy, dx = votes[0].unflatten(0, (-1, 3)).unbind(1)
        y = (grid[:, None] - dy + 0.5).floor_().long()
        x = (grid - dx + 0.5).floor_().long()
        inside = (y >= 0) & (y < side) & (x >= 0) & (x < side)
        index = torch.where(inside, y * side + x, 0).ravel()
        return index, torch.where(inside, confidence, 0).ravel()

    def finish(sums: Tensor) -> tuple[Tensor, Tensor]:
        image = sums.reshape(1, 1, side, side).float()
        image = torch.nn.functional.conv2d(image, taps.reshape(1, 1, -1, 1), padding="same")
        image = torch.nn.functional.conv2d(image, taps.reshape(1, 1, 1, -1), padding="same")
        highest = torch.nn.functional.max_pool2d(image, 3, stride=1, padding=1)
        return image[0], torch.nonzero((image == highest) & (image >= 0.2 * image.max()))

    def index_add() -> tuple[Tensor, Tensor]:
        index, confidence = landings()
        return finish(votes.new_zeros(side * side).index_add_(0, index, confidence))

    def scatter_add() -> tuple[Tensor, Tensor]:
        index, confidence = landings()
        return finish(votes.new_zeros(side * side).scatter_add_(0, index, confidence))

    def index_put() -> tuple[Tensor, Tensor]:
        index, confidence = landings()
        sums = votes.new_zeros(side * side)
        return finish(sums.index_put_((index,), confidence, accumulate=True))

    def bincount() -> tuple[Tensor, Tensor]:
        index, confidence = landings()
        return finish(torch.bincount(index, confidence, minlength=side * side))

    settings = dvfast.DetectionSettings(sigma=1.0, window=5, min_distance=1)

    def ours() -> tuple[Tensor, Tensor]:  # as detect has it
        found = density_peaks(votes, size, settings)
        return found.density[None], found.points

    def one_by_one() -> tuple[Tensor, Tensor]:
        result = dvfast.vote_density(votes, size)
        return result, dvfast.find_peaks(result[0])[0]

    peers: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        "index_add_": index_add,
        "scatter_add_": scatter_add,
        "index_put_": index_put,
        "bincount": bincount,
    }
    for name, peer in peers.items():
        same(peer()[0], ours()[0], 1e-4, name)
    same(one_by_one()[1], ours()[1], 0, "the points")
    seconds = measure({"dvfast": ours, "dvfast, one by one": one_by_one, **peers}, device)
    best = min(seconds[name] for name in peers)
    return {
        "side": side,
        "num_votes": num_votes,
        "clustered": clustered,
        "seconds": seconds,
        "faster_than_the_best": best / seconds["dvfast"],
    }


def peaks(
    device: torch.device, side: int, num_votes: int, window: int, min_distance: int
) -> dict[str, Any]:
    """Votes to density and peaks by one operator, against one operator after the other."""
    size = (side, side)
    settings = dvfast.DetectionSettings(sigma=window / 6, window=window, min_distance=min_distance)
    votes = cast(device, side, num_votes, True)
    rules = {"min_distance": min_distance}
    room = side * side // 64

    def filtered() -> Tensor:
        return dvfast.vote_density(votes, size, sigma=window / 6, window=window)[0]

    # Without a capacity the host waits for the number of peaks; with one, nothing does.
    runs: dict[str, Callable[[], tuple[Any, ...]]] = {
        "at once": lambda: density_peaks(votes, size, settings),
        "one by one": lambda: dvfast.find_peaks(filtered(), **rules),
        "at once, capacity": lambda: density_peaks(votes, size, settings, room),
        "one by one, capacity": lambda: dvfast.find_first_peaks(filtered(), room, **rules),
    }
    ours = density_peaks(votes, size, settings)
    same(ours.density, filtered(), 0, "the density at once")
    same(ours.points, runs["one by one"]()[0], 0, "the peaks at once")
    seconds = measure(runs, device)
    return {
        "side": side,
        "window": window,
        "min_distance": min_distance,
        "peaks": len(ours.points),
        "seconds": seconds,
        "faster_at_once": {
            "waiting": seconds["one by one"] / seconds["at once"],
            "with capacity": seconds["one by one, capacity"] / seconds["at once, capacity"],
        },
    }


def all_benchmarks(device: torch.device, *, small: bool = False) -> dict[str, Any]:
    """Every comparison; `small` for a look at it on a CPU."""
    torch.backends.cudnn.allow_tf32 = False  # the peers filter in float32, as we do
    first = activation(device, 2**18 if small else 2**28)
    copy_rate = first["bytes_per_second"]["copy"]
    sizes = ((64, 2),) if small else ((400, 2), (4096, 5))
    return {
        "activation": first,
        "loss": loss(device, 2**14 if small else 2**24, copy_rate),
        "density": [
            density(device, side, votes, clustered)
            for side, votes in sizes
            for clustered in (True, False)
        ],
        # The window of the paper, ours, and one that leaves the tiles more margin than inside.
        "peaks": [
            peaks(device, side, num_votes, window, min_distance)
            for side, num_votes in sizes
            for window, min_distance in ((5, 1), (21, 6), (31, 12))
        ],
        "reductions": all_reductions(
            device,
            {
                f"{side}, {'clustered' if clustered else 'spread'}": cast(
                    device, side, num_votes, clustered
                )
                for side, num_votes in sizes
                for clustered in (True, False)
            },
            small=small,
        ),
    }


if __name__ == "__main__":
    where = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda")
    print(json.dumps(all_benchmarks(where, small=where.type == "cpu"), indent=2))
