"""InstanSeg, in PyTorch."""

from __future__ import annotations

from typing import Any, ClassVar

from .scene import NOISE, Clock, check
from .tool import TorchTool


class InstanSeg(TorchTool):
    package = "instanseg-torch"
    about: ClassVar[dict[str, str]] = {
        "network": "InstanSeg_UNet as its training script builds it by default and as for"
        " brightfield_nuclei: RGB, layers 32, 64, 128, 256, batch norm, 2 coordinates, 2 sigmas, 1"
        " seed map; random weights",
        "input": "the image's scale (the published model is for 0.5 um per pixel), untiled, padded"
        " to a multiple of 16",
        "forward": "percentile_normalize, network as frozen TorchScript (it is shipped as"
        " TorchScript), channels_last; float32",
        "postprocess": "InstanSeg_Torchscript with its default settings, scripted as it is shipped,"
        " with the maps in place of its network and pixel classifier weights set by hand",
    }
    # Reach of its fields in pixels, at either side.
    _REACH = 15.5

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        torch = self._torch
        from instanseg.utils.loss import instanseg_loss
        from instanseg.utils.model_loader import build_model_from_dict
        from instanseg.utils.utils import percentile_normalize

        self._frozen: Any = None
        self._detector: Any = None
        self._loss, self._normalize = instanseg_loss, percentile_normalize
        settings = {
            "model_str": "InstanSeg_UNet",
            "dim_in": 3,
            "layers": (32, 64, 128, 256),
            "norm": "BATCH",
            "dropprob": 0.0,
            "multihead": False,
            "cells_and_nuclei": False,
            "dim_coords": 2,
            "n_sigma": 2,
            "dim_seeds": 1,
        }
        network = build_model_from_dict(settings).eval().to(memory_format=torch.channels_last)
        self._network = network

    def load(self, image: str, radius: float, nuclei: int | None) -> dict[str, Any]:
        answer = super().load(image, radius, nuclei)
        # TorchScript is compiled, and for one size, in its first two runs.
        for _ in range(2):
            self.forward()
            if self._detector is not None:
                self.postprocess()
        return answer

    def prepare(self) -> None:
        """Coordinates that lead to the centre, and depth as the seed map, as it is trained."""
        self._freeze()
        self._detector = None
        if self.scene.radius > self._REACH:  # `forward` can run all the same
            return
        import numpy as np

        torch = self._torch
        generator = np.random.default_rng(0)
        height, width = self.scene.shape
        place = self._loss.generate_coordinate_map("linear", 2, height, width, torch.device("cpu"))
        step = np.array([place[0, 0, 1], place[1, 1, 0]], np.float32)[:, None, None]
        fields = self.scene.offsets[::-1] * step  # x, y
        fields = (fields + generator.normal(0, NOISE, fields.shape)).clip(-3.99, 3.99)
        fields = np.log((4 + fields) / (4 - fields))  # it takes (sigmoid - 0.5) * 8 of them
        sigmas = generator.normal(0, NOISE, fields.shape)
        depth = self.scene.depth() * generator.uniform(1 - NOISE, 1, self.scene.shape)
        maps = np.concatenate([fields, sigmas, 15 * (depth - 0.5)[None]]).astype(np.float32)
        padding = ((0, 0), (0, -height % 16), (0, -width % 16))
        maps = np.pad(maps, padding, constant_values=((0, 0),) * 3)
        maps[4, height:], maps[4, :, width:] = -7.5, -7.5
        self._detector = torch.jit.script(self._detector_of(torch.from_numpy(maps)[None]))

    def _freeze(self) -> None:
        torch = self._torch
        example = torch.rand(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            self._frozen = torch.jit.freeze(torch.jit.trace(self._network, example))

    def _detector_of(self, maps: Any) -> Any:
        torch = self._torch

        class Maps(torch.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self, classifier: Any) -> None:
                super().__init__()
                self.pixel_classifier = classifier
                self.register_buffer("maps", maps)

            def forward(self, _: Any) -> Any:
                return self.maps.clone()  # tracing breaks on a module that returns its buffer

        # Of a pixel it gets by how much it misses the centre, and two sigmas: 5 hidden units are
        # enough for the sum of the two absolute values. A unit is 4 pixels.
        classifier = self._loss.ProbabilityNet(4, width=5)
        with torch.no_grad():
            for parameter in classifier.parameters():
                parameter.zero_()
            for unit, (axis, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1)]):
                classifier.fc1.weight[unit, axis] = sign
            classifier.fc2.weight += torch.eye(5)
            classifier.fc3.weight -= 6
            classifier.fc3.bias += 3
        return self._loss.InstanSeg_Torchscript(Maps(classifier), n_sigma=2, backbone_dim_in=1)

    def forward(self) -> dict[str, Any]:
        torch = self._torch
        clock = Clock()
        height, width = self.image.shape[:2]
        with clock.part("prepare"):
            # A copy, for it normalises in place.
            image = self._normalize(torch.from_numpy(self.image.copy()).permute(2, 0, 1))[None]
            padding = (0, -width % 16, 0, -height % 16)
            image = torch.nn.functional.pad(image.clamp(-2, 3), padding, mode="reflect")
        with clock.part("network"), torch.inference_mode():
            maps = self._frozen(image.contiguous(memory_format=torch.channels_last)).numpy()
        return clock.answer(output=check("maps", maps, (1, 5, *image.shape[2:])))

    def postprocess(self) -> dict[str, Any]:
        if self._detector is None:
            raise ValueError(
                f"its fields reach 16 pixels, too few for a radius of {self.scene.radius:g}: the"
                " image is to be scaled down"
            )
        clock = Clock()
        blank = self._torch.zeros(1, 1, *self.scene.shape)
        with clock.part("detect"), self._torch.inference_mode():
            labels = self._detector(blank)
        return self.counted_labels(clock, labels[0, 0].numpy())
