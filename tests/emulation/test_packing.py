"""The scan engine packs for tensor cores as the emulated kernels expect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emulation import matrices
from native.kernels import Array

from dvfast._packing import Convolution, _to_tf32, pack_for_warpgroups, pack_matrices
from dvfast.nn import DeepVotingNet


def words(values: Array) -> Array:
    return values.ravel().view(np.uint32)


@pytest.mark.parametrize("precision", matrices.PRECISIONS)
@pytest.mark.parametrize("channels", [(32, 32, 32), (5, 20, 48)], ids=str)
def test_engine_packs_as_kernels_expect(channels: tuple[int, ...], precision: str) -> None:
    torch.manual_seed(0)
    net = DeepVotingNet(num_votes=3, channels=channels, hidden=(40,))
    layers = [net.conv1, net.conv2, net.conv3, *net.head]
    packed = pack_matrices([Convolution(layer) for layer in layers], 3, precision)
    for before, layer, result in zip(packed[:-2], layers[1:-1], packed[1:-1], strict=True):
        weight = layer.weight.detach().numpy()
        fill = [(0, -n % 16) for n in weight.shape[:2]]
        expected = matrices.pack_first(np.pad(weight, [*fill, (0, 0), (0, 0)]), precision)
        assert weight.shape[1] <= len(before.bias) == weight.shape[1] + fill[1][1]
        assert np.array_equal(words(result.weight.numpy()), words(expected))
        assert len(result.bias) == weight.shape[0] + fill[0][1]
    last = net.head[-1].weight.detach().flatten(1).numpy()
    expected = matrices.pack_last(np.pad(last, [(0, 0), (0, 8)]))
    assert np.array_equal(words(packed[-1].weight.numpy()), words(expected))


@pytest.mark.parametrize("precision", matrices.PRECISIONS)
@pytest.mark.parametrize("channels", [32, 20])
def test_engine_packs_as_warpgroups_expect(channels: int, precision: str) -> None:
    torch.manual_seed(0)
    net = DeepVotingNet(channels=(4, 4, channels), hidden=(150,))
    weight = net.head[0].weight.detach().numpy()
    filled = np.pad(weight, [(0, 10), (0, -channels % 16), (0, 0), (0, 0)])
    packed = pack_for_warpgroups(Convolution(net.head[0]), filled.shape[1], precision)
    expected = matrices.pack_for_warpgroups(filled, precision)
    assert packed.shape == expected.shape
    assert np.array_equal(words(packed.numpy()), words(expected))


def test_what_is_no_number_stays_none() -> None:
    """The NaN of a GPU, too, whose bits are all set."""
    bits = torch.tensor([0x7FFFFFFF, 0x7FC00000, -1, 0x7F800000], dtype=torch.int32)
    rounded = _to_tf32(bits.view(torch.float32))
    assert rounded[:3].isnan().all()
    assert rounded[3] == float("inf")
