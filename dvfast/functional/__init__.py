"""The operators of deep voting: fused, differentiable, the same bits for any number of threads.

=========================  ==========================================================  =============
:func:`vote_targets`       what training asks of every pixel                           eq. 1
:func:`hybrid_activation`  logits to votes                                             eq. 2
:func:`voting_loss`        loss, and its gradient in the same sweep                    eq. 3, 4, 5
:func:`parzen_density`     votes to a density, exactly                                 eq. 6, 7
:func:`vote_map`           votes to a map of sums                                      section 2.3
:func:`vote_density`       votes to a density, fast: the map, filtered                 section 2.3
:func:`find_peaks`         density to nuclei                                           section 2.2
=========================  ==========================================================  =============

Coordinates are ``(y, x)`` with pixel centres at the integers. Vote ``j`` owns the channels ``3j``
(confidence), ``3j + 1`` (offset y) and ``3j + 2`` (offset x). An offset is *pixel minus nucleus*:
a vote lands at ``voter - offset``. Voters stand on the pixels ``offset + stride * i``.

Contiguous, channels_last and sliced tensors are read as they are, without a copy.

An operator has one name in every layer: its contract stands here, its checks and allocation in
``csrc/torch``, its loop in ``csrc/cpu`` and ``csrc/cuda`` (that of :func:`vote_density` in
``gaussian_filter``), in files of that name. The formulas stand in ``csrc/core``.
"""

from __future__ import annotations

from .find_peaks import find_first_peaks, find_peaks
from .hybrid_activation import hybrid_activation
from .parzen_density import parzen_density
from .vote_density import vote_density
from .vote_map import count_void_votes, vote_map
from .vote_targets import vote_targets
from .voting_loss import voting_loss

__all__ = [
    "count_void_votes",
    "find_first_peaks",
    "find_peaks",
    "hybrid_activation",
    "parzen_density",
    "vote_density",
    "vote_map",
    "vote_targets",
    "voting_loss",
]
