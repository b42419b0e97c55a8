"""The main job: an image in, nuclei out."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import image_to_tensor, normalize, resample, resample_points
from ..errors import InputError
from ..nn import VotingNetwork
from ..scan import Precision, scan
from ..weights import load_weights, path_of, save_weights
from .orientations import peaks_of_orientations
from .peaks import Peaks, density_peaks
from .result import DetectionResult, as_image
from .settings import DetectionSettings

__all__ = ["Detector"]


class Detector:
    """A trained network with everything it takes to find nuclei in an image.

    Parameters
    ----------
    net
        The network.
    settings
        How votes become points.
    pixel_size
        Micrometres per pixel at which the network works; images are resampled to it. ``None``:
        images are taken as they are.
    image_pixel_size
        Micrometres per pixel of an image that does not say: that of the training images.
    description
        Anything else that should travel with the weights.

    Examples
    --------
    >>> import dvfast, skimage
    >>> detector = dvfast.Detector.from_pretrained("ihc")
    >>> result = detector.detect(skimage.data.immunohistochemistry()[:64, :64])
    >>> result.points.shape == (len(result), 2)
    True
    """

    def __init__(
        self,
        net: VotingNetwork,
        settings: DetectionSettings | None = None,
        *,
        pixel_size: float | None = None,
        image_pixel_size: float | None = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        for name, size in (("pixel_size", pixel_size), ("image_pixel_size", image_pixel_size)):
            _check_pixel_size(name, size)
        self.net = net.eval()
        self.settings = settings or DetectionSettings()
        self.pixel_size = pixel_size
        self.image_pixel_size = image_pixel_size
        self.description = dict(description or {})

    @classmethod
    def from_pretrained(cls, name: str = "ihc") -> Detector:
        """The detector of weights that come with the library; see ``dvfast info``."""
        return cls.load(path_of(name))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Detector:
        """The detector that :meth:`save` or training wrote. Nothing in the file is executed."""
        net, description = load_weights(path)
        try:
            return cls(
                net,
                DetectionSettings.from_dict(description.get("detection") or {}),
                pixel_size=description.get("pixel_size"),
                image_pixel_size=description.get("image_pixel_size"),
                description=description,
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: the description of the weights is wrong: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, settings and description as one safetensors file."""
        save_weights(
            path,
            self.net,
            {
                **self.description,
                "pixel_size": self.pixel_size,
                "image_pixel_size": self.image_pixel_size,
                "detection": self.settings.to_dict(),
            },
        )

    def to(self, device: str | torch.device) -> Detector:
        """Move the network; images follow it."""
        self.net.to(device)
        return self

    def scale_of(self, pixel_size: float | None = None) -> float:
        """Pixels at the model's scale per pixel of an image of ``pixel_size`` micrometres."""
        _check_pixel_size("pixel_size", pixel_size)
        size = pixel_size or self.image_pixel_size
        if self.pixel_size is None:
            if pixel_size is not None:
                raise InputError(
                    "pixel_size: this model does not know at what scale it was trained; resample "
                    "the image yourself and leave pixel_size out"
                )
            return 1.0
        return size / self.pixel_size if size else 1.0

    @torch.no_grad()
    def detect(
        self,
        image: NDArray[Any] | str | os.PathLike[str],
        *,
        mode: Literal["fast", "sliding"] = "fast",
        stride: int | None = None,
        precision: Precision = "float32",
        threshold: float | None = None,
        orientations: int | None = None,
        pixel_size: float | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> DetectionResult:
        """Find the nuclei of an image.

        Parameters
        ----------
        image
            ``[H, W]`` or ``[H, W, 3]``, uint8, uint16 or floats in [0, 1]; or a PNG, JPEG or TIFF
            file.
        mode, stride, precision
            As for :func:`dvfast.scan`; the stride is the model's own unless given.
        threshold
            As for :func:`dvfast.find_peaks`; the model's own unless given.
        orientations
            1, 2, 4 or 8, see :class:`DetectionSettings`; the model's own unless given.
        pixel_size
            Micrometres per pixel of this image; that of the training images unless given.
        progress
            As for :func:`dvfast.scan`.

        Returns
        -------
        DetectionResult
            Points in pixels of the image as it came.

        Raises
        ------
        InputError
            If the image or its pixel size cannot be read.
        ValueError
            If an argument is out of range.
        """
        settings = self.settings_with(stride=stride, threshold=threshold, orientations=orientations)
        pixels = as_image(image)
        tensor = self._as_the_net_wants(pixels, pixel_size)
        size = (tensor.shape[1], tensor.shape[2])
        found = self._find(tensor, settings, mode=mode, precision=precision, progress=progress)
        void = int(found.num_void)
        if void:
            warnings.warn(
                f"{void} votes were NaN or infinite and did not count; is the network sound?",
                RuntimeWarning,
                stacklevel=2,
            )
        return DetectionResult(
            points=resample_points(found.points.double().cpu().numpy(), size, pixels.shape[:2]),
            scores=found.scores.double().cpu().numpy(),
            density=found.density.float().cpu().numpy(),
            image=pixels,
            num_void=void,
        )

    def settings_with(
        self,
        *,
        stride: int | None = None,
        threshold: float | None = None,
        orientations: int | None = None,
    ) -> DetectionSettings:
        """The detector's settings, but for what is given."""
        given = {"stride": stride, "threshold": threshold, "orientations": orientations}
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        return dataclasses.replace(self.settings, **changes)

    def _as_the_net_wants(self, pixels: NDArray[Any], pixel_size: float | None = None) -> Tensor:
        original = image_to_tensor(pixels, self.net.in_channels)
        normal = normalize(original, self.settings.normalization)
        return resample(normal, self.scale_of(pixel_size)).to(next(self.net.parameters()))

    def _find(
        self,
        image: Tensor,
        settings: DetectionSettings,
        capacity: int | None = None,
        *,
        progress: Callable[[float], object] | None = None,
        **how: Any,
    ) -> Peaks:
        """The nuclei of an image at the model's scale; `how` is for the scan."""

        def votes_of(shown: Tensor, number: int = 0) -> Tensor:
            def advance(share: float) -> None:
                if progress is not None:
                    progress((number + share) / settings.orientations)

            return scan(
                self.net,
                shown,
                stride=settings.stride,
                padding=settings.padding,
                progress=advance,
                **how,
            )

        if settings.orientations > 1:
            return peaks_of_orientations(image, settings, votes_of, capacity)
        return density_peaks(votes_of(image), (image.shape[1], image.shape[2]), settings, capacity)


def _check_pixel_size(name: str, value: float | None) -> None:
    if value is not None and not (isinstance(value, (int, float)) and 0 < value < np.inf):
        raise InputError(f"{name} must be a positive number of micrometres, got {value!r}")
