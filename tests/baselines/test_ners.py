from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from discs import CENTRES, SHAPE, cover, grey_image
from scipy import ndimage

from dvfast.baselines import NersModel, RegionSettings, detect_ners, extremal_regions, fit_ners
from dvfast.baselines.region_features import region_features
from dvfast.errors import InputError

pytest.importorskip("cv2", reason="OpenCV is not installed (dvfast[baselines])")

SETTINGS = RegionSettings(stain="dark", full_scale=1.0, min_area=20, max_area=400)
IMAGE = grey_image(CENTRES, dark=True, noise=0.03)


@pytest.fixture(scope="module")
def model() -> NersModel:
    images = [grey_image(CENTRES, dark=True, noise=0.03, seed=seed) for seed in (1, 2)]
    return fit_ners(images, [CENTRES, CENTRES], settings=SETTINGS, max_passes=30)


def test_regions_are_connected_extremal_and_nested() -> None:
    forest = extremal_regions(IMAGE, SETTINGS)
    assert len(forest) > 2 * len(CENTRES)
    sizes = [len(region) for region in forest.pixels]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) >= 20
    assert max(sizes) <= 400
    masks = np.zeros((len(forest), *SHAPE), dtype=bool)
    for i, region in enumerate(forest.pixels):
        masks[(i, *region.T)] = True
        assert ndimage.label(masks[i])[1] == 1
        around = ndimage.binary_dilation(masks[i]) & ~masks[i]
        # Dark nuclei are bright in the density, and a region is what a threshold cuts out.
        assert forest.grey[around].max() < forest.grey[masks[i]].min()
    for i, parent in enumerate(forest.parents):
        holders = [j for j in range(i) if (masks[j] >= masks[i]).all()]
        assert parent == (holders[-1] if holders else -1)
        others = [j for j in range(i) if j not in holders]
        assert not any((masks[j] & masks[i]).any() for j in others)


def test_only_dense_regions_count() -> None:
    plane = 0.5 + 0.4 * cover(CENTRES[:2]) - 0.4 * cover(CENTRES[3:])
    settings = RegionSettings(stain="bright", full_scale=1.0)
    centres = extremal_regions(np.float32(plane), settings).centroids()
    distances = np.hypot(*(centres[:, None] - CENTRES[None]).transpose(2, 0, 1))
    assert set(distances.argmin(axis=1).tolist()) == {0, 1}


def test_clicks_are_counted_by_the_pixel_they_lie_in() -> None:
    forest = extremal_regions(IMAGE, SETTINGS)
    first = next(i for i in range(len(forest)) if forest.pixels[i].tolist().count([14, 15]))
    clicks = np.array([(14.4, 14.6), (13.6, 15.3), (-0.6, 3.0), (63.6, 3.0), (1e9, 1.0)])
    counts = forest.count_clicks(clicks)
    assert counts[first] == 2
    assert set(counts.tolist()) == {0, 2}
    centre = forest.centroids()[first]
    assert np.hypot(*(centre - CENTRES[0])) < 1


def test_groups_of_features_are_shares() -> None:
    features = region_features(extremal_regions(IMAGE, SETTINGS), 20, 400)
    assert features.min() >= 0
    for start, stop in ((0, 10), (10, 16), (16, 22), (22, 32), (32, 92)):
        np.testing.assert_allclose(features[:, start:stop].sum(axis=1), 1)


def test_features_tell_what_they_are_named_for() -> None:
    plane = np.full((60, 60), 0.1)
    y, x = np.mgrid[:60, :60]
    plane[((y - 25) / 10) ** 2 + ((x - 30) / 5) ** 2 < 1] = 0.75
    settings = RegionSettings(stain="bright", full_scale=1.0, smoothing=0.0)
    forest = extremal_regions(np.float32(plane), settings)
    assert len(forest) == 1
    row = region_features(forest, 30, 500)[0]
    assert row[7] == 1  # 0.75 is in the eighth tenth
    assert row[10 + 5] == row[16 + 5] == 1  # 166 grey levels more than all around
    place = np.log(len(forest.pixels[0]) / 30) / np.log(500 / 30) * 9
    assert row[22:32] @ np.arange(10) == pytest.approx(place)
    outline = row[32:].reshape(12, 5)
    # Along the long axis, the first and the seventh sector, it lies farther out.
    radius = outline @ np.arange(5) / np.maximum(outline.sum(axis=1), 1e-9)
    assert radius[[0, 6]].min() > radius[[3, 9]].max()


def test_features_do_not_depend_on_how_the_tissue_lies() -> None:
    generator = np.random.default_rng(0)
    blobs = ndimage.gaussian_filter(generator.random((80, 80)), 3)
    image = np.float32((blobs - blobs.min()) / np.ptp(blobs))
    settings = RegionSettings(stain="bright", full_scale=1.0, smoothing=0.0)
    rows = []
    for turns in (0, 1, 2):
        forest = extremal_regions(np.ascontiguousarray(np.rot90(image, turns)), settings)
        features = region_features(forest, 30, 500)
        rows.append(features[np.lexsort(features[:, :32].round(9).T)])
    assert len(rows[0]) > 20
    np.testing.assert_allclose(rows[1][:, :32], rows[0][:, :32], atol=1e-9)
    np.testing.assert_allclose(rows[2][:, :32], rows[0][:, :32], atol=1e-9)
    for turned in rows[1:]:
        # A pixel may fall on the line between two sectors, and a tie has no longest axis.
        assert (np.abs(turned[:, 32:] - rows[0][:, 32:]).sum(axis=1) < 0.3).mean() > 0.9


def test_saved_and_loaded(model: NersModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = NersModel.load(path)
    assert loaded.settings == model.settings
    for mine, theirs in zip(detect_ners(IMAGE, loaded), detect_ners(IMAGE, model), strict=True):
        assert np.array_equal(mine, theirs)


def test_files_that_are_no_model(model: NersModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"weights": [1.0]}))
    with pytest.raises(InputError, match="this is a pickle"):
        NersModel.load(path)
    NersModel(model.weights[:5], model.mean, model.scale, model.settings).save(path)
    with pytest.raises(InputError, match="holds no 93 numbers 'weights'"):
        NersModel.load(path)
    with pytest.raises(InputError, match="no such file"):
        NersModel.load(tmp_path / "none.safetensors")


def test_the_same_training_gives_the_same_model(model: NersModel) -> None:
    images = [grey_image(CENTRES, dark=True, noise=0.03, seed=seed) for seed in (1, 2)]
    again = fit_ners(images, [CENTRES, CENTRES], settings=SETTINGS, max_passes=30)
    assert np.array_equal(again.weights, model.weights)


def test_the_threshold_is_subtracted_before_regions_are_chosen(model: NersModel) -> None:
    counts = [len(detect_ners(IMAGE, model, threshold=t)[0]) for t in (-50.0, 0.0, 50.0)]
    assert counts[0] > counts[1] == len(CENTRES)
    assert counts[2] == 0
    assert detect_ners(IMAGE, model, threshold=0.3)[1].min() > 0.3


def test_learns_which_discs_are_meant() -> None:
    """Small and large discs, clicks in the small ones only."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    small, large = CENTRES[::2], CENTRES[1::2]
    plane = np.full(SHAPE, 0.2)
    for radius, centres in ((4, small), (8, large)):
        for centre in centres:
            plane[np.hypot(y - centre[0], x - centre[1]) < radius] = 0.8
    noise = np.random.default_rng(0).standard_normal((2, *SHAPE)) * 0.02
    train, test = np.float32(np.clip(plane + noise, 0, 1))
    settings = RegionSettings(stain="bright", full_scale=1.0, min_area=20)
    points, _ = detect_ners(test, fit_ners([train], [small], settings=settings))
    assert len(points) == len(small)
    assert np.hypot(*(points[:, None] - small[None]).transpose(2, 0, 1)).min(axis=1).max() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clicks": []}, "images, clicks: came as 1 and 0"),
        ({"images": [], "clicks": []}, "images, clicks: came as 0 and 0"),
        ({"clicks": [[(1.0, 1.0)]]}, "clicks: no candidate region holds exactly one click"),
        ({"clicks": [[(np.nan, 1.0)]]}, "clicks: row 0 is"),
        ({"regularisation": 0}, "regularisation: came as 0"),
        ({"rounds": 0}, "rounds: came as 0"),
        ({"tolerance": -1}, "tolerance: came as -1"),
    ],
)
def test_training_refuses(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"images": [IMAGE], "clicks": [CENTRES], "settings": SETTINGS}
    with pytest.raises(InputError, match=message):
        fit_ners(**{**given, **arguments})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_area": 0}, "min_area: came as 0"),
        ({"min_area": 1.5}, "min_area: came as 1.5, expected a whole number"),
        ({"max_area": 30}, "max_area: came as 30, expected more than min_area, 30"),
        ({"full_scale": 0}, "full_scale: came as 0"),
        ({"smoothing": -1}, "smoothing: came as -1"),
        ({"stain": "pink"}, "stain: came as 'pink'"),
    ],
)
def test_settings_refuse(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RegionSettings(**values)


def test_without_opencv_it_says_what_to_install(
    model: NersModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match="pip install opencv-python-headless"):
        detect_ners(IMAGE, model)
