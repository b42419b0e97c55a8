"""Arguments of every operator, for what is asked of all of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from support import LAYOUTS, leaf, map_layouts, plain, random_features, random_votes
from torch import Tensor

INFINITY = math.inf

# Of the scan engine; without gradients.
INFERENCE = (
    "trunk_layer",
    "vote_head",
    "winograd_head",
    "winograd_unet",
    "bfloat16_trunk_layer",
    "bfloat16_head",
    "matrix_trunk_layer",
    "matrix_vote_head",
    "warpgroup_vote_head",
)


def engine_inputs(name: str, device: torch.device) -> list[tuple[Any, ...]]:
    """Maps of 32 channels; as their contents do not matter here, neither does how weights lie."""
    dtype = torch.bfloat16 if name.startswith("bfloat16") else torch.float32

    def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return random_features(shape).to(device, dtype)

    taps = 64 if name.startswith("winograd") else 9
    first = numbers(2, taps * 32, 32, dtype=dtype), numbers(64)
    last = numbers(6, 64), numbers(6)
    # Of 3xTF32: two panels, 18 chunks, two parts.
    matrix, last_matrix = (numbers(2, 18, 2, 2, 2, 32, 4), first[1]), (numbers(2, 8, 32), last[1])
    # Two levels of 16 and 20 channels, down and up, and the votes.
    places = [torch.tensor([-1, 0, 3, 2, 8, 5], device=device) for _ in range(2)]
    inputs = (9 * 32, 64 * 16, 64 * 16, 64 * 20, 64 * 36, 64 * 16, 16)
    unet = (
        [numbers(1, count, 32) for count in inputs],
        [numbers(32 if i in (2, 3) else 16) for i in range(7)],
    )
    samples: list[tuple[Any, ...]] = []
    layouts = map_layouts(numbers(2, 9, 20, 32, dtype=dtype))
    wide = numbers(1, 18, 2, 2, 2, 128, 4)
    if name.startswith(("matrix", "warpgroup")):
        del layouts[1]  # whose pixels do not begin at multiples of 16 bytes, which these ask for
    for features in layouts:
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
            "winograd_unet": [
                (features, *places, *unet, [16, 20], 0, 2),
                (features, places[0], places[1][:0], *unet, [16, 20], 0, 2),
            ],
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
            "warpgroup_vote_head": [
                (features, wide, first[1], *last_matrix, 2, 3, 1, 2),
                (empty, wide, first[1], *last_matrix, 2, 3, 2, 2),
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
