"""IRV, kernel-based iterative radial voting: edges vote for centres, ever more pointedly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ..errors import InputError
from ..functional import vote_map
from ._arguments import check_at_least, check_positive
from .peaks import greedy_maxima
from .stain import Stain, nucleus_density

__all__ = ["detect_irv", "radial_votes"]

# One step at a radius of 20 pixels is one pixel.
_DIRECTIONS = 128

# A ray that is thinner than a pixel would miss most of those that it crosses.
_HALF_WIDTH = 0.5

# Votes that exist at one time, 12 bytes each: they stay in the cache.
_VOTES_AT_ONCE = 1 << 18

_HALF_ANGLES = (math.pi / 4, math.pi / 6, math.pi / 12, math.pi / 24, 0.0)


def detect_irv(
    image: NDArray[Any],
    *,
    stain: Stain = "haematoxylin+dab",
    r_min: float = 1.0,
    r_max: float = 9.0,
    gradient_threshold: float = 0.02,
    smoothing: float = 1.5,
    half_angles: Sequence[float] = _HALF_ANGLES,
    map_smoothing: float = 1.5,
    min_distance: float = 6.5,
    threshold: float = 0.01,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find nuclei where the edges around them point to, by iterative radial voting.

    B. Parvin, Q. Yang, J. Han, H. Chang, B. Rydberg, M. H. Barcellos-Hoff: Iterative voting for
    inference of structural saliency and characterization of subcellular events. IEEE Transactions
    on Image Processing 16 (3), 615-623, 2007.

    The votes are those of :func:`radial_votes`; their map is smoothed, and its maxima are the
    nuclei.

    Parameters
    ----------
    image : numpy.ndarray [H, W] or [H, W, 3], uint8, uint16 or floating in [0, 1]
    stain : str
        Where the nuclei are, see :func:`dvfast.baselines.nucleus_density`. Edges vote towards
        their denser side.
    r_min, r_max : float
        The least and the greatest distance from a nucleus's edge to its centre, in pixels,
        ``0 <= r_min < r_max``.
    gradient_threshold : float
        The least gradient of a voter, >= 0, in units of the density per pixel.
    smoothing : float
        The Gaussian with which the gradient is taken, in pixels, > 0.
    half_angles : sequence of float
        Of the cone, in radians, one for each iteration, from 0 to below pi / 2; they should fall.
    map_smoothing : float
        The Gaussian with which the map of votes is smoothed, in pixels, >= 0.
    min_distance : float
        Between two nuclei, in pixels, >= 0.
    threshold : float
        The least value of a maximum, >= 0, in units of the density per square pixel: votes weigh
        their gradient, and a disc of the middle radius gives about its contrast divided by the
        area over which its votes spread.

    Returns
    -------
    points : numpy.ndarray [n, 2], float64
        (y, x) in pixels of the image, the strongest first.
    scores : numpy.ndarray [n], float64
        The smoothed map at the points.

    Raises
    ------
    InputError
        If the image cannot be used or a parameter is out of range.

    Notes
    -----
    The original thresholds the last map and takes the centroids of what remains; maxima with a
    least distance keep touching nuclei apart, and give each a score.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[:40, :60]
    >>> image = np.where((y - 20) ** 2 + (x - 15) ** 2 < 36, 50, 230).astype(np.uint8)
    >>> points, scores = detect_irv(image, stain="dark")
    >>> points.tolist()
    [[20.0, 15.0]]
    """
    check_at_least(0, map_smoothing=map_smoothing, threshold=threshold, min_distance=min_distance)
    votes = radial_votes(
        nucleus_density(image, stain),
        r_min=r_min,
        r_max=r_max,
        gradient_threshold=gradient_threshold,
        smoothing=smoothing,
        half_angles=half_angles,
    )
    if map_smoothing:
        votes = ndimage.gaussian_filter(votes, map_smoothing, mode="constant")
    return greedy_maxima(votes, threshold, min_distance)


def radial_votes(
    density: NDArray[np.float64],
    *,
    r_min: float,
    r_max: float,
    gradient_threshold: float = 0.02,
    smoothing: float = 1.5,
    half_angles: Sequence[float] = _HALF_ANGLES,
) -> NDArray[np.float64]:
    r"""Let every edge vote for centres on its denser side, and aim again, in narrowing cones.

    A voter :math:`p` is a pixel whose gradient :math:`g(p)` reaches the threshold. It aims at the
    angle :math:`\theta(p)`, first that of its gradient, and votes in the cone

    .. math:: A(p) = \{ p + r (\sin\varphi, \cos\varphi) : r_{min} \le r \le r_{max},
                |\varphi - \theta(p)| \le \Delta \}

    with a Gaussian around the cone's middle :math:`m(p)`, at the radius
    :math:`(r_{min} + r_{max}) / 2`, of a standard deviation of a quarter of the cone's length:

    .. math:: V(x) = \frac{1}{2 \pi \bar r} \sum_{p : x \in A(p)} \lVert g(p) \rVert \,
                \frac{\exp(-\lVert x - m(p) \rVert^2 / 2 \sigma^2)}
                     {\sum_{x' \in A(p)} \exp(-\lVert x' - m(p) \rVert^2 / 2 \sigma^2)}

    Then it aims at the highest V in its cone, and the next, smaller :math:`\Delta` follows.

    Parameters
    ----------
    density : numpy.ndarray [H, W], float64
    r_min, r_max, gradient_threshold, smoothing, half_angles
        As for :func:`detect_irv`.

    Returns
    -------
    numpy.ndarray [H, W], float64
        V of the last cone; the same bits for any number of threads.

    Raises
    ------
    InputError
        If a parameter is out of range.

    Notes
    -----
    Directions are rounded to 128 steps, so that the pixels of a cone and their weights come out of
    a table; a cone is at least one pixel wide. All votes of all voters are one call of
    :func:`dvfast.vote_map`, aiming again is one gather from its result.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[:31, :31]
    >>> disc = (np.hypot(y - 15, x - 12) < 6).astype(float)
    >>> votes = radial_votes(disc, r_min=1, r_max=9)
    >>> np.unravel_index(votes.argmax(), votes.shape)
    (np.int64(15), np.int64(12))
    """
    check_at_least(0, r_min=r_min, gradient_threshold=gradient_threshold)
    check_positive(smoothing=smoothing)
    if not (math.isfinite(r_max) and r_max > r_min):
        raise InputError(f"r_max: came as {r_max}, expected more than r_min, {r_min}")
    if not half_angles or not all(0 <= angle < math.pi / 2 for angle in half_angles):
        raise InputError(
            f"half_angles: came as {tuple(half_angles)}, expected angles from 0 to below pi / 2"
        )
    voters = _find_voters(density, gradient_threshold, smoothing)
    if not len(voters.pixel):
        return np.zeros_like(density)
    canvas = _Canvas.around(density.shape, r_max)
    total = torch.zeros(canvas.height, canvas.width, dtype=torch.float64)
    for i, half_angle in enumerate(half_angles):
        cones = _Cones.of(r_min, r_max, half_angle)
        total = _cast(voters, cones, canvas)
        if i + 1 < len(half_angles):
            voters.aim = _aim(voters, cones, total, canvas)
    inside: NDArray[np.float64] = canvas.inside(total).double().numpy()
    return inside / (math.pi * (r_min + r_max))


@dataclass
class _Voters:
    """Pixels ``[N, 2]``, their weights ``[N]`` and where they aim, ``[N]``, as steps of a turn."""

    pixel: Tensor
    weight: Tensor
    aim: Tensor


@dataclass(frozen=True)
class _Canvas:
    """An image with a margin as wide as a cone is long: no vote lands outside."""

    height: int
    width: int
    margin: int

    @classmethod
    def around(cls, shape: tuple[int, ...], r_max: float) -> _Canvas:
        margin = math.ceil(r_max) + 1
        return cls(shape[0] + 2 * margin, shape[1] + 2 * margin, margin)

    def inside(self, plane: Tensor) -> Tensor:
        return plane[self.margin : -self.margin, self.margin : -self.margin]


@dataclass(frozen=True)
class _Cones:
    """The pixels of the cones in all directions, relative to the voter.

    Attributes
    ----------
    y, x : [K, D], float32
    weight : [K, D], float32
        A cone of fewer than K pixels repeats one of them with the weight 0.
    direction : [K, D], int64
        In which direction the pixel lies.
    """

    y: Tensor
    x: Tensor
    weight: Tensor
    direction: Tensor

    @classmethod
    def of(cls, r_min: float, r_max: float, half_angle: float) -> _Cones:
        reach = math.ceil(r_max)
        y, x = (axis.ravel() for axis in np.mgrid[-reach : reach + 1, -reach : reach + 1])
        radius = np.hypot(y, x)
        # The voter itself lies in no direction.
        ring = (radius >= max(r_min, 0.5)) & (radius <= r_max)
        y, x, radius = y[ring], x[ring], radius[ring]
        angle = np.arctan2(y, x)
        aim = np.arange(_DIRECTIONS)[:, None] * (2 * math.pi / _DIRECTIONS)
        between = np.abs((angle - aim + math.pi) % (2 * math.pi) - math.pi)
        on_axis = (between < math.pi / 2) & (radius * np.sin(between) <= _HALF_WIDTH + 1e-9)
        inside = (between <= half_angle + 1e-9) | on_axis
        if not inside.any(axis=1).all():
            raise InputError(
                f"r_max: came as {r_max} with r_min {r_min}, expected room for a pixel between them"
            )
        middle = (r_min + r_max) / 2
        squared = (y - middle * np.sin(aim)) ** 2 + (x - middle * np.cos(aim)) ** 2
        gaussian = np.exp(-squared / (2 * ((r_max - r_min) / 4) ** 2))
        # The heaviest pixels first; as many columns as the fullest cone needs.
        order = np.argsort(np.where(inside, -gaussian, 1.0), axis=1, kind="stable")
        order = order[:, : int(inside.sum(axis=1).max())]
        there = np.take_along_axis(inside, order, axis=1)
        weight = np.take_along_axis(gaussian, order, axis=1) * there
        weight /= weight.sum(axis=1, keepdims=True)
        order = np.where(there, order, order[:, :1])
        return cls(
            torch.from_numpy(np.float32(y[order].T)),
            torch.from_numpy(np.float32(x[order].T)),
            torch.from_numpy(np.float32(weight.T)),
            torch.from_numpy(_direction(angle)[order.T]),
        )


def _direction(angle: NDArray[np.float64]) -> NDArray[np.int64]:
    """The nearest of the directions of the table."""
    return np.rint(angle * (_DIRECTIONS / (2 * math.pi))).astype(np.int64) % _DIRECTIONS


def _find_voters(density: NDArray[np.float64], threshold: float, smoothing: float) -> _Voters:
    dy, dx = (ndimage.gaussian_filter(density, smoothing, order) for order in ((1, 0), (0, 1)))
    magnitude = np.hypot(dy, dx)
    # Where there is no gradient there is no direction, whatever the threshold.
    chosen = (magnitude >= threshold) & (magnitude > np.finfo(np.float32).eps)
    return _Voters(
        torch.from_numpy(np.argwhere(chosen)),
        torch.from_numpy(magnitude[chosen].astype(np.float32)),
        torch.from_numpy(_direction(np.arctan2(dy[chosen], dx[chosen]))),
    )


def _cast(voters: _Voters, cones: _Cones, canvas: _Canvas) -> Tensor:
    """The sum of all votes, on the canvas."""
    total = torch.zeros(canvas.height, canvas.width, dtype=torch.float64)
    number = len(cones.weight)
    for pixel, weight, aim in _in_parts(voters, number):
        # The voters stand in a row of their own, not in a grid, so that flat ground costs nothing:
        # voter i at (0, i), and its offset, voter minus landing, leads from there.
        y, x = (pixel + canvas.margin).float().T
        votes = torch.empty(number, 3, len(aim))
        votes[:, 0] = cones.weight.index_select(1, aim).mul_(weight)
        votes[:, 1] = cones.y.index_select(1, aim).add_(y).neg_()
        votes[:, 2] = cones.x.index_select(1, aim).add_(x - torch.arange(len(aim))).neg_()
        size = (canvas.height, canvas.width)
        total += vote_map(votes.reshape(1, 3 * number, 1, len(aim)), size)[0]
    return total


def _aim(voters: _Voters, cones: _Cones, total: Tensor, canvas: _Canvas) -> Tensor:
    """Where the highest sum in the cone of each voter lies, within the image, [N]."""
    visible = torch.full_like(total, -math.inf)
    canvas.inside(visible).copy_(canvas.inside(total))
    step = (cones.y * canvas.width + cones.x).long()
    aims = []
    for pixel, _, aim in _in_parts(voters, len(step)):
        place = (pixel[:, 0] + canvas.margin) * canvas.width + pixel[:, 1] + canvas.margin
        best, where = visible.take(step.index_select(1, aim).add_(place)).max(dim=0)
        # A cone may lie outside as a whole.
        aims.append(torch.where(best > -math.inf, cones.direction[where, aim], aim))
    return torch.cat(aims)


def _in_parts(voters: _Voters, number: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    count = max(1, _VOTES_AT_ONCE // number)
    return [
        (voters.pixel[i : i + count], voters.weight[i : i + count], voters.aim[i : i + count])
        for i in range(0, len(voters.aim), count)
    ]
