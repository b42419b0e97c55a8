"""The main job: an image in, nuclei out."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .._arguments import check_count, wrong_type
from ..data import resample_points
from ..data.decoding import ome_pixel_size
from ..data.images import as_image
from ..data.slides import Slide, open_slide
from ..errors import InputError
from ..nn import VotingNetwork
from ..nn.network import of_another, tensor_of
from ..scan import Precision
from ..weights import load_weights, path_of, save_weights
from ..weights.io import section_of
from .finding import find_nuclei
from .pixels import pixels_for, warn_of_dark
from .result import DetectionResult, SlideResult
from .scale import check_pixel_size, scale_between
from .settings import DetectionSettings
from .slide import detect_tiles
from .tiling import Region, View, checked_region

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
            check_pixel_size(name, size)
        if not isinstance(net, VotingNetwork):
            raise wrong_type("net", net, "a VotingNetwork", of_another(net))
        if not isinstance(settings, DetectionSettings | None):
            raise wrong_type("settings", settings, "DetectionSettings or None")
        self.net = net
        self.settings = settings or DetectionSettings()
        self.pixel_size = pixel_size
        self.image_pixel_size = image_pixel_size
        self.description = dict(description or {})

    @classmethod
    def from_pretrained(cls, name: str = "ihc") -> Detector:
        """The detector of weights that come with the library.

        Parameters
        ----------
        name
            As ``dvfast info`` lists them: ``"ihc"``, ``"histology"``, ``"fluorescence"``, voting
            U-Nets, or ``"ihc-patch"``, the paper's network.

        Returns
        -------
        Detector
            On the CPU; see :meth:`to`.

        Raises
        ------
        InputError
            If there are none of this name.

        Examples
        --------
        >>> import dvfast
        >>> dvfast.Detector.from_pretrained("ihc-patch")
        Detector(DeepVotingNet on cpu, RGB, 0.25 µm per pixel, stride 4, threshold 0.990072)
        """
        return cls.load(path_of(name))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Detector:
        """The detector that :meth:`save` or training wrote. Nothing in the file is executed.

        Parameters
        ----------
        path
            A safetensors file.

        Returns
        -------
        Detector
            On the CPU; see :meth:`to`.

        Raises
        ------
        InputError
            If the file is missing, damaged, of another kind or of a newer dvfast.

        Examples
        --------
        >>> import dvfast
        >>> dvfast.Detector.load(dvfast.weights.path_of("ihc")).description["data"]["licence"]
        'CC BY 4.0'
        """
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
        """Write weights, settings and description as one safetensors file.

        Parameters
        ----------
        path
            By convention ``*.safetensors``; replaced whole, or not at all, if it exists.

        Raises
        ------
        InputError
            If the file cannot be written, a weight is NaN or infinite, or the network is of a class
            of your own, which no file could bring back.

        Examples
        --------
        >>> import tempfile, dvfast
        >>> detector = dvfast.Detector.from_pretrained("ihc")
        >>> detector.settings = detector.settings_with(threshold=1.2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     detector.save(f"{folder}/mine.safetensors")
        ...     dvfast.Detector.load(f"{folder}/mine.safetensors").settings.threshold
        1.2
        """
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

    def __repr__(self) -> str:
        settings = self.settings
        scale = f"images scaled by {self.scale_of():g}"
        if self.knows_micrometres:
            scale = f"{self.pixel_size:g} µm per pixel"
        return (
            f"Detector({type(self.net).__name__} on {tensor_of(self.net).device}, "
            f"{'RGB' if self.net.in_channels == 3 else 'grey'}, {scale}, stride {settings.stride}, "
            f"threshold {settings.threshold:g}{' of the highest' if settings.relative else ''})"
        )

    def to(self, device: str | torch.device) -> Detector:
        """Move the network; images follow it."""
        self.net.to(device)
        return self

    def scale_of(self, pixel_size: float | None = None) -> float:
        """Pixels at the model's scale per pixel of an image of ``pixel_size`` micrometres.

        Raises
        ------
        InputError
            If `pixel_size` is no size, scales beyond reason, or the model's own is not known.
        """
        check_pixel_size("pixel_size", pixel_size)
        size = pixel_size or self.image_pixel_size
        if self.pixel_size is None:
            if pixel_size is not None:
                raise InputError(
                    "pixel_size: this model does not know at what scale it was trained; resample "
                    "the image yourself and leave pixel_size out"
                )
            return 1.0
        return scale_between(size, self.pixel_size) if size else 1.0

    def _scale_of(self, name: str, pixel_size: float | None, told: float | None) -> float:
        """By the size that is given, or else by that which a file tells in micrometres."""
        if pixel_size is not None or told is None or not self.knows_micrometres:
            return self.scale_of(pixel_size)
        try:
            return self.scale_of(told)
        except InputError as error:
            raise InputError(f"{name}: tells the size of its pixels, {error}") from None

    @torch.no_grad()
    def detect(
        self,
        image: NDArray[Any] | Image.Image | str | os.PathLike[str],
        *,
        mode: Literal["fast", "sliding"] = "fast",
        stride: int | None = None,
        precision: Precision = "float32",
        threshold: float | None = None,
        orientations: int | None = None,
        pixel_size: float | None = None,
        progress: Callable[[float], object] | None = None,
        name: str | None = None,
    ) -> DetectionResult:
        """Find the nuclei of an image.

        Parameters
        ----------
        image
            ``[H, W]`` or ``[H, W, 3]``, uint8, uint16 or floats in [0, 1]; Pillow's; or a PNG, JPEG
            or TIFF file.
        mode, stride, precision
            As for :func:`dvfast.scan`; the stride is the model's own unless given.
        threshold
            As for :func:`dvfast.find_peaks`; the model's own unless given.
        orientations
            1, 2, 4 or 8, see :class:`DetectionSettings`; the model's own unless given.
        pixel_size
            Micrometres per pixel of this image; what its file says in OME's words (OME-TIFF) unless
            given, and if it says nothing, that of the training images.
        progress
            As for :func:`dvfast.scan`.
        name
            What errors and warnings call the image; its file, where there is one, unless given.

        Returns
        -------
        DetectionResult
            Points in pixels of the image as it came.

        Raises
        ------
        InputError
            If the image cannot be read, its pixel size cannot be used, or the network has no such
            mode, stride or precision.
        TypeError
            If an argument is of another type.
        ValueError
            If an argument is out of range.
        """
        settings = self.settings_with(stride=stride, threshold=threshold, orientations=orientations)
        pixels = as_image(image)
        told = None
        if isinstance(image, (str, os.PathLike)):
            name = name or os.fspath(image)
            told = ome_pixel_size(Path(image)) if pixel_size is None else None
        name = name or "image"
        scale = self._scale_of(name, pixel_size, told)
        tensor = pixels_for(self.net, settings, pixels, scale, name)
        warn_of_dark(pixels, settings, name)
        size = (tensor.shape[1], tensor.shape[2])
        found = find_nuclei(
            self.net, tensor, settings, mode=mode, precision=precision, progress=progress
        )
        void = int(found.num_void)
        _warn_of_void(void)
        points, scores = (each.double().cpu().numpy() for each in (found.centres, found.scores))
        order = np.lexsort(points.T[::-1])  # centroids need not be in the order of their peaks
        return DetectionResult(
            points=resample_points(points[order], size, pixels.shape[:2]),
            scores=scores[order],
            density=found.density.float().cpu().numpy(),
            image=pixels,
            num_void=void,
        )

    @torch.no_grad()
    def detect_slide(
        self,
        slide: Slide | NDArray[Any] | Image.Image | str | os.PathLike[str],
        *,
        region: Region | None = None,
        stride: int | None = None,
        precision: Precision = "float32",
        threshold: float | None = None,
        orientations: int | None = None,
        pixel_size: float | None = None,
        tile_size: int = 4096,
        progress: Callable[[float], object] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> SlideResult:
        """Find the nuclei of a whole slide, tile by tile.

        Points and scores are those that :meth:`detect` would find in all of it at once, whatever
        the tiles: to the bit in ``"exact"`` precision where the slide's pixels are those of the
        network, or 2, 4, ... times as many, of which its sides are multiples; otherwise but for
        rounding. Votes longer than 64 pixels at the network's scale do not count. Blank margins of
        a tile, where all pixels of a neighbourhood differ by less than 5 % of the range, have no
        nuclei and take no time.

        Parameters
        ----------
        slide
            A file of a slide scanner (SVS, NDPI, MRXS, SCN, BIF, VMS, tiled TIFF, ...), for which
            OpenSlide must be there (``pip install openslide-python openslide-bin``); any other
            image, by file or as an array or memory map ``[H, W]`` or ``[H, W, 3]``, or Pillow's; or
            what :func:`dvfast.data.open_slide` opened. Of a pyramid the level is read that suits
            the network.
        region
            ``(top, left, height, width)`` in pixels at full resolution: only the nuclei whose
            centres lie within, found as in the whole slide. (A threshold that is relative goes by
            the highest peak of the region.)
        stride, precision, threshold, orientations
            As for :meth:`detect`.
        pixel_size
            Micrometres per pixel at full resolution; what the slide says of itself unless given,
            and if it says nothing, that of the training images.
        tile_size
            Side of a tile, in pixels at the network's scale. Memory is about 70 bytes for each of
            its pixels, whatever the size of the slide.
        progress
            Called with the share that is done, from 0 to 1.
        checkpoint
            A file that keeps what is done, tile by tile. A run that was stopped, or killed at any
            moment, goes on from there when the same call is made again, with the same result to the
            bit. It remains in the end, for you to delete once the result is safe.

        Returns
        -------
        SlideResult
            Points in pixels at full resolution.

        Raises
        ------
        InputError
            If the slide cannot be read, `region` or `pixel_size` is out of range, the detector pads
            circularly, or `checkpoint` is of another run (slide, network, settings) or cannot be
            written.
        TypeError, ValueError
            If an argument is of another type, or out of range.

        Examples
        --------
        >>> import dvfast, skimage
        >>> detector = dvfast.Detector.from_pretrained("ihc")
        >>> image = skimage.data.immunohistochemistry()
        >>> result = detector.detect_slide(image, tile_size=256, region=(0, 0, 200, 300))
        >>> bool((result.points < (200, 300)).all())
        True
        """
        check_count("tile_size", tile_size)
        settings = self.settings_with(stride=stride, threshold=threshold, orientations=orientations)
        if settings.padding == "circular":
            raise InputError(
                "padding: this detector's settings say 'circular', but a tile does not see the far "
                "side of its slide; use detect, or settings with 'reflect'"
            )
        with nullcontext(slide) if isinstance(slide, Slide) else open_slide(slide) as opened:
            told = opened.pixel_size if pixel_size is None else pixel_size
            view = View.at(opened, self._scale_of(opened.name, pixel_size, told))
            part = checked_region(region, opened.size)
            picture = opened.picture(part)
            warn_of_dark(picture, settings, opened.name)
            found = detect_tiles(
                self.net,
                view,
                settings,
                region=part,
                tile_size=tile_size,
                precision=precision,
                progress=progress,
                checkpoint=checkpoint,
                picture=picture,
            )
            _warn_of_void(found.num_void)
            return SlideResult(
                points=found.points,
                scores=found.scores,
                size=opened.size,
                pixel_size=told if self.knows_micrometres else opened.pixel_size,
                region=part,
                share_looked_at=found.share_looked_at,
                picture=picture,
                num_void=found.num_void,
            )

    @property
    def knows_micrometres(self) -> bool:
        """Whether it is known how large the pixels of the training images were."""
        unit = section_of(self.description, "data").get("pixel_size_unit")
        return None not in (self.pixel_size, self.image_pixel_size) and unit is None

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


def _warn_of_void(void: int) -> None:
    if void:
        warnings.warn(
            f"{void} votes were NaN or infinite and did not count; is the network sound?",
            RuntimeWarning,
            stacklevel=4,  # past detect and the frame of no_grad
        )
