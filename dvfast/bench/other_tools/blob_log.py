"""scikit-image's ``blob_log``, a detector as a whole."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from .scene import RADIUS, Clock, Scene, check
from .tool import Tool


class BlobLog(Tool):
    package = "scikit-image"
    runs = ("load", "forward", "quit")
    about: ClassVar[dict[str, str]] = {
        "network": "none",
        "input": "haematoxylin + DAB of rgb2hed at the image's scale, untiled",
        "forward": "rgb2hed, then blob_log with 3 sigmas from 0.75 to 1.25 times radius / sqrt(2),"
        " threshold_rel=0.2; a whole detector, and single-threaded",
        "postprocess": "none",
    }

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from skimage.color import rgb2hed
        from skimage.feature import blob_log

        self._rgb2hed, self._blob_log = rgb2hed, blob_log
        # Its result depends on the image, so it is checked once on an image with known nuclei.
        self.scene = Scene.make((256, 256), RADIUS, None)
        self.image = self.scene.image()
        self.counted_points(Clock(), self._blobs(Clock())[:, :2])
        self.image = self.scene = None

    def thread_counts(self) -> dict[str, int]:
        return {**super().thread_counts(), "used": 1}

    def _blobs(self, clock: Clock) -> Any:
        with clock.part("prepare"):
            stains = self._rgb2hed(self.image)
            density = stains[..., 0] + stains[..., 2]
        with clock.part("blob_log"):
            sigma = self.scene.radius / math.sqrt(2)
            return self._blob_log(
                density,
                min_sigma=0.75 * sigma,
                max_sigma=1.25 * sigma,
                num_sigma=3,
                threshold=None,
                threshold_rel=0.2,
            )

    def forward(self) -> dict[str, Any]:
        clock = Clock()
        blobs = self._blobs(clock)
        if not len(blobs):
            raise ValueError("no blobs")
        return clock.answer(objects=len(blobs), output=check("blobs", blobs, (len(blobs), 3)))
