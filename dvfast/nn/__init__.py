"""Modules: networks that cast votes, and the operators as layers."""

from __future__ import annotations

from .deep_voting_net import DeepVotingNet
from .layers import HybridActivation, VoteDensity, VotingLoss
from .network import VotingNetwork
from .voting_unet import VotingUNet

NETWORKS: dict[str, type[VotingNetwork]] = {
    kind.__name__: kind for kind in (DeepVotingNet, VotingUNet)
}

__all__ = [
    "DeepVotingNet",
    "HybridActivation",
    "VoteDensity",
    "VotingLoss",
    "VotingNetwork",
    "VotingUNet",
]
