"""dvfast finds nuclei in microscopy images by deep voting."""

from __future__ import annotations

from . import nn
from ._library import build_info
from .functional import (
    find_peaks,
    hybrid_activation,
    parzen_density,
    vote_density,
    vote_map,
    vote_targets,
    voting_loss,
)

__version__ = "0.1.0"

__all__ = [
    "build_info",
    "find_peaks",
    "hybrid_activation",
    "nn",
    "parzen_density",
    "vote_density",
    "vote_map",
    "vote_targets",
    "voting_loss",
]
