"""What one would write without dvfast, as well as an expert would write it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max
from torch import Tensor

from ..functional import hybrid_activation
from ..nn import DeepVotingNet
from ..nn.deep_voting_net import PATCH_SIZE, POOLED_STRIDE
from ..reference import hybrid_activation as hybrid_activation_reference

__all__ = [
    "activation_in_place",
    "activation_of_reference",
    "dense_pass",
    "density_by_cupy",
    "density_by_index_add",
    "density_by_index_put",
    "density_by_numpy_add_at",
    "density_by_numpy_bincount",
    "density_by_scatter_add",
    "density_by_torch_bincount",
    "filter_by_convolutions",
    "peaks_by_pooling",
    "peaks_by_scikit_image",
    "shift_and_stitch",
    "sliding_window",
    "targets_by_tree",
]

_PATCHES = 128  # the fastest of the batches tried from 32 to 512


# --- The dense pass -------------------------------------------------------------------------------


def dense_pass(
    net: DeepVotingNet, padded: Tensor, stride: int, band: int | None, channels_last: bool = True
) -> Tensor:
    """Dilated convolutions over the whole image, the head in bands of so many rows of votes."""
    if channels_last:
        padded = padded.contiguous(memory_format=torch.channels_last)
    features = net.trunk_pass(padded, stride)
    # Samples between one row of votes and the next, and those that a row of votes spans.
    step = math.gcd(stride, POOLED_STRIDE)
    between, reach = stride // step, 4 * POOLED_STRIDE // step + 1
    rows = (padded.shape[2] - PATCH_SIZE) // stride + 1
    parts = []
    for y in range(0, rows, band or rows):
        last = min(y + (band or rows), rows)
        needed = features[:, :, y * between : (last - 1) * between + reach]
        parts.append(hybrid_activation(net.head_pass(needed, stride)))
    return torch.cat(parts, dim=2)


def shift_and_stitch(net: DeepVotingNet, padded: Tensor, band: int | None) -> Tensor:
    """The undilated network on sixteen shifted images, its votes put between each other."""
    rows, columns = (size - PATCH_SIZE + 1 for size in padded.shape[2:])
    votes = padded.new_empty(padded.shape[0], 3 * net.num_votes, rows, columns)
    for y in range(POOLED_STRIDE):
        for x in range(POOLED_STRIDE):
            part = dense_pass(net, padded[:, :, y:, x:], POOLED_STRIDE, band)
            votes[:, :, y::POOLED_STRIDE, x::POOLED_STRIDE] = part
    return votes


def sliding_window(net: DeepVotingNet, padded: Tensor, stride: int) -> Tensor:
    """A patch for every voter, in batches of channels_last patches."""
    patches = padded[0].unfold(1, PATCH_SIZE, stride).unfold(2, PATCH_SIZE, stride)
    rows, columns = patches.shape[1:3]
    parts = []
    for y in range(rows):
        for x in range(0, columns, _PATCHES):
            batch = patches[:, y, x : x + _PATCHES].transpose(0, 1)
            batch = batch.contiguous(memory_format=torch.channels_last)
            parts.append(hybrid_activation(net(batch)))
    return torch.cat(parts).T.reshape(1, -1, rows, columns)


# --- Activation and targets -----------------------------------------------------------------------


def activation_in_place(logits: Tensor) -> Tensor:
    """A copy, and a sigmoid on every third channel of it."""
    votes = logits.clone()
    votes[:, ::3].sigmoid_()
    return votes


def activation_of_reference(logits: Tensor) -> Tensor:
    """The formula as it stands in the reference: a sigmoid of everything, and a choice."""
    return hybrid_activation_reference(logits)


def targets_by_tree(nuclei: Tensor, size: tuple[int, int], num_votes: int) -> Tensor:
    """Eq. 1 by a search tree over the nuclei, asked for every pixel."""
    pixels = np.indices(size).reshape(2, -1).T
    points = nuclei.cpu().numpy().astype(np.float64)
    length, index = cKDTree(points).query(pixels, k=num_votes, workers=torch.get_num_threads())
    confidence = np.where(length <= 12, 1.0, np.where(length <= 24, 1 / (1 + 0.5 * length), 0.0))
    offset = pixels[:, None] - points[index]
    result = np.concatenate([confidence[..., None], offset], axis=-1)
    return torch.from_numpy(result.reshape(*size, -1).transpose(2, 0, 1))[None].float()


# --- Density --------------------------------------------------------------------------------------


def _landings(votes: Tensor) -> tuple[Tensor, Tensor]:
    """Index of the pixel that a vote lands on, and its confidence, 0 where it leaves the image."""
    height, width = votes.shape[2:]
    confidence, dy, dx = votes[0].reshape(-1, 3, height, width).unbind(1)
    rows = torch.arange(height, device=votes.device)[:, None]
    columns = torch.arange(width, device=votes.device)
    y = (rows - dy + 0.5).floor_().long()
    x = (columns - dx + 0.5).floor_().long()
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    index = torch.where(inside, y * width + x, 0)
    return index.ravel(), torch.where(inside, confidence, 0).ravel()


def _taps(sigma: float, window: int) -> Tensor:
    reach = torch.arange(window) - window // 2
    scale: float = (2 * torch.pi) ** 0.5 * sigma
    return torch.exp(-reach.square() / (2 * sigma**2)) / scale


def filter_by_convolutions(sums: Tensor, votes: Tensor, sigma: float, window: int) -> Tensor:
    """The Gaussian as two convolutions, one per axis."""
    vote_map = sums.reshape(1, 1, *votes.shape[2:]).to(votes)
    taps = _taps(sigma, window).to(votes)
    rows = torch.nn.functional.conv2d(vote_map, taps.reshape(1, 1, -1, 1), padding="same")
    filtered: Tensor = torch.nn.functional.conv2d(rows, taps.reshape(1, 1, 1, -1), padding="same")
    return filtered[0]


def density_by_index_add(votes: Tensor, sigma: float, window: int) -> Tensor:
    index, confidence = _landings(votes)
    sums: Tensor = votes.new_zeros(votes[0, 0].numel()).index_add_(0, index, confidence)
    return filter_by_convolutions(sums, votes, sigma, window)


def density_by_scatter_add(votes: Tensor, sigma: float, window: int) -> Tensor:
    index, confidence = _landings(votes)
    sums = votes.new_zeros(votes[0, 0].numel()).scatter_add_(0, index, confidence)
    return filter_by_convolutions(sums, votes, sigma, window)


def density_by_index_put(votes: Tensor, sigma: float, window: int) -> Tensor:
    index, confidence = _landings(votes)
    sums = votes.new_zeros(votes[0, 0].numel())
    sums.index_put_((index,), confidence, accumulate=True)
    return filter_by_convolutions(sums, votes, sigma, window)


def density_by_torch_bincount(votes: Tensor, sigma: float, window: int) -> Tensor:
    index, confidence = _landings(votes)
    sums = torch.bincount(index, confidence, minlength=votes[0, 0].numel())
    return filter_by_convolutions(sums, votes, sigma, window)


def _filter_by_scipy(sums: NDArray[Any], votes: Tensor, sigma: float, window: int) -> Tensor:
    filtered = sums.reshape(votes.shape[2:]).astype(np.float32)
    taps = _taps(sigma, window).numpy()
    for axis in (0, 1):
        filtered = ndimage.correlate1d(filtered, taps, axis=axis, mode="constant")
    return torch.from_numpy(filtered)[None]


def density_by_numpy_bincount(votes: Tensor, sigma: float, window: int) -> Tensor:
    index, confidence = (part.numpy() for part in _landings(votes))
    sums = np.bincount(index, confidence, minlength=votes[0, 0].numel())
    return _filter_by_scipy(sums, votes, sigma, window)


def density_by_numpy_add_at(votes: Tensor, sigma: float, window: int) -> Tensor:
    index, confidence = (part.numpy() for part in _landings(votes))
    sums = np.zeros(votes[0, 0].numel())
    np.add.at(sums, index, confidence)
    return _filter_by_scipy(sums, votes, sigma, window)


def density_by_cupy(votes: Tensor, sigma: float, window: int) -> Tensor:
    """On a GPU, where CuPy is installed."""
    import cupy  # type: ignore[import-not-found,unused-ignore]
    from cupyx.scipy import ndimage as on_gpu  # type: ignore[import-not-found,unused-ignore]

    index, confidence = (cupy.from_dlpack(part) for part in _landings(votes))
    sums = cupy.bincount(index, confidence, minlength=votes[0, 0].numel())
    filtered = sums.reshape(votes.shape[2:]).astype(cupy.float32)
    taps = cupy.asarray(_taps(sigma, window).numpy())
    for axis in (0, 1):
        filtered = on_gpu.correlate1d(filtered, taps, axis=axis, mode="constant")
    return torch.utils.dlpack.from_dlpack(filtered)[None]


# --- Peaks ----------------------------------------------------------------------------------------


def peaks_by_pooling(density: Tensor, min_distance: int, lowest: float | None = None) -> Tensor:
    """Where the density is as high as the highest around it, and no less than `lowest`."""
    window = 2 * min_distance + 1
    highest = torch.nn.functional.max_pool2d(
        density[None, None], window, stride=1, padding=min_distance
    )[0, 0]
    least = 0.2 * density.max() if lowest is None else lowest
    return torch.nonzero((density == highest) & (density >= least))


def peaks_by_scikit_image(density: Tensor, min_distance: int) -> Tensor:
    points = peak_local_max(
        density.cpu().numpy(), min_distance=min_distance, threshold_rel=0.2, exclude_border=False
    )
    return torch.from_numpy(points[np.lexsort(points.T[::-1])].copy())
