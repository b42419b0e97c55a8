"""Tiles of one picture are known by their borders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hand_made_record import entry, record
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from dvfast.data import Sample
from dvfast.reproduce.adjoining import adjoining, adjoining_table
from dvfast.reproduce.records import WITHIN_RADIUS
from dvfast.reproduce.tables import entries_of


def picture(seed: int, colours: int = 3) -> NDArray[np.uint8]:
    """As smooth as a microscope's."""
    noise = np.random.default_rng(seed).normal(0, 1, (120, 160, colours))
    smooth = ndimage.gaussian_filter(noise, (4, 4, 0))
    return np.asarray(np.clip(128 + 60 * smooth / smooth.std(), 0, 255), np.uint8)


def saved(path: Path, pixels: NDArray[np.uint8]) -> Sample:
    Image.fromarray(pixels.squeeze()).save(path)
    return Sample(path, path.with_suffix(".csv"))


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("side", ["above", "below", "left", "right", "beside a gap"])
def test_neighbours_are_found_on_every_side(tmp_path: Path, side: str, colours: int) -> None:
    whole = picture(0, colours)
    parts = {
        "above": (whole[:60], whole[60:]),
        "below": (whole[60:], whole[:60]),
        "left": (whole[:, :80], whole[:, 80:]),
        "right": (whole[:, 80:], whole[:, :80]),
        "beside a gap": (whole[:, :80], whole[:, 90:]),
    }[side]
    ours, theirs = (saved(tmp_path / f"{i}.png", part) for i, part in enumerate(parts))
    stranger = saved(tmp_path / "stranger.png", picture(1, colours)[:, :80])
    smaller = saved(tmp_path / "smaller.png", picture(2, colours)[:33, :44])
    assert adjoining([ours, stranger], [smaller, theirs]) == [side != "beside a gap", False]
    assert adjoining([ours], []) == [False]


def test_plain_borders_say_nothing(tmp_path: Path) -> None:
    plain = [saved(tmp_path / f"{i}.png", np.full((30, 40, 3), 240, np.uint8)) for i in range(2)]
    assert adjoining(plain[:1], plain[1:]) == [False]


def test_scores_of_both_kinds_of_images() -> None:
    truths = [[(10, 10), (50, 50)], [(20, 20)], [(30, 30)]]
    of_seeds = [[truths[0], [], truths[2]], [truths[0][:1], [], []]]
    entries = {f"itcn/{i}": entry(found, truths) for i, found in enumerate(of_seeds)}
    table = record(truths, entries)
    shown = adjoining_table(table, entries_of(table), [True, True, False], WITHIN_RADIUS)
    assert shown.headings == ["", "2 that adjoin", "1 others"]
    assert shown.rows == [["ITCN", f"{(0.8 + 0.5) / 2:.3f}", "0.500"]]
