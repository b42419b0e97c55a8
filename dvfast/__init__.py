"""dvfast finds nuclei in microscopy images by deep voting.

The operators, the network and :func:`scan` are there at once and need torch alone. What reads
images, trains and detects, and the modules that hold it (``dvfast.data``, ``dvfast.weights`` and
so on), is imported when it is first asked for.
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
    from . import baselines as baselines
    from . import data as data
    from . import detection as detection
    from . import evaluation as evaluation
    from . import reference as reference
    from . import training as training
    from . import weights as weights
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
_MODULES = (
    *("baselines", "data", "detection", "evaluation", "gradcheck"),
    *("reference", "training", "weights"),
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _LATER:
        raise AttributeError(f"module 'dvfast' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
