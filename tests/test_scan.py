"""Scanning: a pixel's votes are the same, to the bit, however one comes to them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from support import (
    AGREEMENT,
    THREAD_COUNTS,
    one_thread,
    over_threads,
    random_image,
    threads,
    tiny_net,
)
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["one_thread"]

import dvfast
from dvfast._engine import Engine
from dvfast._library import cpu_info
from dvfast.nn import DeepVotingNet
from dvfast.scan import PADDINGS, pad_image

scanning = importlib.import_module("dvfast.scan")  # `dvfast.scan` is the function of that name

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (5, 3), (20, 33), (45, 50)]
# What scan() promises of its faster way to float32's accuracy; offsets here are about 1.
FLOAT32 = 1e-4
BFLOAT16 = 0.05
NUMPY_MODES = {
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "constant": "constant",
}


@pytest.fixture
def net(device: torch.device) -> DeepVotingNet:
    return tiny_net().to(device)


def assert_modes_agree(net: DeepVotingNet, image: Tensor, **settings: Any) -> Tensor:
    fast = dvfast.scan(net, image, mode="fast", **settings)
    assert torch.equal(fast, dvfast.scan(net, image, mode="sliding", **settings))
    return fast


def of_one_scan_in_float32(net: DeepVotingNet, stride: int) -> bool:
    """Whether ``float32`` takes the same way at this stride as at 1; it falls back to exact."""
    device = next(net.parameters()).device
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return True  # matrix instructions take every stride
    return device.type == "cpu" and stride in (1, 2, 4)  # Winograd's algorithm, the poolings'


@pytest.mark.parametrize("stride", range(1, 9))
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_fast_is_sliding(net: DeepVotingNet, size: tuple[int, int], stride: int) -> None:
    image = random_image(1, 3, *size)
    votes = assert_modes_agree(net, image, stride=stride)
    assert votes.shape == (1, 6, -(-size[0] // stride), -(-size[1] // stride))
    # A strided scan takes every stride-th vote of the whole.
    assert torch.equal(votes, dvfast.scan(net, image)[:, :, ::stride, ::stride])


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_float32_is_as_accurate_and_one_thing_at_its_strides(
    net: DeepVotingNet, stride: int
) -> None:
    for size in SIZES:
        image = random_image(2, 3, *size)
        exact = dvfast.scan(net, image, stride=stride)
        votes = dvfast.scan(net, image, stride=stride, precision="float32")
        torch.testing.assert_close(votes, exact, rtol=FLOAT32, atol=FLOAT32)
        if of_one_scan_in_float32(net, stride):
            whole = dvfast.scan(net, image, precision="float32")
            assert torch.equal(votes, whole[:, :, ::stride, ::stride])
        else:
            assert torch.equal(votes, exact)
        sliding = dvfast.scan(net, image, mode="sliding", stride=stride, precision="float32")
        assert torch.equal(sliding, exact)


@pytest.mark.skipif(not cpu_info()["matrix_unit"], reason="this CPU has no matrix unit")
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
def test_bfloat16_is_near_and_one_thing_at_all_strides(
    stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = DeepVotingNet(num_votes=2, channels=(4, 20, 32), hidden=(40,))
    for size in ((1, 1), (3, 40), (21, 33)):
        image = random_image(1, 3, *size)
        exact = dvfast.scan(net, image, stride=stride)
        votes = dvfast.scan(net, image, stride=stride, precision="bfloat16")
        torch.testing.assert_close(votes, exact, rtol=0, atol=BFLOAT16)
        whole = dvfast.scan(net, image, precision="bfloat16")
        assert torch.equal(votes, whole[:, :, ::stride, ::stride])
    with monkeypatch.context() as patch:
        patch.setattr(scanning, "_MAP_NUMBERS", 32 * 60**2)
        assert torch.equal(dvfast.scan(net, image, stride=stride, precision="bfloat16"), votes)
    for count in THREAD_COUNTS:
        with threads(count):
            part = dvfast.scan(
                net, image, stride=stride, precision="bfloat16", region=(4, 7, 9, 20)
            )
        assert torch.equal(part, whole[:, :, 4:13:stride, 7:27:stride])


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_fast_is_sliding_whatever_lies_around(
    net: DeepVotingNet, stride: int, padding: str
) -> None:
    results = []
    for size in ((1, 1), (3, 22), (21, 25)):
        image = random_image(2, 3, *size)
        results.append(assert_modes_agree(net, image, stride=stride, padding=padding))
    if padding != "reflect":
        assert not torch.equal(results[-1], dvfast.scan(net, image, stride=stride))


@pytest.mark.parametrize("precision", ["exact", "float32"])
@pytest.mark.parametrize(
    "settings",
    [
        {"channels": (4, 4, 4), "hidden": (8,)},
        {"channels": (5, 20, 33), "hidden": (17,), "num_votes": 1},
        {"channels": (16, 48, 32), "hidden": (272,), "num_votes": 3, "in_channels": 1},
        {"channels": (1, 2, 3), "hidden": (), "num_votes": 5},
        {"channels": (32, 16, 16), "hidden": (24, 40), "in_channels": 4},
        {"channels": (4, 4, 4), "hidden": (8,) * 7},
    ],
    ids=str,
)
def test_votes_are_those_of_the_patches(
    device: torch.device, settings: dict[str, Any], precision: str
) -> None:
    torch.manual_seed(0)
    net = DeepVotingNet(**settings).to(device).eval()
    for parameter in net.parameters():  # biases too, so that a forgotten one shows
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    image = random_image(net.in_channels, 24, 26).to(device)
    padded = pad_image(image, 19)
    votes = dvfast.scan(net, image, precision=precision)
    assert torch.equal(dvfast.scan(net, image, mode="sliding"), dvfast.scan(net, image))
    for y, x in ((0, 0), (0, 25), (23, 0), (23, 25), (11, 7)):
        with torch.no_grad():
            logits = net(padded[None, :, y : y + 39, x : x + 39])
        torch.testing.assert_close(
            votes[:, :, y, x], dvfast.hybrid_activation(logits), rtol=FLOAT32, atol=FLOAT32
        )


@pytest.mark.parametrize("precision", ["exact", "float32"])
@pytest.mark.parametrize("stride", [1, 2, 3, 7, 8])
def test_tiles_have_no_seams(
    net: DeepVotingNet, stride: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(2, 3, 31, 45)
    whole = dvfast.scan(net, image, stride=stride, precision=precision)
    for numbers in (1, 4 * 60**2, 4 * 77**2, 4 * 90 * 60):
        monkeypatch.setattr(scanning, "_MAP_NUMBERS", numbers)
        votes = dvfast.scan(net, image, stride=stride, precision=precision)
        assert torch.equal(votes, whole)
        part = dvfast.scan(
            net, image, stride=stride, precision=precision, region=(stride, 2 * stride, 9, 10)
        )
        assert torch.equal(part, whole[:, :, 1:, 2:][:, :, : part.shape[2], : part.shape[3]])


class PeakMemory(TorchDispatchMode):
    """The most bytes that tensors made within hold at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._live = {k: v for k, v in self._live.items() if not v[0].expired()}
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self._live.values()))
        return result


@pytest.mark.parametrize("mode", ["fast", "sliding"])
@pytest.mark.parametrize("precision", ["exact", "float32"])
def test_working_memory_does_not_grow_with_the_image(
    device: torch.device, mode: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = DeepVotingNet(channels=(4, 4, 4), hidden=(16,)).to(device)  # in maps of 16 channels
    monkeypatch.setattr(scanning, "_MAP_NUMBERS", 16 * 80**2)
    monkeypatch.setattr(scanning, "_PATCHES_PER_BATCH", 32)
    peaks = []
    for side in (60, 120, 180):
        image = random_image(1, 3, side, side).to(device)
        dvfast.scan(net, image[:, :, :3, :3], mode=mode, precision=precision)  # packs the weights
        region = (0, 0, 20, side) if mode == "sliding" else None
        with PeakMemory() as memory:
            votes = dvfast.scan(net, image, mode=mode, precision=precision, region=region)
        # Of image and votes, all of their memory: the votes may be a part of whole blocks.
        peaks.append(memory.peak - image.nbytes - votes.untyped_storage().nbytes())
    largest_map = 16 * 80**2 if mode == "fast" else 32 * 16 * 34**2
    assert max(peaks) < 2.5 * image.itemsize * largest_map
    assert peaks[2] < 1.2 * peaks[1]


@contextmanager
def watched_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of what the engine is given."""
    shapes = []
    votes = Engine.votes

    def watch(self: Engine, images: Tensor, *settings: Any) -> Tensor:
        shapes.append(tuple(images.shape))
        return votes(self, images, *settings)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "votes", watch)
        yield shapes


def test_tiles_are_even(net: DeepVotingNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MAP_NUMBERS", 16 * 100**2)
    with watched_engine(monkeypatch) as shapes:
        dvfast.scan(net, random_image(1, 3, 130, 140))
    assert max(height * width for _, height, width, _ in shapes) <= 100**2
    sides = [(height - 38, width - 38) for _, height, width, _ in shapes]
    assert sum(rows * columns for rows, columns in sides) == 130 * 140
    for lengths in zip(*sides, strict=True):
        assert min(lengths) > max(lengths) // 2


def test_patches_come_in_batches_of_bounded_size(
    net: DeepVotingNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(2, 3, 9, 11)
    expected = dvfast.scan(net, image, mode="sliding")
    for most in (1, 7, 30, 1000):
        monkeypatch.setattr(scanning, "_PATCHES_PER_BATCH", most)
        with watched_engine(monkeypatch) as shapes:
            assert torch.equal(dvfast.scan(net, image, mode="sliding"), expected)
        assert max(shape[0] for shape in shapes) <= most
        assert sum(shape[0] for shape in shapes) == 2 * 9 * 11


@pytest.mark.parametrize("precision", ["exact", "float32"])
@pytest.mark.parametrize("mode", ["fast", "sliding"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_region_is_a_crop_of_the_whole(
    net: DeepVotingNet, mode: str, stride: int, precision: str
) -> None:
    image = random_image(1, 3, 30, 41)
    settings = {"mode": mode, "precision": precision}
    whole = dvfast.scan(net, image, **settings)
    if mode == "fast" and precision == "float32" and not of_one_scan_in_float32(net, stride):
        whole = dvfast.scan(net, image)
    for region in ((0, 0, 30, 41), (4, 7, 9, 10), (29, 40, 1, 1), (0, 20, 30, 1), (12, 5, 18, 36)):
        top, left, height, width = region
        votes = dvfast.scan(net, image, stride=stride, region=region, **settings)
        crop = whole[:, :, top : top + height : stride, left : left + width : stride]
        assert torch.equal(votes, crop)


def test_a_pixel_does_not_see_beyond_its_patch(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 60, 70)
    whole = dvfast.scan(net, image)
    inside = dvfast.scan(net, image[:, :, 5:55, 3:66])
    assert torch.equal(inside[:, :, 19:-19, 19:-19], whole[:, :, 24:36, 22:47])


@pytest.mark.parametrize("precision", ["exact", "float32"])
def test_batch_is_its_images(net: DeepVotingNet, precision: str) -> None:
    images = random_image(3, 3, 12, 17)
    votes = dvfast.scan(net, images, precision=precision)
    for image, one in zip(images, votes, strict=True):
        assert torch.equal(dvfast.scan(net, image, precision=precision)[0], one)


@pytest.mark.parametrize("precision", ["exact", "float32"])
def test_every_number_of_threads_gives_the_same_bits(net: DeepVotingNet, precision: str) -> None:
    image = random_image(1, 3, 50, 60)
    for mode in ("fast", "sliding"):
        one, *others = over_threads(
            lambda mode=mode: dvfast.scan(net, image, mode=mode, stride=2, precision=precision)
        )
        assert all(torch.equal(one, other) for other in others)


def test_network_is_left_as_it_was(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 6, 6)
    for training in (True, False):
        net.train(training)
        for mode in ("fast", "sliding"):
            votes = dvfast.scan(net, image, mode=mode)
            assert not votes.requires_grad
            assert net.training == net.dropout.training == training
    assert torch.equal(dvfast.scan(net.train(), image), dvfast.scan(net.eval(), image))
    net.train()
    with pytest.raises(ValueError, match="padding"):
        dvfast.scan(net, image, padding="mirror")
    assert net.training


class PrecisionOfConvolutions(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any, kwargs: Any = None) -> Any:
        if "convolution" in str(function):
            for kind in (torch.backends.cudnn, torch.backends.mkldnn):
                self.seen.append(kind.conv.fp32_precision)
        return function(*args, **kwargs or {})


@pytest.mark.usefixtures("pytorch_as_it_comes")
def test_pytorch_convolves_in_float32_itself(device: torch.device) -> None:
    torch.manual_seed(0)
    net = DeepVotingNet(num_votes=1, channels=(4, 4, 4), hidden=(8,)).to(device)
    net.dropout = torch.nn.AlphaDropout()  # so that the engine cannot run it
    image = random_image(1, 3, 20, 21).to(device)
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    try:
        with (
            PrecisionOfConvolutions() as precision,
            torch.autocast(device.type, torch.bfloat16),
            pytest.warns(RuntimeWarning, match="AlphaDropout"),
        ):
            votes = dvfast.scan(net, image, precision="float32")
        assert len(precision.seen) > 0
        assert set(precision.seen) == {"ieee"}
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"
        assert torch.backends.mkldnn.conv.fp32_precision == "bf16"
    finally:
        torch.backends.mkldnn.conv.fp32_precision = "none"
    net.dropout = torch.nn.Dropout()
    exact = dvfast.scan(net, random_image(1, 3, 20, 21))
    torch.testing.assert_close(votes, exact, rtol=AGREEMENT, atol=AGREEMENT)


@pytest.mark.parametrize("margin", [0, 1, 19, 50])
@pytest.mark.parametrize("mode", PADDINGS)
def test_pad_image_is_numpys_pad(device: torch.device, mode: str, margin: int) -> None:
    for size in ((1, 1), (1, 2), (2, 3), (5, 1), (13, 40)):
        image = random_image(2, *size)
        padded = pad_image(image.to(device), margin, mode).cpu()
        around = ((0, 0), (margin, margin), (margin, margin))
        expected = np.pad(image.numpy(), around, mode=NUMPY_MODES[mode])
        assert np.array_equal(padded.numpy(), expected)
