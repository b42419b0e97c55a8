"""Everything that changes during training, and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from ..data.json_files import differences
from ..detection import DetectionSettings
from ..errors import InputError
from ..nn import VotingNetwork, VotingUNet
from ..weights.container import read_container, write_container
from .config import TrainingConfig
from .history import History, Validation

__all__ = ["TrainingState"]

_KEY = "dvfast_checkpoint"
_FORMAT = 1


class TrainingState:
    """The network, its optimizer, schedule and average, the best weights so far, and the history.

    Random numbers have no state here: those of a step derive from the seed and the step.
    """

    def __init__(self, config: TrainingConfig, device: torch.device) -> None:
        self._config = config
        self.net = config.build_network().to(device)
        self._optimizer = _optimizer(config, self.net)
        self._scheduler = _scheduler(config, self._optimizer)
        self._average = _average(config, self.net) if config.ema else None
        self._best: dict[str, Tensor] = {}
        self.history = History()

    @property
    def step(self) -> int:
        """Updates made so far."""
        return len(self.history.loss)

    @property
    def trained_net(self) -> VotingNetwork:
        """The network to validate and to save: the average, where there is one."""
        if self._average is None:
            return self.net
        return cast(VotingNetwork, self._average.module)

    @property
    def best_f1(self) -> float | None:
        """The highest validation F1 so far."""
        return max((item.f1 for item in self.history.validation), default=None)

    def start_step(self) -> None:
        """Forget the gradients of the last step."""
        self.net.train()
        self._optimizer.zero_grad(set_to_none=True)

    def finish_step(self, loss: float) -> None:
        """Update the weights from their gradients, and note the loss."""
        self._optimizer.step()
        self._scheduler.step()
        if self._average is not None:
            self._average.update_parameters(self.net)
        self.history.loss.append(loss)

    def note(self, validation: Validation) -> None:
        """Add a validation, and keep the validated weights if they are the best so far."""
        if self.best_f1 is None or validation.f1 > self.best_f1:
            self._best = {
                name: tensor.detach().clone()
                for name, tensor in self.trained_net.state_dict().items()
            }
        self.history.validation.append(validation)

    def best_net(self) -> VotingNetwork:
        """The network with the best validated weights, or the last ones without validation.

        Normalisation, which only training needs, is part of its convolutions.
        """
        net = self.trained_net
        if self._best:
            net.load_state_dict(self._best)
        return net.folded() if isinstance(net, VotingUNet) else net.eval()

    def save(self, path: Path, fingerprint: str) -> None:
        """Write a checkpoint; whole or not at all."""
        optimizer = self._optimizer.state_dict()
        tensors = {
            **_prefixed("net", self.net.state_dict()),
            **_prefixed("average", self._average.state_dict() if self._average else {}),
            **_prefixed("best", self._best),
            "loss": torch.tensor(self.history.loss, dtype=torch.float64),
        }
        for index, values in optimizer["state"].items():
            tensors |= _prefixed(f"optimizer.{index}", values)
        facts = {
            "format": _FORMAT,
            "config": self._config.to_dict(),
            "fingerprint": fingerprint,
            "groups": optimizer["param_groups"],
            "scheduler": self._scheduler.state_dict(),
            "validation": [asdict(item) for item in self.history.validation],
        }
        write_container(path, tensors, _KEY, facts)

    def load(self, path: Path, fingerprint: str) -> None:
        """Continue from a checkpoint.

        Raises
        ------
        InputError
            If the file cannot be read, or belongs to other settings or other data.
        """
        tensors, facts = read_container(path, _KEY, "a checkpoint")
        if facts.get("format") != _FORMAT:
            raise InputError(
                f"{path}: checkpoint format {facts.get('format')!r}, expected {_FORMAT}; finish "
                "the run with the dvfast that began it, or start over with resume=False (--fresh)"
            )
        self._check_same_run(path, facts, fingerprint)
        try:
            self._restore(tensors, facts)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{path}: the checkpoint is damaged ({error!r}); start over with resume=False "
                "(--fresh)"
            ) from error

    def _restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self.net.load_state_dict(_unprefixed("net", tensors))
        if self._average is not None:
            self._average.load_state_dict(_unprefixed("average", tensors))
        device = next(self.net.parameters()).device
        self._best = {
            name: value.to(device) for name, value in _unprefixed("best", tensors).items()
        }
        parameters = list(self.net.parameters())
        self._optimizer.load_state_dict(
            {
                "state": {
                    index: _like(parameter, _unprefixed(f"optimizer.{index}", tensors))
                    for index, parameter in enumerate(parameters)
                },
                "param_groups": [_with_tuples(group) for group in facts["groups"]],
            }
        )
        self._scheduler.load_state_dict(facts["scheduler"])
        self.history = History(
            tensors["loss"].tolist(), [Validation(**item) for item in facts["validation"]]
        )

    def _check_same_run(self, path: Path, facts: Mapping[str, Any], fingerprint: str) -> None:
        way_out = (
            "use the old ones, another output folder, or start over with resume=False (--fresh)"
        )
        theirs = dict(facts.get("config") or {})
        if isinstance(theirs.get("detection"), Mapping):
            # What there was not when the run began is at its default.
            theirs["detection"] = {**DetectionSettings().to_dict(), **theirs["detection"]}
        if changed := differences(theirs, self._config.to_dict()):
            raise InputError(f"{path}: the run began with other settings: {changed}; {way_out}")
        if facts.get("fingerprint") != fingerprint:
            raise InputError(
                f"{path}: the run began with other training files (names, images or clicks "
                f"differ); {way_out}"
            )


def _optimizer(config: TrainingConfig, net: VotingNetwork) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            net.parameters(), config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(
        net.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )


def _scheduler(config: TrainingConfig, optimizer: torch.optim.Optimizer) -> LRScheduler:
    if config.schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    # One more than the steps: the scheduler is asked for a rate after the last step, too.
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, config.steps + 1)
    return OneCycleLR(optimizer, config.learning_rate, total_steps=config.steps + 1)


def _average(config: TrainingConfig, net: VotingNetwork) -> AveragedModel:
    def average(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        # Early on, a long memory would mostly remember the random start.
        decay = min(config.ema, (1 + float(count)) / (10 + float(count)))
        return torch.lerp(new, old, decay)

    return AveragedModel(net, avg_fn=average)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def _like(parameter: Tensor, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Optimizer values in the memory format of their parameter, which the file does not keep."""
    return {
        name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        for name, value in values.items()
    }


def _with_tuples(group: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has made a list of AdamW's betas."""
    return {name: tuple(value) if name == "betas" else value for name, value in group.items()}
