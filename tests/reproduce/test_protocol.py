"""A whole comparison on tiny tiles: what it does once, again, after a kill, and never."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_tiles import tiny_config, write_tiles

from dvfast.data import files, pair_by_stem
from dvfast.errors import InputError
from dvfast.reproduce import preparation, protocol, records, sliding
from dvfast.reproduce.data_sets import DataSet, data_set
from dvfast.reproduce.methods import METHODS, Method, Network
from dvfast.reproduce.protocol import compare
from dvfast.reproduce.settings import Settings
from dvfast.training import TrainingSet

TINY = Network("tiny", lambda data: tiny_config(radius=data.radius))
SLIDING = Method("dv-3", "DV-3", "", TINY, stride=3, precision="exact", sliding=True)
DEFAULT = Method("default", "default", "", TINY)
ITCN = METHODS["itcn"]
SETTINGS = Settings(tuning_images=2, sliding_images=1)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    """Five tiles to train on, two to test on."""
    folder = tmp_path / "tiles"
    write_tiles(folder / "train", count=7)
    (folder / "test").mkdir()
    for stem in ("tile_5", "tile_6"):
        for suffix in (".png", ".csv"):
            shutil.move(folder / "train" / f"{stem}{suffix}", folder / "test")
    return data_set(folder, radius=4.0, stain="dark")


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which methods and seeds were prepared, in this order."""
    calls: list[str] = []
    original = protocol.prepare

    def spy(method: Method, data: DataSet, seed: int, *rest: Any) -> Any:
        calls.append(f"{method.key}/{seed}")
        return original(method, data, seed, *rest)

    monkeypatch.setattr(protocol, "prepare", spy)
    return calls


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    original: Callable[..., Any] = getattr(module, name)

    def spy(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return original(*arguments, **named)

    monkeypatch.setattr(module, name, spy)
    return calls


def test_a_comparison(data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = counted(monkeypatch, preparation, "fit")
    (record,) = compare([data], [SLIDING, DEFAULT, ITCN], tmp_path / "out", SETTINGS).values()
    assert record == json.loads((tmp_path / "out" / "tiles.json").read_text())
    assert list(record["entries"]) == ["dv-3/0", "default/0", "itcn/0"]
    assert [call[0] for call in fits] == [data.train]  # rows of a network share its training
    assert record["test"] == [
        {"stem": f"tile_{i}", "height": 48, "width": 56, "annotations": 6} for i in (5, 6)
    ]
    for entry in record["entries"].values():
        assert entry["preparation_seconds"] > 0
        assert len(entry["images"]) == 2
        for image in entry["images"]:
            points = np.array(image["points"]).reshape(-1, 2)
            assert (points == points.round(2)).all()
            assert image["seconds"] > 0
            assert set(image["matches"]) == {c.key for c in records.CONDITIONS}
    slid = record["entries"]["dv-3/0"]["sliding"]
    assert (slid["images"], slid["pixels"]) == (["tile_5"], [48 * 56])
    assert slid["nuclei"] == [len(record["entries"]["dv-3/0"]["images"][0]["points"])]
    assert record["entries"]["dv-3/0"]["parameters"]["stride"] == 3
    assert record["entries"]["default/0"]["parameters"]["stride"] == 2  # the weights' own
    assert sum(image["matches"]["1 one-to-one"][0]
               for image in record["entries"]["itcn/0"]["images"]) >= 8  # fmt: skip


def test_what_is_there_is_not_done_again(
    data: DataSet, tmp_path: Path, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compare([data], [ITCN, DEFAULT], tmp_path / "out", SETTINGS)
    fits = counted(monkeypatch, preparation, "fit")
    measured = counted(monkeypatch, protocol, "_measured")
    again = compare([data], [ITCN, DEFAULT], tmp_path / "out", SETTINGS)
    assert again == first
    assert (fits, measured) == ([], [])
    assert prepared == ["itcn/0", "default/0"]
    compare([data], [ITCN, DEFAULT, SLIDING], tmp_path / "out", SETTINGS)
    assert prepared == ["itcn/0", "default/0", "dv-3/0"]
    assert fits == []


def test_a_run_that_was_killed_goes_on(
    data: DataSet, tmp_path: Path, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            preparation, "best_threshold", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            compare([data], [ITCN, DEFAULT], tmp_path / "out", SETTINGS)
    assert list(json.loads((tmp_path / "out" / "tiles.json").read_text())["entries"]) == ["itcn/0"]
    fits = counted(monkeypatch, preparation, "fit")
    (record,) = compare([data], [ITCN, DEFAULT], tmp_path / "out", SETTINGS).values()
    assert prepared == ["itcn/0", "default/0", "default/0"]
    assert fits == []  # the training had ended
    assert record["entries"]["default/0"]["preparation_seconds"] > 0


def test_a_training_that_was_killed_goes_on_and_its_time_is_not_known(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Any, place: Path, *_: Any, **__: Any) -> None:
        place.mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            compare([data], [DEFAULT], tmp_path / "out", SETTINGS)
    (record,) = compare([data], [DEFAULT], tmp_path / "out", SETTINGS).values()
    assert record["entries"]["default/0"]["preparation_seconds"] is None


def test_what_is_outdated_is_done_anew(
    data: DataSet, tmp_path: Path, prepared: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(settings: Settings = SETTINGS) -> list[str]:
        prepared.clear()
        compare([data], [ITCN, DEFAULT], tmp_path / "out", settings)
        return list(prepared)

    assert run() == ["itcn/0", "default/0"]
    assert run(Settings(tuning_images=1, sliding_images=1)) == ["itcn/0"]
    assert run(Settings(tuning_images=1, sliding_images=1, steps=5)) == ["default/0"]
    assert run(SETTINGS) == ["itcn/0", "default/0"]
    monkeypatch.setattr(records, "__version__", "another")
    assert run() == ["itcn/0", "default/0"]
    clicks = data.train / "tile_0.csv"
    clicks.write_text(clicks.read_text() + "1,1\n")
    assert run() == ["itcn/0", "default/0"]


def test_other_settings_of_trainings_leave_other_entries(
    data: DataSet, tmp_path: Path, prepared: list[str]
) -> None:
    network = Network("reaching", lambda of: tiny_config(radius=of.radius, lam=of.unet_lam))
    reaching = Method("dv-u", "DV-U", "", network)

    def run(of: DataSet) -> list[str]:
        prepared.clear()
        compare([of], [ITCN, reaching], tmp_path / "out", SETTINGS)
        return list(prepared)

    assert run(data) == ["itcn/0", "dv-u/0"]
    assert run(replace(data, unet_lam=7.0)) == ["dv-u/0"]
    assert run(replace(data, unet_lam=7.0, reach=2.0, unet_steps=9, scale=0.4)) == []
    assert run(replace(data, unet_lam=7.0, validation_fraction=0.4)) == ["itcn/0", "dv-u/0"]


def test_parameters_are_chosen_anew_for_another_validation_part(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = counted(monkeypatch, preparation, "tune")
    for fraction in (0.2, 0.4, 0.2):
        part = replace(data, validation_fraction=fraction)
        compare([part], [ITCN], tmp_path / "out", Settings(tuning_images=3))
    assert [len(call[1]) for call in tuned] == [1, 2]


def test_test_images_never_reach_training_or_tuning(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a method is prepared, no file of ``test/`` is read."""
    read: list[Path] = []
    preparing = False
    originals = protocol.prepare, files.read_image, files.read_points

    def prepare(*arguments: Any) -> Any:
        nonlocal preparing
        preparing = True
        try:
            return originals[0](*arguments)
        finally:
            preparing = False

    def spy(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def reader(path: Any) -> Any:
            if preparing:
                read.append(Path(path))
            return original(path)

        return reader

    monkeypatch.setattr(protocol, "prepare", prepare)
    monkeypatch.setattr(files, "read_image", spy(originals[1]))
    monkeypatch.setattr(files, "read_points", spy(originals[2]))
    compare([data], [DEFAULT, ITCN, METHODS["blob_log"]], tmp_path / "out", SETTINGS)
    assert {path.parent for path in read} == {data.train}
    assert len({path.stem for path in read}) == 5


def test_the_validation_part_is_that_of_the_training(data: DataSet) -> None:
    for seed in range(3):
        config = tiny_config(seed=seed)
        images = TrainingSet(data.train, config)
        assert preparation.parts(data, config) == (images.training, images.validation)


def test_seeds(data: DataSet, tmp_path: Path) -> None:
    settings = Settings(seeds=2, tuning_images=2)
    (record,) = compare([data], [DEFAULT, ITCN], tmp_path / "out", settings).values()
    assert list(record["entries"]) == ["default/0", "default/1", "itcn/0", "itcn/1"]
    one, other = (record["entries"][f"default/{seed}"]["parameters"] for seed in (0, 1))
    assert one["threshold"] != other["threshold"]
    settings = Settings(seeds=2, seeded=("default",), tuning_images=2)
    (record,) = compare([data], [DEFAULT, ITCN], tmp_path / "other", settings).values()
    assert list(record["entries"]) == ["default/0", "default/1", "itcn/0"]


@pytest.mark.parametrize("as_file", [False, True])
def test_ready_weights_are_a_row(data: DataSet, tmp_path: Path, as_file: bool) -> None:
    from dvfast.weights import path_of

    source = path_of("ihc-patch") if as_file else "ihc-patch"
    method = Method("default", "shipped", "", Network("shipped", lambda _: source))
    (record,) = compare([data], [method], tmp_path / "out", SETTINGS).values()
    entry = record["entries"]["default/0"]
    assert entry["preparation_seconds"] is None
    assert entry["parameters"]["stride"] == 4
    with pytest.raises(InputError, match=r"nowhere\.safetensors: no such file"):
        compare(
            [data],
            [Method("fast", "", "", Network("", lambda _: tmp_path / "nowhere.safetensors"))],
            tmp_path / "out",
            SETTINGS,
        )


def test_sliding_that_differs_is_an_error(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = sliding.scan

    def scan(*arguments: Any, mode: str, **how: Any) -> torch.Tensor:
        votes = original(*arguments, mode=mode, **how)  # type: ignore[arg-type]
        if mode == "sliding":
            votes[0, 0, 0, 0] = torch.nextafter(votes[0, 0, 0, 0], torch.tensor(2.0))
        return votes

    monkeypatch.setattr(sliding, "scan", scan)
    with pytest.raises(InputError, match=r"tile_5\.png: sliding and fast scanning differ in 1 of"):
        compare([data], [SLIDING], tmp_path / "out", SETTINGS)


def test_data_that_cannot_be_used_is_refused(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="radius: is missing"):
        data_set(data.folder)
    with pytest.raises(InputError, match="stain: came as 'pink'"):
        data_set(data.folder, 4.0, "pink")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="different names"):
        compare([data, data], [ITCN], tmp_path / "out", SETTINGS)
    shutil.copy(data.train / "tile_0.png", data.test / "copy.png")
    shutil.copy(data.train / "tile_0.csv", data.test / "copy.csv")
    with pytest.raises(InputError, match="the same image as"):
        data_set(data.folder, 4.0)


def test_a_limit_of_test_images(data: DataSet, tmp_path: Path) -> None:
    settings = Settings(tuning_images=1, test_images=1)
    (record,) = compare([data], [ITCN], tmp_path / "out", settings, suffix="-quick").values()
    assert [image["stem"] for image in record["test"]] == [pair_by_stem(data.test)[0].stem]
    assert (tmp_path / "out" / "tiles-quick.json").exists()


def test_parameters_are_chosen_once(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is thrown away, to take times anew, costs no new search."""
    tunings = counted(monkeypatch, preparation, "tune")
    (first,) = compare([data], [ITCN], tmp_path / "out", SETTINGS).values()
    (tmp_path / "out" / "tiles.json").unlink()
    (again,) = compare([data], [ITCN], tmp_path / "out", SETTINGS).values()
    assert len(tunings) == 1
    for entry in (first["entries"]["itcn/0"], again["entries"]["itcn/0"]):
        for image in entry["images"]:
            del image["seconds"]
    assert again == first
    compare([data], [ITCN], tmp_path / "out", Settings(tuning_images=3, sliding_images=1))
    assert len(tunings) == 2


def test_a_package_that_is_missing_is_told_before_the_work(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match=r"NERS needs OpenCV .*, or leave ners out"):
        compare([data], [DEFAULT, METHODS["ners"]], tmp_path / "out", SETTINGS)
    assert prepared == []
