"""One process or several: the little that training has to know about torch.distributed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from ..errors import InputError

__all__ = ["Processes", "running_processes"]


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them."""

    rank: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, module: nn.Module) -> nn.Module:
        """`module` so that its backward pass averages the gradients over the processes."""
        if self.count == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=devices)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes, without gradient."""
        value = value.detach().clone()
        if self.count > 1:
            distributed.all_reduce(value)
            value /= self.count
        return value

    def wait(self) -> None:
        """Return once every process has called this."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def running_processes(device: str | torch.device | None) -> Iterator[Processes]:
    """Join the processes that torchrun started, or be alone.

    A process group that exists already is used and left as it is.
    """
    chosen = _own_device(device)
    joined = distributed.is_available() and distributed.is_initialized()
    alone = not joined and not distributed.is_torchelastic_launched()
    if alone:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not joined:
        distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), chosen)
    finally:
        if not joined:
            distributed.destroy_process_group()


def _own_device(device: str | torch.device | None) -> torch.device:
    # The CUDA kernels have not yet run on hardware: who wants them has to say so.
    try:
        chosen = torch.device(device or "cpu")
    except RuntimeError as error:
        raise InputError(f"device: came as {device!r}: {error}") from None
    if chosen.type != "cuda":
        return chosen
    count = torch.cuda.device_count()
    index = int(os.environ.get("LOCAL_RANK", 0)) % max(count, 1)
    index = index if chosen.index is None else chosen.index
    if index >= count:
        raise InputError(f"device: came as {str(device)!r}, but there are {count} CUDA devices")
    return torch.device("cuda", index)
