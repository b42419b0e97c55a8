"""Contests of the voting U-Net: its votes, and what a user of the default weights waits for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .. import functional
from .._padding import pad_image
from ..data import image_to_tensor
from ..detection import Detector
from ..nn import VotingUNet
from ..scan import PRECISIONS, can_scan, scan
from .contest import Contender, Contest, Entry, Settings
from .scanning import TOLERANCE, agree, points_in_torch
from .voting import same_places

__all__ = ["ENTRIES"]

_WEIGHTS = "ihc"
_SIDE = 512  # of the image, all of scikit-image's


def _detector(settings: Settings) -> tuple[Detector, VotingUNet]:
    detector = Detector.from_pretrained(_WEIGHTS).to(settings.device)
    net = detector.net
    assert isinstance(net, VotingUNet)
    return detector, net


def _image() -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = data.immunohistochemistry()[:_SIDE, :_SIDE]
    return image


def _dense(net: VotingUNet, padded: Tensor, stride: int) -> Tensor:
    return functional.hybrid_activation(net.dense(padded, stride))


def _operations(net: VotingUNet, padded: Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(net).to("meta").dense(padded.to("meta"), net.output_stride)
    return float(counter.get_total_flops())


def _votes(settings: Settings) -> Contest:
    """The network alone: trained weights, a real image."""
    detector, net = _detector(settings)
    stride = detector.settings.stride
    image = image_to_tensor(_image(), 3).to(settings.device)
    padded = pad_image(image, net.margin)[None]
    innermost = padded.contiguous(memory_format=torch.channels_last)
    ours = {
        precision: partial(scan, net, image, stride=stride, precision=precision)
        for precision in PRECISIONS
        if can_scan(net, precision)
    }
    theirs: dict[str, Callable[[], Tensor]] = {
        "PyTorch, channels_last": partial(_dense, net, innermost, stride)
    }
    if not settings.quick:
        plain = copy.deepcopy(net).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        theirs["PyTorch, NCHW"] = partial(_dense, plain, padded, stride)
        compiled = torch.compile(_dense, dynamic=False)
        theirs["PyTorch, torch.compile, channels_last"] = partial(compiled, net, innermost, stride)

    @torch.no_grad()
    def verify() -> None:
        expected = ours["exact"]()
        for precision, run in ours.items():
            agree({precision: run}, expected, TOLERANCE[precision])
        agree(theirs, expected, TOLERANCE["float32"])

    work = _operations(net, padded)
    contenders = [
        Contender(
            f"dvfast, {precision}",
            run,
            True,
            unit="vector" if precision == "exact" else None,
            work=work if precision == "exact" else 0.0,
        )
        for precision, run in ours.items()
    ]
    contenders += [Contender(name, torch.no_grad()(run)) for name, run in theirs.items()]
    return Contest(contenders, verify, image[0].numel(), main="dvfast, float32")


def _image_to_points(settings: Settings) -> Contest:
    """From the pixels of a file to nuclei, as ``dvfast detect`` does by default."""
    detector, net = _detector(settings)
    own = detector.settings
    image = _image()
    size = (image.shape[0], image.shape[1])
    runs = {
        f"dvfast, {precision}": partial(detector.detect, image, precision=precision)
        for precision in PRECISIONS
        if can_scan(net, precision)
    }

    @torch.no_grad()
    def in_torch() -> Tensor:
        tensor = image_to_tensor(image, 3).to(settings.device)
        padded = pad_image(tensor, net.margin)[None].contiguous(memory_format=torch.channels_last)
        return points_in_torch(_dense(net, padded, own.stride), size, own)

    def verify() -> None:
        assert not own.relative, "the peer's threshold is one of the density"
        expected = torch.from_numpy(runs["dvfast, exact"]().points)
        assert len(expected)
        for run in runs.values():
            same_places(torch.from_numpy(run().points), expected)
        same_places(in_torch(), expected)

    contenders = [Contender(name, run, True) for name, run in runs.items()]
    contenders.append(Contender("PyTorch, channels_last, index_add_, max_pool2d", in_torch))
    return Contest(contenders, verify, size[0] * size[1], main="dvfast, float32")


ENTRIES = (
    Entry(
        "unet",
        "scanning",
        f"Votes of a voting U-Net, {_SIDE} × {_SIDE} RGB pixels, weights {_WEIGHTS}",
        _votes,
    ),
    Entry(
        "unet-image-to-points",
        "scanning",
        f"From image to nuclei, {_SIDE} × {_SIDE} RGB pixels, weights {_WEIGHTS}",
        _image_to_points,
    ),
)
