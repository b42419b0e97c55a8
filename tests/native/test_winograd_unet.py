"""A U-Net from top to bottom has the bits of its layers, one by one; test_winograd_convolution.py
looks after those. Every access to memory is test_winograd.py's matter.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from native.network_cases import assert_same_bits
from native.winograd_unet import CASES, Unet


@pytest.mark.parametrize("case", CASES, ids=str)
def test_has_the_bits_of_layer_by_layer(variant: ModuleType, case: Unet) -> None:
    expected = case.layer_by_layer(variant)
    assert np.isnan(expected).any() == case.special
    for threads in (1, 2, 3, 16):
        for at_once in (False, True):
            votes, _ = case.run(variant, threads, at_once)
            assert_same_bits(votes, expected, (case, threads))


def test_memory_does_not_grow_with_the_height(native: ModuleType) -> None:
    sizes = [Unet((4, 8, 8), (height, 240), 1).run(native)[1] for height in (1200, 1600, 2400)]
    assert sizes[0] == sizes[1] == sizes[2]
