"""Augmentation: what happens to a pixel happens to its point, and nothing else moves."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dvfast.data.augment import (
    Augmentation,
    augment,
    exchange_stains,
    flip_and_turn,
    jitter_intensity,
    jitter_stain,
)
from dvfast.errors import InputError

STRONG = Augmentation(brightness=0.2, contrast=0.5, stain_gain=0.5, stain_bias=0.1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    turns=st.integers(0, 7),
    flip=st.booleans(),
)
def test_a_marked_pixel_follows_its_point(
    size: tuple[int, int], place: tuple[float, float], turns: int, flip: bool
) -> None:
    y, x = (min(int(p * n), n - 1) for p, n in zip(place, size, strict=True))
    image = torch.zeros(2, *size)
    image[:, y, x] = 1
    turned, points = flip_and_turn(image, torch.tensor([[float(y), float(x)]]), turns, flip)
    assert turned.shape[1:] == (size if turns % 2 == 0 else size[::-1])
    assert torch.equal(turned[0].nonzero().float(), points)


def test_points_between_and_outside_the_pixels_keep_their_distances() -> None:
    points = torch.tensor([[0.25, 1.5], [-3.0, 9.75], [2.0, 2.0]], dtype=torch.float64)
    image = torch.rand(1, 5, 7)
    for turns in range(4):
        for flip in (False, True):
            _, moved = flip_and_turn(image, points, turns, flip)
            assert torch.allclose(torch.cdist(moved, moved), torch.cdist(points, points))


def test_the_eight_ways_differ_and_all_occur() -> None:
    image = torch.arange(12.0).reshape(1, 3, 4)
    ways = {
        flip_and_turn(image, torch.zeros(0, 2), turns, flip)[0].numpy().tobytes()
        for turns in range(4)
        for flip in (False, True)
    }
    drawn = {
        augment(image, torch.zeros(0, 2), Augmentation(), seeded(seed))[0].numpy().tobytes()
        for seed in range(100)
    }
    assert len(ways) == 8
    assert drawn == ways


def test_the_generator_decides_alone() -> None:
    image, points = torch.rand(3, 6, 6), torch.rand(4, 2)
    first = augment(image, points, STRONG, seeded(3))
    torch.manual_seed(99)
    again = augment(image, points, STRONG, seeded(3))
    other = augment(image, points, STRONG, seeded(4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_jitter_keeps_points_range_and_input(channels: int) -> None:
    image, points = torch.rand(channels, 8, 9), torch.rand(5, 2)
    before = image.clone()
    strengths = Augmentation(False, 0.5, 1.0, 1.0, 0.5)
    for seed in range(20):
        changed, same = augment(image, points, strengths, seeded(seed))
        assert torch.equal(same, points)
        assert changed.shape == image.shape
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not torch.equal(changed, image)
    assert torch.equal(image, before)


def test_no_strength_changes_nothing() -> None:
    image, points = torch.rand(3, 5, 5), torch.rand(2, 2)
    same, same_points = augment(image, points, Augmentation(geometry=False), seeded(0))
    assert torch.equal(same, image)
    assert torch.equal(same_points, points)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_neutral_stain_jitter_is_the_identity(channels: int) -> None:
    image = torch.rand(channels, 16, 16, dtype=torch.float64) * 0.99 + 0.005
    same = jitter_stain(image, torch.ones(channels), torch.zeros(channels))
    assert torch.allclose(same, image, atol=1e-12)


def test_stain_gain_is_a_power_of_the_transmitted_light() -> None:
    """All stains doubled is every optical density doubled, hence the intensity squared."""
    image = torch.rand(3, 16, 16, dtype=torch.float64) * 0.9 + 0.05
    assert torch.allclose(jitter_stain(image, torch.full((3,), 2.0), torch.zeros(3)), image**2)


def test_stain_gain_touches_its_stain_alone() -> None:
    from skimage.color import rgb2hed, rgb_from_hed

    amounts = torch.tensor([0.4, 0.2, 0.3], dtype=torch.float64)
    pixel = 10 ** -(amounts @ torch.tensor(rgb_from_hed.copy()))
    changed = jitter_stain(pixel[:, None, None], torch.tensor([1.0, 1.0, 1.5]), torch.zeros(3))
    before, after = rgb2hed(pixel.numpy()), rgb2hed(changed[:, 0, 0].numpy())
    assert after[:2] == pytest.approx(before[:2], rel=1e-6)
    assert after[2] == pytest.approx(1.5 * before[2], rel=1e-6)


def test_contrast_turns_about_the_mean_and_brightness_shifts() -> None:
    image = torch.tensor([[[0.4, 0.6]]])
    assert torch.allclose(jitter_intensity(image, 0.0, 2.0), torch.tensor([[[0.3, 0.7]]]))
    assert torch.allclose(jitter_intensity(image, 0.1, 1.0), torch.tensor([[[0.5, 0.7]]]))


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "much", True])
def test_bad_strengths_are_named(value: object) -> None:
    with pytest.raises(InputError, match=r"augmentation\.contrast"):
        Augmentation(contrast=value)  # type: ignore[arg-type]


def _stained(haematoxylin: float, dab: float) -> torch.Tensor:
    """One colour, ``[3, 6, 6]``, from the optical densities of its stains."""
    from dvfast.data.stains import merge_stains

    return merge_stains(torch.tensor([haematoxylin, 0.0, dab])[:, None, None].expand(3, 6, 6))


def test_exchange_of_nothing_changes_nothing() -> None:
    image = _stained(0.2, 0.3)
    same = exchange_stains(image, share=0.0, strength=0.4, veil=0.0, field=torch.ones(2, 2))
    # Through logarithms and back, in float32.
    torch.testing.assert_close(same, image, rtol=0, atol=1e-5)


def test_exchange_turns_brown_nuclei_blue() -> None:
    brown = _stained(0.1, 0.8)
    assert brown[0, 0, 0] > brown[2, 0, 0]
    blue = exchange_stains(brown, share=1.0, strength=0.4, veil=0.0, field=torch.ones(2, 2))
    assert blue[0, 0, 0] < blue[2, 0, 0]


def test_the_veil_lies_on_what_is_pale() -> None:
    field = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    pale = exchange_stains(_stained(0.0, 0.0), share=0.0, strength=0.4, veil=0.8, field=field)
    assert (pale[:, :, 0] > 0.99).all()  # no veil on this side
    assert pale[2, 0, -1] < 0.5  # brown takes away blue
    nucleus = _stained(0.6, 0.0)
    veiled = exchange_stains(nucleus, share=0.0, strength=0.4, veil=0.8, field=field)
    torch.testing.assert_close(veiled, nucleus, rtol=0, atol=1e-3)


def test_exchange_happens_in_the_share_of_crops_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    image, points = _stained(0.1, 0.8), torch.zeros(0, 2)
    strengths = Augmentation(geometry=False, stain_exchange=0.3)
    changed = sum(
        not torch.equal(augment(image, points, strengths, generator)[0], image) for _ in range(500)
    )
    assert 100 < changed < 200
    with pytest.raises(InputError, match="stain_exchange"):
        Augmentation(stain_exchange=1.5)
