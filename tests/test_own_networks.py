"""Networks of one's own: scanned at the pixels that they should be, and left as they were."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from support import one_thread, random_image, small_unet
from torch import Tensor, nn

import dvfast
from dvfast.nn import VotingNetwork
from dvfast.scan import pad_image

__all__ = ["one_thread"]

windows = importlib.import_module("dvfast._whole_scan")


class OfAnyKind(VotingNetwork):
    """A convolution that reaches further than the margin, of an image weighed by where it lies."""

    num_votes, in_channels = 1, 1
    reach = 0  # a value of its own in place of the property

    def __init__(self, grid: int, margin: int, reach: int, output_stride: int) -> None:
        super().__init__()
        self.grid, self.margin, self.reach = grid, margin, reach
        self.output_stride = output_stride
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(3, 1, 2 * reach + 1, 2 * reach + 1, generator=generator) / (reach + 1)
        self.weight = nn.Parameter(weight.double())

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def dense(self, image: Tensor, stride: int = 1) -> Tensor:
        assert stride % self.output_stride == 0
        rows, columns = (torch.arange(n) % self.grid + 1 for n in image.shape[2:])
        weighed = image * rows[:, None] * columns
        logits = nn.functional.conv2d(weighed, self.weight, padding=self.reach - self.margin)
        return logits[:, :, ::stride, ::stride]


KINDS = [
    *((1, 0, 5, 1), (1, 3, 3, 1), (1, 2, 7, 2), (2, 3, 5, 1)),
    *((4, 4, 9, 2), (3, 1, 6, 1), (6, 5, 5, 3)),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_votes_are_those_of_their_pixels(
    kind: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = OfAnyKind(*kind)
    image = random_image(1, 1, 61, 47).double()
    padded = pad_image(image, net.margin)
    monkeypatch.setattr(windows, "_WINDOW", 30)
    for multiple, first in product((1, 2, 3), (0, 1, 4)):
        stride = multiple * net.output_stride
        top, left = first * net.output_stride, 2 * first * net.output_stride
        logits = net.dense(padded, net.output_stride)[:, :, first::multiple, 2 * first :: multiple]
        region = (top, left, 61 - top, 47 - left)
        votes = dvfast.scan(net, image, stride=stride, region=region, precision="float32")
        torch.testing.assert_close(votes, dvfast.hybrid_activation(logits))


def test_a_network_that_reaches_further_than_a_window_is_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts grow with the reach: what overlaps is never more than what is new."""
    net = OfAnyKind(1, 2, 20, 1)
    image = random_image(1, 1, 83, 99).double()
    seen: list[int] = []
    dense = OfAnyKind.dense

    def spy(net: OfAnyKind, pixels: Tensor, stride: int = 1) -> Tensor:
        seen.append(pixels[0, 0].numel())
        return dense(net, pixels, stride)

    expected = dvfast.scan(net, image, precision="float32")
    monkeypatch.setattr(OfAnyKind, "dense", spy)
    monkeypatch.setattr(windows, "_WINDOW", 30)
    torch.testing.assert_close(dvfast.scan(net, image, precision="float32"), expected)
    assert len(seen) > 1
    assert sum(seen) < 9 * 83 * 99


class Blurred(VotingNetwork):
    """As in the documentation: nothing that could tell its dtype or device."""

    num_votes, in_channels, margin = 1, 1, 2

    @property
    def architecture(self) -> dict[str, Any]:
        return {}

    def dense(self, image: Tensor, stride: int = 1) -> Tensor:
        mean = nn.functional.avg_pool2d(image, 5, stride=1)[:, :, ::stride, ::stride]
        return torch.cat([mean, 0 * mean, 0 * mean], dim=1)


def test_a_network_without_parameters() -> None:
    detector = dvfast.Detector(Blurred())
    assert "Blurred on cpu" in repr(detector)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40), dtype=np.uint8)
    assert len(detector.detect(pixels)) > 0
    assert len(detector.detect_slide(pixels, tile_size=20)) > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_detects(dtype: torch.dtype) -> None:
    net = small_unet()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    expected = len(dvfast.Detector(net).detect(pixels))
    with pytest.warns(RuntimeWarning, match="cannot run this network"):
        found = dvfast.Detector(net.to(dtype)).detect(pixels)
    assert found.density.dtype == np.float32
    assert len(found) == pytest.approx(expected, rel=0.3)


def test_threads_that_scan_at_once_leave_a_network_as_it_was() -> None:
    net = small_unet().double().train()  # in double, PyTorch runs it
    statistics = {name: value.clone() for name, value in net.state_dict().items()}
    image = random_image(1, 3, 90, 80)
    expected = dvfast.scan(net, image, precision="float32")
    with ThreadPoolExecutor(4) as threads:
        scans = threads.map(lambda _: dvfast.scan(net, image, precision="float32"), range(24))
        for votes in scans:
            torch.testing.assert_close(votes, expected)
    assert all(module.training for module in net.modules())
    for name, value in net.state_dict().items():
        assert torch.equal(value, statistics[name])


class Merged(nn.Conv2d):
    """Adapted in training; in evaluation the adapter is part of the weights."""

    merged = False

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        nn.init.ones_(self.weight)  # sums without rounding
        self.adapter = nn.Parameter(torch.ones_like(self.weight))
        self.inner = nn.Dropout()

    def train(self, mode: bool = True) -> Merged:
        super().train(mode)
        if self.merged == mode:
            self.merged = not mode
            self.weight.data += self.adapter.data * (-1 if mode else 1)
        return self


class WithFrozenPart(Blurred):
    """Its train leaves a part in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(Merged(1, 1, 3), nn.Dropout())
        self.frozen = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())

    def train(self, mode: bool = True) -> WithFrozenPart:
        super().train(mode)
        self.frozen.eval()
        return self


@pytest.mark.parametrize("threads", [1, 4])
def test_layers_with_a_train_of_their_own_are_told(threads: int) -> None:
    net = WithFrozenPart().train()
    merged = net.part[0]
    assert isinstance(merged, Merged)
    merged.inner.eval()
    net.frozen[1].train()
    modes = [module.training for module in net.modules()]
    weight = merged.weight.detach().clone()
    with ThreadPoolExecutor(threads) as pool:
        scans = pool.map(
            lambda _: dvfast.scan(net, random_image(1, 20, 20), precision="float32"), range(12)
        )
        assert len(list(scans)) == 12
    assert not merged.merged
    assert torch.equal(merged.weight, weight)
    assert [module.training for module in net.modules()] == modes
    dvfast.scan(net.eval(), random_image(1, 20, 20), precision="float32")
    assert merged.merged
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize("name", ["ihc", "ihc-patch"])
@pytest.mark.parametrize("precision", ["exact", "float32"])
def test_the_device_that_tensors_are_made_on_does_not_matter(name: str, precision: Any) -> None:
    image = random_image(1, 3, 50, 40)
    detector = dvfast.Detector.from_pretrained(name)
    expected = dvfast.scan(detector.net, image, stride=4, precision=precision)
    with torch.device("meta"):
        net = dvfast.Detector.from_pretrained(name).net
        votes = dvfast.scan(net, image, stride=4, precision=precision)
    assert torch.equal(votes, expected)
