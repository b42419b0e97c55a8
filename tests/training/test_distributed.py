"""Two processes under torchrun give the loss curve of one."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from synthetic_tiles import tiny_config, write_tiles

from dvfast.errors import InputError
from dvfast.training import fit, processes
from dvfast.weights import load_weights

WORKER = """
import json, sys
from dvfast.training import TrainingConfig, fit

folder, output, settings = sys.argv[1:]
config = TrainingConfig.from_dict(json.loads(settings))
result = fit(folder, output, config, progress=False, device="cpu")
assert result.best_f1 == max(item.f1 for item in result.history.validation)
assert not result.net.training
"""


def torchrun(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), *arguments]
    return subprocess.run(command, check=False, text=True, capture_output=True, timeout=300)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e-4), ("adamw", 3e-3)])
def test_two_processes_give_the_loss_curve_of_one(
    tmp_path: Path, optimizer: str, rate: float
) -> None:
    folder = write_tiles(tmp_path / "tiles")
    # Each process draws its own dropout masks; without dropout the sums are the same.
    config = tiny_config(
        dropout=0.0, optimizer=optimizer, learning_rate=rate, schedule="constant", steps=12
    )
    alone = fit(folder, tmp_path / "alone", config, progress=False, device="cpu")
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    output = tmp_path / "together"
    ran = torchrun(script, str(folder), str(output), json.dumps(config.to_dict()))
    assert ran.returncode == 0, ran.stderr
    loss = json.loads((output / "history.json").read_text())["loss"]
    assert loss == pytest.approx(alone.history.loss, rel=1e-4)
    # The curve moves by far more than it may differ.
    assert abs(loss[-1] - loss[0]) > 0.02 * loss[0]
    ours, theirs = alone.net.state_dict(), load_weights(output / "weights.safetensors")[0]
    for name, value in theirs.state_dict().items():
        assert value.numpy() == pytest.approx(ours[name].numpy(), abs=1e-4)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, "cpu"), ("cpu", "cpu"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0")],
)
def test_the_device_of_a_process(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, expected: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with processes.running_processes(asked) as alone:
        assert (str(alone.device), alone.rank, alone.count) == (expected, 0, 1)


def test_a_batch_that_cannot_be_shared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = processes.Processes(0, 2, torch.device("cpu"))
    module = sys.modules["dvfast.training.fit"]  # the function has its name
    monkeypatch.setattr(module, "running_processes", lambda _: nullcontext(two))
    with pytest.raises(InputError, match="batch_size: 3 cannot be shared evenly by 2 processes"):
        fit(tmp_path, tmp_path / "run", tiny_config(batch_size=3), progress=False)
