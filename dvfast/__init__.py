"""dvfast finds nuclei in microscopy images by deep voting."""

from __future__ import annotations

from . import nn
from ._library import build_info
from .detection import DetectionResult, DetectionSettings, Detector
from .evaluation import Evaluation, evaluate
from .functional import (
    find_peaks,
    hybrid_activation,
    parzen_density,
    vote_density,
    vote_map,
    vote_targets,
    voting_loss,
)
from .scan import scan
from .training import FitResult, TrainingConfig, fit

__version__ = "0.1.0"

__all__ = [
    "DetectionResult",
    "DetectionSettings",
    "Detector",
    "Evaluation",
    "FitResult",
    "TrainingConfig",
    "build_info",
    "evaluate",
    "find_peaks",
    "fit",
    "hybrid_activation",
    "nn",
    "parzen_density",
    "scan",
    "vote_density",
    "vote_map",
    "vote_targets",
    "voting_loss",
]
