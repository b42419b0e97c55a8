"""What is timed of one tool."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from .scene import Clock, Scene, check, count_labels


class Tool(ABC):
    """What is timed of one tool."""

    package: ClassVar[str]
    runs: ClassVar[tuple[str, ...]] = ("load", "forward", "postprocess", "quit")
    about: ClassVar[dict[str, str]]

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.image: Any = None
        self.scene: Any = None

    def version(self) -> str:
        return importlib.metadata.version(self.package)

    def parameters(self) -> int:
        """Of the network."""
        return 0

    def thread_counts(self) -> dict[str, int]:
        return {"requested": self.threads}

    def scale(self) -> float:
        """Pixels of the network's input per pixel of the image."""
        return 1.0

    def load(self, image: str, radius: float, nuclei: int | None) -> dict[str, Any]:
        import numpy as np

        clock = Clock()
        with clock.part("load"):
            pixels = np.load(image)
            if pixels.dtype != np.float32 or pixels.ndim != 3 or pixels.shape[2] != 3:
                raise ValueError(f"an H x W x 3 float32 image it must be: {image}")
            self.image = None  # until all is there
            self.scene = Scene.make(pixels.shape[:2], radius, nuclei)
            self.prepare()
            self.image = np.ascontiguousarray(pixels)
        return clock.answer(
            shape=list(pixels.shape),
            radius=radius,
            nuclei=len(self.scene.centers),
            scale=self.scale(),
        )

    def prepare(self) -> None:  # noqa: B027 (not every tool has maps to make)
        """Make the maps that `postprocess` gets."""

    @abstractmethod
    def forward(self) -> dict[str, Any]: ...

    def postprocess(self) -> dict[str, Any]:
        raise NotImplementedError("a whole detector: there is nothing after `forward`")

    def counted(self, clock: Clock, objects: int, hits: int) -> dict[str, Any]:
        """An answer, if about as many objects came out as were put in, and where they were."""
        expected = len(self.scene.centers)
        if abs(objects - expected) > 0.05 * expected or hits < 0.95 * expected:
            raise ValueError(
                f"{objects} objects came out of maps with {expected} nuclei, and {hits} are right"
            )
        return clock.answer(objects=objects, expected=expected, hits=hits)

    def counted_points(self, clock: Clock, points: Any) -> dict[str, Any]:
        """Of points, y and x: right is one in a nucleus that no other is in."""
        limits = [side - 1 for side in self.scene.shape]
        y, x = points.round().astype(int).clip(0, limits).T
        return self.counted(clock, len(points), count_labels(self.scene.labels[y, x]))

    def counted_labels(self, clock: Clock, labels: Any) -> dict[str, Any]:
        """Of an image of labels: right is one that is at the centre of a nucleus."""
        check("labels", labels, self.scene.shape)
        y, x = self.scene.centers.round().astype(int).T
        return self.counted(clock, count_labels(labels), count_labels(labels[y, x]))


class TorchTool(Tool):
    """With a network in PyTorch."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import torch

        self._torch = torch
        self._network: Any = None
        torch.manual_seed(0)
        self.set_threads()

    def set_threads(self) -> None:
        self._torch.set_num_threads(self.threads)

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._network.parameters())

    def thread_counts(self) -> dict[str, int]:
        return {**super().thread_counts(), "torch": self._torch.get_num_threads()}
