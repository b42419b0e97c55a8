"""Scans of anything in any way: the same bits for the same pixels.

In a file of its own, because a machine that only checks a GPU may lack hypothesis: see conftest.
"""

from __future__ import annotations

import importlib
from unittest import mock

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import generator, one_thread, threads

__all__ = ["one_thread"]

import dvfast
from dvfast.nn import DeepVotingNet
from dvfast.scan import PADDINGS

scanning = importlib.import_module("dvfast.scan")

widths = st.integers(1, 20)


@settings(max_examples=80)
@given(st.data())
def test_votes_of_a_pixel_are_the_same_in_every_scan(data: st.DataObject) -> None:
    num_votes, in_channels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    channels = data.draw(st.tuples(widths, widths, widths))
    hidden = data.draw(st.lists(widths, min_size=1, max_size=1) | st.lists(widths, max_size=2))
    torch.manual_seed(0)
    net = DeepVotingNet(num_votes, in_channels, channels, hidden)
    batch = data.draw(st.integers(1, 2))
    height, width = data.draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    image = torch.rand((batch, in_channels, height, width), generator=generator(1))
    padding = data.draw(st.sampled_from(PADDINGS))
    precision = data.draw(st.sampled_from(("exact", "float32")))
    whole = dvfast.scan(net, image, padding=padding, precision=precision)
    exact = dvfast.scan(net, image, padding=padding)
    torch.testing.assert_close(whole, exact, rtol=1e-3, atol=1e-3)

    for _ in range(3):
        mode = data.draw(st.sampled_from(("fast", "sliding")))
        stride = data.draw(st.sampled_from((1, 2, 4)) | st.integers(1, 9))
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        rows = data.draw(st.integers(1, height - top))
        columns = data.draw(st.integers(1, width - left))
        with (
            mock.patch.object(scanning, "_MAP_NUMBERS", data.draw(st.integers(1, 20 * 80**2))),
            mock.patch.object(scanning, "_PATCHES_PER_BATCH", data.draw(st.integers(1, 40))),
            threads(data.draw(st.integers(1, 3))),
        ):
            part = dvfast.scan(
                net,
                image,
                mode=mode,
                stride=stride,
                padding=padding,
                precision=precision,
                region=(top, left, rows, columns),
            )
        # Winograd's algorithm is for the dense pass at these strides.
        expected = whole if mode == "fast" and stride in (1, 2, 4) else exact
        crop = expected[:, :, top : top + rows : stride, left : left + columns : stride]
        assert torch.equal(part, crop)
