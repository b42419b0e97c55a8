"""Detection as one CUDA graph: for images of one size, without the host in between."""

from __future__ import annotations

import torch
from torch import Tensor

from .._engines import held
from ..errors import InputError
from ..nn.network import tensor_of
from ..scan import Precision
from .detector import Detector
from .finding import find_nuclei

__all__ = ["DetectionGraph"]


class DetectionGraph:
    """A detector for GPU images of one size, captured once and replayed for every image.

    Parameters
    ----------
    detector
        On a CUDA device. Its weights are those of now: capture anew when they have changed.
    size
        Height and width of the images, which are taken as they are, without resampling.
    stride, threshold, precision
        As for :meth:`Detector.detect`.
    capacity
        How many nuclei of an image there is room for.

    Raises
    ------
    InputError
        If the detector is not on a CUDA device, or its settings ask for a normalization, which
        needs all of an image on the host: :func:`dvfast.data.normalize` it before.

    Examples
    --------
    >>> import dvfast, torch
    >>> detector = dvfast.Detector.from_pretrained("ihc-patch").to("cuda")  # doctest: +SKIP
    >>> detect = dvfast.detection.DetectionGraph(detector, (400, 400))  # doctest: +SKIP
    >>> points, scores, count = detect(torch.rand(3, 400, 400, device="cuda"))  # doctest: +SKIP
    """

    def __init__(
        self,
        detector: Detector,
        size: tuple[int, int],
        *,
        stride: int | None = None,
        threshold: float | None = None,
        precision: Precision = "float32",
        capacity: int = 16_384,
    ) -> None:
        self._detector = detector
        self._settings = detector.settings_with(stride=stride, threshold=threshold)
        self._precision = precision
        self._capacity = capacity
        if self._settings.normalization != "none":
            raise InputError(
                f"detector: its settings ask for normalization by {self._settings.normalization}, "
                "which is no part of a graph; use Detector.detect, or normalize images with "
                "dvfast.data.normalize and set settings.normalization to 'none'"
            )
        weight = tensor_of(detector.net)
        self._image = weight.new_zeros(detector.net.in_channels, *size)
        if weight.device.type != "cuda":
            raise InputError(
                f"detector must be on a CUDA device, got {weight.device}: use Detector.detect, or "
                "move it with detector.to('cuda')"
            )
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(weight.device):
            # What is allocated or loaded at the first run must not be part of the graph.
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self._detect()
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(self._graph):
                self._result = self._detect()
        # The graph reads the packed weights, which are dropped when those of the network change.
        self._weights = held(detector.net)

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find the nuclei of an image ``[C, H, W]`` in [0, 1].

        Returns
        -------
        points, scores, count : Tensor
            As :func:`dvfast.find_first_peaks` returns them, on the device. They are overwritten by
            the next call.

        Raises
        ------
        ValueError
            If the image is of another shape than was captured.
        """
        if image.shape != self._image.shape:
            raise ValueError(
                f"image must be {list(self._image.shape)}, as captured, got {list(image.shape)}"
            )
        self._image.copy_(image)
        self._graph.replay()
        return self._result

    @torch.no_grad()
    def _detect(self) -> tuple[Tensor, Tensor, Tensor]:
        found = find_nuclei(
            self._detector.net,
            self._image,
            self._settings,
            self._capacity,
            precision=self._precision,
        )
        return found.centres.to(found.points), found.scores, found.total
