"""What a command must not destroy, nor find out only after the work."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from skimage.io import imsave

import dvfast
from dvfast import detection
from dvfast.cli.app import app, weights_path
from dvfast.cli.train import _training_config
from dvfast.training import TrainingConfig
from dvfast.training.dataset import split


def run(*arguments: str | float | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    net = dvfast.nn.VotingUNet(1, 3, (2, 4), output_stride=2)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    settings = dvfast.DetectionSettings(stride=2)
    description: dict[str, Any] = {"training": {"radius": 8.0}}
    dvfast.Detector(net, settings, description=description).save(path)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    imsave(tmp_path / "tile.png", pixels, check_contrast=False)
    (tmp_path / "tile.csv").write_text("y,x\n10,12\n")
    return tmp_path


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any, **__: Any) -> None:
        raise AssertionError("an image was looked at")

    monkeypatch.setattr(detection.Detector, "detect", work)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("image", ["tile.png", "link/tile.png"])
@pytest.mark.parametrize("output", [".", "tile.png", "tile.csv", "../{name}/tile.png"])
def test_detect_overwrites_neither_images_nor_clicks(
    folder: Path, weights: str, output: str, image: str
) -> None:
    before = contents(folder)
    (folder / "link").symlink_to(folder)
    target = folder / output.format(name=folder.name)
    result = run("detect", folder / image, "-o", target, "-w", weights)
    assert result.exit_code == 1
    assert "would be lost; choose another" in result.output
    (folder / "link").unlink()
    assert contents(folder) == before


def test_detections_may_lie_beside_images_and_be_made_anew(folder: Path, weights: str) -> None:
    before = contents(folder)
    for _ in range(2):
        result = run("detect", folder, "-o", folder, "-f", "geojson", "-w", weights)
        assert result.exit_code == 0, result.output
        result = run("detect", folder, "-o", folder / "out", "-w", weights)
        assert result.exit_code == 0, result.output
    assert (
        before.items() <= {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}.items()
    )


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("detect", "tile.png", "-o", "none/a.csv"), "does not exist; create it first"),
        (("evaluate", ".", "--json", "none/a.json"), "does not exist; create it first"),
        (("evaluate", ".", "--csv", "none/a.csv"), "does not exist; create it first"),
        (("evaluate", ".", "--csv", "tile.csv"), "tile.csv: is one of the files to evaluate on"),
        (("evaluate", ".", "--json", "tile.csv"), "tile.csv: is one of the files to evaluate on"),
        (("detect", "tile.png", "-o", "a.csv", "--stride", "3"), "stride must be a multiple of 2"),
        (("evaluate", ".", "--stride", "1"), "stride must be a multiple of 2"),
        (("detect", "", "-o", "out"), "inputs: one came empty"),
        (("detect", "loop", "-o", "a.csv"), "loop: no such file or folder"),
        (("detect", "tile.png", "-o", "loop"), "loop: cannot be made the output folder"),
        (("detect", "tile.png", "-o", "pipe.csv"), "is a device or a pipe"),
        (("evaluate", ".", "--json", "/dev/null"), "/dev/null: cannot be written: it is a device"),
        (("detect", "tile.png", "-o", "a.csv", "--device", "gpu"), "device gpu: "),
        (("detect", "tile.png", "-o", "a.csv", "--device", "meta"), "runs on cpu and cuda"),
    ],
)
def test_what_cannot_be_done_is_told_first(
    folder: Path,
    weights: str,
    command: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe.csv")
    result = run(*command, "-w", weights)
    assert result.exit_code == 1
    assert message in result.output
    assert not Path("pipe.csv").is_file()
    assert not Path("/dev/null").is_file()
    assert len(result.output.splitlines()) == 1


def test_evaluate_writes_two_files_or_none(folder: Path, weights: str) -> None:
    (folder / "link.json").symlink_to("b.json")
    files = ("--json", folder / "b.json", "--csv", folder / "link.json")
    result = run("evaluate", folder, "-w", weights, *files)
    assert result.exit_code == 2
    assert "--json and --csv are one file" in result.output


@pytest.mark.parametrize(
    "command", [("train", ".", "-o", "out"), ("gradcheck",), ("bench", "--quick")]
)
def test_every_command_knows_its_devices(
    folder: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = run(*command, "--device", "gpu")
    assert result.exit_code == 1
    assert "device gpu: " in result.output
    assert not (folder / "out").exists()


def test_evaluate_takes_the_radius_that_the_weights_learnt_with(folder: Path, weights: str) -> None:
    result = run("evaluate", folder, "-w", weights)
    assert result.exit_code == 0, result.output
    assert "within 8" in result.output
    bare = folder / "bare.safetensors"
    dvfast.Detector(dvfast.nn.VotingUNet(1, 3, (2, 4))).save(bare)
    result = run("evaluate", folder, "-w", bare)
    assert result.exit_code == 1
    assert "give it with -r" in result.output
    assert run("evaluate", folder, "-w", bare, "-r", 5).exit_code == 0


def test_pixel_sizes_that_are_no_micrometres(folder: Path) -> None:
    tile, target = folder / "tile.png", folder / "a.csv"
    told = run("detect", tile, "-o", target, "-w", "fluorescence", "--pixel-size", 0.9)
    assert told.exit_code == 0, told.output
    assert "not taken for micrometres" in told.output
    assert "not taken" not in run("detect", tile, "-o", target, "-w", "fluorescence").output
    result = run("detect", tile, "-o", target, "--pixel-size", 500)  # nanometres
    assert result.exit_code == 1
    assert "pixel_size: came as 500, which scales images by 1e+03" in result.output


def test_a_folder_named_like_weights_is_not_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "ihc").mkdir()
    assert weights_path("ihc").is_file()


def test_a_config_file_need_not_say_all_of_a_section(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"augmentation": {"zoom": 0.3}, "detection": {"sigma": 4.0}}))
    config, preset = _training_config("modern", None, file, ()), TrainingConfig.modern()
    assert config.augmentation.zoom == 0.3
    assert config.augmentation.stain_gain == preset.augmentation.stain_gain > 0
    assert config.detection.sigma == 4.0
    assert config.detection.stride == preset.detection.stride > 1


def test_a_unet_is_validated_at_votes_that_it_casts() -> None:
    with pytest.raises(dvfast.errors.InputError, match=r"detection.stride: came as 2.*crop_stride"):
        TrainingConfig.unet(crop_stride=4)


def test_training_leaves_the_folder_of_the_images_alone(folder: Path) -> None:
    before = contents(folder)
    result = run("train", folder, "-o", folder)
    assert result.exit_code == 1
    assert "the folder of the images" in result.output
    assert contents(folder) == before


def test_images_without_clicks_teach_nothing(tmp_path: Path) -> None:
    pixels = np.zeros((60, 60, 3), np.uint8)
    for name in "abc":
        imsave(tmp_path / f"{name}.png", pixels, check_contrast=False)
        (tmp_path / f"{name}.csv").write_text("y,x\n")
    result = run("train", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "no image of the training part has a click" in result.output
    images = dvfast.data.pair_by_stem(tmp_path)
    (held_out,) = split(images, 0.15, 0)[1]
    for sample in images:
        if sample != held_out:
            sample.points.write_text("y,x\n30,30\n")
    result = run("train", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "no image of the validation part has a click" in result.output


def test_lambda_goes_with_the_r1_that_is_given() -> None:
    preset = TrainingConfig.modern()
    config = _training_config("modern", 9.0, None, ("r1=20", "r2=30"))
    assert config.lam == pytest.approx(preset.lam * (20 / preset.r1) ** 2)
    assert _training_config("modern", 9.0, None, ("r1=20", "r2=30", "lam=7")).lam == 7
    assert _training_config("modern", 9.0, None, ()) == preset.for_nuclei(9.0)


def test_nuclei_that_are_too_small_to_be_seen() -> None:
    with pytest.raises(dvfast.errors.InputError, match=r"radius: 0\.01 is 0\.01 pixels .*, less"):
        TrainingConfig.unet().for_nuclei(0.01)


def test_nuclei_that_are_too_large_for_the_scale() -> None:
    with pytest.raises(dvfast.errors.InputError, match="radius: 160 is 160 pixels"):
        TrainingConfig.modern().for_nuclei(160)
    assert TrainingConfig.modern().for_nuclei(115).detection.window < 255


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tile.geojson", '{"type": "FeatureCollection", "features": [{"type": "Feature"}]}'),
        ("tile.json", "[1, 2]"),
        (
            "tile.geojson",
            '{"type": "FeatureCollection", "features": [{"type": "Feature", "id": "4a1", '
            '"properties": {"measurements": {"score": 1.5}}}]}',
        ),
        ("tile.csv", "\n\ny,x\n1,2\n"),
        ("tile.csv", "y,x,confidence score by me\n1,2,3\n"),
        ("other.png", ""),
    ],
)
def test_detect_overwrites_nothing_that_it_did_not_write(
    folder: Path, weights: str, name: str, content: str
) -> None:
    target = folder / name
    if target.suffix == ".png":
        imsave(target, np.zeros((30, 30), np.uint8), check_contrast=False)
    else:
        target.write_text(content)
    before = target.read_bytes()
    result = run("detect", folder / "tile.png", "-o", target, "-w", weights)
    assert result.exit_code == 1
    assert "would be lost; choose another" in result.output
    assert target.read_bytes() == before


def test_a_folder_that_takes_no_files_is_told_before_the_work(
    folder: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvfast.Detector, "detect", lambda *_, **__: 1 / 0)
    (folder / "out").mkdir()
    access = os.access

    def without_writing(path: Any, mode: int, **how: Any) -> bool:
        return access(path, mode, **how) and (mode != os.W_OK or Path(path).name != "out")

    monkeypatch.setattr(os, "access", without_writing)
    result = run("detect", folder / "tile.png", "-o", folder / "out", "-w", weights)
    assert result.exit_code == 1
    assert "takes no new files" in result.output


@pytest.mark.parametrize("error", [MemoryError("no memory"), RuntimeError("odd"), OSError("full")])
def test_an_image_that_fails_for_whatever_reason_leaves_the_others(
    folder: Path, weights: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    imsave(folder / "zebra.png", np.zeros((60, 60, 3), np.uint8), check_contrast=False)
    detect = dvfast.Detector.detect

    def failing(detector: Any, path: Path, **how: Any) -> Any:
        if path.stem == "tile":
            raise error
        return detect(detector, path, **how)

    monkeypatch.setattr(dvfast.Detector, "detect", failing)
    result = run("detect", folder, "-o", folder / "out", "-w", weights, "-f", "csv")
    assert result.exit_code == 1
    assert f"tile.png: {error}" in result.output
    assert (folder / "out" / "zebra.csv").exists()
