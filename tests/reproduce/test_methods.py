"""The rows of the table: what is trained alike, and what is not."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from dvfast import TrainingConfig
from dvfast.reproduce.data_sets import KNOWN
from dvfast.reproduce.methods import (
    DEEP_VOTING,
    HEAT_MAP_UNET,
    PATCH_CLASSIFIER,
    VOTING_UNET,
    Network,
)

# What is asked for, how it is weighed, and how the answer is read; all else is the same.
QUESTION = {"target", "num_votes", "target_radius", "lam", "density_weight", "detection"}


def config_of(network: Network, name: str) -> TrainingConfig:
    source = network.source(KNOWN[name])
    assert isinstance(source, TrainingConfig)
    return source


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(
    ("voting", "other"), [(VOTING_UNET, HEAT_MAP_UNET), (DEEP_VOTING, PATCH_CLASSIFIER)]
)
def test_competitors_are_trained_as_deep_voting_is(
    name: str, voting: Network, other: Network
) -> None:
    ours, theirs = (asdict(config_of(network, name)) for network in (voting, other))
    assert {key for key in ours if ours[key] != theirs[key]} <= QUESTION
    assert ours["target"] == "votes" != theirs["target"]


def test_what_a_data_set_asks_of_its_unet() -> None:
    for name, data_set in KNOWN.items():
        config = config_of(VOTING_UNET, name)
        assert config.channels == data_set.unet_channels
        assert config.steps == data_set.unet_steps
        assert (config.lam, config.density_weight) == (
            data_set.unet_lam,
            data_set.unet_density_weight,
        )
