from __future__ import annotations

import os
import re
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dvfast.data.files import Sample, load_sample, pair_by_stem
from dvfast.data.paths import atomic_path
from dvfast.errors import InputError

# atomic_path


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.tar.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".gz"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def fail_half_way(target: Path, error: type[BaseException]) -> None:
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        raise error


def test_a_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            fail_half_way(target, error)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_success_replaces_and_flushes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    events: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda *a: (events.append("replace"), replace(*a))[1])
    with atomic_path(str(target)) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert events[:2] == ["fsync", "replace"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits and links are POSIX")
def test_permissions_follow_the_umask_and_links_are_kept(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a.csv"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o640
    (tmp_path / "link.csv").symlink_to("a.csv")
    with atomic_path(tmp_path / "link.csv") as temporary:
        temporary.write_text("through")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "a.csv").read_text() == "through"


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for target, message in (
        (tmp_path / "none" / "a.csv", r"a\.csv: cannot be written: the folder .*none does not"),
        (tmp_path / "file" / "a.csv", r"a\.csv: .*takes no new files: Not a directory"),
        (tmp_path, "it is a folder, expected a file name"),
    ):
        with pytest.raises(InputError, match=message), atomic_path(target):
            pytest.fail("the block must not run")

    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(InputError, match="takes no new files: Permission denied"),
        atomic_path(tmp_path / "a.csv"),
    ):
        pytest.fail("the block must not run")


# pair_by_stem


def test_pairs(tmp_path: Path) -> None:
    for name in ("b.png", "b.csv", "a.TIF", "a.GeoJSON", "c.1.jpg", "c.1.txt"):
        (tmp_path / name).touch()
    for name in (".DS_Store", "._b.png", "notes.md"):
        (tmp_path / name).touch()
    (tmp_path / "deep.png").mkdir()
    samples = pair_by_stem(str(tmp_path))
    assert samples == [
        Sample(tmp_path / "a.TIF", tmp_path / "a.GeoJSON"),
        Sample(tmp_path / "b.png", tmp_path / "b.csv"),
        Sample(tmp_path / "c.1.jpg", tmp_path / "c.1.txt"),
    ]
    assert [sample.stem for sample in samples] == ["a", "b", "c.1"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png"], "1 images without a click file of the same name: a.png; add"),
        (["a.png", "a.csv", "b.csv"], "1 click files without an image of the same name: b.csv"),
        (["a.png", "b.csv"], "images without a click file of the same name: a.png"),
        (["a.png", "a.tif", "a.csv"], r"images share a name: a\.png, a\.tif; keep"),
        (["a.png", "a.csv", "a.json"], r"click files share a name: a\.csv, a\.json"),
        ([], "no images with clicks, expected images"),
        (["a.md"], "no images with clicks"),
        (
            [f"{letter}.png" for letter in "abcdefg"],
            r"7 images .*: a\.png, b\.png, c\.png, d\.png, e\.png, \.\.\.; add",
        ),
    ],
)
def test_folders_that_do_not_pair(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=message) as caught:
        pair_by_stem(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_folders_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="none: no such folder"):
        pair_by_stem(tmp_path / "none")
    with pytest.raises(InputError, match="file: is a file, expected a folder"):
        pair_by_stem(tmp_path / "file")

    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="cannot be listed: Permission denied"):
        pair_by_stem(tmp_path)


# load_sample


def sample(folder: Path, clicks: str) -> Sample:
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(folder / "a.png")
    (folder / "a.csv").write_text("y,x\n" + clicks)
    return pair_by_stem(folder)[0]


def test_load_sample(tmp_path: Path) -> None:
    image, points = load_sample(sample(tmp_path, "-0.5,-0.5\n9.49,19.49\n"))
    assert image.shape == (10, 20)
    assert points.tolist() == [[-0.5, -0.5], [9.49, 19.49]]
    assert load_sample(sample(tmp_path, ""))[1].shape == (0, 2)


def test_equal_clicks_are_told(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"a\.csv: 2 of 5 points are there twice"):
        _, points = load_sample(sample(tmp_path, "1,2\n3,4\n1,2\n2,1\n1,2\n"))
    assert len(points) == 5


@pytest.mark.parametrize(
    ("clicks", "told"),
    [
        ([(y / 4, y / 2) for y in range(10)], True),
        ([(y / 4, y / 2) for y in range(9)], False),
        ([(y / 4, y / 2) for y in range(10)] + [(4.0, 0)], False),
        ([(y / 4, y / 2) for y in range(10)] + [(0, 8.0)], False),
        ([(y / 4, y / 2) for y in range(10)] + [(3.9, 7.9)], True),
    ],
)
def test_clicks_of_another_unit_are_told(
    tmp_path: Path, clicks: list[tuple[float, float]], told: bool
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_sample(sample(tmp_path, "".join(f"{y},{x}\n" for y, x in clicks)))
    message = rf"a\.csv: all {len(clicks)} points lie in the top left of a\.png.*micrometres"
    assert [bool(re.search(message, str(each.message))) for each in caught] == [True] * told


@pytest.mark.parametrize("click", ["9.5,0", "0,19.5", "-0.51,0", "0,-0.51", "15,3"])
def test_clicks_outside_the_image(tmp_path: Path, click: str) -> None:
    y, x = click.split(",")
    message = (
        rf"a\.csv: 1 of 2 points lie outside the image, first point 1 at \(y, x\) = "
        rf"\({y}, {x}\); a\.png has height 10 and width 20"
    )
    with pytest.raises(InputError, match=message):
        load_sample(sample(tmp_path, f"5,15\n{click}\n"))
