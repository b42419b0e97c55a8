"""Training end to end on little tiles: it learns, resumes to the bit, refuses what is wrong."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from synthetic_tiles import tiny_config, write_tile, write_tiles

import dvfast
from dvfast.data import pair_by_stem
from dvfast.data.augment import Augmentation
from dvfast.errors import InputError
from dvfast.training import FitResult, TrainingConfig, Validation, fit
from dvfast.training.dataset import split
from dvfast.training.state import TrainingState
from dvfast.weights import load_weights
from dvfast.weights.container import read_container, write_container

# Dies like `kill -9`: at the start of a step, or in the middle of writing a checkpoint.
KILLED_RUN = """
import json, os, signal, sys
from dvfast.training import TrainingConfig, fit
from dvfast.training.dataset import TrainingSet

folder, output, settings, where = sys.argv[1:]
target, name = (TrainingSet, "batch") if where == "step" else (os, "replace")
original, calls = getattr(target, name), []

def deadly(*args, **kwargs):
    calls.append(args)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(target, name, deadly)
config = TrainingConfig.from_dict(json.loads(settings))
fit(folder, output, config, progress=False, checkpoint_seconds=0)
"""


class Interrupted(Exception):
    """Stands for whatever ends a run."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """These networks are too small to share, and the killed process has to round the same way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiles(tmp_path_factory.mktemp("data") / "tiles")


@pytest.fixture(scope="module")
def straight(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """Twelve steps without a break."""
    return fit(folder, tmp_path_factory.mktemp("runs") / "straight", tiny_config(), progress=False)


def assert_same_run(one: FitResult, other: FitResult) -> None:
    assert one.history == other.history
    ours, theirs = one.net.state_dict(), other.net.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert one.weights_path.read_bytes() == other.weights_path.read_bytes()


@pytest.mark.parametrize("where", ["step", "checkpoint"])
def test_a_killed_run_resumes_to_the_bit(
    folder: Path, straight: FitResult, tmp_path: Path, where: str
) -> None:
    config = tiny_config()
    assert config.dropout
    assert config.ema
    assert config.schedule == "onecycle"
    assert config.optimizer == "adamw"
    output = tmp_path / "run"
    arguments = [str(folder), str(output), json.dumps(config.to_dict()), where]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, *arguments],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == -9
    assert not (output / "weights.safetensors").exists()
    resumed = fit(folder, output, config, progress=False)
    assert_same_run(resumed, straight)


def test_it_did_resume(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps before the checkpoint are not made again."""
    config = tiny_config()
    made: list[int] = []
    finish = TrainingState.finish_step

    def counted(self: TrainingState, loss: float) -> None:
        finish(self, loss)
        made.append(self.step)
        if made == [1, 2, 3, 4, 5, 6, 7]:
            raise Interrupted

    monkeypatch.setattr(TrainingState, "finish_step", counted)
    with pytest.raises(Interrupted):
        fit(folder, tmp_path, config, progress=False, checkpoint_seconds=0)
    fit(folder, tmp_path, config, progress=False, checkpoint_seconds=0)
    assert made == [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12]
    fit(folder, tmp_path, config, progress=False, resume=False)
    assert made[13:] == list(range(1, 13))


def test_a_finished_run_is_not_repeated(folder: Path, straight: FitResult) -> None:
    again = fit(folder, straight.weights_path.parent, tiny_config(), progress=False)
    assert_same_run(again, straight)


def test_the_seed_matters(folder: Path, straight: FitResult, tmp_path: Path) -> None:
    other = fit(folder, tmp_path, tiny_config(seed=1), progress=False)
    assert other.history.loss != straight.history.loss


def test_it_leaves_the_callers_random_numbers_alone(folder: Path, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    fit(folder, tmp_path, tiny_config(steps=1), progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_it_writes(folder: Path, straight: FitResult) -> None:
    output = straight.weights_path.parent
    names = {path.name for path in output.iterdir()}
    assert names == {"checkpoint.safetensors", "weights.safetensors", "history.json", "curve.png"}
    history = json.loads((output / "history.json").read_text())
    assert history == straight.history.to_dict()
    assert len(history["loss"]) == 12
    assert [item["step"] for item in history["validation"]] == [5, 10, 12]
    assert (output / "curve.png").read_bytes().startswith(b"\x89PNG")

    net, description = load_weights(straight.weights_path)
    assert all(
        torch.equal(value, net.state_dict()[name])
        for name, value in straight.net.state_dict().items()
    )
    assert TrainingConfig.from_dict(description["training"]) == tiny_config()
    assert description["data"] == {
        "training_images": 3,
        "training_nuclei": 18,
        "validation_images": 2,
    }
    best = max(straight.history.validation, key=lambda item: item.f1)
    assert description["scores"]["validation"]["step"] == best.step
    assert straight.best_f1 == best.f1


def test_a_folder_to_validate_on(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for i in range(2):
        write_tile(other, f"slide_{i}", np.array([[20, 20], [30, 9]]), (48, 56), seed=50 + i)
    config = tiny_config(validation_fraction=0.9)

    def run(output: str, **how: Any) -> FitResult:
        return fit(folder, tmp_path / output, config, progress=False, **how)

    copied = tmp_path / "copied"
    copied.mkdir()
    for suffix in (".png", ".csv"):
        shutil.copy(folder / f"tile_0{suffix}", copied / f"renamed{suffix}")
    with pytest.raises(InputError, match=r"same image as .*tile_0\.png"):
        run("a", validation_folder=copied)
    with pytest.raises(InputError, match="split_seed: draws a part of folder"):
        run("a", validation_folder=other, split_seed=3)
    with pytest.raises(InputError, match=r"output: is .*other, the folder of the images"):
        fit(folder, other, config, validation_folder=other)
    with pytest.raises(InputError, match=r"nowhere"):
        run("a", validation_folder=tmp_path / "nowhere")
    assert not (tmp_path / "a").exists()

    result = run("a", validation_folder=other)
    _, description = load_weights(result.weights_path)
    assert description["data"] == {
        "training_images": 5,
        "training_nuclei": 30,
        "validation_images": 2,
    }
    # Every validation counted the clicks of the other folder and no others.
    detector = dvfast.Detector.load(result.weights_path)
    scores = dvfast.evaluate(detector, other, config.radius)
    assert scores.micro.f1 == description["scores"]["tuned_on_validation"]["f1"]

    (other / "slide_0.csv").write_text("y,x\n")
    with pytest.raises(InputError, match="other training files"):
        run("a", validation_folder=other)
    with pytest.raises(InputError, match="other training files"):
        run("a")
    (other / "slide_1.csv").write_text("y,x\n")
    with pytest.raises(InputError, match="other: no image has a click"):
        run("b", validation_folder=other)


def test_the_best_weights_are_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of validations 0.2, 0.9, 0.9, 0.4 the first 0.9 decides, and survives an interruption."""
    fit_module = sys.modules["dvfast.training.fit"]
    seen = {}

    def scripted(state: TrainingState, *_: object) -> Validation:
        f1 = {3: 0.2, 6: 0.9, 9: 0.9, 12: 0.4}[state.step]
        seen[state.step] = {k: v.clone() for k, v in state.trained_net.state_dict().items()}
        if state.step == 9 and len(seen) == 3 and not interrupted:
            interrupted.append(True)
            raise Interrupted
        return Validation(state.step, f1, f1, f1, f1)

    interrupted: list[bool] = []
    monkeypatch.setattr(fit_module, "_validate", scripted)
    config = tiny_config(validate_every=3)
    with pytest.raises(Interrupted):
        fit(folder, tmp_path, config, progress=False)
    result = fit(folder, tmp_path, config, progress=False)
    assert result.best_f1 == 0.9
    for name, value in result.net.state_dict().items():
        assert torch.equal(value, seen[6][name])
    assert not torch.equal(seen[6]["conv1.weight"], seen[12]["conv1.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling": "patches", "optimizer": "sgd", "schedule": "constant", "ema": 0.0},
        {"schedule": "cosine", "hidden": (), "num_votes": 9, "in_channels": 1},
        {"validation_fraction": 0.0, "crop_stride": 1},
        {"network": "unet", "channels": (4, 8), "crop_stride": 2, "precision": "bfloat16"},
    ],
)
def test_every_way_resumes(folder: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    config = tiny_config(steps=4, **{"learning_rate": 1e-5, **changes})
    straight = fit(folder, tmp_path / "straight", config, progress=False)
    save = TrainingState.save

    def interrupting(self: TrainingState, *args: object) -> None:
        save(self, *args)  # type: ignore[arg-type]
        if self.step == 2:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingState, "save", interrupting)
        with pytest.raises(Interrupted):
            fit(folder, tmp_path / "halved", config, progress=False, checkpoint_seconds=0)
    assert_same_run(fit(folder, tmp_path / "halved", config, progress=False), straight)


def test_it_learns(folder: Path, tmp_path: Path) -> None:
    """Dark spots on pale ground: seconds of training find nearly all of them."""
    config = tiny_config(
        channels=(16, 16, 16),
        hidden=(64,),
        dropout=0.0,
        lam=38.4,
        crop_size=8,
        batch_size=8,
        steps=150,
        learning_rate=2e-3,
        validate_every=150,
        augmentation=Augmentation(),
    )
    result = fit(folder, tmp_path, config, progress=False)
    assert sum(result.history.loss[-10:]) < 0.3 * sum(result.history.loss[:10])
    assert result.best_f1 is not None
    assert result.best_f1 > 0.8


def test_other_settings_or_data_are_refused(folder: Path, tmp_path: Path) -> None:
    data = write_tiles(tmp_path / "tiles")
    fit(data, tmp_path / "run", tiny_config(steps=2), progress=False)
    with pytest.raises(InputError, match="steps was 2, is 3"):
        fit(data, tmp_path / "run", tiny_config(steps=3), progress=False)
    with open(data / "tile_0.csv", "a") as file:
        file.write("1,1\n")
    with pytest.raises(InputError, match="other training files"):
        fit(data, tmp_path / "run", tiny_config(steps=2), progress=False)


def test_a_run_that_began_before_a_setting_was_there_goes_on(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(steps=2)
    done = fit(folder, tmp_path / "run", config, progress=False)
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    tensors, facts = read_container(checkpoint, "dvfast_checkpoint", "a checkpoint")
    del facts["config"]["detection"]["centroid_radius"]
    write_container(checkpoint, tensors, "dvfast_checkpoint", facts)
    again = fit(folder, tmp_path / "run", config, progress=False)
    assert again.history == done.history


def test_a_damaged_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    fit(folder, tmp_path, tiny_config(steps=1), progress=False)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors"):
        fit(folder, tmp_path, tiny_config(steps=1), progress=False)


def test_an_exploding_loss_stops_the_run(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(optimizer="sgd", schedule="constant", learning_rate=1e6)
    with pytest.raises(InputError, match="learning_rate"):
        fit(folder, tmp_path, config, progress=False)
    assert not (tmp_path / "weights.safetensors").exists()


def test_an_output_folder_that_cannot_be_made(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output folder"):
        fit(folder, tmp_path / "file" / "run", tiny_config(), progress=False)
    with pytest.raises(InputError, match=r"file: .* output folder: it is a file; choose another"):
        fit(folder, tmp_path / "file", tiny_config(), progress=False)


def test_a_run_that_cannot_begin_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for output in (tmp_path / "mine" / "runs" / "first", tmp_path / "mine"):
        with pytest.raises(InputError, match="no such folder"):
            fit(tmp_path / "tiles", output, tiny_config(), progress=False)
        assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


@pytest.mark.parametrize("what", [Path("tiles"), math.nan])
def test_a_description_that_cannot_be_saved_is_told_before_the_work(
    folder: Path, tmp_path: Path, what: object
) -> None:
    with pytest.raises(InputError, match=r"^data_description: cannot be saved as JSON"):
        fit(folder, tmp_path / "run", tiny_config(), data_description={"source": what})
    assert not (tmp_path / "run").exists()


def test_a_progress_bar(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(folder, tmp_path / "quiet", tiny_config(steps=1), progress=False)
    assert capsys.readouterr().err == ""
    fit(folder, tmp_path / "loud", tiny_config(steps=1))
    printed = capsys.readouterr()
    assert "1/1" in printed.err
    assert "F1" in printed.err
    assert printed.out == ""


def test_the_papers_settings_learn(tmp_path: Path) -> None:
    # With momentum SGD at the paper's rate the first steps killed every unit, and nothing moved.
    config = TrainingConfig.paper(steps=60, validation_fraction=0.0)
    history = fit(write_tiles(tmp_path / "tiles"), tmp_path / "run", config, progress=False).history
    assert np.mean(history.loss[-10:]) < 0.95 * np.mean(history.loss[:10])


def test_a_checkpoint_without_all_its_entries_is_named(folder: Path, tmp_path: Path) -> None:
    config = tiny_config(steps=2)
    fit(folder, tmp_path, config, progress=False)
    checkpoint = tmp_path / "checkpoint.safetensors"
    tensors, facts = read_container(checkpoint, "dvfast_checkpoint", "a checkpoint")
    for missing in (next(iter(tensors)), "loss"):
        rest = {name: tensor for name, tensor in tensors.items() if name != missing}
        write_container(checkpoint, rest, "dvfast_checkpoint", facts)
        with pytest.raises(InputError, match=r"checkpoint\.safetensors: the checkpoint is damaged"):
            fit(folder, tmp_path, config, progress=False)


def test_dark_images_are_named(tmp_path: Path) -> None:
    dark = write_tiles(tmp_path / "dark", count=3)
    for path in sorted(dark.glob("*.png")):
        with Image.open(path) as image:
            tifffile.imwrite(path.with_suffix(".tif"), np.array(image).astype(np.uint16) * 16)
        path.unlink()
    config = tiny_config(steps=1, tune_threshold=True, tune_smoothing=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = fit(dark, tmp_path / "out", config, progress=False)
    told = {str(warning.message).split(": pixels of 16 bits")[0] for warning in caught}
    validated = split(pair_by_stem(dark), config.validation_fraction, config.seed)[1]
    assert told == {str(sample.image) for sample in validated}
    assert result.history.validation


def test_numbers_that_are_double_by_default_do_not_matter(folder: Path, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        result = fit(folder, tmp_path, tiny_config(steps=2), progress=False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert result.weights_path.exists()
