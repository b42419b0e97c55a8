"""The methods that deep voting is compared with: the paper's competitors, and two more.

Every classical method is a function of an image that returns points ``[n, 2]``, (y, x) in pixels
with pixel centres at integers, and scores ``[n]``, the strongest first. :data:`BASELINES` lists
them with their citations and grids of parameters; :func:`tune` chooses among these on annotated
images.

======================= ============================================================ ==============
:func:`detect_itcn`     a blob filter, and its maxima at a least distance            Byun 2006
:func:`detect_irv`      edges vote for centres in narrowing cones                    Parvin 2007
:func:`detect_ners`     extremal regions, chosen by a structured SVM (needs OpenCV)  Arteta 2012
:func:`detect_blob_log` scikit-image's Laplacian of a Gaussian, at several scales    Lindeberg 1998
======================= ============================================================ ==============

:func:`patch_classifier` (CNN+PC) and :func:`heat_map_regressor` learn as deep voting does: they
turn the settings of its training into theirs, and :class:`dvfast.Detector` reads what comes of it.
"""

from __future__ import annotations

from .blob_log import detect_blob_log
from .irv import detect_irv, radial_votes
from .itcn import blob_response, detect_itcn
from .ners import NersModel, detect_ners, fit_ners
from .networks import heat_map_regressor, patch_classifier
from .peaks import greedy_maxima
from .regions import RegionSettings, extremal_regions
from .registry import BASELINES, Baseline
from .stain import Stain, nucleus_density
from .tuning import Tuning, tune

__all__ = [
    "BASELINES",
    "Baseline",
    "NersModel",
    "RegionSettings",
    "Stain",
    "Tuning",
    "blob_response",
    "detect_blob_log",
    "detect_irv",
    "detect_itcn",
    "detect_ners",
    "extremal_regions",
    "fit_ners",
    "greedy_maxima",
    "heat_map_regressor",
    "nucleus_density",
    "patch_classifier",
    "radial_votes",
    "tune",
]
