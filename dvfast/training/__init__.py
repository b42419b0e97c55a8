"""Training on clicks."""

from __future__ import annotations

from .config import TrainingConfig
from .dataset import TrainingSet
from .fit import DivergenceError, FitResult, fit
from .history import History, Validation

__all__ = [
    "DivergenceError",
    "FitResult",
    "History",
    "TrainingConfig",
    "TrainingSet",
    "Validation",
    "fit",
]
