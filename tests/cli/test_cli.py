"""The command line as a newcomer meets it: what it prints, what it writes, how it fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from pyramid import write_ome, write_svs
from skimage.io import imsave

import dvfast
from dvfast import _engine, _library
from dvfast.cli.app import app
from dvfast.data import read_points


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    net = dvfast.nn.DeepVotingNet(num_votes=1, channels=(2, 2, 2), hidden=(4,))
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    settings = dvfast.DetectionSettings(stride=2)
    dvfast.Detector(net, settings, description={"training": {"radius": 6.6}}).save(path)
    return str(path)


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    folder = tmp_path / "tiles"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("first", "second"):
        image = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        imsave(folder / f"{name}.png", image, check_contrast=False)
        (folder / f"{name}.csv").write_text("y,x\n10,12\n30.5,40\n")
    return folder


def run(*arguments: str | float | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_detect_writes_every_format(tiles: Path, tmp_path: Path, weights: str) -> None:
    result = run("detect", tiles, "-o", tmp_path / "out", "-w", weights)
    assert result.exit_code == 0, result.output
    assert "first.png: " in result.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{s}.{e}" for s in ("first", "second") for e in ("csv", "geojson", "png")}
    assert (tmp_path / "out" / "first.csv").read_text().startswith("y,x,score\n")
    features = json.loads((tmp_path / "out" / "first.geojson").read_text())["features"]
    assert all(f["properties"]["objectType"] == "detection" for f in features)
    rows = (tmp_path / "out" / "first.csv").read_text().splitlines()[1:]
    assert len(rows) == len(features)
    y, x, _ = (float(value) for value in rows[0].split(","))
    assert features[0]["geometry"]["coordinates"] == pytest.approx([x + 0.5, y + 0.5])


def test_detect_into_one_file(tiles: Path, tmp_path: Path, weights: str) -> None:
    target = tmp_path / "points.csv"
    result = run("detect", tiles / "first.png", "-o", target, "-w", weights, "--stride", "4")
    assert result.exit_code == 0, result.output
    assert target.is_file()
    assert run("detect", tiles, "-o", target, "-w", weights).exit_code == 2
    assert run("detect", tiles / "first.png", "-o", target, "-f", "csv").exit_code == 2


def test_detect_only_the_formats_asked_for(tiles: Path, tmp_path: Path, weights: str) -> None:
    pattern = str(tiles / "s*.png")
    assert run("detect", pattern, "-o", tmp_path / "o", "-f", "csv", "-w", weights).exit_code == 0
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["second.csv"]


def test_detect_on_whole_slides(tmp_path: Path, weights: str) -> None:
    pytest.importorskip("openslide", reason="OpenSlide is not installed (dvfast[slides])")
    pixels = np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    (tmp_path / "slides").mkdir()
    slide = write_svs(tmp_path / "slides" / "a.svs", pixels)
    result = run("detect", slide.parent, "-o", tmp_path / "out", "-w", weights)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.csv", "a.geojson", "a.png"}
    everything = read_points(tmp_path / "out" / "a.csv")
    part = tmp_path / "part.csv"
    result = run("detect", slide, "-o", part, "-w", weights, "--region", 20, 0, 100, 90)
    assert result.exit_code == 0, result.output
    inside = ((everything >= [19.5, -0.5]) & (everything < [119.5, 89.5])).all(axis=1)
    assert 0 < inside.sum() < len(everything)
    np.testing.assert_array_equal(read_points(part), everything[inside])
    for wrong, message in (
        (("--region", 20, 0, 200, 90), "150 pixels high"),
        (("--mode", "sliding"), "not for slides"),
    ):
        result = run("detect", slide, "-o", tmp_path / "none.csv", "-w", weights, *wrong)
        assert result.exit_code == 1
        assert message in result.output
    slide.write_bytes(slide.read_bytes()[:5000])
    result = run("detect", slide, "-o", tmp_path / "none.csv", "-w", weights)
    assert result.exit_code == 1
    assert "a.svs" in result.output
    assert not (tmp_path / "none.csv").exists()


def test_a_stopped_slide_goes_on(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openslide", reason="OpenSlide is not installed (dvfast[slides])")
    pixels = np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    slide, target = write_svs(tmp_path / "a.svs", pixels), tmp_path / "out.csv"
    detect = dvfast.Detector.detect_slide
    finished: list[float] = []

    def in_small_tiles(detector: Any, stopped: bool, *args: Any, **how: Any) -> Any:
        def progress(share: float) -> None:
            finished.append(share)
            how["progress"](share)
            if stopped and share > 0.6:
                raise KeyboardInterrupt

        return detect(detector, *args, **{**how, "tile_size": 80, "progress": progress})

    monkeypatch.setattr(dvfast.Detector, "detect_slide", partialmethod(in_small_tiles, False))
    assert run("detect", slide, "-o", target, "-w", weights).exit_code == 0
    whole = target.read_text()
    assert len(whole.splitlines()) > 20
    target.unlink()
    unfinished = target.with_suffix(".unfinished")
    assert not unfinished.exists()

    monkeypatch.setattr(dvfast.Detector, "detect_slide", partialmethod(in_small_tiles, True))
    result = run("detect", slide, "-o", target, "-w", weights)
    assert result.exit_code == 1
    assert f"the same command goes on from {unfinished}" in result.output
    assert [path.name for path in tmp_path.iterdir() if path != slide] == ["out.unfinished"]

    monkeypatch.setattr(dvfast.Detector, "detect_slide", partialmethod(in_small_tiles, False))
    finished.clear()
    other = run("detect", slide, "-o", target, "-w", weights, "--stride", 4)
    assert other.exit_code == 1
    assert "stride was 2, is 4" in other.output
    result = run("detect", slide, "-o", target, "-w", weights)
    assert result.exit_code == 0, result.output
    assert f"goes on from {unfinished}" in result.output
    assert min(finished) > 0
    assert target.read_text() == whole
    assert not unfinished.exists()


def test_images_that_are_done_may_be_skipped(tiles: Path, tmp_path: Path, weights: str) -> None:
    arguments = ("detect", tiles, "-o", tmp_path / "out", "-w", weights, "-f", "csv", "-f", "png")
    assert run(*arguments).exit_code == 0
    (tmp_path / "out" / "first.png").unlink()
    done = tmp_path / "out" / "second.csv"
    done.write_text("y,x,score\n")
    result = run(*arguments, "--skip-existing")
    assert result.exit_code == 0, result.output
    assert re.search(r"first.png: \d+ nuclei", result.output)
    assert "second.png: done before" in result.output
    assert done.read_text() == "y,x,score\n"
    assert (tmp_path / "out" / "first.png").exists()


@pytest.mark.parametrize(
    ("told", "given", "weights", "said"),
    [
        (0.5, (), "ihc", ""),
        (None, (), "ihc", "does not tell the size of its pixels, which are taken for 0.5 µm"),
        (None, ("--pixel-size", 0.5), "ihc", ""),
        (0.25, (), "histology", "pixels of 0.25 µm, but how large"),
        (0.25, ("--pixel-size", 1), "histology", ""),
        (None, (), "histology", ""),
    ],
)
def test_doubts_of_the_scale_are_told(
    tmp_path: Path, told: float | None, given: tuple[str | float, ...], weights: str, said: str
) -> None:
    pytest.importorskip("openslide", reason="OpenSlide is not installed (dvfast[slides])")
    slide = write_svs(tmp_path / "a.svs", np.full((80, 90, 3), 240, np.uint8), told)
    result = run("detect", slide, "-o", tmp_path / "a.csv", "-w", weights, *given)
    assert result.exit_code == 0, result.output
    assert "0 nuclei" in result.output
    assert (said in result.output) if said else ("µm" not in result.output)


def micrometre_weights(folder: Path, **description: Any) -> Path:
    torch.manual_seed(0)
    net = dvfast.nn.DeepVotingNet(num_votes=1, channels=(2, 2, 2), hidden=(4,))
    detector = dvfast.Detector(
        net,
        dvfast.DetectionSettings(stride=2),
        pixel_size=0.5,
        image_pixel_size=0.5,
        description={"training": {"radius": 6.0}, **description},
    )
    detector.save(folder / "weights.safetensors")
    return folder / "weights.safetensors"


def test_an_image_that_tells_the_size_of_its_pixels_is_no_slide(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 50), dtype=np.uint16)
    image = write_ome(tmp_path / "a.ome.tif", pixels, 0.25)
    known = micrometre_weights(tmp_path)
    target = tmp_path / "a.csv"
    for mode in ("sliding", "fast"):
        result = run("detect", image, "-o", target, "-w", known, "--mode", mode)
        assert result.exit_code == 0, result.output
        assert "nearly black" in result.output
        assert "µm" not in result.output
    with pytest.warns(UserWarning, match="nearly black"):
        expected = dvfast.Detector.load(known).detect(pixels, pixel_size=0.25)
    assert len(expected) > 0
    np.testing.assert_allclose(read_points(target), expected.points, atol=1e-4)
    unknown = micrometre_weights(tmp_path, data={"pixel_size_unit": "pixels"})
    for given in ((), ("--pixel-size", 1)):
        result = run("detect", image, "-o", target, "-w", unknown, *given)
        assert result.exit_code == 0, result.output
        assert ("pixels of 0.25 µm, but how large" in result.output) == (not given)


def test_the_radius_goes_by_the_size_that_images_tell(tmp_path: Path) -> None:
    known, folder = micrometre_weights(tmp_path), tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)

    def sample(name: str, size: float | None) -> None:
        if size is None:
            imsave(folder / f"{name}.tif", pixels, check_contrast=False)
        else:
            write_ome(folder / f"{name}.tif", pixels, size)
        (folder / f"{name}.csv").write_text("y,x\n10,12\n30.5,40\n")

    def evaluated(*given: str | float) -> Result:
        return run("evaluate", folder, "-w", known, "--json", tmp_path / "figures.json", *given)

    def radius() -> float:
        return float(json.loads((tmp_path / "figures.json").read_text())["one-to-one"]["radius"])

    sample("first", 0.25)
    sample("second", 0.251)
    assert evaluated().exit_code == 0
    assert radius() == 12
    assert evaluated("--pixel-size", 1).exit_code == 0
    assert radius() == 3
    for other in (0.255, None):
        sample("second", other)
        result = evaluated()
        assert result.exit_code == 1
        assert re.search(
            r"first.tif has pixels of 0.25 µm and .*second.tif of 0.\d+ µm.*-r", result.output
        )
        for given in (("-r", 4), ("--pixel-size", 0.5)):
            assert evaluated(*given).exit_code == 0
    micrometre_weights(tmp_path, data={"pixel_size_unit": "pixels"})
    assert evaluated().exit_code == 0
    assert radius() == 6


def test_a_bad_image_is_named_and_the_others_are_done(
    tiles: Path, tmp_path: Path, weights: str
) -> None:
    whole = (tiles / "first.png").read_bytes()
    (tiles / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tiles / "empty.png").write_bytes(b"")
    result = run("detect", tiles, "-o", tmp_path / "out", "--model", weights, "-f", "csv")
    assert result.exit_code == 1
    assert "cut.png" in result.output
    assert "empty.png" in result.output
    assert "2 of 4 images failed" in result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"first.csv", "second.csv"}
    failed = run("detect", tiles / "cut.png", "-o", tmp_path / "new" / "none", "--model", weights)
    assert "1 of 1 images failed" in failed.output
    assert not (tmp_path / "new").exists()


def test_two_images_must_not_share_an_output(tiles: Path, tmp_path: Path, weights: str) -> None:
    (tiles / "first.tif").write_bytes(b"")
    result = run("detect", tiles, "-o", tmp_path / "out", "-w", weights)
    assert result.exit_code == 1
    assert "same files" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["detect", "nowhere.png", "-o", "out"],
        ["detect", "{tile}", "-o", "out", "-w", "nosuchweights"],
        ["detect", "{tile}", "-o", "out", "-w", "nowhere.safetensors"],
        ["detect", "{tile}", "-o", "out", "-w", "{tile}"],
        ["detect", "{tile}", "-o", "out", "-w", "{weights}", "--device", "nosuchdevice"],
        ["detect", "{tile}", "-o", "nofolder/out.csv", "-w", "{weights}"],
        ["evaluate", "nowhere"],
        ["evaluate", "{tiles}", "-w", "{weights}", "--json", "nofolder/figures.json"],
        ["train", "nowhere", "-o", "out"],
        ["train", "{tiles}", "-o", "out", "-s", "nosuchsetting=1"],
        ["train", "{tiles}", "-o", "out", "-s", "steps=many"],
        ["train", "{tiles}", "-o", "out", "--validation", "{tiles}"],
        ["train", "{tiles}", "-o", "out", "--validation", "nowhere"],
        ["train", "{tiles}", "-o", "out", "-s", "steps=-1"],
        ["train", "{tiles}", "-o", "out", "--config", "nowhere.json"],
        ["info", "-w", "nowhere.safetensors"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-2:]),
)
def test_bad_input_is_one_clear_line(
    arguments: list[str], tiles: Path, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [a.format(tile=tiles / "first.png", tiles=tiles, weights=weights) for a in arguments]
    result = run(*filled)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Error: " in result.output
    assert "Traceback" not in result.output
    written = [path for path in tmp_path.rglob("*") if path.is_file() and tiles not in path.parents]
    assert written == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threshold", "nan"],
        ["--pixel-size", "-1"],
        ["--pixel-size", "inf"],
        ["--stride", "0"],
        ["--mode", "slow"],
    ],
    ids=" ".join,
)
def test_options_out_of_range_are_usage_errors(
    arguments: list[str], tiles: Path, tmp_path: Path, weights: str
) -> None:
    result = run("detect", tiles, "-o", tmp_path / "out", "-w", weights, *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.output
    assert not (tmp_path / "out").exists()


def test_an_unknown_extension_is_no_folder(tiles: Path, tmp_path: Path, weights: str) -> None:
    target = tmp_path / "points.xlsx"
    result = run("detect", tiles / "first.png", "-o", target, "-w", weights)
    assert result.exit_code == 2
    assert not target.exists()
    target.mkdir()
    assert run("detect", tiles / "first.png", "-o", target, "-w", weights).exit_code == 0


def test_an_output_that_cannot_be_written(tiles: Path, weights: str) -> None:
    # Not even root makes a folder in /proc.
    result = run("detect", tiles, "-o", "/proc/dvfast", "-w", weights)
    assert result.exit_code == 1
    assert "/proc/dvfast" in result.output


def test_an_output_folder_that_is_a_file(tiles: Path, tmp_path: Path, weights: str) -> None:
    (tmp_path / "out").write_text("mine")
    result = run("detect", tiles, "-o", tmp_path / "out", "-w", weights)
    assert result.exit_code == 1
    assert "cannot be made the output folder: it is a file; choose another" in result.output
    assert (tmp_path / "out").read_text() == "mine"


def test_evaluate_prints_and_writes_both_modes(tiles: Path, tmp_path: Path, weights: str) -> None:
    files = ("--json", tmp_path / "figures.json", "--csv", tmp_path / "rows.csv")
    result = run("evaluate", tiles, "-w", weights, *files)
    assert result.exit_code == 0, result.output
    assert "one-to-one matching" in result.output
    assert "literal matching" in result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["one-to-one"]["counts"]["annotations"] == 4
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["image", "first", "second"]


def test_train_evaluate_detect(tiles: Path, tmp_path: Path) -> None:
    settings = [
        *("-s", "steps=2", "-s", "channels=[2,2,2]", "-s", "hidden=[4]", "-s", "crop_size=4"),
        *("-s", "batch_size=2", "-s", "validation_fraction=0.5", "-s", "detection.stride=4"),
        *("--data-name", "noise", "--data-licence", "CC0"),
    ]
    result = run("train", tiles, "-o", tmp_path / "run", "--preset", "modern", *settings)
    assert result.exit_code == 0, result.output
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"weights.safetensors", "history.json", "curve.png"} <= names
    trained = tmp_path / "run" / "weights.safetensors"
    described = json.loads(run("info", "-w", trained).output)
    assert described["data"]["name"] == "noise"
    assert described["detection"]["stride"] == 4
    assert run("evaluate", tiles, "-w", trained).exit_code == 0
    assert run("detect", tiles, "-o", tmp_path / "out", "-w", trained).exit_code == 0


def test_train_shows_its_settings() -> None:
    shown = json.loads(run("train", ".", "-o", "x", "--preset", "paper", "--show").output)
    assert shown["learning_rate"] == 1e-4
    assert (shown["dropout"], shown["beta"], shown["lam"]) == (0.25, 0.5, 384.0)
    modern = json.loads(run("train", ".", "-o", "x", "--preset", "modern", "--show").output)
    assert modern["optimizer"] == "adamw"
    unet = json.loads(run("train", ".", "-o", "x", "--preset", "unet", "--show").output)
    assert unet["network"] == "unet"
    assert json.loads(run("train", ".", "-o", "x", "--show").output) == unet


def test_lengths_by_the_radius_of_nuclei(tmp_path: Path) -> None:
    def shown(*arguments: str) -> dict[str, Any]:
        command = ("train", ".", "-o", "x", "--preset", "modern", "--show", *arguments)
        settings: dict[str, Any] = json.loads(run(*command).output)
        return settings

    at_scale = ("-s", "image_pixel_size=0.5", "-s", "pixel_size=0.25")
    assert shown("--nucleus-radius", "8")["r1"] == 6
    assert shown("--nucleus-radius", "8", *at_scale)["r1"] == 12
    settings = shown("--nucleus-radius", "8", *at_scale, "-s", "r1=5", "-s", "detection.stride=2")
    assert (settings["r1"], settings["r2"], settings["detection"]["stride"]) == (5, 24, 2)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(shown()))
    assert shown("--config", str(file), "--nucleus-radius", "8")["r1"] == 6
    assert run("train", ".", "-o", "x", "--nucleus-radius", "0").exit_code == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "Lengths are for nuclei of a radius of 6.6 pixels; --nucleus-radius sets them"),
        (("--preset", "modern"), "Lengths are for nuclei of a radius of 6.6 pixels; "),
        (("--preset", "paper"), "Lengths are the paper's; --nucleus-radius sets them"),
        (("-s", "image_pixel_size=0.5", "-s", "pixel_size=1"), "6.6 pixels at the network's scale"),
        (("--config", "steps.json"), "Lengths are for"),
        (("--config", "radius.json"), ""),
        (("--config", "r1.json"), ""),
        (("--nucleus-radius", 7), ""),
        (("-s", "r1=5"), ""),
        (("-s", "radius=5"), ""),
        (("--show",), ""),
    ],
    ids=str,
)
def test_lengths_that_nobody_gave_are_told(
    given: tuple[str | float, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("steps", 9), ("radius", 5), ("r1", 5)):
        (tmp_path / f"{name}.json").write_text(json.dumps({name: value}))
    fitted = dvfast.training.FitResult(None, None, None, tmp_path)  # type: ignore[arg-type]
    monkeypatch.setattr(dvfast.training, "fit", lambda *args, **how: fitted)
    result = run("train", ".", "-o", "out", *given)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(told) if told.startswith("L") else told in result.stderr
    assert bool(result.stderr) == bool(told)
    monkeypatch.setenv("RANK", "1")
    assert run("train", ".", "-o", "out", *given).stderr == ""


@pytest.mark.parametrize(
    ("before", "written", "given", "told"),
    [
        (False, True, (), "the same command goes on from out"),
        (True, False, (), "the same command goes on from out"),
        (False, False, (), ""),
        (False, True, ("--fresh",), "the same command, without --fresh, goes on from out"),
        (True, False, ("--fresh",), ""),
    ],
)
def test_a_stopped_training_says_how_it_goes_on(
    before: bool,
    written: bool,
    given: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = Path("out") / "checkpoint.safetensors"

    def stopped(*args: Any, **how: Any) -> None:
        if written:
            checkpoint.parent.mkdir()
            checkpoint.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(dvfast.training, "fit", stopped)
    if before:
        checkpoint.parent.mkdir()
        checkpoint.touch()
    result = run("train", ".", "-o", "out", "--nucleus-radius", 7, *given)
    assert result.exit_code == 1
    assert "Aborted!" in result.stderr
    assert (f"Stopped; {told}" in result.stderr) if told else ("Stopped" not in result.stderr)


def test_info_and_version() -> None:
    output = run("info").output
    assert dvfast.__version__ in output
    assert "ihc" in output
    assert dvfast.__version__ in run("--version").output


def test_info_names_the_kernels_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = {"instruction_set": "avx2", "matrix_unit": False}
    monkeypatch.setattr(_library, "cpu_info", lambda: kernels)
    assert re.search(r"CPU kernels: avx2$", run("info").output, re.MULTILINE)
    kernels["matrix_unit"] = True
    assert re.search(r"CPU kernels: avx2, AMX$", run("info").output, re.MULTILINE)
    monkeypatch.undo()
    assert f"CPU kernels: {_library.cpu_info()['instruction_set']}" in run("info").output


@pytest.mark.parametrize("command", ["detect", "evaluate"])
def test_precision_is_passed_on(
    command: str, tiles: Path, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    detect = dvfast.Detector.detect

    def watch(self: dvfast.Detector, *arguments: Any, **settings: Any) -> Any:
        asked.append(settings.get("precision"))
        return detect(self, *arguments, **settings)

    monkeypatch.setattr(dvfast.Detector, "detect", watch)
    arguments = [command, tiles, "-w", weights, *(["-o", tmp_path] if command == "detect" else [])]
    for options, precision in (([], "float32"), (["--precision", "exact"], "exact")):
        assert run(*arguments, *options).exit_code == 0
        assert asked == [precision] * 2
        asked.clear()
    unknown = run(*arguments, "--precision", "double")
    assert unknown.exit_code == 2
    assert "--precision" in unknown.output


@pytest.mark.parametrize("command", ["detect", "evaluate"])
def test_bfloat16_that_cannot_be_had_is_one_clear_line(
    command: str, tiles: Path, tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = {"instruction_set": "avx512", "matrix_unit": False}
    monkeypatch.setattr(_engine, "cpu_info", lambda: kernels)
    written = tmp_path / "out"
    arguments = ["-w", weights, "--precision", "bfloat16"]
    arguments += ["-o", str(written)] if command == "detect" else []
    image = tiles if command == "evaluate" else tiles / "first.png"
    reasons = {(): "a CPU with AMX, on Linux"}
    if command == "detect":
        reasons[("--mode", "sliding")] = "mode='fast'"
    for options, needs in reasons.items():
        result = run(command, image, *arguments, *options)
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        error = f"Error: precision 'bfloat16' needs {needs}; use 'float32'"
        assert result.output.splitlines().count(error) == 1
        assert "Traceback" not in result.output
        assert not list(written.glob("*"))


def test_gradcheck_passes_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("gradcheck", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "WRONG" not in result.output
    honest = dvfast.functional.voting_loss
    monkeypatch.setattr(dvfast.functional, "voting_loss", lambda *args: 1.001 * honest(*args))
    result = run("gradcheck", "--device", "cpu")
    assert result.exit_code == 1
    assert "WRONG" in result.output


def test_as_a_program(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "dvfast"]
    done = subprocess.run(
        [*program, "detect", "nowhere.png", "-o", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "Error: nowhere.png: no such file or folder\n"
    usage = subprocess.run([*program, "detect"], capture_output=True, text=True)
    assert usage.returncode == 2
