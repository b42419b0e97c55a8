"""What the study of settings varies. A variation more is an entry more in :data:`VARIATIONS`.

All start from the training of the table's deep voting by the paper's network, cut short. Lengths
are in pixels at the scale of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..data.augment import Augmentation
from ..errors import InputError
from ..training import TrainingConfig
from .data_sets import DataSet
from .methods import DEEP_VOTING, DEEP_VOTING_OF_THE_PAPER, VOTING_UNET, Network

__all__ = ["BASE", "VARIATIONS", "Variation", "base_of", "differences", "select_groups"]


def _as_it_is(config: TrainingConfig, _: DataSet) -> TrainingConfig:
    return config


@dataclass(frozen=True)
class Variation:
    """A setting, or a few that belong together, otherwise than in the base.

    Attributes
    ----------
    group, name : str
        For ``--only``, the table and the record.
    change : callable
        ``change(base, data_set)`` returns the settings of the training.
    reading : callable or None
        ``reading(config)`` returns the fields of :class:`dvfast.DetectionSettings` with which the
        weights of the training are read otherwise than was chosen for them. Unless `threshold` is
        among them it is chosen anew, relative or absolute as `relative` says. Variations of
        reading share a training. None: as was chosen after the training.
    """

    group: str
    name: str
    change: Callable[[TrainingConfig, DataSet], TrainingConfig] = _as_it_is
    reading: Callable[[TrainingConfig], Mapping[str, Any]] | None = None

    @property
    def key(self) -> str:
        """For the record."""
        return f"{self.group}/{self.name}"

    def varies(self, base: TrainingConfig, data_set: DataSet) -> bool:
        """Whether it differs from the base, as zooms do not where nothing was zoomed."""
        return self.reading is not None or self.change(base, data_set) != base


def base_of(data_set: DataSet, steps: int) -> TrainingConfig:
    """The settings that all others are compared with."""
    return _training_of(DEEP_VOTING, data_set, steps)


def differences(config: TrainingConfig, base: TrainingConfig) -> dict[str, Any]:
    """The settings that differ from the base, in the words of ``dvfast train -s``.

    >>> differences(TrainingConfig(lam=38.4), TrainingConfig())
    {'lam': 38.4}
    """
    ours, theirs = (_flat(item.to_dict()) for item in (config, base))
    return {name: value for name, value in ours.items() if value != theirs[name]}


def select_groups(only: str | None) -> list[Variation]:
    """Return the base and the variations of a list of groups with commas; all by default.

    Raises
    ------
    InputError
        If there is no group of a name.

    Examples
    --------
    >>> [variation.name for variation in select_groups("votes")]
    ['base', 'k = 1', 'k = 3', 'k = 5']
    """
    groups = list(dict.fromkeys(variation.group for variation in VARIATIONS))
    wanted = groups if only is None else [name.strip() for name in only.split(",")]
    unknown = [name for name in wanted if name not in groups]
    if unknown:
        raise InputError(
            f"only: there is no group called {unknown[0]!r}; choose among {', '.join(groups)}, "
            "with commas between them"
        )
    return [item for item in VARIATIONS if item is BASE or item.group in wanted]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        nested = value.items() if isinstance(value, Mapping) else ()
        flat |= {f"{name}.{part}": of for part, of in nested} or {name: value}
    return flat


def _training_of(network: Network, data_set: DataSet, steps: int) -> TrainingConfig:
    source = network.source(data_set)
    assert isinstance(source, TrainingConfig)  # of these rows there are no ready weights
    # One validation, at the end: what is compared are the last networks, not lucky ones before.
    return replace(source, steps=steps, validate_every=steps)


def _set(group: str, name: str, **settings: Any) -> Variation:
    return Variation(group, name, lambda config, _: replace(config, **settings))


def _targets(name: str, factor: float) -> Variation:
    return Variation(
        "targets",
        name,
        lambda config, _: replace(config, r1=factor * config.r1, r2=factor * config.r2),
    )


def _scale(name: str, factor: float) -> Variation:
    """Radii, smoothing and distances follow, as the row derives them from the scale."""

    def change(config: TrainingConfig, data_set: DataSet) -> TrainingConfig:
        scaled = replace(data_set, scale=factor * data_set.scale)
        return _training_of(DEEP_VOTING, scaled, config.steps)

    return Variation("scale", name, change)


def _unet(name: str, stride: int = 2, **settings: Any) -> Variation:
    """The voting U-Net; another output stride, other crops of the same span."""

    def change(config: TrainingConfig, data_set: DataSet) -> TrainingConfig:
        unet = _training_of(VOTING_UNET, data_set, config.steps)
        return replace(
            unet,
            crop_stride=stride,
            crop_size=unet.crop_size * unet.crop_stride // stride,
            detection=replace(unet.detection, stride=stride),
            **settings,
        )

    return Variation("unet", name, change)


def _augmentation(name: str, change: Callable[[Augmentation], Augmentation]) -> Variation:
    return Variation(
        "augmentation",
        name,
        lambda config, _: replace(config, augmentation=change(config.augmentation)),
    )


def _read(name: str, **settings: Any) -> Variation:
    return Variation("reading", name, reading=lambda _: settings)


def _as_before_tuning(config: TrainingConfig) -> Mapping[str, Any]:
    return {name: getattr(config.detection, name) for name in ("sigma", "window", "min_distance")}


def _paper(config: TrainingConfig, data_set: DataSet) -> TrainingConfig:
    """The paper's training; how it is read is chosen as for all others."""
    return replace(
        _training_of(DEEP_VOTING_OF_THE_PAPER, data_set, config.steps),
        **{
            name: getattr(config, name)
            for name in ("detection", "tune_threshold", "tune_smoothing")
        },
    )


def _papers_reading(*names: str) -> dict[str, Any]:
    settings = asdict(TrainingConfig.paper().detection)
    return {name: settings[name] for name in names}


_PAPERS_PEAKS = _papers_reading("sigma", "window", "threshold", "relative")

# In relation to r1 squared what 384 is to 39 squared, the paper's: for the r1 of 4.95 of EndoNuke.
_LAMBDA_AS_SMALL = 6.1860355029585765

BASE = Variation("base", "base")

VARIATIONS: tuple[Variation, ...] = (
    BASE,
    _set("seed", "another seed, 1", seed=1),
    _set("seed", "another seed, 2", seed=2),
    _set("votes", "k = 1", num_votes=1),
    _set("votes", "k = 3", num_votes=3),
    _set("votes", "k = 5", num_votes=5),
    _targets("r1 and r2 halved", 0.5),
    _targets("r1 and r2 doubled", 2.0),
    _set("targets", "r1 = 39, r2 = 58.5, the paper's", r1=39.0, r2=58.5),
    _set("targets", "β = 0", beta=0.0),
    _set("loss", "λ = 38.4", lam=38.4),
    _set("loss", "λ = 3840", lam=3840.0),
    _set("network", "no hidden layer", hidden=()),
    _set("network", "hidden layer of 1024", hidden=(1024,)),
    _set("network", "16 channels", channels=(16, 16, 16)),
    _set("network", "64 channels", channels=(64, 64, 64)),
    _unet("voting U-Net"),
    _unet("voting U-Net, output stride 1", 1),
    _unet("voting U-Net, output stride 4", 4),
    _unet("voting U-Net, λ = 6.19", lam=_LAMBDA_AS_SMALL),
    _unet("voting U-Net, λ = 6.19, k = 1", lam=_LAMBDA_AS_SMALL, num_votes=1),
    _unet("voting U-Net, through the density", density_weight=100.0),
    _scale("0.7 × the scale", 0.7),
    _scale("1.4 × the scale", 1.4),
    _set("samples", "random patches, the paper's", sampling="patches", batch_size=128),
    _set("samples", "crop stride 1, as many votes", crop_stride=1),
    _augmentation("none", lambda _: Augmentation(geometry=False)),
    _augmentation("flips and turns alone", lambda _: Augmentation()),
    _augmentation("without zoom", lambda own: replace(own, zoom=0.0)),
    _augmentation("without colour", lambda own: Augmentation(geometry=own.geometry, zoom=own.zoom)),
    _set("schedule", "constant", schedule="constant"),
    _set("schedule", "cosine", schedule="cosine"),
    _set("schedule", "weights not averaged", ema=0.0),
    _set("schedule", "learning rate 1e-4, the paper's", learning_rate=1e-4),
    _set("schedule", "SGD", optimizer="sgd"),
    _set("precision", "float32", precision="float32"),
    _read("σ = 1, window 5, ξ = 0.2, the paper's", **_PAPERS_PEAKS),
    Variation("reading", "σ and distance not tuned", reading=_as_before_tuning),
    _read("stride 1", stride=1),
    _read("stride 2", stride=2),
    _read("stride 8", stride=8),
    _read("2 orientations", orientations=2),
    _read("4 orientations", orientations=4),
    _read("8 orientations", orientations=8),
    _read("maxima of 3 × 3, the paper's", **_papers_reading("min_distance")),
    _read("threshold relative to the highest peak", relative=True),
    Variation("paper", "the paper's training", _paper),
    Variation(
        "paper",
        "the paper's training and reading",
        _paper,
        lambda _: {**_PAPERS_PEAKS, **_papers_reading("min_distance", "stride")},
    ),
)
