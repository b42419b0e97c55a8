"""StarDist, in TensorFlow."""

from __future__ import annotations

from typing import Any, ClassVar

from .scene import NOISE, Clock, check
from .tool import Tool


class StarDist(Tool):
    package = "stardist"
    about: ClassVar[dict[str, str]] = {
        "network": "StarDist2D as 2D_versatile_he: RGB, 32 rays, grid (2, 2), U-Net of depth 3 with"
        " 32 filters, 128 features after it; random weights",
        "input": "the image's scale, untiled, padded to a multiple of 16",
        "forward": "csbdeep normalize (1, 99.8 per channel), keras_model.predict_on_batch: half the"
        " time of StarDist2D.predict on a small image; float32",
        "postprocess": "non_maximum_suppression (thresholds of 2D_versatile_he: 0.692, 0.3),"
        " polygons_to_label",
    }
    _RAYS, _GRID, _THRESHOLD, _OVERLAP = 32, 2, 0.692478, 0.3

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import tensorflow
        from csbdeep.utils import normalize
        from stardist.geometry import polygons_to_label
        from stardist.models import Config2D, StarDist2D
        from stardist.nms import non_maximum_suppression

        threading = tensorflow.config.threading
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
        tensorflow.keras.utils.set_random_seed(0)
        self._threading = threading
        self._normalize = normalize
        self._suppress = non_maximum_suppression
        self._draw = polygons_to_label
        config = Config2D(
            axes="YXC", n_channel_in=3, n_rays=self._RAYS, grid=(self._GRID, self._GRID)
        )
        self._network = StarDist2D(config, name=None, basedir=None).keras_model

    def parameters(self) -> int:
        return int(self._network.count_params())

    def thread_counts(self) -> dict[str, int]:
        return {
            **super().thread_counts(),
            "intra_op": self._threading.get_intra_op_parallelism_threads(),
            "inter_op": self._threading.get_inter_op_parallelism_threads(),
        }

    def prepare(self) -> None:
        """`prob` is what it is trained on: the depth in the nucleus."""
        import numpy as np

        generator = np.random.default_rng(0)
        part = (slice(None, None, self._GRID),) * 2
        y, x = (-offset[part] for offset in self.scene.offsets)
        depth = self.scene.depth()[part]
        self._prob = (depth * generator.uniform(1 - NOISE, 1, depth.shape)).astype(np.float32)
        angles = 2 * np.pi * np.arange(self._RAYS) / self._RAYS
        along = y[..., None] * np.sin(angles) + x[..., None] * np.cos(angles)
        square = self.scene.radius**2 - (y**2 + x**2)[..., None] + along**2
        dist = np.sqrt(square.clip(0)) - along
        dist *= generator.normal(1, NOISE, dist.shape)
        inside = (self.scene.labels[part] > 0)[..., None]
        self._dist = np.where(inside, dist, 0).clip(1e-3).astype(np.float32)

    def forward(self) -> dict[str, Any]:
        import numpy as np

        clock = Clock()
        height, width = self.image.shape[:2]
        with clock.part("prepare"):
            image = self._normalize(self.image, 1, 99.8, axis=(0, 1))
            image = np.pad(image, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="reflect")
        with clock.part("network"):
            prob, dist = self._network.predict_on_batch(image[None])
        size = (1, -(-height // 16) * 8, -(-width // 16) * 8)
        check("dist", dist, (*size, self._RAYS))
        return clock.answer(output=check("prob", prob, (*size, 1)))

    def postprocess(self) -> dict[str, Any]:
        clock = Clock()
        with clock.part("suppress"):
            points, prob, dist = self._suppress(
                self._dist,
                self._prob,
                grid=(self._GRID, self._GRID),
                prob_thresh=self._THRESHOLD,
                nms_thresh=self._OVERLAP,
            )
        with clock.part("draw"):
            labels = self._draw(dist, points, prob=prob, shape=self.scene.shape)
        return self.counted_labels(clock, labels)
