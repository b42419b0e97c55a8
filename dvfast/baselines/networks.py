"""The competitors that learn as deep voting does: the same networks, asked for something else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..training import TrainingConfig
from ._arguments import check_positive

# There are no offsets to weigh confidences against, and no votes to make a density of: one value,
# whatever the settings had.
_UNUSED: dict[str, Any] = {"lam": TrainingConfig().lam, "density_weight": 0.0}

__all__ = ["heat_map_regressor", "patch_classifier"]


def patch_classifier(config: TrainingConfig, *, radius: float) -> TrainingConfig:
    r"""CNN+PC, pixel-wise classification: is the centre of a patch near the centre of a nucleus?

    D. C. Cireşan, A. Giusti, L. M. Gambardella, J. Schmidhuber: Mitosis detection in breast cancer
    histology images with deep neural networks. MICCAI, LNCS 8150, 411-418, 2013; compared with in
    the paper on deep voting.

    The network's last layer is a softmax over two classes, trained with their cross entropy. A
    softmax over two classes has one free number, the difference of its logits, and is the sigmoid
    of it; that difference takes the place of the one confidence that is left. The scan gives the
    map of probabilities, as votes of every pixel for itself, and the nuclei are its smoothed peaks.

    Parameters
    ----------
    config
        Of deep voting: everything but the question, `lam` and `density_weight` is kept.
    radius : float
        Patches whose centre lies within it of a click are positive; in pixels at which the network
        works, > 0.

    Returns
    -------
    TrainingConfig
        For :func:`dvfast.fit`.

    Raises
    ------
    InputError
        If the radius is out of range.

    Examples
    --------
    >>> from dvfast import TrainingConfig
    >>> config = patch_classifier(TrainingConfig.modern(), radius=4)
    >>> config.target, config.num_votes, config.target_radius
    ('classes', 1, 4.0)
    """
    check_positive(radius=radius)
    return replace(config, target="classes", num_votes=1, target_radius=radius, **_UNUSED)


def heat_map_regressor(config: TrainingConfig, *, sigma: float) -> TrainingConfig:
    r"""A heat map of the clicks, what a practitioner would train today.

    W. Xie, J. A. Noble, A. Zisserman: Microscopy cell counting and detection with fully
    convolutional regression networks. Computer Methods in Biomechanics and Biomedical Engineering:
    Imaging & Visualization 6 (3), 283-292, 2018; the network, where the settings name a U-Net, is
    that of Ronneberger, Fischer and Brox (MICCAI 2015), smaller.

    The network regresses :math:`\exp(-\lVert v \rVert^2 / 2 \sigma^2)`, with v the way from the
    nearest click, by the cross entropy of its sigmoid; the nuclei are the peaks of its answer.

    Parameters
    ----------
    config
        Of deep voting: everything but the question, `lam` and `density_weight` is kept.
    sigma : float
        Standard deviation of the Gaussian around a click, in pixels at which the network works,
        > 0.

    Returns
    -------
    TrainingConfig
        For :func:`dvfast.fit`.

    Raises
    ------
    InputError
        If the standard deviation is out of range.

    Examples
    --------
    >>> from dvfast import TrainingConfig
    >>> heat_map_regressor(TrainingConfig.modern(network="unet"), sigma=3).target
    'heat_map'
    """
    check_positive(sigma=sigma)
    return replace(config, target="heat_map", num_votes=1, target_radius=sigma, **_UNUSED)
