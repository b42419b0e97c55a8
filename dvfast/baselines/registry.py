"""All baselines, to be fitted, tuned and compared alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from math import pi
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ._arguments import check_positive
from .blob_log import detect_blob_log
from .irv import detect_irv
from .itcn import detect_itcn
from .ners import detect_ners, fit_ners
from .regions import RegionSettings
from .stain import Stain

__all__ = ["BASELINES", "Baseline", "Detect"]

# image, **parameters -> points [n, 2], scores [n]
Detect = Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]]

_Train = Callable[[Sequence[NDArray[Any]], Sequence[ArrayLike], Stain, float], Detect]


@dataclass(frozen=True)
class Baseline:
    """A method to compare with.

    Attributes
    ----------
    name : str
        For a table.
    citation : str
        Where it was published.
    detect : callable
        ``detect(image, **parameters)`` returns points ``[n, 2]``, (y, x) in pixels, and scores
        ``[n]``.
    grid : mapping of str to sequence
        The values of its parameters among which :func:`dvfast.baselines.tune` chooses.
    in_radii : mapping of str to sequence of float
        The same for lengths, in units of the radius of a nucleus.
    thresholds : sequence of float or None
        The thresholds to try. ``None``: a higher threshold only removes points, so those of all
        scores that occur are tried at no cost.
    train : callable or None
        For a method that learns: ``train(images, clicks, stain, nucleus_radius)`` returns `detect`.

    Examples
    --------
    >>> [baseline.name for baseline in BASELINES.values()]
    ['ITCN', 'IRV', 'NERS', 'blob_log']
    """

    name: str
    citation: str
    detect: Detect
    grid: Mapping[str, Sequence[Any]] = field(default_factory=lambda: MappingProxyType({}))
    in_radii: Mapping[str, Sequence[float]] = field(default_factory=lambda: MappingProxyType({}))
    thresholds: Sequence[float] | None = None
    train: _Train | None = None

    def fit(
        self,
        images: Sequence[NDArray[Any]],
        clicks: Sequence[ArrayLike],
        *,
        stain: Stain,
        nucleus_radius: float,
    ) -> Baseline:
        """Return the method for one kind of image: its stain bound, and trained if it learns.

        Parameters
        ----------
        images, clicks : sequences
            The training images, and for each its points ``[n, 2]``, (y, x) in pixels. Methods that
            do not learn leave them alone.
        stain : str
            Where the nuclei are, see :func:`dvfast.baselines.nucleus_density`.
        nucleus_radius : float
            A typical one, in pixels, > 0.

        Returns
        -------
        Baseline
            Its `detect` needs no stain and no model.

        Raises
        ------
        InputError
            If the method learns and cannot use what it is given.
        """
        check_positive(nucleus_radius=nucleus_radius)
        if self.train is None:
            return replace(self, detect=partial(self.detect, stain=stain))
        detect = self.train(images, clicks, stain, nucleus_radius)
        return replace(self, detect=detect, train=None)

    def settings(self, nucleus_radius: float) -> Iterator[dict[str, Any]]:
        """Every combination of parameters but the threshold, for nuclei of a radius in pixels."""
        check_positive(nucleus_radius=nucleus_radius)
        choices = {
            **self.grid,
            **{
                name: [nucleus_radius * multiple for multiple in multiples]
                for name, multiples in self.in_radii.items()
            },
        }
        for values in product(*choices.values()):
            yield dict(zip(choices, values, strict=True))


def _train_ners(
    images: Sequence[NDArray[Any]],
    clicks: Sequence[ArrayLike],
    stain: Stain,
    nucleus_radius: float,
) -> Detect:
    area = pi * nucleus_radius**2
    settings = RegionSettings(
        stain=stain,
        # Densities of stained tissue reach further than intensities, which end at 1.
        full_scale=1.5 if stain.startswith("haematoxylin") else 1.0,
        min_area=max(1, round(0.1 * area)),
        max_area=max(2, round(4.5 * area)),
    )
    return partial(detect_ners, model=fit_ners(images, clicks, settings=settings))


def _needs_training(*_: Any, **__: Any) -> Any:
    raise InputError("this baseline learns from clicks: call its fit(...) first")


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "itcn": Baseline(
            name="ITCN",
            citation="Byun et al., Molecular Vision 12, 949-960, 2006",
            detect=detect_itcn,
            in_radii={
                "width": (1.4, 1.7, 2.0, 2.3, 2.6, 3.0, 3.5, 4.0, 4.5),
                "min_distance": (0.7, 1.0, 1.2),
            },
        ),
        "irv": Baseline(
            name="IRV",
            citation="Parvin et al., IEEE Transactions on Image Processing 16 (3), 615-623, 2007",
            detect=detect_irv,
            grid={"gradient_threshold": (0.01, 0.03)},
            in_radii={
                "r_min": (0.15,),
                "r_max": (1.1, 1.4, 1.8, 2.4),
                "smoothing": (0.2,),
                "map_smoothing": (0.25,),
                "min_distance": (0.7, 1.0),
            },
        ),
        "ners": Baseline(
            name="NERS",
            citation="Arteta et al., MICCAI, LNCS 7510, 348-356, 2012",
            detect=_needs_training,
            thresholds=tuple(float(t) for t in np.linspace(-2.5, 0.5, 16)),
            train=_train_ners,
        ),
        "blob_log": Baseline(
            name="blob_log",
            citation="Lindeberg, International Journal of Computer Vision 30 (2), 79-116, 1998",
            detect=detect_blob_log,
            grid={"num_sigma": (3,), "overlap": (0.3, 0.5)},
            in_radii={"min_sigma": (0.45, 0.6), "max_sigma": (0.75, 0.9, 1.3, 1.8)},
            thresholds=tuple(float(t) for t in np.geomspace(0.03, 0.4, 11)),
        ),
    }
)
