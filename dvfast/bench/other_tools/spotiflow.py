"""Spotiflow, in PyTorch."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from .scene import NOISE, Clock, check
from .tool import TorchTool


def load_torchvision() -> Any:
    """Import torchvision, also where its compiled operators do not load.

    Its wheels on PyPI are linked against PyTorch for CUDA; beside PyTorch for CPUs their operators
    are missing, and then its import fails at two of them, which are but registered. Spotiflow only
    imports it, for its training. What is returned must be kept: with it the declarations go.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision  # noqa: F401

        return library
    return None


class Spotiflow(TorchTool):
    package = "spotiflow"
    about: ClassVar[dict[str, str]] = {
        "network": "Spotiflow with its default configuration, one channel: U-Net of 4 levels with"
        " 32 filters and 3 convolutions per level, flow; random weights",
        "input": "inverted grey at the image's scale, untiled (as it does itself up to 2048 x"
        " 2048), padded to a multiple of 16",
        "forward": "normalize (1, 99.8), network called directly, channels_last, inference_mode,"
        " sigmoid; float32",
        "postprocess": "prob_to_points (fast, threshold 0.5, min_distance 1), flow_to_vector,"
        " subpixel_offset",
    }

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._torchvision = load_torchvision()
        from spotiflow import utils
        from spotiflow.model import Spotiflow as Network
        from spotiflow.model import SpotiflowModelConfig
        from spotiflow.utils import peaks

        # It would take half of the CPUs at most.
        peaks.get_num_threads = lambda: threads
        self._utils, self._peaks = utils, peaks
        self._config = SpotiflowModelConfig()
        network = Network(self._config).eval()
        self._network = network.to(memory_format=self._torch.channels_last)

    def prepare(self) -> None:
        """The maps are those it is trained on."""
        import numpy as np

        generator = np.random.default_rng(0)
        points = self.scene.centers.astype(np.float32)
        sigma = self._config.sigma
        heat = self._peaks.points_to_prob(points, self.scene.shape, sigma=sigma, val=0.95)
        heat *= generator.uniform(1 - NOISE, 1, heat.shape)
        self._heat = np.ascontiguousarray(heat, np.float32)
        self._flow = self._peaks.points_to_flow(points, self.scene.shape, sigma=sigma)

    def forward(self) -> dict[str, Any]:
        torch = self._torch
        self.set_threads()
        clock = Clock()
        height, width = self.image.shape[:2]
        with clock.part("prepare"):
            grey = self._utils.normalize(1 - self.image.mean(axis=2, keepdims=True))
            padded = (-(-height // 16) * 16, -(-width // 16) * 16, 1)
            grey, _ = self._utils.center_pad(grey, padded, mode="reflect")
        with clock.part("network"), torch.inference_mode():
            tensor = torch.from_numpy(grey).permute(2, 0, 1)[None]
            result = self._network(tensor.contiguous(memory_format=torch.channels_last))
            heat = torch.sigmoid(result["heatmaps"][0])[0, 0].numpy()
            flow = result["flow"][0].permute(1, 2, 0).numpy()
        check("flow", flow, (*padded[:2], 3))
        return clock.answer(output=check("heat map", heat, padded[:2]))

    def postprocess(self) -> dict[str, Any]:
        clock = Clock()
        with clock.part("peaks"):
            points = self._utils.prob_to_points(
                self._heat, prob_thresh=0.5, min_distance=1, mode="fast", exclude_border=False
            )
        with clock.part("refine"):
            vectors = self._utils.flow_to_vector(self._flow, sigma=self._config.sigma)
            refined = points + self._utils.subpixel_offset(points, vectors, self._heat, radius=0)
        check("points", refined, (len(points), 2))
        return self.counted_points(clock, refined)
