"""Cellpose 3, in PyTorch."""

from __future__ import annotations

from typing import Any, ClassVar

from .scene import NOISE, Clock, check
from .tool import TorchTool


class Cellpose(TorchTool):
    package = "cellpose"
    about: ClassVar[dict[str, str]] = {
        "network": "CPnet of Cellpose 3 as 'nuclei': 2 channels, 32 to 256 filters, style; random"
        " weights",
        "input": "inverted grey, scaled so that nuclei of the given radius get a diameter of 17"
        " pixels ('nuclei'; cyto3 has 30), tiles of 224 with 10 % overlap in batches of 8",
        "forward": "normalize_img, run_net with channels_last (faster than its mkldnn), maps to the"
        " image's size by resize_image; float32",
        "postprocess": "resize_and_compute_masks on maps of the image's size, as eval does: 200 /"
        " scale steps, flow_threshold 0.4, min_size 15",
    }
    _DIAMETER = 17.0

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import cv2
        from cellpose import core, dynamics, models, transforms

        cv2.setNumThreads(threads)
        self._core, self._dynamics, self._transforms = core, dynamics, transforms
        model = models.CellposeModel(gpu=False, diam_mean=self._DIAMETER, nchan=2, mkldnn=False)
        self._network = model.net.eval().to(memory_format=self._torch.channels_last)

    def scale(self) -> float:
        return self._DIAMETER / (2 * self.scene.radius)

    def prepare(self) -> None:
        """The maps are those it is trained on."""
        import numpy as np

        generator = np.random.default_rng(0)
        cpu = self._torch.device("cpu")
        flows = 5 * self._dynamics.masks_to_flows(self.scene.labels.astype(int), device=cpu)
        flows += generator.normal(0, 5 * NOISE, flows.shape)
        probability = np.where(self.scene.labels > 0, 6, -6)
        probability = probability + generator.normal(0, 1, self.scene.shape)
        self._flows = flows.astype(np.float32)
        self._probability = probability.astype(np.float32)

    def forward(self) -> dict[str, Any]:
        transforms = self._transforms
        clock = Clock()
        height, width = self.image.shape[:2]
        scale = self.scale()
        with clock.part("prepare"):
            image = transforms.convert_image(self.image, channels=[0, 0], nchan=2)[None]
            image = transforms.normalize_img(image, normalize=True, invert=True)
        with clock.part("network"):
            maps, _ = self._core.run_net(
                self._network, image, batch_size=8, rsz=None if scale == 1 else scale
            )
            if scale != 1:
                maps = transforms.resize_image(maps, height, width)
        return clock.answer(output=check("maps", maps, (1, height, width, 3)))

    def postprocess(self) -> dict[str, Any]:
        clock = Clock()
        with clock.part("masks"):
            masks = self._dynamics.resize_and_compute_masks(
                self._flows,
                self._probability,
                niter=200 / self.scale(),
                device=self._torch.device("cpu"),
            )
        return self.counted_labels(clock, masks)
