"""dvfast finds nuclei in microscopy images by deep voting.

The operators, the network and :func:`scan` are there at once and need torch alone. What reads
images, trains and detects is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import nn
from ._library import build_info
from .functional import (
    find_first_peaks,
    find_peaks,
    hybrid_activation,
    parzen_density,
    vote_density,
    vote_map,
    vote_targets,
    voting_loss,
)
from .scan import scan

if TYPE_CHECKING:
    from .detection import DetectionResult, DetectionSettings, Detector, SlideResult
    from .evaluation import Evaluation
    from .evaluation.evaluate import evaluate
    from .training import FitResult, TrainingConfig
    from .training.fit import fit

__version__ = "0.1.0"

__all__ = [
    "DetectionResult",
    "DetectionSettings",
    "Detector",
    "Evaluation",
    "FitResult",
    "SlideResult",
    "TrainingConfig",
    "build_info",
    "evaluate",
    "find_first_peaks",
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

_LATER = {
    "DetectionResult": "detection",
    "DetectionSettings": "detection",
    "Detector": "detection",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "SlideResult": "detection",
    "FitResult": "training",
    "TrainingConfig": "training",
    "fit": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'dvfast' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
