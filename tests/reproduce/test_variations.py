"""The variations of the study of settings: what each changes, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dvfast.errors import InputError
from dvfast.reproduce.data_sets import KNOWN, DataSet
from dvfast.reproduce.variations import BASE, VARIATIONS, base_of, differences, select_groups
from dvfast.training import TrainingConfig

BY_KEY = {item.key: item for item in VARIATIONS}

# What a name promises to change, in the training; all others leave it as it is.
UNET = {"network", "channels", "crop_size"}
SCALE = {"pixel_size", "r1", "r2", "target_radius", "detection.sigma"}
COLOUR = {"augmentation.contrast", "augmentation.stain_gain", "augmentation.stain_bias"}
PAPER = {"r1", "r2", "sampling", "learning_rate", "schedule", "batch_size", "hidden", "ema",
         "weight_decay", "augmentation.geometry", "augmentation.zoom"} | COLOUR  # fmt: skip
CHANGES = {
    "seed/another seed, 1": {"seed"},
    "seed/another seed, 2": {"seed"},
    "votes/k = 1": {"num_votes"},
    "votes/k = 3": {"num_votes"},
    "votes/k = 5": {"num_votes"},
    "targets/r1 and r2 halved": {"r1", "r2"},
    "targets/r1 and r2 doubled": {"r1", "r2"},
    "targets/r1 = 39, r2 = 58.5, the paper's": {"r1", "r2"},
    "targets/β = 0": {"beta"},
    "loss/λ = 38.4": {"lam"},
    "loss/λ = 3840": {"lam"},
    "network/no hidden layer": {"hidden"},
    "network/hidden layer of 1024": {"hidden"},
    "network/16 channels": {"channels"},
    "network/64 channels": {"channels"},
    "unet/voting U-Net": UNET,
    "unet/voting U-Net, output stride 1": UNET | {"crop_stride"},
    "unet/voting U-Net, output stride 4": {"network", "channels", "crop_size"},
    "unet/voting U-Net, λ = 6.19": UNET | {"lam"},
    "unet/voting U-Net, through the density": UNET | {"density_weight"},
    "unet/voting U-Net, λ = 6.19, k = 1": UNET | {"lam", "num_votes"},
    "scale/0.7 × the scale": SCALE,
    "scale/1.4 × the scale": SCALE,
    "samples/random patches, the paper's": {"sampling", "batch_size"},
    "samples/crop stride 1, as many votes": {"crop_stride"},
    "augmentation/none": {"augmentation.geometry", "augmentation.zoom"} | COLOUR,
    "augmentation/flips and turns alone": {"augmentation.zoom"} | COLOUR,
    "augmentation/without zoom": {"augmentation.zoom"},
    "augmentation/without colour": COLOUR,
    "schedule/constant": {"schedule"},
    "schedule/cosine": {"schedule"},
    "schedule/weights not averaged": {"ema"},
    "schedule/learning rate 1e-4, the paper's": {"learning_rate"},
    "schedule/SGD": {"optimizer"},
    "precision/float32": {"precision"},
    "paper/the paper's training": PAPER,
    "paper/the paper's training and reading": PAPER,
}
# These may follow: brightness and the exchange of stains are not varied in every data set, a U-Net
# works at a scale of its own, and lengths that are rounded may stay as they are.
FOLLOWS = {
    "augmentation": {"augmentation.brightness", "augmentation.stain_exchange"},
    "paper": {"augmentation.brightness", "augmentation.stain_exchange", "target_radius"},
    "scale": {"detection.window", "detection.min_distance"},
    "unet": SCALE | {"lam", "density_weight", "crop_stride", "detection.stride",
                        "detection.window", "detection.min_distance"},
}  # fmt: skip


@pytest.mark.parametrize("known", KNOWN.values(), ids=list(KNOWN))
def test_settings_differ_from_the_base_in_what_the_name_says(known: DataSet) -> None:
    base = base_of(known, 2500)
    assert (base.steps, base.validate_every, base.tune_smoothing) == (2500, 2500, True)
    for variation in VARIATIONS:
        config = variation.change(base, known)  # or an InputError
        found = set(differences(config, base))
        promised = CHANGES.get(variation.key, set())
        assert promised <= found, variation.key
        assert found - promised <= FOLLOWS.get(variation.group, set()), variation.key
        assert variation is BASE or variation.varies(base, known), variation.key
        assert variation.reading is None or variation.reading(config), variation.key
        replace(config.detection, **(variation.reading(config) if variation.reading else {}))
    assert len(BY_KEY) == len(VARIATIONS)


@pytest.mark.parametrize("known", KNOWN.values(), ids=list(KNOWN))
def test_what_follows_from_a_variation(known: DataSet) -> None:
    base = base_of(known, 100)

    def of(key: str) -> TrainingConfig:
        return BY_KEY[key].change(base, known)

    scaled = of("scale/1.4 × the scale")
    assert scaled.scale == pytest.approx(1.4 * base.scale)
    for name in ("r1", "r2"):
        assert getattr(scaled, name) == pytest.approx(1.4 * getattr(base, name))
    assert scaled.detection.sigma == pytest.approx(1.4 * base.detection.sigma)
    assert scaled.radius == base.radius  # of the files
    assert of("targets/r1 and r2 halved").r1 == base.r1 / 2
    spans = set()
    for name, stride in (("", 2), (", output stride 1", 1), (", output stride 4", 4)):
        unet = of(f"unet/voting U-Net{name}")
        assert (unet.crop_stride, unet.detection.stride, unet.steps) == (stride, stride, 100)
        spans.add(unet.crop_size * stride)
    assert len(spans) == 1
    paper = of("paper/the paper's training")
    assert (paper.steps, paper.learning_rate, paper.r1) == (100, 1e-4, 39)
    assert paper.detection == base.detection
    reading = BY_KEY["paper/the paper's training and reading"].reading
    assert reading is not None
    assert reading(paper) == {
        "sigma": 1.0, "window": 5, "threshold": 0.2, "relative": True, "min_distance": 1,
        "stride": 3,
    }  # fmt: skip


def test_what_changes_nothing_is_left_out() -> None:
    own = DataSet("mine", radius=4.0, stain="dark", scale=1.0, unet_scale=1.0)  # without zoom
    base = base_of(own, 10)
    assert not BY_KEY["augmentation/without zoom"].varies(base, own)
    assert BY_KEY["augmentation/without colour"].varies(base, own)


def test_groups() -> None:
    assert select_groups(None) == list(VARIATIONS)
    assert [item.group for item in select_groups(" loss,seed")] == ["base", *["seed"] * 2,
                                                                   *["loss"] * 2]  # fmt: skip
    with pytest.raises(InputError, match="no group called 'sorcery'; choose among base, seed"):
        select_groups("votes,sorcery")
