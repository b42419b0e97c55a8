"""Which nuclei a method finds, and where its wrong detections lie: why it ranks where it does.

Of every annotated nucleus three properties are measured in the image around its click, and each is
divided into thirds of as many nuclei.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ..baselines import nucleus_density
from ..bench.tables import Table
from ..data import Sample, load_sample
from .data_sets import DataSet
from .methods import METHODS
from .records import LITERAL

__all__ = [
    "PROPERTIES",
    "Breakdown",
    "Nuclei",
    "break_down",
    "breakdown_table",
    "contrast_text",
    "measure_nuclei",
]

# What is measured of a nucleus, and the words for its thirds, from low to high.
PROPERTIES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "contrast": ("faint", "middling", "strong"),
        "size": ("small", "middling", "large"),
        "distance": ("crowded", "middling", "apart"),
    }
)

# Blob radii that are tried, in mean radii of a nucleus.
_SIZES = np.geomspace(0.4, 2.5, 15)


@dataclass(frozen=True)
class Nuclei:
    """The annotated nuclei of the test images.

    Attributes
    ----------
    points : list of numpy.ndarray [n, 2]
        Of every image, (y, x) in pixels.
    thirds : dict of str to list of numpy.ndarray [n]
        By property, for every image: 0, 1 or 2, from low to high.
    """

    points: list[NDArray[np.float64]]
    thirds: dict[str, list[NDArray[np.intp]]]


@dataclass(frozen=True)
class Breakdown:
    """A method's detections, looked at closely; literally counted, within half a mean radius.

    Attributes
    ----------
    recall : dict of str to numpy.ndarray [3]
        By property: the share of each third that is found.
    displaced, elsewhere : float
        Wrong detections per 100 nuclei: within the mean radius of a nucleus, and further off.
    """

    recall: dict[str, NDArray[np.float64]]
    displaced: float
    elsewhere: float


def measure_nuclei(data_set: DataSet, samples: Sequence[Sample]) -> Nuclei:
    """Look at the surroundings of every click.

    contrast
        The mean nuclear stain (:func:`dvfast.baselines.nucleus_density`) within half the mean
        radius, less that between one and two mean radii.
    size
        The radius of the blob that the click is the centre of: that at which the normalised
        Laplacian of a Gaussian answers most strongly (Lindeberg, IJCV 1998).
    distance
        To the nearest other click.
    """
    points, values = [], []
    radius = max(data_set.radius, 1.0)  # what is smaller than a pixel has no surroundings
    for sample in samples:
        image, clicks = load_sample(sample)
        density = nucleus_density(image, data_set.stain)
        points.append(clicks)
        values.append(
            {
                "contrast": _contrast(density, clicks, radius),
                "size": _size(density, clicks, radius),
                "distance": _distance(clicks),
            }
        )
    return Nuclei(points, {name: _thirds([of[name] for of in values]) for name in PROPERTIES})


def break_down(nuclei: Nuclei, entries: Sequence[Mapping[str, Any]], radius: float) -> Breakdown:
    """Count what a method found and where it went wrong.

    Parameters
    ----------
    nuclei
        Of the images.
    entries
        Of the method, one of every seed: the points found in each image.
    radius
        The mean radius of a nucleus, in pixels.
    """
    found, wrong = [], np.zeros(2)
    for entry in entries:
        for clicks, image in zip(nuclei.points, entry["images"], strict=True):
            detections = np.asarray(image["points"], dtype=np.float64).reshape(-1, 2)
            found.append(_nearest(clicks, detections) <= LITERAL.share * radius)
            off = _nearest(detections, clicks)
            displaced = (off > LITERAL.share * radius) & (off <= radius)
            wrong += displaced.sum(), (off > radius).sum()
    every = np.concatenate(found)
    recall = {
        name: np.array([every[np.concatenate(thirds * len(entries)) == i].mean() for i in range(3)])
        for name, thirds in nuclei.thirds.items()
    }
    displaced_share, elsewhere_share = 100 * wrong / max(1, len(every))
    return Breakdown(recall, float(displaced_share), float(elsewhere_share))


def breakdown_table(breakdowns: Mapping[str, Breakdown]) -> Table:
    """All methods: recall by thirds of every property, and wrong detections."""
    headings = [""]
    for name, words in PROPERTIES.items():
        headings += [f"{name}: {words[0]}", words[1], words[2]]
    headings += ["displaced", "elsewhere"]
    cells = [
        [
            METHODS[key].name,
            *(f"{value:.3f}" for name in PROPERTIES for value in of.recall[name]),
            f"{of.displaced:.1f}",
            f"{of.elsewhere:.1f}",
        ]
        for key, of in breakdowns.items()
    ]
    return Table("Which nuclei are found", headings, cells, [])


def contrast_text(here: str, there: str, breakdowns: Mapping[str, Breakdown]) -> str:
    """Where the method `here` is better than the method `there`: the figures, no opinion."""
    ours, theirs = breakdowns[here], breakdowns[there]
    gaps = {name: ours.recall[name] - theirs.recall[name] for name in PROPERTIES}
    name = max(gaps, key=lambda name: float(np.ptp(gaps[name])))

    def recalls(of: Breakdown) -> str:
        return ", ".join(f"{value:.2f}" for value in of.recall[name])

    low, middle, high = PROPERTIES[name]
    return (
        f"What separates their recalls most is {name} ({low}, {middle}, {high}): {recalls(ours)} "
        f"against {recalls(theirs)}. Wrong detections per 100 nuclei: {ours.displaced:.0f} "
        f"displaced and {ours.elsewhere:.0f} elsewhere against {theirs.displaced:.0f} and "
        f"{theirs.elsewhere:.0f}."
    )


def _contrast(
    density: NDArray[np.float64], clicks: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    inner = _disk(0.5 * radius)
    outer = _disk(2 * radius)
    centre = len(outer) // 2
    gap = _disk(radius)
    half = len(gap) // 2
    outer[centre - half : centre + half + 1, centre - half : centre + half + 1] -= gap
    within, around = (
        ndimage.convolve(density, weights / weights.sum(), mode="reflect")
        for weights in (inner, outer)
    )
    return _at(within, clicks) - _at(around, clicks)


def _size(
    density: NDArray[np.float64], clicks: NDArray[np.float64], radius: float
) -> NDArray[np.float64]:
    answers = []
    for size in _SIZES:
        # A disk of radius r answers most strongly at sigma = r / sqrt(2).
        sigma = size * radius / np.sqrt(2)
        answers.append(-(sigma**2) * _at(ndimage.gaussian_laplace(density, sigma), clicks))
    return np.asarray(_SIZES[np.argmax(answers, axis=0)], dtype=np.float64)


def _distance(clicks: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cKDTree(clicks).query(clicks, k=[2])[0][:, 0]) if len(clicks) else np.empty(0)


def _thirds(values: Sequence[NDArray[np.float64]]) -> list[NDArray[np.intp]]:
    """By rank, so that ties do not make thirds of very different size; ties in order of place."""
    every = np.concatenate(values)
    rank = np.argsort(np.argsort(every, kind="stable"), kind="stable")
    third = 3 * rank // max(1, len(every))
    return np.split(third, np.cumsum([len(of) for of in values])[:-1])


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the nearest of `others` is from each of `points`; infinite where there is none."""
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    return np.asarray(cKDTree(others).query(points)[0])


def _disk(radius: float) -> NDArray[np.float64]:
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(y**2 + x**2 <= radius**2, dtype=np.float64)


def _at(image: NDArray[np.float64], clicks: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = image.shape
    y, x = np.floor(clicks + 0.5).astype(np.intp).reshape(-1, 2).T
    return np.asarray(image[y.clip(0, height - 1), x.clip(0, width - 1)])
