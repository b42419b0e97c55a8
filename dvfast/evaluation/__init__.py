"""How good detections are, measured against clicks."""

from __future__ import annotations

from .evaluate import evaluate
from .matching import Matching, MatchMode, match_points
from .metrics import (
    Evaluation,
    ImageEvaluation,
    Scores,
    Spread,
    evaluate_points,
)

__all__ = [
    "Evaluation",
    "ImageEvaluation",
    "MatchMode",
    "Matching",
    "Scores",
    "Spread",
    "evaluate",
    "evaluate_points",
    "match_points",
]
