"""The rows of the table. A row more is an entry more in :data:`METHODS`, and nothing else.

A row that learns needs a :class:`Network`: a name, and a function from a data set to the settings
of its training, or to ready weights (a file, or the name of shipped ones). Rows that share a
network share its training. Whatever :meth:`dvfast.Detector.load` reads can be a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..baselines import BASELINES, heat_map_regressor, patch_classifier
from ..detection import DetectionSettings
from ..errors import InputError
from ..scan import Precision
from ..training import TrainingConfig
from .data_sets import DataSet

__all__ = ["METHODS", "PAPER_STEPS", "Method", "Network", "select"]

_DEEP_VOTING = "Xie, Kong, Xing, Liu, Su, Yang, MICCAI 2015"
_PIXEL_CLASSIFIER = "as in the above, after Ciresan, Giusti, Gambardella, Schmidhuber, MICCAI 2013"
_UNET = "the network after Ronneberger, Fischer, Brox, MICCAI 2015"

# Of 128 patches each; together about half of the time of the other networks.
PAPER_STEPS = 2500

# Of what is near a click, and the standard deviation of a heat map, in radii of a nucleus.
_TARGET_RADIUS = 0.3


@dataclass(frozen=True)
class Network:
    """What several rows may share: a network, by the settings of its training or as weights.

    Attributes
    ----------
    name : str
        Of the folder that it is trained in.
    source : callable
        ``source(data_set)`` returns a :class:`dvfast.TrainingConfig`, whose seed is set by the
        protocol, or a file of weights, or the name of weights that come with dvfast.
    """

    name: str
    source: Callable[[DataSet], TrainingConfig | Path | str]


@dataclass(frozen=True)
class Method:
    """A row of the table: a network and how it is run, or one of the classical methods.

    Attributes
    ----------
    key : str
        For ``--methods`` and the record.
    name, citation : str
        For the table, and for the list below it.
    network : Network or None
    baseline : str or None
        A key of :data:`dvfast.baselines.BASELINES`; one of the two is given.
    stride : int or None
        Distance between voters; None: the weights' own.
    orientations : int or None
        See :class:`dvfast.DetectionSettings`; None: the weights' own.
    precision : str
        See :func:`dvfast.scan`.
    sliding : bool
        A row that stands for a patch per voter: its detections come from the fast scan, and a few
        images are really slid over, which must give the same bits, and whose time is the row's.
    """

    key: str
    name: str
    citation: str
    network: Network | None = None
    baseline: str | None = None
    stride: int | None = None
    orientations: int | None = None
    precision: Precision = "float32"
    sliding: bool = False


def _trained(
    data_set: DataSet,
    preset: Callable[..., TrainingConfig],
    scale: float,
    smoothing: float = 0.27,
    **changes: Any,
) -> TrainingConfig:
    """What trains best in minutes; all lengths in proportion to the radius of a nucleus."""
    if data_set.augmentation is not None:
        changes["augmentation"] = data_set.augmentation
    config = preset(
        **data_set.pixel_sizes(scale),
        validation_fraction=data_set.validation_fraction,
        precision="bfloat16",
        **changes,
    ).for_nuclei(data_set.radius, reach=data_set.reach, smoothing=smoothing)
    detection = replace(config.detection, normalization=data_set.normalization)
    return replace(config, detection=detection)


def _deep_voting(data_set: DataSet) -> TrainingConfig:
    config = _trained(
        data_set,
        TrainingConfig.modern,
        data_set.scale,
        steps=data_set.patch_steps,
        validate_every=1000,
    )
    # The paper's, although lengths are smaller: where few pixels vote, a patch network that is told
    # to mind its offsets learns to be silent.
    return replace(config, lam=384.0)


def _unet(data_set: DataSet, smoothing: float = 0.27) -> TrainingConfig:
    config = _trained(
        data_set,
        TrainingConfig.unet,
        data_set.unet_scale,
        smoothing,
        steps=data_set.unet_steps,
        channels=data_set.unet_channels,
        density_weight=data_set.unet_density_weight,
    )
    return replace(config, lam=data_set.unet_lam)


def _paper(data_set: DataSet) -> TrainingConfig:
    """The paper's constants, at the scale of a data set: its patches, too, hold a nucleus."""
    return TrainingConfig.paper(
        radius=data_set.radius,
        **data_set.pixel_sizes(data_set.scale),
        validation_fraction=data_set.validation_fraction,
        detection=DetectionSettings(stride=3, normalization=data_set.normalization),
        precision="bfloat16",
        steps=PAPER_STEPS,
    )


DEEP_VOTING = Network("deep-voting", _deep_voting)
DEEP_VOTING_OF_THE_PAPER = Network("deep-voting-paper", _paper)
VOTING_UNET = Network("voting-unet", _unet)
# The same networks, trained by the same loop for as many steps to answer otherwise.
PATCH_CLASSIFIER = Network(
    "patch-classifier",
    lambda data_set: patch_classifier(
        _deep_voting(data_set), radius=_TARGET_RADIUS * data_set.radius * data_set.scale
    ),
)
HEAT_MAP_UNET = Network(
    "heat-map-unet",
    lambda data_set: heat_map_regressor(
        _unet(data_set, smoothing=0.15),
        sigma=_TARGET_RADIUS * data_set.radius * data_set.unet_scale,
    ),
)


def _classical(key: str) -> Method:
    return Method(key, BASELINES[key].name, BASELINES[key].citation, baseline=key)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.key: method
        for method in (
            Method("dv-1", "DV-1", _DEEP_VOTING, DEEP_VOTING,
                   stride=1, precision="exact", sliding=True),
            Method("dv-3", "DV-3", _DEEP_VOTING, DEEP_VOTING,
                   stride=3, precision="exact", sliding=True),
            Method("fast", "DV, fast scanning", _DEEP_VOTING, DEEP_VOTING,
                   stride=1, precision="exact"),
            Method("default", "DV, default stride", _DEEP_VOTING, DEEP_VOTING),
            Method("paper", "DV, the paper's constants", _DEEP_VOTING,
                   DEEP_VOTING_OF_THE_PAPER, stride=1, precision="exact"),
            Method("dv-u", "DV-U, a voting U-Net", _UNET, VOTING_UNET),
            Method("dv-u-8", "DV-U, 8 orientations", _UNET, VOTING_UNET, orientations=8),
            # A probability map is of every pixel: a peak lies on one of those that were asked.
            Method("cnn-pc", "CNN+PC", _PIXEL_CLASSIFIER, PATCH_CLASSIFIER, stride=1),
            Method("heat-map", "heat-map U-Net", _UNET, HEAT_MAP_UNET),
            Method("heat-map-8", "heat map, 8 orientations", _UNET, HEAT_MAP_UNET, orientations=8),
            _classical("ners"),
            _classical("irv"),
            _classical("itcn"),
            _classical("blob_log"),
        )
    }
)  # fmt: skip


def select(keys: str | None, argument: str = "methods") -> list[Method]:
    """Return the methods of a list of keys with commas, in the order of the table; all by default.

    `argument` is what an error names.

    Raises
    ------
    InputError
        If there is no method of a key.

    Examples
    --------
    >>> [method.name for method in select("itcn,dv-1")]
    ['DV-1', 'ITCN']
    """
    wanted = list(METHODS) if keys is None else [key.strip() for key in keys.split(",")]
    unknown = [key for key in wanted if key not in METHODS]
    if unknown:
        raise InputError(
            f"{argument}: there is none called {unknown[0]!r}; choose among {', '.join(METHODS)}, "
            "with commas between them"
        )
    return [method for key, method in METHODS.items() if key in wanted]
