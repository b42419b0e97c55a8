"""What a training run depends on, apart from the data: one immutable, checked, JSON-able object."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import torch

from .._arguments import MAX_WINDOW, MIN_SIGMA
from ..data.augment import Augmentation
from ..detection import DetectionSettings
from ..detection.scale import scale_between
from ..errors import InputError
from ..nn import DeepVotingNet, VotingNetwork, VotingUNet
from .fields import check_names, coerced
from .ranges import check_range

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of a training run.

    The defaults are those of :meth:`modern`. All lengths are in pixels of the image at the scale at
    which the network works, except `radius`.

    Parameters
    ----------
    network
        ``"deep_voting"``, the paper's (:class:`dvfast.nn.DeepVotingNet`), or ``"unet"``
        (:class:`dvfast.nn.VotingUNet`).
    num_votes, in_channels, channels, hidden, dropout
        The network. `in_channels` is 3 for RGB, 1 for grey; a U-Net has neither `hidden` nor
        `dropout`, and its `output_stride` is `crop_stride`.
    target
        ``"votes"``, or what deep voting is compared with: ``"heat_map"``, the network regresses a
        Gaussian around every click, or ``"classes"``, it tells pixels near a click from others.
        Either way `num_votes` is 1, and the vote goes to the pixel itself.
    target_radius
        The standard deviation of the heat map, or how near is near.
    r1, r2, beta
        The targets, see :func:`dvfast.vote_targets`.
    lam
        The weight of the confidences, see :func:`dvfast.voting_loss`.
    density_weight
        Of the cross entropy between the density that all votes make together, as `detection` has
        it, and a heat map of the clicks of standard deviation `target_radius`; 0 leaves it out.
        Places nuclei better where their centres are exact. Needs crops, more than two r1 wide.
    sampling
        ``"patches"``: every sample of a batch is one patch, drawn from all images, as in the paper.
        ``"crops"``: every sample is a crop with a grid of `crop_size` x `crop_size` patches that
        share most of their computation.
    batch_size
        Patches or crops per step, over all processes together.
    crop_size
        Patches per side of a crop.
    crop_stride
        Pixels between the neighbouring patches of a crop. At 4 a crop costs what a plain strided
        CNN costs, a sixteenth of 1, and neighbouring patches are nearly the same anyway; as the
        place of a crop is random, all pixels are learnt from. At 1 every pixel is a patch.
    steps
        Updates of the weights.
    learning_rate
        The largest of the schedule.
    optimizer
        ``"sgd"`` (momentum 0.9) or ``"adamw"``; ``"onecycle"`` moves the momentum, and AdamW's
        first β, from 0.95 to 0.85 and back.
    schedule
        ``"constant"``, ``"cosine"`` (falls to 0) or ``"onecycle"`` (rises over the first 30 % of
        the steps, then falls to 0).
    weight_decay
        Of the optimizer.
    ema
        Decay per step of the average of the weights that is validated and saved; 0 saves the
        weights themselves.
    augmentation
        See :class:`dvfast.data.augment.Augmentation`.
    validation_fraction
        Share of the images that is kept for validation, unless :func:`dvfast.fit` is given a folder
        for that; 0 trains on all and keeps the last weights.
    validate_every
        Steps between validations; there is always one at the end.
    precision
        ``"float32"``, or ``"bfloat16"``: the network runs in mixed precision, faster where the
        hardware has bfloat16. The weights are float32 in either.
    seed
        Start of every random number of the run.
    image_pixel_size
        Micrometres per pixel of the training images, or None where that is unknown. An OME-TIFF
        that tells another size is refused.
    pixel_size
        Micrometres per pixel at which the network works: the images are resampled by
        ``image_pixel_size / pixel_size``. None leaves them as they are.
    radius
        How far a detection may lie from its nucleus in validation, in pixels of the files.
    detection
        How votes become nuclei in validation; saved with the weights.
    tune_threshold
        Whether validation chooses the threshold of `detection`, an absolute one.
    tune_smoothing
        Whether, with the threshold, `sigma` and `min_distance` are chosen around those of
        `detection`, once, for the best network.

    Raises
    ------
    InputError
        If a value is of another type or out of range.

    Examples
    --------
    >>> TrainingConfig.paper(steps=500).learning_rate
    0.0001
    >>> TrainingConfig.from_dict(TrainingConfig.modern().to_dict()) == TrainingConfig.modern()
    True
    """

    network: Literal["deep_voting", "unet"] = "deep_voting"
    num_votes: int = 2
    in_channels: int = 3
    channels: tuple[int, ...] = (32, 32, 32)
    hidden: tuple[int, ...] = (256,)
    dropout: float = 0.25
    target: Literal["votes", "heat_map", "classes"] = "votes"
    target_radius: float = 3.0
    r1: float = 10.0
    r2: float = 20.0
    beta: float = 0.5
    lam: float = 384.0
    density_weight: float = 0.0
    sampling: Literal["patches", "crops"] = "crops"
    batch_size: int = 8
    crop_size: int = 24
    crop_stride: int = 4
    steps: int = 8000
    learning_rate: float = 2e-3
    optimizer: Literal["sgd", "adamw"] = "adamw"
    schedule: Literal["constant", "cosine", "onecycle"] = "onecycle"
    weight_decay: float = 1e-4
    ema: float = 0.99
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            brightness=0.05, contrast=0.2, stain_gain=0.2, stain_bias=0.02
        )
    )
    validation_fraction: float = 0.15
    validate_every: int = 500
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    image_pixel_size: float | None = None
    pixel_size: float | None = None
    radius: float = 6.6
    detection: DetectionSettings = field(
        default_factory=lambda: DetectionSettings(stride=4, sigma=3.5, window=21, min_distance=6)
    )
    tune_threshold: bool = True
    tune_smoothing: bool = True

    @classmethod
    def paper(cls, **changes: Any) -> TrainingConfig:
        """The paper's settings; what it leaves open is marked in the source.

        Parameters
        ----------
        **changes
            Fields to set otherwise.
        """
        settings: dict[str, Any] = {
            "dropout": 0.25,
            "r1": 39.0,
            "r2": 58.5,
            "beta": 0.5,
            "lam": 384.0,
            "sampling": "patches",
            "learning_rate": 1e-4,
            "schedule": "constant",
            # The paper does not say what follows. The optimizer is Adam: momentum SGD at this rate
            # kills every unit in its first steps. Batch and widths are those of its time and of our
            # network, augmentation is left out.
            "optimizer": "adamw",
            "weight_decay": 0.0,
            "batch_size": 128,
            "hidden": (1024,),
            "steps": 20000,
            "validate_every": 1000,
            "ema": 0.0,
            "augmentation": Augmentation(geometry=False),
            # Smoothing and threshold are the paper's; a vote per pixel would take minutes per
            # validation.
            "detection": DetectionSettings(stride=3),
            "tune_threshold": False,
            "tune_smoothing": False,
        }
        return cls(**{**settings, **changes})

    @classmethod
    def modern(cls, **changes: Any) -> TrainingConfig:
        """Dense crops, AdamW, a one-cycle schedule, averaged weights: what trains best in minutes.

        Parameters
        ----------
        **changes
            Fields to set otherwise.
        """
        return cls(**changes)

    @classmethod
    def unet(cls, **changes: Any) -> TrainingConfig:
        """A U-Net that casts votes, trained likewise; lengths are for nuclei of 6.6 pixels.

        Parameters
        ----------
        **changes
            Fields to set otherwise.
        """
        settings: dict[str, Any] = {
            "network": "unet",
            "channels": (24, 48, 96, 192),
            "crop_size": 64,
            "crop_stride": 2,
            "steps": 2500,
            "detection": DetectionSettings(stride=2),
        }
        config = cls(**settings).for_nuclei(6.6)
        # Large against squared offsets: clicks scatter, and a confidence that has to answer for
        # offsets that nobody can know is a worse one. Where centres are exact, less is better.
        return replace(config, **{"lam": cls().lam, **changes})

    def for_nuclei(
        self, radius: float, *, reach: float = 0.75, smoothing: float = 0.27
    ) -> TrainingConfig:
        """The same settings with all lengths in proportion to the size of the nuclei.

        And `lam`, which is weighed against squared lengths, in proportion to r1 squared.

        Parameters
        ----------
        radius
            Mean radius of a nucleus in pixels of the files, > 0.
        reach
            r1 in radii; r2 is twice as far. More than 0.75 where sizes differ much.
        smoothing
            `detection.sigma` in radii.

        Raises
        ------
        InputError
            If a number is out of range.

        Examples
        --------
        >>> config = TrainingConfig.modern(image_pixel_size=0.5, pixel_size=0.25).for_nuclei(8)
        >>> config.radius, config.r1, config.r2, config.detection.min_distance
        (8.0, 12.0, 24.0, 7)
        """
        for name, value in (("radius", radius), ("reach", reach), ("smoothing", smoothing)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name}: came as {value}, expected a number above 0")
        working = radius * self.scale
        sigma = smoothing * working
        r1 = reach * working
        window = 2 * math.ceil(3 * sigma) + 1
        if window > MAX_WINDOW:
            raise InputError(
                f"radius: {radius:g} is {working:g} pixels at the network's scale, whose smoothing "
                f"would be {window} pixels wide, expected {MAX_WINDOW} at most; choose a coarser "
                "scale with pixel_size"
            )
        if sigma < MIN_SIGMA:
            raise InputError(
                f"radius: {radius:g} is {working:g} pixels at the network's scale, less than can "
                "be seen; it is the mean radius of a nucleus in pixels of the images"
            )
        return replace(
            self,
            radius=radius,
            lam=self.lam * (r1 / self.r1) ** 2,
            r1=r1,
            r2=2 * r1,
            target_radius=0.3 * working,
            detection=replace(
                self.detection,
                sigma=sigma,
                window=window,
                min_distance=max(1, round(0.45 * working)),
            ),
        )

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for name in (item.name for item in fields(self)):
            value = coerced(name, getattr(self, name), hints[name])
            object.__setattr__(self, name, value)
            check_range(name, value)
        if self.network == "deep_voting" and len(self.channels) != 3:
            raise InputError(f"channels: came as {self.channels}, expected three widths")
        if self.network == "unet" and self.sampling == "patches":
            raise InputError("sampling: came as 'patches', which a unet has not; set it to 'crops'")
        if self.target != "votes" and self.num_votes != 1:
            raise InputError(
                f"num_votes: came as {self.num_votes}, expected 1 where target is {self.target!r}"
            )
        self._check_density()
        self._build("meta")
        if self.network == "unet" and self.detection.stride % self.crop_stride:
            raise InputError(
                f"detection.stride: came as {self.detection.stride}, expected a multiple of "
                f"crop_stride = {self.crop_stride}, the distance of the network's votes"
            )
        if self.r2 < self.r1:
            raise InputError(f"r2: came as {self.r2}, expected at least r1 = {self.r1}")
        if self.pixel_size is not None and self.image_pixel_size is None:
            raise InputError(
                f"image_pixel_size: is missing although pixel_size is {self.pixel_size}; give the "
                "micrometres per pixel of the training images, or set pixel_size to None"
            )
        if self.pixel_size is not None and self.image_pixel_size is not None:
            scale_between(self.image_pixel_size, self.pixel_size)

    def _check_density(self) -> None:
        if self.density_weight == 0:
            return
        if self.target != "votes" or self.sampling != "crops":
            raise InputError(
                f"density_weight: came as {self.density_weight}, expected 0 where target is not "
                "'votes' or sampling not 'crops'"
            )
        if self.crop_size <= 2 * self.votes_within_r1:
            raise InputError(
                f"crop_size: came as {self.crop_size}, expected more than "
                f"{2 * self.votes_within_r1}, as many votes as two r1 hold, where there is a "
                "density_weight"
            )

    @property
    def votes_within_r1(self) -> int:
        """Votes from the border of a crop to where its density is whole."""
        return math.ceil(self.r1 / self.crop_stride)

    @property
    def scale(self) -> float:
        """Pixels at which the network works per pixel of the training images."""
        if self.pixel_size is None or self.image_pixel_size is None:
            return 1.0
        return self.image_pixel_size / self.pixel_size

    @property
    def working_pixel_size(self) -> float | None:
        """Micrometres per pixel at which the network works, or None where that is unknown."""
        return self.image_pixel_size if self.pixel_size is None else self.pixel_size

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per side of a sample, and pixels between them: a patch is a crop of one."""
        return (1, 1) if self.sampling == "patches" else (self.crop_size, self.crop_stride)

    def build_network(self, device: str | torch.device = "cpu") -> VotingNetwork:
        """The network with random weights, in channels_last."""
        net = self._build(device).float()
        if self.target != "votes":
            # It votes for the pixel itself, and as no gradient comes, for ever.
            last = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)][-1]
            with torch.no_grad():
                last.weight[1:].zero_()
        # torch's annotations do not know this argument.
        return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _build(self, device: str | torch.device) -> VotingNetwork:
        try:
            with torch.device(device):
                if self.network == "unet":
                    return VotingUNet(
                        self.num_votes, self.in_channels, self.channels, self.crop_stride
                    )
                return DeepVotingNet(
                    self.num_votes, self.in_channels, self.channels, self.hidden, self.dropout
                )
        except ValueError as error:
            raise InputError(f"network: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them; `from_dict` is the inverse."""
        result = asdict(self)
        return {**result, "channels": list(self.channels), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrainingConfig:
        """Build the settings from what JSON holds; what is missing keeps its default.

        Raises
        ------
        InputError
            On a name that is no setting, a wrong type or a value out of range.
        """
        values = dict(settings)
        check_names("the training settings", values, cls)
        for name, kind in (("augmentation", Augmentation), ("detection", DetectionSettings)):
            if isinstance(values.get(name), Mapping):
                check_names(name, values[name], kind)
                try:
                    values[name] = kind(**values[name])
                except InputError:
                    raise
                except (TypeError, ValueError) as error:
                    raise InputError(f"{name}: {error}") from None
        return cls(**values)
