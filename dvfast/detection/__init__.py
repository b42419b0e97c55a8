"""From an image to its nuclei."""

from __future__ import annotations

from .detector import Detector
from .graph import DetectionGraph
from .result import DetectionResult, SlideResult
from .settings import DetectionSettings

__all__ = ["DetectionGraph", "DetectionResult", "DetectionSettings", "Detector", "SlideResult"]
