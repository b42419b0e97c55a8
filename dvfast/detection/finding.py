"""What lies between an image at the model's scale and its nuclei, for whoever detects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..nn import VotingNetwork
from ..scan import scan
from .orientations import peaks_of_orientations
from .peaks import Peaks, density_peaks
from .settings import DetectionSettings

__all__ = ["find_nuclei"]


def find_nuclei(
    net: VotingNetwork,
    image: Tensor,
    settings: DetectionSettings,
    capacity: int | None = None,
    *,
    progress: Callable[[float], object] | None = None,
    **how: Any,
) -> Peaks:
    """The nuclei of an image ``[C, H, W]``; `how` is for the scan."""

    def votes_of(shown: Tensor, number: int = 0) -> Tensor:
        def advance(share: float) -> None:
            if progress is not None:
                progress((number + share) / settings.orientations)

        votes = scan(
            net,
            shown,
            stride=settings.stride,
            padding=settings.padding,
            progress=advance,
            **how,
        )
        return votes if votes.dtype == torch.float64 else votes.float()

    if settings.orientations > 1:
        return peaks_of_orientations(image, settings, votes_of, capacity)
    return density_peaks(votes_of(image), (image.shape[1], image.shape[2]), settings, capacity)
