"""From an image to its nuclei."""

from __future__ import annotations

from .detector import Detector
from .result import DetectionResult
from .settings import DetectionSettings

__all__ = ["DetectionResult", "DetectionSettings", "Detector"]
